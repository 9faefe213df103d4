"""What is compared, by name: one module here in Python and one of the same name in TypeScript, or a floor in C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["py->ts", "ts->py"]
DIRECTIONS: tuple[Direction, ...] = ("py->ts", "ts->py")


@dataclass(frozen=True)
class Peer:
    """One way to make the call."""

    name: str
    """As printed, and as `--only` finds it."""
    module: str
    """`peers/<module>.py` and `.ts`, or `peers/<module>.c` for a floor."""
    waits: str
    """Who polls and who blocks: a figure without it compares nothing."""
    floor: bool = False
    """C to C: there is no direction."""
    calls: int = 20_000
    """Timed in one trial: about a second's worth or less."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings for both processes."""


PEERS: tuple[Peer, ...] = (
    Peer("c-ring", "c_ring", "both poll", floor=True),
    Peer("eventfd", "eventfd", "both block", floor=True, calls=5_000),
    Peer("shm", "shm", "poll <= 50 us, park"),
    Peer("shm-spin0", "shm", "both park", calls=5_000, environment={"SHM_POLYGLOT_SPIN_US": "0"}),
    Peer("shm-socket", "shm", "both block", calls=5_000, environment={"SHM_POLYGLOT_TRANSPORT": "socket"}),
    Peer("uds-msgpack", "uds_msgpack", "both block", calls=5_000),
    Peer("http-keepalive", "http_keepalive", "both block", calls=2_000),
)

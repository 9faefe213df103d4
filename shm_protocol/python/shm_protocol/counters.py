"""What both sides of each connection count in its segment (PROTOCOL.md section 3), as the acceptor reads it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .errors import ProtocolError

METHOD: Final = "shm_polyglot.connections"
"""The built-in function of the acceptor that tells them."""

LATENCY_BUCKETS: Final = 112
"""SHM_LATENCY_BUCKETS of core/layout.h."""

STATES: Final[Mapping[int, str]] = {0: "awake", 1: "busy", 2: "parked"}
"""PROTOCOL.md section 5."""

_FIRST_OCTAVE: Final = 8
"""SHM_LATENCY_FIRST_OCTAVE of core/counters.h."""


@dataclass(frozen=True)
class Counters:
    """What one side has done since the beginning; ring_bytes, ring_used, state and spin_budget_ns are of now.

    latency: the calls that it made and that have ended, by bucket.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    doorbells_rung: int
    parks: int
    spin_budget_ns: int
    ring_bytes: int
    ring_used: int
    state: int
    calls_failed: int
    latency: Sequence[int]


NOTHING: Final = Counters(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, [0] * LATENCY_BUCKETS)
"""What a side has counted when the connection begins."""


@dataclass(frozen=True)
class LargeBuffers:
    """What the acceptor tells of large buffers. path: "memory", or "ring: " and why. lent, borrowed: buffers so far.
    bytes_lent: what the dialer still has. pool_bytes: what the acceptor keeps for buffers to come, on any connection.
    """

    path: str
    lent: int
    borrowed: int
    bytes_lent: int
    pool_bytes: int


@dataclass(frozen=True)
class Watched:
    """One connection. asks: it is the one that was asked on. dialer, acceptor: None where there is no segment. buffers:
    None of an acceptor that knows nothing of them.
    """

    id: int
    asks: bool
    name: str
    role: str
    language: str
    library: str
    project: str | None
    transport: str
    outstanding: int
    being_served: int
    late_answers: int
    dialer: Counters | None
    acceptor: Counters | None
    buffers: LargeBuffers | None


def parse(answer: object) -> list[Watched]:
    """The answer of METHOD. Raises ProtocolError for anything else."""
    if not isinstance(answer, list):
        raise ProtocolError(f"{METHOD} has answered {type(answer).__name__}, not a list")
    try:
        return [_parse_connection(one) for one in answer]
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"{METHOD} has answered something else than connections: {error!r}") from error


def _parse_connection(told: Mapping[str, Any]) -> Watched:
    counters = told["counters"]
    others = ("project", "dialer", "acceptor", "buffers")
    plain = {name: told[name] for name in Watched.__annotations__ if name not in others}
    return Watched(
        **plain,
        # Acceptors of protocol 1.0 know nothing of it.
        project=told.get("project"),
        dialer=None if counters is None else _parse_side(counters["dialer"]),
        acceptor=None if counters is None else _parse_side(counters["acceptor"]),
        # Nor those before 1.2 of this.
        buffers=None if "buffers" not in told else _parse_buffers(told["buffers"]),
    )


def _parse_buffers(told: Mapping[str, Any]) -> LargeBuffers:
    numbers = {name: told[name] for name in LargeBuffers.__annotations__ if name != "path"}
    if type(told["path"]) is not str or not all(type(number) is int for number in numbers.values()):
        raise TypeError("buffers that are not as they are told")
    return LargeBuffers(path=told["path"], **numbers)


def _parse_side(told: Mapping[str, Any]) -> Counters:
    numbers = {name: told[name] for name in Counters.__annotations__ if name != "latency"}
    latency = told["latency"]
    if not all(type(number) is int for number in (*numbers.values(), *latency)) or len(latency) != LATENCY_BUCKETS:
        raise TypeError("counters that are not integers")
    if numbers["ring_bytes"] == 0:
        raise TypeError("a ring of 0 bytes")
    return Counters(**numbers, latency=latency)


def bucket_begin_ns(bucket: int) -> int:
    """Where a bucket of latencies begins, in nanoseconds, and the one before it ends."""
    if bucket == 0:
        return 0
    octave, quarter = divmod(bucket - 1, 4)
    begin = 1 << (_FIRST_OCTAVE + octave)
    return begin + quarter * begin // 4


def percentile_us(latency: Sequence[int], share: float) -> float | None:
    """The latency, in microseconds, that `share` (0 to 1) of the calls have not exceeded; None without a call.

    Interpolated within its bucket, so at most a quarter off.
    """
    rank = share * sum(latency)
    if rank == 0:
        return None
    passed = 0
    for bucket, count in enumerate(latency):
        if count > 0 and passed + count >= rank:
            begin, end = bucket_begin_ns(bucket), bucket_begin_ns(bucket + 1)
            return (begin + (end - begin) * (rank - passed) / count) / 1000
        passed += count
    raise AssertionError("the ranks of all buckets together are the number of calls")

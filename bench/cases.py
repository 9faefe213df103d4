"""What is asked of every peer: the workloads, the sizes, and the circumstances of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["py->ts", "ts->py"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("py->ts", "ts->py")

KIB: Final = 1024
MIB: Final = 1024 * KIB

ONE_CALL_S: Final = 60.0
"""Where the number of calls ends a case, not the time."""
A_CALL_S: Final = 0.01
"""One that is not warm, roughly."""


@dataclass(frozen=True)
class Case:
    """One kind of call, in one circumstance. A row of the results is a case, a peer and a direction."""

    workload: str
    """As named in the results."""
    function: str
    """The function of workload.py and workload.ts that is called."""
    payload_bytes: int
    """Size of the argument's texts in UTF-8, or of its bytes."""
    calls: int
    """Timed in one trial, at most."""
    seconds: float
    """How long a trial begins further calls; a slow peer makes fewer."""
    outstanding: int = 1
    """Calls under way at once."""
    pause_s: float = 0.0
    """Idleness before each call."""
    neighbour: bool = False
    """Whether another process keeps the callee's core busy."""
    warmup: bool = True
    """Whether untimed calls come first."""
    directions: tuple[Direction, ...] = DIRECTIONS
    peers: tuple[str, ...] = ()
    """The only ones of which it is asked; empty: all that can."""

    @property
    def expected_s(self) -> float:
        """How long it takes, roughly."""
        return self.seconds if self.seconds < ONE_CALL_S else (self.pause_s + A_CALL_S) * self.calls


def echo(payload_bytes: int) -> Case:
    """`echo` of a text of that many bytes; 0: of null."""
    return Case("echo", "echo", payload_bytes, calls=5_000, seconds=0.07)


OF_SIZE_PEERS: Final = (
    "memcpy",
    "memcpy-here",
    "shm",
    "shm-shared",
    "shm-ring",
    "shm-socket",
    "uds-msgpack",
    "pythonmonkey",
    "node-calls-python",
)
"""Whom the rows `string`, `bytes` and `array` compare by size."""


def of_size(workload: str, payload_bytes: int) -> Case:
    """`echo` of a text, of bytes or of an array of float64, of that many bytes: fewer calls of a large one."""
    calls = max(20, min(5_000, 1024 * MIB // payload_bytes))
    return Case(workload, "echo", payload_bytes, calls, seconds=0.07, peers=OF_SIZE_PEERS)


# Intl is JavaScript's: there is nothing in Python's standard library that would do the same work.
PY_TO_TS_ONLY: Final[tuple[Direction, ...]] = ("py->ts",)

OF_SIZES: Final = (KIB, 64 * KIB, 256 * KIB, 512 * KIB, MIB, 4 * MIB, 16 * MIB)
MOST_BYTES: Final = 64 * MIB
"""An array alone can be as large: a text would not fit into a message."""
BYTES: Final = MIB
"""The size of `bytes` that all are asked for."""

PREDICT_BYTES: Final = 43
FIRST: Final = Case("first-call", "predict", PREDICT_BYTES, calls=1, seconds=ONE_CALL_S, warmup=False)
PREDICT: Final = Case("predict", "predict", PREDICT_BYTES, calls=20_000, seconds=0.3)
"""The row that the goals are about."""

CASES: Final[tuple[Case, ...]] = (
    FIRST,
    PREDICT,
    *(echo(size) for size in (0, 64, KIB, 16 * KIB, 256 * KIB, 4 * MIB)),
    Case("bytes", "echo", BYTES, calls=5_000, seconds=0.07),
    *(of_size("bytes", size) for size in OF_SIZES if size != BYTES),
    *(of_size("string", size) for size in OF_SIZES),
    *(of_size("array", size) for size in OF_SIZES),
    of_size("array", MOST_BYTES),
    Case("batch", "batch", 100 * PREDICT_BYTES, calls=5_000, seconds=0.07),
    Case("format", "format", 16, calls=5_000, seconds=0.07, directions=PY_TO_TS_ONLY),
    Case("segment", "segment", 83, calls=5_000, seconds=0.07, directions=PY_TO_TS_ONLY),
    *(
        Case("outstanding", "predict", PREDICT_BYTES, calls=20_000, seconds=0.08, outstanding=count)
        for count in (1, 4, 16, 64)
    ),
    Case("after-10ms", "predict", PREDICT_BYTES, calls=15, seconds=ONE_CALL_S, pause_s=0.01),
    Case("after-1s", "predict", PREDICT_BYTES, calls=1, seconds=ONE_CALL_S, pause_s=1.0),
    Case("busy-neighbour", "predict", PREDICT_BYTES, calls=5_000, seconds=0.2, neighbour=True),
)

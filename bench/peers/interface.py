"""What a peer's Python module offers; interface.ts says the same for its TypeScript module.

A peer is described in `bench/peers/__init__.py`. Its modules hold what differs from peer to peer: how a value reaches
the other language and comes back. What is called, with what, and how it is timed is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.cases import Case


class Caller(Protocol):
    """The other language, ready to be called and timed. It belongs to the thread that started it."""

    def call(self, function: str, argument: object) -> object:
        """Have the other language run `function(argument)`, one of workload.py's, and give its answer.

        The answer may be whatever the peer gives naturally (a proxy, say), if it equals the plain value.
        """

    def stop(self) -> None:
        """End the connection and every process that `start` made."""


@dataclass(frozen=True)
class Measured:
    """What one measurement of one case gave."""

    times_ns: list[float]
    """Of each call, in the order made."""
    elapsed_ns: float
    """From the first call to the last answer."""
    checking_ns: float = 0.0
    """Of that, spent looking at the answers: no part of any call's time."""
    checking_cpu_ns: float = 0.0
    """Of that on a processor: no part of any call's processor time."""
    errors: int = 0
    """Calls that raised, or answered wrongly."""
    first_error: str = ""


class MeasuringCaller(Caller, Protocol):
    """A caller whose calls begin in the other language, inside one process: only code there can time them."""

    def measure(self, case: Case, calls: int, seconds: float) -> Measured:
        """As `bench.driver.measure`: at most so many calls, begun within so many seconds; each answer is checked."""


class PythonModule(Protocol):
    """A module in this folder. `start` where Python is the caller, `serve` where it is the callee."""

    def start(self, address: str) -> Caller:
        """Reach the callee that serves in the directory `address`, or make it, where it lives in this process."""

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        """Run what the callers ask for until ended by a signal; call `ready` once a caller may start."""

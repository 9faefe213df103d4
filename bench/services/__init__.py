"""Whole services over HTTP: started, loaded and weighed, beside any other build that somebody points the bench at."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

MEMORY_ROUNDS: Final = 2
"""At most: a round takes the longest of all, and what a process weighs hardly differs from round to round."""
IDLE_S: Final = 10.0

Began = Callable[[str], None]
"""Is told what is measured."""
Step = tuple[str, float, Callable[[Began], None]]
"""What is done, how many seconds it takes, roughly, and what does it."""


class Found(Protocol):
    """Where the rows go: as results.json has them."""

    http: list[dict[str, Any]]
    starts: list[dict[str, Any]]
    memory: list[dict[str, Any]]
    idle_cpu_percent: float | None


class Part(Protocol):
    """Http, Starts or Memory."""

    def seconds(self, number: int) -> float:
        """How long the round of that number, from 0, takes, roughly."""

    def round(self, number: int, began: Began) -> None:
        """Each service once."""

    def to_json(self) -> list[dict[str, Any]]:
        """The rows so far."""


def steps(rounds: int, found: Found) -> list[Step]:
    """All that a run does with whole services. A step that is interrupted leaves in `found` what it has."""
    from bench.services.http_rows import Http
    from bench.services.memory import Memory
    from bench.services.starts import Starts

    return [
        *_rounds("http", Http(), rounds, found.http),
        *_rounds("starts", Starts(), rounds, found.starts),
        *_rounds("memory", Memory(), min(rounds, MEMORY_ROUNDS), found.memory),
        _idle(found),
    ]


def _rounds(name: str, part: Part, rounds: int, kept: list[dict[str, Any]]) -> list[Step]:
    def measure(number: int, began: Began) -> None:
        try:
            part.round(number, lambda label: began(f"{name}: {label}"))
        finally:
            kept[:] = part.to_json()

    return [(name, part.seconds(number), functools.partial(measure, number)) for number in range(rounds)]


def _idle(found: Found) -> Step:
    from bench import idle
    from bench.services.build import BuildFailed
    from bench.services.running import ServiceFailed

    def measure(_: Began) -> None:
        try:
            found.idle_cpu_percent = idle.measure(IDLE_S)
        except (BuildFailed, ServiceFailed, OSError) as error:
            print(f"what the idle pair uses was not measured: {error}", file=sys.stderr)

    return ("idle", idle.SETTLE_S + IDLE_S, measure)

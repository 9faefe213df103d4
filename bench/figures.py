"""The figures to reach: ratios of one run, each with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.results import CallRow, Figure
from bench.statistics import median_interval, ratios

SHM: Final = "shm"


@dataclass(frozen=True)
class Target:
    """One of them: over / under, both of the `predict` row of that direction."""

    direction: str
    over: str
    under: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def asked(self) -> str:
        """In a few characters."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    @property
    def figure(self) -> str:
        """In words."""
        return f"{self.direction}: {self.over} / {self.under}, p50"

    def reached(self, measured: float) -> bool:
        """Whether that is good enough."""
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )


TARGETS: Final = (
    Target("py->ts", "uds-msgpack", SHM, at_least=15),
    Target("py->ts", "zeromq", SHM, at_least=25),
    Target("py->ts", "http-keepalive", SHM, at_least=40),
    Target("py->ts", SHM, "pythonmonkey", at_most=1),
    Target("py->ts", SHM, "stpyv8", at_most=1),
    Target("ts->py", SHM, "pyodide", at_most=1),
    Target("ts->py", "uds-msgpack", SHM, at_least=10),
)
MOST_P99_OVER_P50: Final = 3.0


def figures(rows: Sequence[CallRow]) -> list[Figure]:
    """Each figure to reach, from the rows of one run."""
    by_name = {(row["direction"], row["peer"]): row for row in rows if row["workload"] == "predict"}
    found = []
    for target in TARGETS:
        over, under = (by_name.get((target.direction, name)) for name in (target.over, target.under))
        values = ratios(over["p50_us_rounds"], under["p50_us_rounds"]) if over and under else []
        found.append(_figure(target.figure, target.asked, values, target.reached))
    for direction in ("py->ts", "ts->py"):
        row = by_name.get((direction, SHM))
        tail = [row["p99_us"] / row["p50_us"]] if row and row["p99_us"] and row["p50_us"] else []
        found.append(
            _figure(
                f"{direction}: p99 / p50 of {SHM}",
                f"<= {MOST_P99_OVER_P50:g}",
                tail,
                lambda measured: measured <= MOST_P99_OVER_P50,
            )
        )
    return found


def _figure(figure: str, asked: str, values: Sequence[float], reached: Callable[[float], bool]) -> Figure:
    if not values:
        return {"figure": figure, "asked": asked, "measured": None, "measured_ci": None, "reached": None}
    measured, interval = median_interval(values)
    return {
        "figure": figure,
        "asked": asked,
        "measured": measured,
        "measured_ci": interval,
        "reached": reached(measured),
    }

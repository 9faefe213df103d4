"""The goals: ratios of one run, each with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.results import CallRow, Goal
from bench.statistics import median_interval, ratios

SHM: Final = "shm"


@dataclass(frozen=True)
class Ratio:
    """One that a goal is set for: over / under, both of the `predict` row of that direction."""

    direction: str
    over: str
    under: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """In a few characters."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.direction}: {self.over} / {self.under}, p50"

    def reached(self, measured: float) -> bool:
        """Whether that is good enough."""
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )


GOALS: Final = (
    Ratio("py->ts", "uds-msgpack", SHM, at_least=15),
    Ratio("py->ts", "zeromq", SHM, at_least=25),
    Ratio("py->ts", "http-keepalive", SHM, at_least=40),
    Ratio("py->ts", SHM, "pythonmonkey", at_most=1),
    Ratio("py->ts", SHM, "stpyv8", at_most=1),
    Ratio("ts->py", SHM, "pyodide", at_most=1),
    Ratio("ts->py", "uds-msgpack", SHM, at_least=10),
)
MOST_P99_OVER_P50: Final = 3.0


def goals(rows: Sequence[CallRow]) -> list[Goal]:
    """Each of them, from the rows of one run."""
    by_name = {(row["direction"], row["peer"]): row for row in rows if row["workload"] == "predict"}
    found = []
    for one in GOALS:
        over, under = (by_name.get((one.direction, name)) for name in (one.over, one.under))
        values = ratios(over["p50_us_rounds"], under["p50_us_rounds"]) if over and under else []
        found.append(_measured(one.name, one.goal, values, one.reached))
    for direction in ("py->ts", "ts->py"):
        row = by_name.get((direction, SHM))
        tail = [row["p99_us"] / row["p50_us"]] if row and row["p99_us"] and row["p50_us"] else []
        found.append(
            _measured(
                f"{direction}: p99 / p50 of {SHM}",
                f"<= {MOST_P99_OVER_P50:g}",
                tail,
                lambda measured: measured <= MOST_P99_OVER_P50,
            )
        )
    return found


def _measured(name: str, goal: str, values: Sequence[float], reached: Callable[[float], bool]) -> Goal:
    if not values:
        return {"figure": name, "asked": goal, "measured": None, "measured_ci": None, "reached": None}
    measured, interval = median_interval(values)
    return {
        "figure": name,
        "asked": goal,
        "measured": measured,
        "measured_ci": interval,
        "reached": reached(measured),
    }

"""Who is quicker than the bridge, who is not, and whom the intervals cannot tell from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.cases import DIRECTIONS, Direction
from bench.report.view import OURS, calls, find
from bench.report.words import duration, listing, times
from bench.results import CallRow, Results

Place = Literal["quicker", "level", "slower"]


def place(row: CallRow) -> Place | None:
    """Where a peer stands against `shm` in the same case; None where `shm` was not measured.

    Level: the interval of their ratio holds 1.
    """
    ratio = row["ratio_to_shm"]
    if ratio is None or row["peer"] == OURS:
        return None
    low, high = row["ratio_to_shm_ci"] or (ratio, ratio)
    return "quicker" if high < 1 else "slower" if low > 1 else "level"


@dataclass(frozen=True)
class Standings:
    """Rows of one case by where they stand, each list the quickest first."""

    quicker: list[CallRow]
    level: list[CallRow]
    slower: list[CallRow]

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.quicker) + len(self.level) + len(self.slower)


def standings(rows: Iterable[CallRow]) -> Standings:
    """Sorted by their ratio."""
    known = sorted((row for row in rows if place(row)), key=lambda row: row["ratio_to_shm"] or 0.0)
    return Standings(*([row for row in known if place(row) == where] for where in ("quicker", "level", "slower")))


def _ratio(row: CallRow) -> str:
    return f"{row['peer']} takes {times(row['ratio_to_shm'])} as long"


def against(rows: Iterable[CallRow]) -> str:
    """What the rows say about the bridge, wins and losses: `quicker than 2 of 3 (…) and slower than 1 of 3 (…)`."""
    found = standings(rows)
    if not found.number:
        return "compared with none, as none was measured"
    said = []
    if found.slower:
        ends = [found.slower[0], found.slower[-1]][: len(found.slower)]
        said.append(f"quicker than {len(found.slower)} of {found.number} ({listing([_ratio(row) for row in ends])})")
    if found.level:
        names = listing([row["peer"] for row in found.level])
        said.append(f"level with {len(found.level)} of {found.number} ({names})")
    if found.quicker:
        losses = listing([_ratio(row) for row in found.quicker])
        said.append(f"slower than {len(found.quicker)} of {found.number} ({losses})")
    return listing(said)


FROM: dict[Direction, str] = {"py->ts": "from Python to TypeScript", "ts->py": "from TypeScript to Python"}


def headline(results: Results) -> list[str]:
    """The answer in two sentences: against other processes, and against builds in one process."""
    ours = {direction: find(results["rows"], OURS, direction, "predict") for direction in DIRECTIONS}
    known: list[Direction] = [direction for direction in DIRECTIONS if ours[direction] is not None]
    if not known:
        return [f"The predict call of {OURS} was not measured in this run, so there is nothing to compare with."]
    costs = listing([f"{duration(row['p50_us'])} {FROM[d]}" for d in known if (row := ours[d]) is not None])

    def said(kind: str) -> str:
        parts = []
        for direction in known:
            rows = [row for row in calls(results, direction, "predict") if row["kind"] == kind]
            parts.append(f"{FROM[direction]}, {against(rows)}")
        return "; ".join(parts)

    first = (
        f"A predict call over this bridge, with its default settings, takes {costs} at p50; among the other ways "
        f"between two processes it is, {said('out-of-process')}."
    )
    return [first, f"Among the builds that have both languages in one process it is, {said('in-process')}."]


def calls_made(results: Results) -> tuple[int, int]:
    """How many calls were made over the bridge, and how many of these raised or answered wrongly."""
    rows = [row for row in results["rows"] if row["kind"] == "bridge"]
    return sum(row["calls"] for row in rows), sum(row["errors"] for row in rows)

"""Compares two result files: which rows have become worse or better, and which changes are only noise.

An absolute time means little from run to run, because the machine is never quite the same. So each row is compared
twice: as it is, and as a multiple of the floor `c-ring` of its own round. A row has changed where both say so; where
only the first does, the machine has changed with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.text import Text

from bench import results
from bench.report.tables import case_of
from bench.report.view import http_rows, memory_rows, start_rows
from bench.report.words import count, interval, listing, number
from bench.results import CallRow, JsonInterval, Results
from bench.statistics import RESAMPLES, SEED, ratios
from bench.table import Column, fitted

FLOOR: Final = "c-ring"
THRESHOLD: Final = 0.10
"""A change by less is not marked, however sure it is."""
PIPE_COLUMNS: Final = 120
SAME_MACHINE: Final = ("host", "cpu", "cores", "kernel", "governor", "commit", "pinning")
CONFIDENCE: Final = 95
ROWS_NAMED: Final = 12
"""Of those in only one file; more are counted."""

Change = Literal["worse", "better"]
Verdict = Literal["worse", "better", "as the floor", "", "too few rounds"]
MARKED: Final = ("worse", "better", "as the floor")
FEW: Final = "too few rounds"

Case = tuple[str, str, str, int, int]
"""Peer, direction, workload, bytes, outstanding."""


@dataclass(frozen=True)
class Ratio:
    """B over A, with its interval where there are rounds enough for one."""

    value: float
    bounds: tuple[float, float] | None

    def change(self, threshold: float, *, more_is_better: bool = False) -> Change | None:
        """Whether that is a change: the interval excludes 1, and it is larger than the threshold."""
        if self.bounds is None or self.bounds[0] <= 1 <= self.bounds[1]:
            return None
        if 1 / (1 + threshold) < self.value < 1 + threshold:
            return None
        return "worse" if (self.value > 1) != more_is_better else "better"


@dataclass(frozen=True)
class Comparison:
    """One row of both files."""

    name: str
    before: float
    after: float
    unit: str
    ratio: Ratio
    to_floor: Ratio | None
    verdict: Verdict
    main: bool = False
    """Shown even if nothing has changed."""


@dataclass(frozen=True)
class Difference:
    """All that two files differ in."""

    comparisons: list[Comparison]
    only_in_a: list[str]
    only_in_b: list[str]
    newly_failed: list[str]
    warnings: list[str]
    threshold: float

    @property
    def worse(self) -> bool:
        """Whether a row became worse, or fails now and did not before."""
        return bool(self.newly_failed) or any(one.verdict == "worse" for one in self.comparisons)


def ratio_of(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """The median of `b` over that of `a`, with the bootstrap interval over their rounds; None without rounds.

    The rounds of two runs have nothing to do with each other, so each is drawn from by itself.
    """
    if not a or not b:
        return None
    value = float(np.median(b) / np.median(a))
    if min(len(a), len(b)) < 2:
        return Ratio(value, None)
    random = np.random.default_rng(SEED)
    medians = [
        np.median(random.choice(np.asarray(values, dtype=float), size=(RESAMPLES, len(values))), axis=1)
        for values in (a, b)
    ]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(medians[1] / medians[0], (tail, 100 - tail))
    return Ratio(value, (float(low), float(high)))


def diff(a: Results, b: Results, threshold: float = THRESHOLD) -> Difference:
    """What has changed from A to B. A change by less than `threshold` (0.1: a tenth) is not marked."""
    rows_a, rows_b = _by_case(a), _by_case(b)
    floors = _floor(a), _floor(b)
    compared = [
        comparison
        for case, row in rows_a.items()
        if case in rows_b and (comparison := _compare(row, rows_b[case], floors, threshold)) is not None
    ]
    times_a, times_b = (_measured(rows) for rows in (rows_a, rows_b))
    return Difference(
        comparisons=[*compared, *_services(a, b, threshold)],
        only_in_a=[_name(row) for case, row in times_a.items() if case not in times_b],
        only_in_b=[_name(row) for case, row in times_b.items() if case not in times_a],
        newly_failed=[
            f"{_name(row)}: {' '.join((row['failed'] or '').split())}"
            for case, row in rows_b.items()
            if row["failed"] and case in times_a and not times_a[case]["failed"]
        ],
        warnings=_warnings(a["meta"], b["meta"]),
        threshold=threshold,
    )


def _by_case(found: Results) -> dict[Case, CallRow]:
    return {
        (row["peer"], row["direction"], row["workload"], row["payload_bytes"], row["outstanding"]): row
        for row in found["rows"]
    }


def _measured(rows: Mapping[Case, CallRow]) -> dict[Case, CallRow]:
    return {case: row for case, row in rows.items() if row["p50_us"] is not None}


def _name(row: CallRow) -> str:
    return f"{row['peer']} {row['direction']} {case_of(row)}"


def _floor(found: Results) -> list[float | None]:
    """The p50 of each round of the floor, warm and with a small payload."""
    rows = [row for row in found["rows"] if row["peer"] == FLOOR and row["workload"] == "predict"]
    return rows[0]["p50_us_rounds"] if rows else []


def _compare(
    a: CallRow, b: CallRow, floors: tuple[list[float | None], list[float | None]], threshold: float
) -> Comparison | None:
    rounds = [[value for value in row["p50_us_rounds"] if value is not None] for row in (a, b)]
    ratio = ratio_of(*rounds)
    if ratio is None or a["p50_us"] is None or b["p50_us"] is None:
        return None
    to_floor = None
    if a["peer"] != FLOOR:
        to_floor = ratio_of(*(ratios(row["p50_us_rounds"], floor) for row, floor in zip((a, b), floors, strict=True)))
    verdict = _verdict(ratio, to_floor, threshold)
    main = a["workload"] == "predict" and a["kind"] in {"bridge", "floor"}
    return Comparison(_name(a), a["p50_us"], b["p50_us"], "µs", ratio, to_floor, verdict, main)


def _verdict(ratio: Ratio, to_floor: Ratio | None, threshold: float) -> Verdict:
    if ratio.bounds is None:
        return FEW
    change = ratio.change(threshold)
    if change is None:
        return ""
    return change if to_floor is None or to_floor.change(threshold) == change else "as the floor"


def _services(a: Results, b: Results, threshold: float) -> list[Comparison]:
    """Whole services: these have changed where the intervals in the two files lie apart."""
    readings_a, readings_b = _readings(a), _readings(b)
    found = []
    for name, (before, ci_before, unit) in readings_a.items():
        if name in readings_b:
            after, ci_after, _ = readings_b[name]
            ratio = Ratio(after / before, _apart(ci_before, ci_after))
            change = ratio.change(threshold, more_is_better=unit == "/s")
            verdict: Verdict = FEW if ratio.bounds is None else change or ""
            found.append(Comparison(name, before, after, unit, ratio, None, verdict))
    return found


def _apart(a: JsonInterval, b: JsonInterval) -> tuple[float, float] | None:
    """What B over A may be, going by the intervals of both: wider than a bootstrap's would be."""
    if a is None or b is None or a[0] <= 0:
        return None
    return b[0] / a[1], b[1] / a[0]


def _readings(found: Results) -> dict[str, tuple[float, JsonInterval, str]]:
    readings: dict[str, tuple[float | None, JsonInterval, str]] = {}
    for http in http_rows(found):
        name = f"{http['service']} {http['endpoint']}"
        if http["load"] == "closed":
            readings[f"{name}, {http['connections']} connections"] = (
                http["requests_per_s"],
                http["requests_per_s_ci"],
                "/s",
            )
        else:
            readings[f"{name}, {number(http['rate_per_s'])}/s due"] = (http["p50_us"], http["p50_us_ci"], "µs")
    for start in start_rows(found):
        readings[f"{start['service']} {start['what']}"] = (start["ms"], start["ms_ci"], "ms")
    for memory in memory_rows(found):
        name = f"{memory['service']} memory {memory['state']}, {count(memory['workers'], 'worker')}"
        readings[name] = (memory["pss_mib"], memory["pss_mib_ci"], "MiB")
    return {name: (value, ci, unit) for name, (value, ci, unit) in readings.items() if value}


def _warnings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What makes the two hard to compare."""
    found = [f"{name} differs: {a[name]} and {b[name]}" for name in SAME_MACHINE if a[name] != b[name]]
    before, after = a["versions"], b["versions"]
    changed = [
        f"{name} {before.get(name, 'none')} and {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if changed:
        found.append(f"versions differ: {listing(changed)}")
    for name, meta in (("A", a), ("B", b)):
        if meta["dirty"]:
            found.append(f"{name} was measured with changes that are not committed")
        if not meta["complete"]:
            found.append(f"{name} was interrupted: some of its rounds or rows are missing")
    return found


def rendered(difference: Difference, width: int) -> RenderableType:
    """The table, with what it leaves out, for a terminal that is `width` characters wide."""
    shown = [one for one in difference.comparisons if one.main or one.verdict in {"worse", "better"}]
    parts: list[RenderableType] = [Text(f"warning: {warning}", style="yellow") for warning in difference.warnings]
    if shown:
        parts += [Text(""), _table(shown, width), Text("")]
    parts += [Text(line) for line in _summary(difference)]
    parts += [Text(f"fails now: {line}", style="red") for line in difference.newly_failed]
    return Group(*parts)


def _table(shown: Sequence[Comparison], width: int) -> RenderableType:
    columns = [
        Column("", [one.name for one in shown], "left"),
        Column("A", [number(one.before) for one in shown]),
        Column("B", [number(one.after) for one in shown]),
        Column("unit", [one.unit for one in shown], "left"),
        Column("B / A", [number(one.ratio.value) for one in shown]),
        Column("95 % interval", [interval(one.ratio.bounds) for one in shown]),
        Column(f"by {FLOOR}", [number(one.to_floor.value) if one.to_floor else "" for one in shown]),
        Column("interval", [interval(one.to_floor.bounds) if one.to_floor else "" for one in shown]),
        Column("verdict", [one.verdict for one in shown], "left"),
    ]
    styles = [{"worse": "red", "better": "green"}.get(one.verdict, "") for one in shown]
    return fitted("A row by row against B", columns, ("interval", "unit", f"by {FLOOR}", "A", "B"), width, styles)


def _summary(difference: Difference) -> list[str]:
    comparisons, percent = difference.comparisons, f"{difference.threshold * 100:g} %"
    of = {verdict: sum(one.verdict == verdict for one in comparisons) for verdict in (*MARKED, FEW)}
    lines = [
        (
            f"{count(len(comparisons), 'row')} compared: {of['worse']} worse, {of['better']} better, by more than "
            f"{percent} and with an interval that excludes 1; {of['as the floor']} changed only as the floor did."
        ),
        "Of rows in which nothing has changed, about five in a hundred have such an interval by chance.",
    ]
    if of[FEW]:
        lines.append(f"{count(of[FEW], 'row')} had too few rounds for an interval: run with more --rounds.")
    if not any(one.to_floor for one in comparisons):
        lines.append(f"Without {FLOOR} in both files, a change of the machine cannot be told from one of a row.")
    for name, rows in (("A", difference.only_in_a), ("B", difference.only_in_b)):
        if rows:
            lines.append(f"Measured only in {name}: {listing(rows, ROWS_NAMED)}.")
    return lines


def main(path_a: Path, path_b: Path, threshold: float = THRESHOLD) -> int:
    """Print what has changed from A to B, two results.json or the folders that hold them.

    Gives 0, or 1 if a row has become worse or fails now. Raises ResultsError for a file that cannot be read.
    """
    difference = diff(results.read(path_a), results.read(path_b), threshold)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    console.print(f"A: {path_a}\nB: {path_b}", markup=False, highlight=False, soft_wrap=True)
    console.print(rendered(difference, console.width), highlight=False)
    return 1 if difference.worse else 0

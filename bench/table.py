"""What a run gave, for a terminal: the main rows, whole services in short, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.cases import DIRECTIONS, Direction
from bench.report.svg import printable
from bench.report.view import LANGUAGES, Http, find, http_rows, memory_rows, predict_rows, start_rows
from bench.report.words import NOTHING, interval, number, times
from bench.results import CallRow, Results

STYLES: Final = {"bridge": "bold", "floor": "dim", "reference": "dim"}
REASON_CHARACTERS: Final = 160
"""Of why a row failed; the report has all of it."""
GAP: Final = 2
"""Between two columns."""
FEW_WORDS: Final = 16
"""Characters to which a column of prose may shrink."""


@dataclass(frozen=True)
class Column:
    """A heading and its values."""

    heading: str
    values: Sequence[str]
    justify: Literal["left", "right"] = "right"
    wraps: bool = False
    """Whether its heading and values may take several lines."""

    @property
    def least_width(self) -> int:
        """Characters it needs to lose nothing."""
        widest = max(map(cell_len, (self.heading, *self.values)))
        return min(widest, FEW_WORDS) if self.wraps else widest


def fitted(
    title: str, columns: Sequence[Column], dispensable: Sequence[str], width: int, styles: Sequence[str]
) -> Table:
    """A table of at most `width` columns of characters.

    Where it is too narrow for all, columns are left out rather than squeezed: those named in `dispensable`, the first
    first.
    """
    shown = list(columns)
    left_out = []
    for heading in dispensable:
        if sum(column.least_width + GAP for column in shown) - GAP <= width:
            break
        left_out.append(heading)
        shown = [column for column in shown if column.heading != heading]
    made = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    # A column is a space further away than its padding.
    made.padding, made.pad_edge = (0, GAP - 1, 0, 0), False
    for column in shown:
        made.add_column(column.heading, justify=column.justify, no_wrap=not column.wraps, min_width=column.least_width)
    for values, style in zip(zip(*(column.values for column in shown), strict=True), styles, strict=True):
        made.add_row(*map(Text, values), style=style)
    if left_out:
        made.caption = f"left out for want of width: {', '.join(left_out)}"
    return made


def table(results: Results, width: int) -> RenderableType:
    """All of it, for a terminal that is `width` characters wide."""
    tables = [
        *(calls_table(results, direction, width) for direction in DIRECTIONS if predict_rows(results, direction)),
        *_first_calls(results, width),
        *_http(results, width),
        *_starts(results, width),
        *_memory(results, width),
        *_goals(results, width),
    ]
    return _one_below_the_other(tables, _unmeasured(results))


def _one_below_the_other(tables: Sequence[Table], lines: Sequence[Text]) -> RenderableType:
    """With an empty line after each table."""
    parts = [*(part for made in tables for part in (made, Text(""))), *lines]
    return Group(*parts) if parts else Text("Nothing was measured.")


def calls_table(results: Results, direction: Direction, width: int) -> Table:
    """The predict call of every peer in one direction, the quickest first. Microseconds."""
    rows = predict_rows(results, direction)
    columns = [
        Column("peer", [row["peer"] for row in rows], "left"),
        Column("who waits how", [row["waits"] for row in rows], "left", wraps=True),
        Column("cores", [str(row["cores"]) for row in rows]),
        Column("p50", [number(row["p50_us"]) for row in rows]),
        Column("p95", [number(row["p95_us"]) for row in rows]),
        Column("p99", [number(row["p99_us"]) for row in rows]),
        Column("p99.9", [number(row["p999_us"]) for row in rows]),
        Column("calls/s", [number(row["calls_per_s"]) for row in rows]),
        Column("CPU µs", [number(row["cpu_us_per_call"]) for row in rows]),
        Column("× shm", [times(row["ratio_to_shm"]) for row in rows]),
    ]
    title = f"{LANGUAGES[direction]}: predict, µs"
    dispensable = ("p99.9", "who waits how", "calls/s", "p95", "cores", "CPU µs")
    return fitted(title, columns, dispensable, width, _styles(rows))


def _styles(rows: Iterable[CallRow]) -> list[str]:
    return [STYLES.get(row["kind"], "") for row in rows]


def _first_calls(results: Results, width: int) -> list[Table]:
    """What the loop of calls does not show: the bridge alone, in its other circumstances."""
    rows = [row for row in results["rows"] if row["peer"] == "shm" and row["p50_us"] is not None]
    workloads = ("first-call", "predict", "after-10ms", "after-1s", "busy-neighbour")
    shown = [name for name in workloads if any(row["workload"] == name for row in rows)]
    if len(shown) < 2:
        return []
    columns = [Column("shm, p50 µs", list(DIRECTIONS), "left")]
    for name in shown:
        found = [find(rows, "shm", direction, name) for direction in DIRECTIONS]
        columns.append(Column(name, [number(row["p50_us"]) if row else NOTHING for row in found]))
    return [fitted("The bridge, warm and not", columns, workloads[::-1], width, ["", ""])]


def http_table(rows: Sequence[dict[str, Any]], width: int) -> RenderableType:
    """Whole services under load, with what failed or was skipped below."""
    measured = [row for row in cast("list[Http]", list(rows)) if row["p50_us"] is not None]
    tables = [_http_table(measured, width)] if measured else []
    reasons = _reasons((row["service"], row["endpoint"], row["failed"], row["skipped"]) for row in rows)
    return _one_below_the_other(tables, reasons)


def _http_table(rows: Sequence[Http], width: int) -> Table:
    columns = [
        Column("service", [row["service"] for row in rows], "left"),
        Column("endpoint", [row["endpoint"] for row in rows], "left"),
        Column("load", [_load(row) for row in rows], "left"),
        Column("requests/s", [number(row["requests_per_s"]) for row in rows]),
        Column("p50", [number(row["p50_us"]) for row in rows]),
        Column("p95", [number(row["p95_us"]) for row in rows]),
        Column("p99", [number(row["p99_us"]) for row in rows]),
        Column("p99.9", [number(row["p999_us"]) for row in rows]),
        Column("CPU µs", [number(row["cpu_us_per_request"]) for row in rows]),
        Column("errors", [str(row["errors"]) for row in rows]),
        Column("answers", [{True: "agree", False: "DIFFER", None: NOTHING}[row["agrees"]] for row in rows], "left"),
    ]
    styles = ["red" if row["errors"] or row["agrees"] is False else "" for row in rows]
    dispensable = ("p99.9", "CPU µs", "p95", "p50", "load", "errors")
    return fitted("Whole services over HTTP, µs a request", columns, dispensable, width, styles)


def _load(row: Http) -> str:
    due = row["rate_per_s"]
    return f"{row['connections']} at once" if due is None else f"{number(due)}/s due"


def _http(results: Results, width: int) -> list[Table]:
    rows = [row for row in http_rows(results) if row["load"] == "closed" and row["p50_us"] is not None]
    return [_http_table(rows, width)] if rows else []


def _starts(results: Results, width: int) -> list[Table]:
    rows = [row for row in start_rows(results) if row["ms"] is not None]
    services = list(dict.fromkeys(row["service"] for row in rows))
    if not services:
        return []
    columns = [Column("service", services, "left")]
    for what in dict.fromkeys(row["what"] for row in rows):
        by_service = {row["service"]: row["ms"] for row in rows if row["what"] == what}
        columns.append(Column(what, [number(by_service.get(service)) for service in services], wraps=True))
    return [fitted("Cold start, ms", columns, [columns[-1].heading], width, [""] * len(services))]


def _memory(results: Results, width: int) -> list[Table]:
    rows = [row for row in memory_rows(results) if row["pss_mib"] is not None]
    cases = list(dict.fromkeys((row["service"], row["workers"]) for row in rows))
    if not cases:
        return []
    columns = [
        Column("service", [service for service, _ in cases], "left"),
        Column("workers", [str(workers) for _, workers in cases]),
    ]
    for state in dict.fromkeys(row["state"] for row in rows):
        by_case = {(row["service"], row["workers"]): row["pss_mib"] for row in rows if row["state"] == state}
        columns.append(Column(state, [number(by_case.get(case)) for case in cases]))
    return [fitted("Memory, MiB (proportional set size)", columns, [], width, [""] * len(cases))]


def _goals(results: Results, width: int) -> list[Table]:
    goals = results["figures"]
    if not goals:
        return []
    reached = {True: "reached", False: "NOT reached", None: "not measured"}
    columns = [
        Column("ratio", [goal["figure"] for goal in goals], "left", wraps=True),
        Column("goal", [goal["asked"] for goal in goals]),
        Column("measured", [number(goal["measured"]) for goal in goals]),
        Column("95 % interval", [interval(goal["measured_ci"]) for goal in goals]),
        Column("", [reached[goal["reached"]] for goal in goals], "left"),
    ]
    styles = ["red" if goal["reached"] is False else "" for goal in goals]
    return [fitted("The goals", columns, ["95 % interval", "goal"], width, styles)]


def _unmeasured(results: Results) -> list[Text]:
    return _reasons(
        [
            *((row["peer"], row["direction"], row["failed"], row["skipped"]) for row in results["rows"]),
            *((row["service"], row["endpoint"], row["failed"], row["skipped"]) for row in http_rows(results)),
            *((row["service"], row["what"], row["failed"], row["skipped"]) for row in start_rows(results)),
            *((row["service"], "memory", row["failed"], row["skipped"]) for row in memory_rows(results)),
        ]
    )


def _reasons(rows: Iterable[tuple[str, str, str | None, str | None]]) -> list[Text]:
    """A line for each name and reason; where it holds, in brackets."""
    where: dict[tuple[str, str, str], list[str]] = {}
    for name, case, failed, skipped in rows:
        for state, reason in (("failed", failed), ("skipped", skipped)):
            if reason:
                line = " ".join(printable(reason).split())
                cut = f"{line[:REASON_CHARACTERS]}…" if len(line) > REASON_CHARACTERS else line
                where.setdefault((name, state, cut), []).append(case)
    return [
        Text.assemble(
            f"{name} ({', '.join(dict.fromkeys(cases))}) ",
            (state, "red" if state == "failed" else "yellow"),
            f": {reason}",
        )
        for (name, state, reason), cases in where.items()
    ]

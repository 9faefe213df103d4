"""Tables of the page: every figure with its exact value behind what is printed.

The columns are in order of rank: a telephone shows the first and scrolls to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.report.view import Http, Memory, Start, is_ours
from bench.report.words import NOTHING, interval, number, size, times
from bench.results import CallRow, JsonInterval


@dataclass(frozen=True)
class Cell:
    """What is printed, and behind it the number as it stands in the results."""

    text: str
    value: float | None = None
    number: bool = False
    """Whether its column is one of numbers, to be set at the right."""
    kind: str | None = None
    """The kind of peer whose mark stands before it."""
    note: str = ""
    """Smaller, below."""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def figure(value: float | None, bounds: JsonInterval = None) -> Cell:
    """A number, and its interval below."""
    return Cell(number(value), value, number=True, note=interval(bounds) if bounds else "")


def ratio(value: float | None, bounds: JsonInterval = None) -> Cell:
    """A number of times, and its interval below."""
    return Cell(times(value), value, number=True, note=interval(bounds) if bounds else "")


def count(value: int) -> Cell:
    """A whole number."""
    return Cell(f"{value:,}", value, number=True)


def peer(row: CallRow) -> Cell:
    """A peer's name with its mark; what a reader has to know about it, below."""
    return Cell(row["peer"], kind=row["kind"], note=row["note"], strong=row["kind"] == "bridge")


def service(row: Http | Start | Memory) -> Cell:
    """A service's name, and what a reader has to know about it."""
    return Cell(row["service"], note=row["note"], strong=is_ours(row["service"]))


def agreement(agrees: bool | None) -> Cell:
    """Whether a service answered as the others did."""
    return Cell({True: "as the others", False: "DIFFERS", None: NOTHING}[agrees], strong=agrees is False)


CALL_HEADINGS: Final = (
    "peer",
    "p50 µs",
    "× shm",
    "p95 µs",
    "p99 µs",
    "p99.9 µs",
    "calls/s",
    "CPU µs/call",
    "who waits how",
    "cores",
    "calls",
    "errors",
)


def call_cells(row: CallRow) -> list[Cell]:
    """One row under CALL_HEADINGS."""
    return [
        peer(row),
        figure(row["p50_us"], row["p50_us_ci"]),
        ratio(row["ratio_to_shm"], row["ratio_to_shm_ci"]),
        figure(row["p95_us"]),
        figure(row["p99_us"]),
        figure(row["p999_us"]),
        figure(row["calls_per_s"]),
        figure(row["cpu_us_per_call"]),
        Cell(row["waits"]),
        count(row["cores"]),
        count(row["calls"]),
        count(row["errors"]),
    ]


def call_table(title: str, rows: Iterable[CallRow]) -> Table:
    """The rows of one case."""
    return Table(title, CALL_HEADINGS, [call_cells(row) for row in rows])


def case_of(row: CallRow) -> str:
    """A row's case in words: `echo 64 B`, `outstanding 16`."""
    if row["workload"] == "outstanding":
        return f"{row['outstanding']} outstanding"
    if row["workload"] in {"echo", "bytes", "string", "array"}:
        return f"{row['workload']} {size(row['payload_bytes'])}"
    return row["workload"]


def http_table(title: str, rows: Iterable[Http]) -> Table:
    """Rows of whole services."""
    headings = (
        "service",
        "endpoint",
        "connections",
        "due/s",
        "requests/s",
        "p50 µs",
        "p95 µs",
        "p99 µs",
        "p99.9 µs",
        "CPU µs/request",
        "answers",
        "errors",
    )
    cells = [
        [
            service(row),
            Cell(row["endpoint"]),
            count(row["connections"]),
            figure(row["rate_per_s"]),
            figure(row["requests_per_s"], row["requests_per_s_ci"]),
            figure(row["p50_us"], row["p50_us_ci"]),
            figure(row["p95_us"]),
            figure(row["p99_us"]),
            figure(row["p999_us"]),
            figure(row["cpu_us_per_request"]),
            agreement(row["agrees"]),
            count(row["errors"]),
        ]
        for row in rows
    ]
    return Table(title, headings, cells)


def start_table(title: str, rows: Iterable[Start]) -> Table:
    """Rows of starts."""
    cells = [[service(row), Cell(row["what"]), figure(row["ms"], row["ms_ci"])] for row in rows]
    return Table(title, ("service", "what", "ms"), cells)


def memory_table(title: str, rows: Iterable[Memory]) -> Table:
    """Rows of memory."""
    cells = [
        [
            service(row),
            count(row["workers"]),
            Cell(row["state"]),
            count(row["processes"]),
            figure(row["pss_mib"], row["pss_mib_ci"]),
        ]
        for row in rows
    ]
    return Table(title, ("service", "workers", "state", "processes", "PSS MiB"), cells)

"""Every chart of the page, with the table of what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.cases import BYTES, Direction
from bench.report import published, tables
from bench.report.bar_chart import Bar, Group, bars
from bench.report.lines_chart import Axes, Series, lines
from bench.report.rows_chart import Dots, Strip, dots, strips
from bench.report.scatter_chart import Point, scatter
from bench.report.svg import Canvas
from bench.report.tables import Cell, Table
from bench.report.view import (
    LANGUAGES,
    Http,
    Memory,
    Start,
    calls,
    find,
    http_rows,
    is_ours,
    memory_rows,
    predict_rows,
    start_rows,
)
from bench.report.words import duration, number, short, size, tick
from bench.results import CallRow, Results

WIDE: Final = (960.0, 13.0)
NARROW: Final = (380.0, 11.0)
"""Width and size of the text: of the picture for a screen or paper, and of that for a telephone."""

TOP: Final = 2.0
NULL_AS_BYTES: Final = 4
"""Where `null` stands on an axis of bytes: as far left of 64 B as that is left of 1 KiB."""

CIRCUMSTANCES: Final = {
    "warm": "predict",
    "10 ms idle": "after-10ms",
    "1 s idle": "after-1s",
    "busy core": "busy-neighbour",
}
COLD: Final = {"warm": "predict", "first call": "first-call"}

Draw = Callable[[Canvas, float], float]
OfDirection = Callable[[Results, Direction], "Drawing | None"]


@dataclass(frozen=True)
class Drawing:
    """A chart in both widths, and the table of what it shows."""

    title: str
    wide: str
    narrow: str
    table: Table


def drawing(title: str, description: str, draw: Draw, table: Table) -> Drawing:
    """The chart in both widths."""

    def picture(width: float, text_size: float) -> str:
        canvas = Canvas(width, text_size, title, description)
        return canvas.finish(draw(canvas, TOP))

    return Drawing(title, picture(*WIDE), picture(*NARROW), table)


def _strip(row: CallRow) -> Strip:
    assert row["p50_us"] is not None
    percentiles = (row["p50_us"], row["p95_us"], row["p99_us"], row["p999_us"])
    return Strip(row["peer"], row["kind"], *percentiles, row["histogram"])


def latency_strips(results: Results, direction: Direction) -> Draw | None:
    """How to draw the distributions of the `predict` call."""
    rows = [_strip(row) for row in predict_rows(results, direction)]
    reference = published.call_reference(direction)
    return partial(strips, rows=rows, reference=reference) if rows else None


def latency(results: Results, direction: Direction) -> Drawing | None:
    """Distributions of the `predict` call."""
    draw = latency_strips(results, direction)
    if draw is None:
        return None
    title = f"{LANGUAGES[direction]}: latency of the predict call"
    description = "One row a peer, the quickest first: p50, p95, p99 and p99.9 on a logarithmic axis of time."
    return drawing(title, description, draw, tables.call_table(title, predict_rows(results, direction)))


def payload_lines(results: Results, direction: Direction) -> Draw | None:
    """How to draw p50 against the payload of `echo`."""
    rows = calls(results, direction, "echo")
    sizes = sorted({row["payload_bytes"] for row in rows})
    ticks = [(float(bytes_ or NULL_AS_BYTES), size(bytes_)) for bytes_ in sizes]
    axes = Axes(ticks, "text sent there and back", tick, duration, "p50 of a call")
    series = _series(rows, lambda row: (float(row["payload_bytes"] or NULL_AS_BYTES), row["p50_us"]))
    return partial(lines, series=series, axes=axes) if series else None


def payload(results: Results, direction: Direction) -> Drawing | None:
    """Latency against payload."""
    draw = payload_lines(results, direction)
    if draw is None:
        return None
    rows = calls(results, direction, "echo")
    sizes = sorted({row["payload_bytes"] for row in rows})
    binary = [row for row in calls(results, direction, "bytes") if row["payload_bytes"] == BYTES]
    title = f"{LANGUAGES[direction]}: latency against payload"
    headings = ["peer", *map(size, sizes), *(f"{size(row['payload_bytes'])} of bytes" for row in binary[:1])]
    described = []
    for of_peer in _by_peer(rows):
        times = {row["payload_bytes"]: row["p50_us"] for row in of_peer}
        cells = [_name(of_peer[0]), *(tables.figure(times.get(bytes_)) for bytes_ in sizes)]
        if binary:
            of_bytes = next((row["p50_us"] for row in binary if row["peer"] == of_peer[0]["peer"]), None)
            cells.append(tables.figure(of_bytes))
        described.append(cells)
    table = Table(f"{title}: p50 in µs of a text echoed, and of bytes", headings, described)
    return drawing(title, "One line a peer: p50 of echoing a text of each size; both axes logarithmic.", draw, table)


def throughput(results: Results, direction: Direction) -> Drawing | None:
    """Calls a second against calls outstanding."""
    rows = [row for row in calls(results, direction, "outstanding") if row["calls_per_s"]]
    counts = sorted({row["outstanding"] for row in rows})
    series = _series(rows, lambda row: (float(row["outstanding"]), row["calls_per_s"]))
    if not series:
        return None
    axes = Axes(
        [(float(count), str(count)) for count in counts], "calls outstanding", short, number, "predict calls per second"
    )
    title = f"{LANGUAGES[direction]}: throughput against calls outstanding"
    described = []
    for of_peer in _by_peer(rows):
        rates = {row["outstanding"]: row["calls_per_s"] for row in of_peer}
        described.append([_name(of_peer[0]), *(tables.figure(rates.get(count)) for count in counts)])
    table = Table(f"{title}: calls/s", ["peer", *(f"{count} outstanding" for count in counts)], described)
    draw = partial(lines, series=series, axes=axes)
    return drawing(title, "One line a peer: calls a second with so many under way at once.", draw, table)


def cpu(results: Results, direction: Direction) -> Drawing | None:
    """Processor time against latency."""
    rows = [row for row in predict_rows(results, direction) if row["cpu_us_per_call"]]
    points = [Point(r["peer"], r["kind"], r["p50_us"] or 0.0, r["cpu_us_per_call"] or 0.0) for r in rows]
    if not points:
        return None
    title = f"{LANGUAGES[direction]}: processor time against latency"
    described = [
        [_name(r), Cell(r["waits"]), tables.figure(r["p50_us"]), tables.figure(r["cpu_us_per_call"])] for r in rows
    ]
    table = Table(title, ("peer", "who waits how", "p50 µs", "CPU µs/call, both sides"), described)
    x_title, y_title = "p50 of a predict call", "processor time a call, both sides together"
    draw = partial(scatter, points=points, x_title=x_title, y_title=y_title)
    return drawing(title, "One point a peer; to the left is quicker, further down is cheaper.", draw, table)


def idleness(results: Results, direction: Direction) -> Drawing | None:
    """A call after idleness, and one with a busy neighbour."""
    title = f"{LANGUAGES[direction]}: after idleness, and with a busy neighbour"
    return _circumstances(results, direction, title, CIRCUMSTANCES)


def cold(results: Results, direction: Direction) -> Drawing | None:
    """The first call of a connection against a later one."""
    return _circumstances(results, direction, f"{LANGUAGES[direction]}: the first call against a warm one", COLD)


def _circumstances(results: Results, direction: Direction, title: str, circumstances: dict[str, str]) -> Drawing | None:
    rows = []
    for row in calls(results, direction, "predict"):
        found = {
            name: find(results["rows"], row["peer"], direction, workload) for name, workload in circumstances.items()
        }
        times = {name: r["p50_us"] for name, r in found.items() if r is not None and r["p50_us"] is not None}
        if len(times) > 1:
            rows.append(Dots(row["peer"], row["kind"], times))
    names = [name for name in circumstances if any(name in row.times for row in rows)]
    if not rows:
        return None
    described = [
        [Cell(row.name, kind=row.kind)]
        + [tables.figure(row.times.get(name)) for name in names]
        + [tables.ratio(_quotient(row.times.get(name), row.times.get(names[0]))) for name in names[1:]]
        for row in rows
    ]
    headings = ["peer", *(f"{name}, µs" for name in names), *(f"{name} ÷ {names[0]}" for name in names[1:])]
    draw = partial(dots, rows=rows, circumstances=names)
    description = "One row a peer: the p50 of the predict call in each circumstance, on a logarithmic axis of time."
    return drawing(title, description, draw, Table(f"{title}: p50", headings, described))


def http_throughput(results: Results) -> Drawing | None:
    """Requests a second of whole services."""
    rows = [row for row in http_rows(results) if row["load"] == "closed" and row["requests_per_s"] is not None]
    if not rows:
        return None
    groups = []
    for endpoint, connections in dict.fromkeys((row["endpoint"], row["connections"]) for row in rows):
        of_group = [row for row in rows if (row["endpoint"], row["connections"]) == (endpoint, connections)]
        of_group.sort(key=lambda row: -(row["requests_per_s"] or 0.0))
        drawn = [
            Bar(row["service"], _service_kind(row), row["requests_per_s"] or 0.0, row["requests_per_s_ci"])
            for row in of_group
        ]
        groups.append(Group(f"{endpoint}, {connections} connections", drawn))
    title = "Requests per second, each connection sending its next request when it has its answer"
    draw = partial(bars, groups=groups, label=number)
    return drawing(title, "One bar a service, in a group an endpoint.", draw, tables.http_table(title, rows))


def http_latency(results: Results) -> list[Drawing]:
    """Latency of whole services at fixed rates; a chart for each endpoint."""
    rows = [row for row in http_rows(results) if row["load"] == "rate" and row["p50_us"] is not None]
    drawings = []
    for endpoint in dict.fromkeys(row["endpoint"] for row in rows):
        here = [row for row in rows if row["endpoint"] == endpoint]
        here.sort(key=lambda row: (row["rate_per_s"] or 0.0, row["p50_us"] or 0.0))
        drawn = [
            Strip(
                f"{row['service']}, {number(row['rate_per_s'])}/s",
                _service_kind(row),
                row["p50_us"] or 0.0,
                row["p95_us"],
                row["p99_us"],
                row["p999_us"],
            )
            for row in here
        ]
        title = f"{endpoint} at fixed rates: latency, counted from when a request was due"
        draw = partial(strips, rows=drawn)
        description = "One row a service and rate: p50, p95, p99 and p99.9 on a logarithmic axis of time."
        drawings.append(drawing(title, description, draw, tables.http_table(title, here)))
    return drawings


def memory(results: Results) -> Drawing | None:
    """Memory of whole services."""
    rows = [row for row in memory_rows(results) if row["pss_mib"] is not None]
    if not rows:
        return None
    groups = []
    states = list(dict.fromkeys(row["state"] for row in rows))
    for workers in sorted({row["workers"] for row in rows}):
        here = [row for row in rows if row["workers"] == workers]
        drawn = [
            Bar(
                f"{row['service']}, {row['state']}",
                _service_kind(row),
                row["pss_mib"] or 0.0,
                row["pss_mib_ci"],
                hollow=states.index(row["state"]) > 0,
            )
            for row in here
        ]
        heading = "1 worker" if workers == 1 else f"{workers} workers"
        groups.append(Group(heading, drawn, published.memory_reference() if workers == 1 else None))
    title = "Memory: proportional set size of every process of a service"
    draw = partial(bars, groups=groups, label=lambda mib: f"{number(mib)} MiB")
    return drawing(
        title, "One bar a service and state, in a group a number of workers.", draw, tables.memory_table(title, rows)
    )


def starts(results: Results) -> Drawing | None:
    """From starting the processes to an answer."""
    rows = [row for row in start_rows(results) if row["ms"] is not None]
    if not rows:
        return None
    groups = []
    for what in dict.fromkeys(row["what"] for row in rows):
        here = sorted((row for row in rows if row["what"] == what), key=lambda row: row["ms"] or 0.0)
        drawn = [Bar(row["service"], _service_kind(row), row["ms"] or 0.0, row["ms_ci"]) for row in here]
        groups.append(Group(what, drawn, published.start_reference() if what == "first HTTP answer" else None))
    title = "Cold start: from starting the processes to an answer"
    draw = partial(bars, groups=groups, label=lambda ms: f"{number(ms)} ms")
    return drawing(title, "One bar a service, in a group a kind of answer.", draw, tables.start_table(title, rows))


def _service_kind(row: Http | Start | Memory) -> str:
    """Services are this project's or somebody else's; how the others are made, only their names and notes say."""
    return "bridge" if is_ours(row["service"]) else "service"


def _name(row: CallRow) -> Cell:
    return Cell(row["peer"], kind=row["kind"], strong=row["kind"] == "bridge")


def _by_peer(rows: Iterable[CallRow]) -> list[list[CallRow]]:
    grouped: dict[str, list[CallRow]] = {}
    for row in rows:
        grouped.setdefault(row["peer"], []).append(row)
    return list(grouped.values())


def _series(rows: Sequence[CallRow], point: Callable[[CallRow], tuple[float, float | None]]) -> list[Series]:
    """A line for each peer that was measured at more than one place; the others are only in the table."""
    series = []
    for of_peer in _by_peer(rows):
        points = sorted((x, y) for x, y in map(point, of_peer) if y is not None)
        if len(points) > 1:
            series.append(Series(of_peer[0]["peer"], of_peer[0]["kind"], points))
    return series


def _quotient(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b

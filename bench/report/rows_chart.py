"""Charts with a row a peer and time along the bottom, on a log axis: distributions, and one peer's calls compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench.report import look
from bench.report.svg import Canvas, Scale, around, shortened, text_width
from bench.report.view import OURS
from bench.report.words import duration, tick

ROW: Final = 24.0
EDGE: Final = 10.0
TAIL: Final = 7.0
"""Half the height of the sign of a percentile."""
LONG_NAME: Final = 0.42
"""Of the width of the picture."""
HILL: Final = 17.0
HILL_STEP: Final = 2.5
BUCKET: Final = 1.07
"""Between the ends of a bucket of a histogram, at most (statistics.CHART_DIGITS)."""
FEW_CALLS: Final = 0.002

SHAPES: Final = (look.CIRCLE, look.DIAMOND, look.SQUARE, look.TRIANGLE)
"""Of points that differ in their circumstances, not in the kind of peer; every other one is hollow."""


@dataclass(frozen=True)
class Reference:
    """A published figure: a marked line, never a row."""

    us: float
    label: str


@dataclass(frozen=True)
class Strip:
    """One row of percentiles."""

    name: str
    kind: str
    p50: float
    p95: float | None
    p99: float | None
    p999: float | None
    histogram: Sequence[tuple[float, int]] = ()


@dataclass(frozen=True)
class Dots:
    """One row of times that a peer takes in several circumstances, by the circumstance."""

    name: str
    kind: str
    times: dict[str, float] = field(default_factory=dict)


class Legend:
    """What the signs mean: entries side by side, in as many lines as they need."""

    def __init__(self, canvas: Canvas, top: float) -> None:
        self._canvas = canvas
        self._x = EDGE
        self.bottom = top + canvas.size * 1.6

    def add(self, text: str, draw: Callable[[float, float], None]) -> None:
        """An entry; `draw` is told where its sign's middle is."""
        size = self._canvas.size
        width = 14 + text_width(text, size)
        if self._x > EDGE and self._x + width > self._canvas.width - EDGE:
            self._x = EDGE
            self.bottom += size * 1.6
        middle = self.bottom - size * 0.8
        draw(self._x + 6, middle)
        self._canvas.text(self._x + 16, middle + size * 0.36, text, cls="soft")
        self._x += width + 22

    def add_kinds(self, kinds: set[str]) -> None:
        """An entry for each of the kinds of peer that occur."""
        for kind in look.LOOKS:
            if kind in kinds:
                self.add(look.LOOKS[kind].name, partial(self._canvas.mark, kind=kind))


class Frame:
    """The names at the left, the axis at the bottom, columns of values at the right."""

    def __init__(
        self,
        canvas: Canvas,
        top: float,
        rows: Sequence[Strip | Dots],
        times: Sequence[float],
        columns: Sequence[str],
        values: Sequence[Sequence[str]],
        reference: Reference | None = None,
    ) -> None:
        size = canvas.size
        self._canvas = canvas
        head = size * 1.5
        if reference is not None:
            times = [*times, reference.us]
            head += size * 1.7
        self._first = top + head
        longest = max(text_width(row.name, size) for row in rows)
        # Names that would take the place of the chart stand above its rows.
        above = longest > canvas.width * LONG_NAME
        self._above = size * 1.4 if above else 0.0
        self.bottom = self._first + (ROW + self._above) * len(rows)
        left = EDGE + (size * 2 if above else longest + 26)
        widths = [
            max(text_width(text, size) for text in (column, *(value[i] for value in values))) + 12
            for i, column in enumerate(columns)
        ]
        # Half of the axis's last label may stand beyond its end.
        right = canvas.width - EDGE - max(sum(widths) + 4, size * 2)
        self.x = Scale(*around(times), left, right)
        self._axis()
        if reference is not None:
            self._reference(reference, top + size * 1.2)
        ends = [canvas.width - EDGE - sum(widths[i + 1 :]) for i in range(len(widths))]
        for end, column in zip(ends, columns, strict=True):
            canvas.text(end, self._first - 6, column, "end", "soft")
        for i, (row, value) in enumerate(zip(rows, values, strict=True)):
            y = self.y(i)
            strong = "strong" if row.name == OURS else ""
            named = y - self._above + (size * 0.2 if above else 0.0)
            canvas.mark(EDGE + 6, named, row.kind)
            name = shortened(row.name, size, canvas.width - 2 * EDGE - 18)
            canvas.text(EDGE + 18, named + size * 0.36, name, cls=strong)
            for end, text in zip(ends, value, strict=True):
                canvas.text(end, y + size * 0.36, text, "end", strong)
        self.bottom += size * 2

    def y(self, row: int) -> float:
        """The middle of a row."""
        return self._first + (ROW + self._above) * (row + 1) - ROW / 2

    def _axis(self) -> None:
        canvas, size = self._canvas, self._canvas.size
        for value, label in self.x.ticks(tick, lambda text: text_width(text, size)):
            canvas.line(self.x(value), self._first, self.x(value), self.bottom, "grid" if label else "grid minor")
            canvas.text(self.x(value), self.bottom + size * 1.25, label, "middle", "soft")
        canvas.line(self.x.start, self.bottom, self.x.end, self.bottom, "grid")

    def _reference(self, reference: Reference, y: float) -> None:
        x, half = self.x(reference.us), text_width(reference.label, self._canvas.size) / 2
        middle = min(max(x, EDGE + half), self._canvas.width - EDGE - half)
        self._canvas.text(middle, y, reference.label, "middle", "soft")
        self._canvas.line(x, y + 4, x, self.bottom, "published")


def strips(canvas: Canvas, top: float, rows: Sequence[Strip], reference: Reference | None = None) -> float:
    """Percentiles, over the shape of the distribution. Gives where it ends."""
    legend = Legend(canvas, top)
    legend.add_kinds({row.kind for row in rows})
    legend.add("p50", lambda x, y: canvas.shape(x, y, look.CIRCLE, "plain"))
    legend.add("p95", lambda x, y: canvas.line(x, y - TAIL / 2, x, y + TAIL / 2, "plain"))
    legend.add("p99", lambda x, y: canvas.line(x, y - TAIL, x, y + TAIL, "plain"))
    legend.add("p99.9", lambda x, y: canvas.shape(x, y, look.CROSS, "plain"))
    times = [time for row in rows for time in (_lowest(row), row.p95, row.p99, row.p999) if time is not None]
    wide = canvas.width > NARROW_BELOW
    columns = ("p50", "p99") if wide else ("p50",)
    values = [[duration(row.p50), duration(row.p99)][: len(columns)] for row in rows]
    frame = Frame(canvas, legend.bottom + 4, rows, times, columns, values, reference)
    for i, row in enumerate(rows):
        y = frame.y(i)
        _hill(canvas, frame.x, y + ROW * 0.45, row)
        last = max(time for time in (row.p50, row.p95, row.p99, row.p999) if time is not None)
        canvas.line(frame.x(row.p50), y, frame.x(last), y, f"curve {row.kind}")
        for time, half in ((row.p95, TAIL / 2), (row.p99, TAIL)):
            if time is not None:
                canvas.line(frame.x(time), y - half, frame.x(time), y + half, f"curve {row.kind}")
        if row.p999 is not None:
            canvas.shape(frame.x(row.p999), y, look.CROSS, f"curve {row.kind}")
        canvas.mark(frame.x(row.p50), y, row.kind)
    return frame.bottom


NARROW_BELOW: Final = 600.0
"""A picture less wide than this leaves out what is also in the table below it."""


def _hill(canvas: Canvas, x: Scale, base: float, row: Strip) -> None:
    """The histogram: its height is the square root of the share of calls, so that rare ones can be seen.

    Calls beyond an end of the axis stand at that end.
    """
    columns = [0.0] * (math.ceil((x.end - x.start) / HILL_STEP) + 1)
    earlier = 0.0
    for upper, calls in row.histogram:
        # Empty buckets are left out of a histogram, so the one before may be far below.
        lower = max(earlier, upper / BUCKET)
        earlier = upper
        first, last = (int((x(min(max(bound, x.low), x.high)) - x.start) / HILL_STEP) for bound in (lower, upper))
        for column in range(first, last + 1):
            columns[column] += calls / (last + 1 - first)
    if not any(columns):
        return
    padded = [0.0, *columns, 0.0]
    smooth = [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(len(columns))]
    tallest = max(smooth)
    heights = [math.sqrt(value / tallest) * HILL for value in smooth]
    used = [i for i, height in enumerate(heights) if height > 0]
    span = range(max(used[0] - 1, 0), min(used[-1] + 2, len(heights)))
    points = [(x.start + i * HILL_STEP, base - heights[i]) for i in span]
    canvas.path([(points[0][0], base), *points, (points[-1][0], base)], f"hill {row.kind}", close=True)


def _lowest(row: Strip) -> float:
    """Where the axis has to begin for the hill to be all there, but for a few calls."""
    few = sum(calls for _, calls in row.histogram) * FEW_CALLS
    for upper, calls in row.histogram:
        few -= calls
        if few < 0:
            return min(upper / BUCKET, row.p50)
    return row.p50


def dots(canvas: Canvas, top: float, rows: Sequence[Dots], circumstances: Sequence[str]) -> float:
    """The same peer's call in several circumstances, on one line. Gives where it ends."""
    legend = Legend(canvas, top)
    legend.add_kinds({row.kind for row in rows})

    def draw(x: float, y: float, name: str, cls: str) -> None:
        i = circumstances.index(name)
        canvas.shape(x, y, SHAPES[i % len(SHAPES)], f"mark {cls}{' hollow' if i % 2 else ''}")

    for name in circumstances:
        legend.add(name, partial(draw, name=name, cls="floor"))
    times = [time for row in rows for time in row.times.values()]
    wide = canvas.width > NARROW_BELOW
    columns = circumstances if wide else ()
    values = [[duration(row.times.get(name)) for name in columns] for row in rows]
    frame = Frame(canvas, legend.bottom + 4, rows, times, columns, values)
    for i, row in enumerate(rows):
        y = frame.y(i)
        canvas.line(frame.x(min(row.times.values())), y, frame.x(max(row.times.values())), y, f"curve {row.kind}")
        for name in reversed(circumstances):
            if name in row.times:
                draw(frame.x(row.times[name]), y, name, row.kind)
    return frame.bottom

"""A point a peer: what a call takes, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.report.rows_chart import EDGE, LONG_NAME, NARROW_BELOW, Legend
from bench.report.svg import Box, Canvas, Scale, around, place_labels, shortened, text_width
from bench.report.view import OURS
from bench.report.words import duration, tick

HEIGHT: Final = 420.0
MARGIN: Final = 1.8
"""Beyond the outermost points, as a factor: room for their names."""


@dataclass(frozen=True)
class Point:
    """One peer."""

    name: str
    kind: str
    x: float
    y: float


def scatter(canvas: Canvas, top: float, points: Sequence[Point], x_title: str, y_title: str) -> float:
    """Draw them, both axes logarithmic and in microseconds, each point named. Gives where it ends.

    In a narrow picture the points have numbers, and the names stand below.
    """
    size = canvas.size
    wide = canvas.width > NARROW_BELOW
    legend = Legend(canvas, top)
    legend.add_kinds({point.kind for point in points})
    canvas.text(EDGE, legend.bottom + size * 1.3, y_title, cls="soft")
    first = legend.bottom + size * 2
    last = first + HEIGHT
    y = Scale(*around((point.y for point in points), MARGIN), last, first)
    ticks = list(y.ticks(tick, lambda _: size))
    left = EDGE + max(text_width(label, size) for _, label in ticks) + 8
    right = canvas.width - EDGE - size * 2  # Half of the axis's last label may stand beyond its end.
    x = Scale(*around((point.x for point in points), MARGIN), left, right)
    for value, label in ticks:
        canvas.line(left, y(value), right, y(value), "grid" if label else "grid minor")
        canvas.text(left - 6, y(value) + size * 0.36, label, "end", "soft")
    for value, label in x.ticks(tick, lambda text: text_width(text, size)):
        canvas.line(x(value), first, x(value), last, "grid" if label else "grid minor")
        canvas.text(x(value), last + size * 1.3, label, "middle", "soft")
    canvas.text((left + right) / 2, last + size * 2.8, x_title, "middle", "soft")

    names = [
        shortened(point.name, size, canvas.width * LONG_NAME) if wide else str(i + 1) for i, point in enumerate(points)
    ]
    marks = [(x(point.x), y(point.y)) for point in points]
    widths = [text_width(name, size) for name in names]
    places = place_labels(marks, widths, size * 1.2, Box(left, first, right, last))
    for (mark_x, mark_y), place, width in zip(marks, places, widths, strict=True):
        if place is not None and place.far:
            nearest = min(max(mark_x, place.x), place.x + width)
            canvas.line(mark_x, mark_y, nearest, place.y, "leader")
    for point, mark, name, place in zip(points, marks, names, places, strict=True):
        canvas.mark(*mark, point.kind, f"{point.name}: {duration(point.x)}, {duration(point.y)}")
        if place is not None:
            strong = " strong" if point.name == OURS else ""
            canvas.text(place.x, place.y + size * 0.36, name, cls=f"{point.kind}{strong}")
    bottom = last + size * 3.4
    return bottom if wide else _key(canvas, bottom, points)


def _key(canvas: Canvas, top: float, points: Sequence[Point]) -> float:
    """Number and name of each point, in two columns."""
    size = canvas.size
    half = -(-len(points) // 2)
    for i, point in enumerate(points):
        column, line = divmod(i, half)
        place_x, place_y = EDGE + column * canvas.width / 2, top + size * 1.4 * (line + 1)
        canvas.text(
            place_x, place_y, shortened(f"{i + 1}  {point.name}", size, canvas.width / 2 - 2 * EDGE), cls=point.kind
        )
    return top + size * 1.4 * (half + 0.6)

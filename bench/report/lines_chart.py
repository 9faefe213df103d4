"""Charts with a line a peer, both axes logarithmic, each line named at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.report import look
from bench.report.rows_chart import EDGE, LONG_NAME, Legend
from bench.report.svg import Canvas, Scale, around, shortened, spread, text_width
from bench.report.view import OURS

HEIGHT: Final = 400.0
LABEL_ROOM: Final = 26.0
"""Between the end of the longest line and the names, for the lines that lead to them."""
BEND: Final = 8.0


@dataclass(frozen=True)
class Series:
    """One peer's values."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axes:
    """What stands along them."""

    x_values: Sequence[tuple[float, str]]
    x_title: str
    y_label: Callable[[float], str]
    """Of a tick."""
    y_exact: Callable[[float], str]
    """Of a point."""
    y_title: str


def lines(canvas: Canvas, top: float, series: Sequence[Series], axes: Axes) -> float:
    """Draw them. Gives where it ends."""
    size = canvas.size
    gap = size * 1.15
    legend = Legend(canvas, top)
    legend.add_kinds({line.kind for line in series})
    canvas.text(EDGE, legend.bottom + size * 1.3, axes.y_title, cls="soft")
    first = legend.bottom + size * 2
    last = first + max(HEIGHT, gap * (len(series) + 1))

    low, high = around(y for line in series for _, y in line.points)
    y = Scale(low, high, last, first)
    ticks = list(y.ticks(axes.y_label, lambda _: size))
    left = EDGE + max(text_width(label, size) for _, label in ticks) + 8
    names = {line.name: shortened(line.name, size, canvas.width * LONG_NAME) for line in series}
    right = canvas.width - EDGE - max(text_width(name, size) for name in names.values()) - LABEL_ROOM - 6
    x = Scale(axes.x_values[0][0] / 1.15, axes.x_values[-1][0] * 1.15, left, right)

    for value, label in ticks:
        canvas.line(left, y(value), right, y(value), "grid" if label else "grid minor")
        canvas.text(left - 6, y(value) + size * 0.36, label, "end", "soft")
    taken = 0.0
    for value, label in axes.x_values:
        canvas.line(x(value), first, x(value), last, "grid minor")
        half = text_width(label, size) / 2
        if x(value) - half >= taken:
            canvas.text(x(value), last + size * 1.3, label, "middle", "soft")
            taken = x(value) + half + 2
    canvas.text((left + right) / 2, last + size * 2.8, axes.x_title, "middle", "soft")

    for line in sorted(series, key=lambda line: line.name == OURS):
        style = look.LOOKS[line.kind]
        ours = " ours" if line.name == OURS else ""
        places = [(x(a), y(b)) for a, b in line.points]
        if len(places) > 1:
            canvas.path(places, f"curve {line.kind}{ours}", "" if ours else style.dashes)
        for place, (_, value) in zip(places, line.points, strict=True):
            canvas.mark(*place, line.kind, f"{line.name}: {axes.y_exact(value)}")

    heights = spread([y(line.points[-1][1]) for line in series], gap, first, last)
    for line, height in zip(series, heights, strict=True):
        end_x, end_y = x(line.points[-1][0]), y(line.points[-1][1])
        start = right + LABEL_ROOM
        canvas.path([(end_x + 7, end_y), (max(right + BEND, end_x + 8), end_y), (start - 3, height)], "leader")
        strong = " strong" if line.name == OURS else ""
        canvas.text(start, height + size * 0.36, names[line.name], cls=f"{line.kind}{strong}")
    return last + size * 3.4

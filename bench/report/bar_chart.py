"""Bars from zero, in groups, each with its interval and its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.report.rows_chart import EDGE, LONG_NAME
from bench.report.svg import Canvas, shortened, text_width
from bench.results import JsonInterval

ROW: Final = 22.0
THICK: Final = 13.0


@dataclass(frozen=True)
class Bar:
    """One value."""

    name: str
    kind: str
    value: float
    interval: JsonInterval = None
    hollow: bool = False
    """Drawn as an outline: the second of two states."""


@dataclass(frozen=True)
class Group:
    """Bars to be compared with each other, on a scale of their own."""

    heading: str
    bars: Sequence[Bar]
    published: tuple[float, str] | None = None
    """A published figure and how it is marked."""


def bars(canvas: Canvas, top: float, groups: Sequence[Group], label: Callable[[float], str]) -> float:
    """Draw them. Gives where it ends."""
    size = canvas.size
    longest = max(text_width(bar.name, size) for group in groups for bar in group.bars)
    # Names that would take the place of the bars stand above them.
    above = longest > canvas.width * LONG_NAME
    row = ROW + (size * 1.3 if above else 0)
    left = EDGE + (0 if above else longest + 8)
    room = max(text_width(label(bar.value), size) for group in groups for bar in group.bars) + 12
    right = canvas.width - EDGE - room
    y = top
    for group in groups:
        y += size * 1.9
        canvas.text(EDGE, y, shortened(group.heading, size, canvas.width - 3 * EDGE), cls="strong")
        y += size * (0.6 if group.published is None else 2.0)
        bottom = y + row * len(group.bars)
        middles = [y + row * (i + 1) - ROW / 2 for i in range(len(group.bars))]
        ends = _bars(canvas, group, middles, left, right)
        if group.published is not None:
            value, text = group.published
            x, half = left + value * _scale(group, left, right), text_width(text, size) / 2
            canvas.text(min(max(x, EDGE + half), canvas.width - EDGE - half), y - 4, text, "middle", "soft")
            canvas.line(x, y, x, bottom, "published")
        for bar, middle, end in zip(group.bars, middles, ends, strict=True):
            base, strong = middle + size * 0.36, "strong" if bar.kind == "bridge" else ""
            if above:
                canvas.text(left, base - ROW * 0.85, shortened(bar.name, size, canvas.width - 3 * EDGE), cls=strong)
            else:
                canvas.text(left - 8, base, bar.name, "end", strong)
            canvas.text(end + 8, base, label(bar.value), cls=strong)
        y = bottom + size * 0.6
    return y + size * 0.5


def _scale(group: Group, left: float, right: float) -> float:
    """How far a unit reaches."""
    values = [bound for bar in group.bars for bound in (bar.value, *(bar.interval or ()))]
    highest = max([*values, group.published[0] if group.published else 0.0])
    return (right - left) / highest if highest else 0.0


def _bars(canvas: Canvas, group: Group, middles: Sequence[float], left: float, right: float) -> list[float]:
    """The bars and their intervals. Gives where each of them ends."""
    scale = _scale(group, left, right)
    ends = []
    for bar, middle in zip(group.bars, middles, strict=True):
        width = max(bar.value * scale, 0.5)
        hollow = " hollow" if bar.hollow else ""
        canvas.add("rect", x=left, y=middle - THICK / 2, width=width, height=THICK, cls=f"bar {bar.kind}{hollow}")
        low, high = (left + bound * scale for bound in bar.interval or (bar.value, bar.value))
        ends.append(max(left + width, high))
        if bar.interval is not None:
            canvas.line(low, middle, high, middle, "plain")
            for bound in (low, high):
                canvas.line(bound, middle - 4, bound, middle + 4, "plain")
    return ends

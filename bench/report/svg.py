"""Drawing: an SVG that grows downwards, scales, and labels that keep out of each other's way."""

from __future__ import annotations

import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.report import look

NARROW: Final = frozenset("iljtfr.,:;|!'()[]/ -·")
BROAD: Final = frozenset("mwMW@%—…")
TERMINAL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FORBIDDEN: Final = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
GAP: Final = 4.0
"""Between two labels, at least."""
LEAST_SPAN: Final = 5.1
"""Of an axis, from its low end to its high one. Of 1, 2, 5, 10 … any span of 5 holds two; the rest is for rounding."""


def text_width(text: str, size: float) -> float:
    """How wide a text is at most, whichever of the usual sans-serif fonts it is set in."""
    ems = sum(0.42 if c in NARROW else 1.0 if c in BROAD else 0.74 if c.isupper() else 0.645 for c in text)
    return ems * size


def shortened(text: str, size: float, room: float) -> str:
    """The text, or as much of its beginning as there is room for."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(f"{text}…", size) > room:
        text = text[:-1]
    return f"{text}…"


def printable(text: str) -> str:
    """Without colours of a terminal, and without what XML does not allow: a peer's last words may contain both."""
    return FORBIDDEN.sub("\ufffd", TERMINAL.sub("", text))


@dataclass(frozen=True)
class Box:
    """A rectangle that something occupies."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share a point."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def contains(self, other: Box) -> bool:
        """Whether all of the other lies in it."""
        return self.holds(other.left, other.top) and self.holds(other.right, other.bottom)

    def holds(self, x: float, y: float) -> bool:
        """Whether the point lies in it."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


class Canvas:
    """An SVG picture of a fixed width. `size` is that of its text, in its own units."""

    def __init__(self, width: float, size: float, title: str, description: str) -> None:
        self.width = width
        self.size = size
        self._svg = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "chart", "role": "img"})
        ET.SubElement(self._svg, "title").text = printable(title)
        ET.SubElement(self._svg, "desc").text = printable(description)

    def add(self, tag: str, **attributes: float | str) -> ET.Element:
        """Any element; numbers to a tenth. An underscore in a name stands for a hyphen, `cls` for `class`."""
        named = {
            "class" if key == "cls" else key.replace("_", "-"): value if isinstance(value, str) else f"{value:.1f}"
            for key, value in attributes.items()
        }
        return ET.SubElement(self._svg, tag, named)

    def text(self, x: float, y: float, text: str, anchor: str = "start", cls: str = "") -> None:
        """A line of text on the base line `y`."""
        self.add("text", x=x, y=y, text_anchor=anchor, font_size=self.size, cls=cls).text = printable(text)

    def line(self, x1: float, y1: float, x2: float, y2: float, cls: str) -> None:
        """A straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)

    def path(self, points: Iterable[tuple[float, float]], cls: str, dashes: str = "", close: bool = False) -> None:
        """A line through the points."""
        drawn = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if close else "")
        self.add("path", d=drawn, cls=cls, **({"stroke_dasharray": dashes} if dashes else {}))

    def mark(self, x: float, y: float, kind: str, tip: str = "") -> None:
        """The mark of a kind of peer; `tip` is shown to who points at it."""
        style = look.LOOKS[kind]
        hollow = " hollow" if style.hollow else ""
        mark = self.add("path", d=style.mark, cls=f"mark {kind}{hollow}", transform=f"translate({x:.1f} {y:.1f})")
        if tip:
            ET.SubElement(mark, "title").text = printable(tip)

    def shape(self, x: float, y: float, shape: str, cls: str) -> None:
        """Any other mark."""
        self.add("path", d=shape, cls=cls, transform=f"translate({x:.1f} {y:.1f})")

    def finish(self, height: float) -> str:
        """The picture as text, for an HTML page: scaled to the width of its place."""
        self._svg.set("viewBox", f"0 0 {self.width:.0f} {height:.0f}")
        return ET.tostring(self._svg, encoding="unicode")

    def finish_alone(self, height: float) -> str:
        """The picture as a file of its own, with its style and a ground to be read on."""
        ground = ET.Element("rect", {"class": "ground", "x": "0.5", "y": "0.5", "rx": "8"})
        ground.set("width", f"{self.width - 1:.0f}")
        ground.set("height", f"{height - 1:.0f}")
        style = ET.Element("style")
        style.text = look.stand_alone()
        self._svg.insert(2, style)
        self._svg.insert(3, ground)
        self._svg.set("width", f"{self.width:.0f}")
        self._svg.set("height", f"{height:.0f}")
        return self.finish(height) + "\n"


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis, logarithmic."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, label: Callable[[float], str], room: Callable[[str], float]) -> Iterator[tuple[float, str]]:
        """Powers of ten, with twos and fives where there would be few; a label only where there is room for it."""
        lowest, highest = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = [10.0**power for power in range(lowest, highest + 1)]
        few = sum(self.low <= value <= self.high for value in decades) < len("123")
        values = [value * factor for value in decades for factor in ((1, 2, 5) if few else (1,))]
        taken = -math.inf
        for value in values:
            if self.low <= value <= self.high:
                place = abs(self(value) - self.start)
                half = room(label(value)) / 2
                fits = place - half >= taken
                taken = place + half + GAP if fits else taken
                yield value, label(value) if fits else ""


def around(values: Iterable[float], margin: float = 1.25) -> tuple[float, float]:
    """The ends of a logarithmic axis for these values, far enough apart for two ticks: fewer give no scale."""
    known = [value for value in values if value > 0]
    if not known:
        return 1.0, 10.0
    low, high = min(known) / margin, max(known) * margin
    short_by = math.sqrt(max(LEAST_SPAN * low / high, 1.0))
    return low / short_by, high * short_by


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels on one line, each as near to where it is wanted as a gap between all allows.

    The caller leaves room for them all between `low` and `high`.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    # Neighbours that are too close become a group around the mean of what its members want.
    groups: list[tuple[float, int]] = []
    for index in order:
        middle, members = wanted[index], 1
        while groups and middle - (members - 1) * gap / 2 - (groups[-1][0] + (groups[-1][1] - 1) * gap / 2) < gap:
            earlier, earlier_members = groups.pop()
            middle = (earlier * earlier_members + middle * members) / (earlier_members + members)
            members += earlier_members
        groups.append((middle, members))
    places = [middle + (i - (members - 1) / 2) * gap for middle, members in groups for i in range(members)]
    floor = low
    for i, place in enumerate(places):
        places[i] = floor = max(place, floor)
        floor += gap
    ceiling = high
    for i in reversed(range(len(places))):
        places[i] = ceiling = min(places[i], ceiling)
        ceiling -= gap
    result = [0.0] * len(wanted)
    for index, place in zip(order, places, strict=True):
        result[index] = place
    return result


@dataclass(frozen=True)
class Label:
    """Where a label went: `x` and `y` of its left end and middle; `far` if a line should lead to it."""

    x: float
    y: float
    far: bool


LABEL_RADII: Final = (9, 13, 18, 24, 31, 40, 50, 62, 76, 92, 110, 130)
LABEL_ANGLES: Final = (0, 180, -90, 90, -40, 40, -140, 140, -65, 65, -115, 115, -20, 20, -160, 160)
NEAR: Final = 13
MARK_RADIUS: Final = 7.0
LEADER_POINTS: Final = 12
ORDERS: Final = 12
UNPLACED: Final = 1000.0
"""As far away as a label that has no place counts."""


def place_labels(
    points: Sequence[tuple[float, float]], widths: Sequence[float], height: float, bounds: Box
) -> list[Label | None]:
    """A place beside each point for a label of that width, over no mark, no label and no line that leads to one.

    None where the picture has no room left. Who comes first gets the better place, so several orders are tried.
    """
    marks = [Box(x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS) for x, y in points]
    order = list(range(len(points)))
    shuffle = random.Random(len(points)).shuffle
    best: tuple[float, list[Label | None]] = (math.inf, [None] * len(points))
    for _ in range(ORDERS):
        labels: list[Box] = []
        leaders: list[tuple[float, float]] = []
        result: list[Label | None] = [None] * len(points)
        cost = 0.0
        for i in order:
            cost += UNPLACED
            for radius, box, line in _candidates(*points[i], widths[i], height):
                if (
                    bounds.contains(box)
                    and not any(box.meets(other) for other in marks)
                    and not any(box.meets(other) for other in labels)
                    and not any(box.holds(*point) for point in leaders)
                    and not any(label.holds(*point) for label in labels for point in line)
                ):
                    labels.append(box)
                    leaders += line
                    result[i] = Label(box.left, (box.top + box.bottom) / 2, bool(line))
                    cost += radius - UNPLACED
                    break
        best = min(best, (cost, result), key=lambda tried: tried[0])
        shuffle(order)
    return best[1]


def _candidates(
    x: float, y: float, width: float, height: float
) -> Iterator[tuple[float, Box, list[tuple[float, float]]]]:
    """Boxes around a point, nearest first: how far, the box, and points of the line that would lead to it."""
    for radius in LABEL_RADII:
        for angle in LABEL_ANGLES:
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            end_x, end_y = x + radius * dx, y + radius * dy
            left = end_x - width / 2 + (width / 2) * round(dx * 2) / 2
            top = end_y - height / 2 + (height / 2) * round(dy)
            line = []
            if radius > NEAR:
                steps = range(1, LEADER_POINTS)
                line = [(x + (end_x - x) * i / LEADER_POINTS, y + (end_y - y) * i / LEADER_POINTS) for i in steps]
            yield radius, Box(left, top, left + width, top + height), line

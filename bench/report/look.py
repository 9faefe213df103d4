"""What a kind of peer looks like: its colour, by day and by night, and its mark, as colour alone is not for everyone.

The colours are those of Okabe and Ito ("Color Universal Design"), darker or lighter where the background asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Look:
    """How one kind of peer is drawn."""

    name: str
    """For the legend."""
    light: str
    """Its colour on a light background."""
    dark: str
    """Its colour on a dark one."""
    mark: str
    """A path around (0, 0), about ten units wide."""
    hollow: bool = False
    dashes: str = ""
    """Of its lines."""


SQUARE: Final = "M-4.2-4.2H4.2V4.2H-4.2Z"
DIAMOND: Final = "M0-6L6 0L0 6L-6 0Z"
CIRCLE: Final = "M-4.8 0A4.8 4.8 0 1 1 4.8 0A4.8 4.8 0 1 1-4.8 0Z"
BRICK: Final = "M-5.8-2.8H5.8V2.8H-5.8Z"
TRIANGLE: Final = "M0-5.6L5.2 4H-5.2Z"
CROSS: Final = "M-4.5-4.5L4.5 4.5M-4.5 4.5L4.5-4.5"

LOOKS: Final[Mapping[str, Look]] = {
    "bridge": Look("this bridge", "#c04a00", "#ff8f3f", DIAMOND),
    "out-of-process": Look("another way between processes", "#004a87", "#4ba3e3", CIRCLE, dashes="7 3"),
    "in-process": Look("in one process", "#007f5f", "#66e0b6", SQUARE, dashes="2 3"),
    "reference": Look("reference, one language only", "#a13a78", "#e08fc0", CIRCLE, hollow=True, dashes="9 3 2 3"),
    "service": Look("another service", "#4d5a66", "#a9b8c6", BRICK),
    "floor": Look("floor", "#606060", "#a8a8a8", TRIANGLE, hollow=True, dashes="1 3"),
}

LIGHT: Final[Mapping[str, str]] = {
    "paper": "#ffffff",
    "card": "#f7f7f5",
    "ink": "#1b1b1b",
    "soft": "#565656",
    "line": "#d3d3cf",
    **{kind: look.light for kind, look in LOOKS.items()},
}
DARK: Final[Mapping[str, str]] = {
    "paper": "#14171a",
    "card": "#1d2125",
    "ink": "#ececea",
    "soft": "#b0b3b6",
    "line": "#3b4147",
    **{kind: look.dark for kind, look in LOOKS.items()},
}


def variables(colours: Mapping[str, str]) -> str:
    """The colours as CSS variables."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


CHART: Final = (
    """
svg.chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;
  font-variant-numeric:tabular-nums}
svg.chart text{fill:var(--ink);stroke:var(--card);stroke-width:3px;paint-order:stroke;stroke-linejoin:round}
svg.chart text.soft{fill:var(--soft)}
svg.chart text.strong{font-weight:600}
svg.chart .grid{stroke:var(--line);stroke-width:1;fill:none}
svg.chart .grid.minor{stroke-opacity:.45}
svg.chart .leader{stroke:var(--soft);stroke-width:.7;stroke-opacity:.7;fill:none}
svg.chart .published{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:2 4;fill:none}
svg.chart .plain{stroke:var(--soft);stroke-width:1.5;fill:none}
"""
    + "".join(
        f"svg.chart .{kind}{{stroke:var(--{kind});fill:var(--{kind})}}\n"
        f"svg.chart text.{kind}{{stroke:var(--card);fill:var(--{kind})}}\n"
        for kind in LOOKS
    )
    + """svg.chart .mark{stroke-width:1.8;stroke-linejoin:round}
svg.chart .hollow{fill:var(--card)}
svg.chart .curve{fill:none;stroke-width:1.6;stroke-linejoin:round}
svg.chart .curve.ours{stroke-width:3.4}
svg.chart .hill{stroke:none;fill-opacity:.38}
svg.chart .bar{stroke-width:1.4}
"""
)
"""The style of every chart; the page adds it once, a stand-alone file brings it along."""


def stand_alone() -> str:
    """The style of a chart that is a file of its own: a card that can be read on a light and on a dark page."""
    return (
        f"svg.chart{{{variables(LIGHT)}}}@media (prefers-color-scheme:dark){{svg.chart{{{variables(DARK)}}}}}{CHART}"
        "svg.chart .ground{fill:var(--card);stroke:var(--line)}"
    )

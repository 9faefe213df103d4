"""The report: one page of HTML that needs nothing else, and the charts of the README, out of a result file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jinja2
import markupsafe

from bench.cases import DIRECTIONS, Direction
from bench.report import drawings, look, page
from bench.report.svg import Canvas
from bench.report.view import LANGUAGES
from bench.results import Results

HERE: Final = Path(__file__).parent
FILE: Final = "report.html"

README_CHARTS: Final[Mapping[str, str]] = {
    "latency": "Latency of the predict call",
    "payload": "Latency against payload",
}
"""The names that `render_svg` knows, and their titles."""

MOST_OPEN: Final = 3
"""Lines of a table of what beats the bridge that are open to the eye; of more, none are."""

README_WIDTH: Final = 880.0
README_TEXT: Final = 13.0


def write_report(results: Results, folder: Path) -> Path:
    """Write the page into that folder; gives the file. Raises OSError."""
    file = folder / FILE
    file.write_text(render(results), encoding="utf-8")
    return file


def render(results: Results) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("report.html.jinja").render(
        meta=results["meta"],
        summary=page.summary(results),
        sections=page.sections(results),
        absent=page.absent(results),
        most_open=MOST_OPEN,
        light=markupsafe.Markup(look.variables(look.LIGHT)),
        dark=markupsafe.Markup(look.variables(look.DARK)),
        style=markupsafe.Markup(look.CHART + (HERE / "report.css").read_text(encoding="utf-8")),
        mark={kind: markupsafe.Markup(_mark(kind)) for kind in look.LOOKS},
    )


def _code(text: str) -> markupsafe.Markup:
    """What stands between back quotes, as code; everything escaped."""
    parts = text.split("`")
    # Of an odd number of quotes the last is only a quote.
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    escaped = [markupsafe.escape(part) for part in parts]
    return markupsafe.Markup("").join(
        markupsafe.Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(escaped)
    )


def _mark(kind: str) -> str:
    """The mark of a kind, to stand in a line of text."""
    style = look.LOOKS[kind]
    hollow = " hollow" if style.hollow else ""
    return (
        f'<svg class="chart sign" viewBox="-8 -8 16 16" role="img"><title>{style.name}</title>'
        f'<path class="mark {kind}{hollow}" d="{style.mark}"/></svg>'
    )


def render_svg(results: Results, name: str) -> str:
    """One of README_CHARTS as an SVG file of its own, both directions, for light and dark pages.

    Raises KeyError for another name, and ValueError where the results have nothing to draw it from.
    """
    title = README_CHARTS[name]
    meta = results["meta"]
    canvas = Canvas(README_WIDTH, README_TEXT, title, f"{title}, in both directions, of all peers that were measured.")
    y = README_TEXT * 0.6
    drawn = 0
    for direction in DIRECTIONS:
        draw = _readme_chart(results, name, direction)
        if draw is not None:
            canvas.text(10, y + README_TEXT * 1.2, f"{title}: {LANGUAGES[direction]}", cls="strong")
            y = draw(canvas, y + README_TEXT * 1.6) + README_TEXT * 0.5
            drawn += 1
    if not drawn:
        raise ValueError(f"these results have no rows for the {name} chart: run `python -m bench` without --only")
    machine = f"{meta['cpu']}, {meta['cores']} cores; {meta['rounds']} rounds; commit {meta['commit']}"
    canvas.text(10, y + README_TEXT, machine, cls="soft")
    return canvas.finish_alone(y + README_TEXT * 2)


def _readme_chart(results: Results, name: str, direction: Direction) -> drawings.Draw | None:
    if name == "latency":
        return drawings.latency_strips(results, direction)
    return drawings.payload_lines(results, direction)

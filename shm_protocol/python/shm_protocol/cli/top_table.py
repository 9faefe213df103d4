"""How `shm-polyglot top` tells what it has seen: as a table, or as JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import sleep
from typing import Final

from .. import project
from ..config import Settings
from ..counters import LargeBuffers
from . import standard_streams
from .printable import printable
from .top import Activity, Line, View, Watch

NAME_WIDTHS: Final = (16, 24)
"""Of the column with the names: the least while there is another to drop, and the most."""


@dataclass(frozen=True)
class Column:
    """heading: its name. width: without what is between columns. cell: what it shows of one side."""

    heading: str
    width: int
    cell: Callable[[Activity], str]
    is_text: bool = False

    def aligned(self, text: str) -> str:
        """In its width: numbers to the right."""
        return f"{text:{self.width}}" if self.is_text else f"{text:>{self.width}}"


CALLS: Final = Column("calls/s", 7, lambda side: _rate(side.calls))
FAILED: Final = Column("fail/s", 6, lambda side: _rate(side.failed))
COLUMNS: Final = (
    CALLS,
    Column("p50", 6, lambda side: _time(side.p50_us)),
    Column("p99", 6, lambda side: _time(side.p99_us)),
    Column("longest", 7, lambda side: _time(side.longest_us)),
    FAILED,
    Column("ring", 4, lambda side: f"{side.ring_share:.0%}"),
    Column("parks/s", 7, lambda side: _rate(side.parks)),
    Column("bells/s", 7, lambda side: _rate(side.doorbells)),
    Column("MB/s", 6, lambda side: f"{side.bytes / 1e6:.{2 if side.bytes < 999.9e6 else 0}f}"),
    Column("now", 6, lambda side: side.state, is_text=True),
)
"""From left to right, after the name and who calls."""
DROPPED_FIRST: Final = ("bells/s", "MB/s", "parks/s", "longest", "ring", "now", "fail/s", "p99", "p50")
"""Where the terminal is narrow: what says least is left out first. Who calls, and how often, stays."""
FROM_WIDTH: Final = 6


def table(view: View, width: int) -> list[str]:
    """The lines of one look: for each connection one for each side that calls, and a total. width: of the terminal, in
    characters.
    """
    name_width, columns = _fitting(width)
    headings = [
        f"{'CONNECTION':{name_width}}",
        f"{'FROM':{FROM_WIDTH}}",
        *(one.aligned(one.heading) for one in columns),
    ]
    shown = [" ".join(headings)]
    for line in view.lines:
        shown += _connection(line, view, name_width, columns)
    active = [side for line in view.lines for side in (line.dialer, line.acceptor) if side is not None]
    if active:
        totals = {
            CALLS.heading: _rate(sum(side.calls for side in active)),
            FAILED.heading: _rate(sum(side.failed for side in active)),
        }
        cells = [column.aligned(totals.get(column.heading, "")) for column in columns]
        shown.append(" ".join((f"{'all':{name_width}}", " " * FROM_WIDTH, *cells)))
    elif not view.lines:
        shown.append("nobody is connected")
    return [line[:width].rstrip() for line in shown]


def as_json(view: View, settings: Settings) -> str:
    """One look as a line of JSON; command_line.py documents it."""
    connections = []
    for line in view.lines:
        one = asdict(line.connection)
        del one["asks"]
        one["dialer"] = line.dialer and asdict(line.dialer)
        one["acceptor"] = line.acceptor and asdict(line.acceptor)
        connections.append(one)
    look = {
        "format": 1,
        "socket": os.fspath(settings.path),
        "acceptor": view.acceptor._asdict(),
        "seconds": view.seconds,
        "connections": connections,
    }
    return json.dumps(look)


def print_looks(watch: Watch, settings: Settings, interval: float, count: int | None, *, as_lines: bool) -> None:
    """For a pipe or a file: each look but the first, which has nothing to compare with. Raises what a look does, and
    what standard_streams.write does.
    """
    # A pipe and a file have no width.
    width = shutil.get_terminal_size(fallback=(1000, 0)).columns
    watch.look()
    printed = 0
    while count is None or printed < count:
        sleep(interval)
        view = watch.look()
        text = as_json(view, settings) if as_lines else "\n".join((about(view, settings), *table(view, width), ""))
        standard_streams.write(printable(text, keep="\n") + "\n")
        printed += 1


def about(view: View, settings: Settings) -> str:
    """What is looked at, and over which time."""
    acceptor = view.acceptor
    over = "" if view.seconds is None else f"  over {view.seconds:.1f} s"
    of_project = "" if acceptor.project is None else f"  project {project.shown(acceptor.project)}"
    return f"{settings.path}{of_project}  {acceptor.language}, library {acceptor.library}{over}"


def _fitting(width: int) -> tuple[int, list[Column]]:
    """How wide the names are, and which columns there are room for."""
    columns = list(COLUMNS)

    def left_for_names() -> int:
        return width - FROM_WIDTH - 1 - sum(column.width + 1 for column in columns)

    for heading in DROPPED_FIRST:
        if left_for_names() < NAME_WIDTHS[0]:
            columns = [column for column in columns if column.heading != heading]
    return max(1, min(NAME_WIDTHS[1], left_for_names())), columns


def _connection(line: Line, view: View, name_width: int, columns: Sequence[Column]) -> list[str]:
    connection = line.connection
    name = f"#{connection.id} {connection.name}"
    name = name if len(name) <= name_width else name[: name_width - 1] + "…"
    if connection.dialer is None:
        return [f"{name:{name_width}} {connection.transport} transport: without a segment nothing is counted"]
    languages = [_short(connection.language), _short(view.acceptor.language)]
    sides: Sequence[tuple[str, Activity | None]] = ((languages[0], line.dialer), (languages[1], line.acceptor))
    shown = []
    for label, (language, side) in zip((name, f"   {connection.role}"[:name_width]), sides, strict=True):
        cells = [CALLS.aligned("–")] if side is None else [column.aligned(column.cell(side)) for column in columns]
        shown.append(" ".join((f"{label:{name_width}}", f"{language:{FROM_WIDTH}}", *cells)))
    buffers = connection.buffers
    if buffers is not None and (buffers.lent or buffers.borrowed or buffers.path != "memory"):
        shown.append(f"   large buffers by {_large_buffers(buffers)}")
    return shown


def _large_buffers(buffers: LargeBuffers) -> str:
    """Where they go, and what there is of them, as the acceptor sees it."""
    if not (buffers.lent or buffers.borrowed):
        return buffers.path
    return (
        f"{buffers.path}: {buffers.lent} sent, {buffers.borrowed} received, {buffers.bytes_lent / 1e6:.1f} MB not "
        f"returned, {buffers.pool_bytes / 1e6:.1f} MB kept"
    )


def _short(language: str) -> str:
    """Without the version."""
    return language.split(" ", maxsplit=1)[0][:FROM_WIDTH]


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return "–"
    for unit, factor in (("µs", 1.0), ("ms", 1e3)):
        if microseconds < 999.5 * factor:
            return f"{microseconds / factor:.3g}{unit}"
    return f"{microseconds / 1e6:.3g}s"


def _rate(a_second: float) -> str:
    """In at most six characters."""
    if a_second >= 999_950:
        return f"{a_second / 1e6:.4g}M"
    return f"{a_second / 1e3:.4g}k" if a_second >= 99_999.5 else f"{a_second:,.0f}"

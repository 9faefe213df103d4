"""How `shm-polyglot top` tells what it has seen: as a table, or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import sleep
from typing import Final

from .config import Settings
from .printable import printable
from .top import Activity, Line, View, Watch

HEADER: Final = (
    f"{'CONNECTION':24} {'FROM':8} {'calls/s':>9} {'p50':>8} {'p99':>8} {'longest':>8} {'failed/s':>8}"
    f" {'ring':>5} {'parks/s':>8} {'bells/s':>8} {'MB/s':>7}  now"
)


def table(view: View) -> list[str]:
    """The lines of one look: for each connection one for each side that calls, and a total."""
    shown = [HEADER]
    for line in view.lines:
        shown += _connection(line, view)
    active = [side for line in view.lines for side in (line.dialer, line.acceptor) if side is not None]
    if active:
        calls, failed = sum(side.calls for side in active), sum(side.failed for side in active)
        shown.append(f"{'all':24} {'':8} {calls:9,.0f} {'':8} {'':8} {'':8} {failed:8,.0f}")
    elif not view.lines:
        shown.append("nobody is connected")
    return shown


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
    """For a pipe or a file: each look but the first, which has nothing to compare with. Raises what a look does."""
    watch.look()
    printed = 0
    while count is None or printed < count:
        sleep(interval)
        view = watch.look()
        text = as_json(view, settings) if as_lines else "\n".join((about(view, settings), *table(view), ""))
        sys.stdout.write(printable(text, keep="\n") + "\n")
        sys.stdout.flush()
        printed += 1


def about(view: View, settings: Settings) -> str:
    """What is looked at, and over which time."""
    acceptor = view.acceptor
    over = "" if view.seconds is None else f"  over {view.seconds:.1f} s"
    return f"{settings.path}  {acceptor.language}, library {acceptor.library}{over}"


def _connection(line: Line, view: View) -> list[str]:
    connection = line.connection
    name = f"#{connection.id} {connection.name}"
    name = name if len(name) <= 24 else name[:23] + "…"
    if connection.dialer is None:
        return [f"{name:24} {connection.transport} transport: without a segment nothing is counted"]
    languages = [_short(connection.language), _short(view.acceptor.language)]
    sides: Sequence[tuple[str, Activity | None]] = ((languages[0], line.dialer), (languages[1], line.acceptor))
    return [
        f"{label:24} {language:8} {_numbers(side)}"
        for label, (language, side) in zip((name, f"   {connection.role}"), sides, strict=True)
    ]


def _numbers(side: Activity | None) -> str:
    if side is None:
        return f"{'–':>9}"
    return (
        f"{side.calls:9,.0f} {_time(side.p50_us):>8} {_time(side.p99_us):>8} {_time(side.longest_us):>8}"
        f" {side.failed:8,.0f} {side.ring_share:5.0%} {side.parks:8,.0f} {side.doorbells:8,.0f}"
        f" {side.bytes / 1e6:7.2f}  {side.state}"
    )


def _short(language: str) -> str:
    """Without the version."""
    return language.split(" ", maxsplit=1)[0][:8]


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return "–"
    for unit, factor in (("µs", 1.0), ("ms", 1e3)):
        if microseconds < 999.5 * factor:
            return f"{microseconds / factor:.3g} {unit}"
    return f"{microseconds / 1e6:.3g} s"

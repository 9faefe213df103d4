"""`shm-polyglot top` on a terminal: the table fills it, and is drawn again at every look."""

from __future__ import annotations

import curses
import locale
import os
import textwrap
from collections.abc import Callable
from time import monotonic

from ..config import ConfigError, Settings
from ..errors import BridgeError
from .printable import printable
from .top import Watch
from .top_table import about, table


def show_live(watch: Watch, settings: Settings, interval: float, count: int | None) -> None:
    """Fill the terminal, again at every look, until "q", or after `count` of them. What goes wrong is shown, and tried
    again. Raises ConfigError where the terminal cannot do it.
    """
    try:
        curses.setupterm()
    except curses.error as error:
        raise ConfigError(
            f"TERM={os.environ.get('TERM', '')!r}: {error}; set it to what the terminal is, or pipe it through cat"
        ) from error
    # For curses, so that it shows more than ASCII.
    locale.setlocale(locale.LC_ALL, "")
    curses.wrapper(lambda screen: _Live(screen, watch, settings, interval, count).run())


class _Live:
    def __init__(
        self, screen: curses.window, watch: Watch, settings: Settings, interval: float, count: int | None
    ) -> None:
        self._screen = screen
        self._watch = watch
        self._settings = settings
        self._interval = interval
        self._left = count
        self._about = ""
        self._lines: Callable[[int], list[str]] = lambda _width: []

    def run(self) -> None:
        self._hide_cursor()
        while True:
            due = monotonic() + self._interval
            self._look()
            if self._left == 0 or self._has_quit(due):
                return

    @staticmethod
    def _hide_cursor() -> None:
        try:
            curses.curs_set(0)
        except curses.error:
            # Some terminals cannot; it blinks on.
            return

    def _look(self) -> None:
        try:
            view = self._watch.look()
        except BridgeError as error:
            told = f"{error.code}: {error}"
            self._about = str(self._settings.path)
            self._lines = lambda width: ["", *textwrap.wrap(told, width), "", "It is tried again."]
        else:
            self._about = about(view, self._settings)
            # Drawn again when the terminal has another width.
            self._lines = lambda width: table(view, width)
            if self._left is not None and view.seconds is not None:
                self._left -= 1
        self._draw()

    def _draw(self) -> None:
        height, width = self._screen.getmaxyx()
        title = f"shm-polyglot top  q: quit  every {self._interval:g} s"
        lines = [f"{title:{width}}", self._about, *self._lines(width)]
        if len(lines) > height:
            hidden = len(lines) - height + 1
            lines[height - 1 :] = [f"… {hidden} more lines: make the window higher, or use --json"]
        self._screen.erase()
        for row, line in enumerate(lines[:height]):
            # The cursor cannot go past the last corner.
            room = width - 1 if row == height - 1 else width
            self._screen.addnstr(row, 0, printable(line), room, curses.A_REVERSE if row == 0 else 0)
        self._screen.refresh()

    def _has_quit(self, due: float) -> bool:
        """Wait until then, or for the key."""
        while (left := due - monotonic()) > 0:
            self._screen.timeout(max(1, int(left * 1000)))
            key = self._screen.getch()
            if key == ord("q"):
                return True
            if key == curses.KEY_RESIZE:
                self._draw()
        return False

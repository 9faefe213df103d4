"""What several programs write, on one terminal: whole lines, each under the name of who wrote it."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final

from . import colours, standard_streams

COLOURS: Final = ("36", "33", "35", "34")
OWN_COLOUR: Final = "1"
"""Bold: what the one says that runs them all."""
NAME_WIDTH: Final = 6
LINES_KEPT: Final = 30
IN_SIGHT: Final = 20
"""So many lines further down, a line can still be seen."""
LONGEST_LINE: Final = 1 << 16
"""Of a longer one the parts are printed as they come."""
ERROR_LINE: Final = re.compile(r"\berror\b|Error:", re.IGNORECASE)


class Output:
    """stdout, for the lines of the sides and of the command itself."""

    def __init__(self, own_name: str, names: Sequence[str]) -> None:
        self._own_name = own_name
        self._prefixes = {name: f"{name:{NAME_WIDTH}} |" for name in (own_name, *names)}
        self._is_coloured = colours.are_wanted()
        if self._is_coloured:
            for name, colour in zip(names, COLOURS, strict=False):
                self._prefixes[name] = colours.coloured(self._prefixes[name], colour)
            self._prefixes[own_name] = colours.coloured(self._prefixes[own_name], OWN_COLOUR)
        self._written = 0
        self.is_gone = False
        """Whether nobody reads any more: a pipe that was closed, a terminal that hung up."""
        self.failure = ""
        """Why nothing more can be written, where that is nobody's wish."""

    @property
    def lines_written(self) -> int:
        """So many lines have been written, whosever."""
        return self._written

    def say(self, text: str) -> None:
        """A line of the command's own."""
        self.write_line(self._own_name, text.encode(errors="replace"))

    def write_line(self, name: str, line: bytes) -> None:
        """A line of the side `name`, as it wrote it."""
        if self._is_coloured and b"\x1b" in line:
            # What follows is another's.
            line += colours.RESET.encode()
        self._write(self._prefixes[name].encode() + (b" " + line if line else b"") + b"\n")

    def write_text(self, text: str) -> None:
        """Lines without a name."""
        self._write(text.encode(errors="replace"))

    def _write(self, data: bytes) -> None:
        self._written += data.count(b"\n")
        if self.is_gone:
            return
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            self.is_gone = True
            standard_streams.discard(sys.stdout)
            if error.errno not in standard_streams.READER_GONE:
                self.failure = f"stdout cannot be written to: {error.strerror}"


class Lines:
    """What one side writes, cut into lines, and the last of them."""

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._unfinished = b""
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._last_at = 0

    def add(self, data: bytes) -> None:
        """What has been written next."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._unfinished) > LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """There will be no more for now: a line without an end is one as well."""
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def forget(self) -> None:
        """The last lines are those of a program that has ended; the next has its own."""
        self._last.clear()

    def reason(self) -> str:
        """The line that says most probably why the side has ended: "" where that can be read right above. Where the
        lines of the sides go elsewhere, or others have followed, it is repeated.
        """
        above = self._output.lines_written - self._last_at < IN_SIGHT
        if not self._last or (above and _same_file(sys.stdout.fileno(), sys.stderr.fileno())):
            return ""
        # The last line of a stack trace says less than the one that names the error.
        telling = next((at for at, line in enumerate(self._last) if ERROR_LINE.search(line)), -1)
        lines = list(self._last)[telling:] if telling >= 0 else list(self._last)[-3:]
        return "".join(f"\n  {line}" for line in lines[:10])

    def _line(self, line: bytes) -> None:
        line = line.rstrip()
        if line:
            self._last.append(line.decode(errors="replace"))
        self._output.write_line(self._name, line)
        self._last_at = self._output.lines_written


def _same_file(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)

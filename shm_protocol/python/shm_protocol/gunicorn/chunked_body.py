"""Finds where a chunked body ends (RFC 9112 section 7.1). It decodes nothing and refuses nothing: see RequestBuffer."""

import enum
import re
from typing import Final

CRLF: Final = b"\r\n"
BARE_LF: Final = re.compile(rb"(?<!\r)\n")
BARE_CR: Final = re.compile(rb"\r[^\n]")
SIZE_LINE: Final = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;|$)")
PART_OF_A_SIZE_LINE: Final = re.compile(rb"[0-9a-fA-F]+(?:[ \t]*(?:;.*)?)?\r?", re.DOTALL)

MAX_SIZE_LINE_BYTES: Final = 8190
"""gunicorn's parser refuses a longer one."""

MAX_SIZE_DIGITS: Final = 16
"""Of a chunk's size, as in Node's parser; no such chunk ends."""


CHUNK_BYTES: Final = "shm_polyglot.chunk_bytes"
"""The key in `environ` for how long a body in chunks is at least, as the worker has seen when the app was called."""


class _In(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    TRAILERS = enum.auto()


class ChunkedBody:
    """How far a chunked body has been looked at. `start`: where it begins in the data."""

    def __init__(self, start: int) -> None:
        self.needed = start
        """So many bytes of data there are at least, as far as the chunks so far tell."""
        self.size = 0
        """So long the decoded body is at least."""
        self.is_broken = False
        """Whether the parser refuses it, or waits for what can never come, whatever comes."""
        self._position = start
        self._searched = start
        self._state = _In.SIZE

    def ends_in(self, data: bytearray) -> bool:
        """Whether all of the body is there, or the parser refuses it whatever comes. `data` only ever grows."""
        while True:
            if self._state is _In.TRAILERS:
                return self._trailers_end_in(data)
            if self._state is _In.DATA:
                if len(data) >= self.needed - 1 and not CRLF.startswith(data[self.needed - 2 : self.needed]):
                    return self._break()
                if len(data) < self.needed:
                    return False
                self._begin(_In.SIZE, self.needed)
            end = data.find(CRLF, self._searched)
            line = data[self._position : end if end >= 0 else len(data)]
            # Also where it has come whole: the parser refuses a line by what it has at once.
            if len(line) > MAX_SIZE_LINE_BYTES:
                return self._break()
            if end < 0:
                self._searched = max(self._position, len(data) - 1)
                if (line and not PART_OF_A_SIZE_LINE.fullmatch(line)) or b"\n" in line:
                    return self._break()
                return False
            size = SIZE_LINE.match(line)
            if size is None or b"\n" in line or len(size[1].lstrip(b"0")) > MAX_SIZE_DIGITS:
                return self._break()
            length = int(size[1], 16)
            if length:
                self._begin(_In.DATA, end + len(CRLF))
                self.needed = self._position + length + len(CRLF)
                self.size += length
            else:
                self._begin(_In.TRAILERS, end + len(CRLF))

    def _break(self) -> bool:
        self.is_broken = True
        return True

    def _begin(self, state: _In, position: int) -> None:
        self._state = state
        self._position = self._searched = self.needed = position

    def _trailers_end_in(self, data: bytearray) -> bool:
        if data.startswith(CRLF, self._position):
            return True
        end = data.find(CRLF + CRLF, self._searched)
        is_broken = BARE_LF.search(data, self._searched) or BARE_CR.search(data, self._searched)
        self._searched = max(self._position, len(data) - 3)
        if is_broken:
            return self._break()
        return end >= 0

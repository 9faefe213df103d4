"""Collects the bytes of an HTTP/1.1 request until all of it is there.

The worker's loop must not wait for the rest of a request: everybody else would wait with it. So it collects, and has
only what is complete parsed. This is no parser: it looks for the end of the request, and where it cannot tell, or the
parser will refuse the request whatever comes, or the request is beyond its limit, it says "ready" and leaves it to
gunicorn's parser, which knows.
"""

import re
from typing import Final

from .chunked_body import BARE_LF, ChunkedBody

END_OF_LINE: Final = b"\r\n"
END_OF_HEAD: Final = b"\r\n\r\n"
EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)+")
FIRST_BYTE: Final = re.compile(rb"[!-~\r]")
REQUEST_LINE: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/1\.[0-9]")
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*0*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
FRAMING: Final = re.compile(rb"\r\n(?:content-length|(transfer-encoding))[ \t]*:", re.IGNORECASE)
CHUNKED: Final = re.compile(
    rb"\r\ntransfer-encoding:[ \t]*(?:(?:identity|compress|deflate|gzip)[ \t]*,[ \t]*)*chunked[ \t]*\r\n", re.IGNORECASE
)
EXPECTATIONS: Final = re.compile(rb"\r\nexpect:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)

MAX_LINES: Final = 2 * 32768
"""Twice as many as gunicorn takes fields, whatever it is told."""

MAX_LINE_BYTES: Final = 8192
"""gunicorn's parser takes no longer request line."""


class RequestBuffer:
    """The bytes of one connection that no parser has seen yet.

    limit: the most it collects before it gives up. head_limit: the longest head that the parser takes. body_limit: the
    longest body that it collects, if that is less. line_limit: a head of more fields is none for the parser, which
    would look at each before it says so.
    """

    def __init__(self, limit: int, head_limit: int, body_limit: int | None = None, line_limit: int = MAX_LINES) -> None:
        self._line_limit = line_limit
        self._limit = limit
        self._body_limit = limit if body_limit is None else body_limit
        self._head_limit = head_limit
        self._data = bytearray()
        self._expects_continue = False
        self._forget_request()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def has_begun(self) -> bool:
        """Whether a request has. An empty line before one is nothing (RFC 9112 section 2.2)."""
        return bool(self._data) and self._data != b"\r"

    @property
    def is_broken(self) -> bool:
        """Whether a parser would wait in vain: it begins as no request does, or its body is in no chunks."""
        if self._chunks is not None:
            return self._chunks.is_broken
        return not FIRST_BYTE.match(self._data)

    @property
    def has_too_many_lines(self) -> bool:
        """Whether its head has, so that it is to be refused without the parser."""
        # One is the request line.
        return self._lines > 1 + self._line_limit

    @property
    def chunk_bytes(self) -> int:
        """How long the body of the present request is at least, as far as its chunks tell."""
        return 0 if self._chunks is None else self._chunks.size

    def feed(self, data: bytes) -> bool:
        """Adds what has arrived. True when the request is ready for the parser."""
        self._data += data
        if self._length_of_head is None:
            # RFC 9112 section 2.2: some clients send one behind a body; as Node's parser, also one of LF alone.
            if empty := EMPTY_LINES.match(self._data):
                del self._data[: empty.end()]
            if not self._has_head():
                return self._is_refused
        if self._chunks is not None:
            return self._chunks.ends_in(self._data) or self._is_beyond_limits(self._chunks)
        return len(self._data) >= self._length

    def take_expectation(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the rest. True once a request."""
        expects, self._expects_continue = self._expects_continue, False
        # Who has begun to send the body does not wait.
        return expects and len(self._data) == self._length_of_head

    def take(self) -> bytes:
        """Everything collected; the buffer is empty then."""
        data = bytes(self._data)
        self._data = bytearray()
        self._forget_request()
        return data

    def _forget_request(self) -> None:
        self._searched = 0
        self._lines = 0
        self._has_line = False
        self._is_refused = False
        self._length_of_head: int | None = None
        self._length = 0
        self._chunks: ChunkedBody | None = None
        self._expects_continue = False

    def _has_head(self) -> bool:
        data = self._data
        end = data.find(END_OF_HEAD, max(0, self._searched - len(END_OF_HEAD) + 1))
        # A line may end in the midst of what was searched already and what has come now.
        self._lines += data.count(END_OF_LINE, max(0, self._searched - 1), len(data) if end < 0 else end)
        if end < 0 or self.has_too_many_lines:
            self._is_refused = self._cannot_become_a_head() or self.has_too_many_lines
            self._searched = len(data)
            return False
        self._length_of_head = end + len(END_OF_HEAD)
        self._look_at(bytes(data[: self._length_of_head]))
        return True

    def _cannot_become_a_head(self) -> bool:
        data = self._data
        if data and not FIRST_BYTE.match(data):
            return True
        if not self._has_line:
            end_of_line = data.find(END_OF_LINE, 0, MAX_LINE_BYTES + len(END_OF_LINE))
            self._has_line = end_of_line >= 0 and REQUEST_LINE.fullmatch(data, 0, end_of_line) is not None
            if not self._has_line and (end_of_line >= 0 or len(data) > MAX_LINE_BYTES):
                return True
        return (
            len(data) > self._head_limit + MAX_LINE_BYTES
            or BARE_LF.search(data, max(0, self._searched - 1)) is not None
        )

    def _look_at(self, head: bytes) -> None:
        """Finds out how long the request is; `_length` stays that of the head where the parser refuses it anyway."""
        self._length = len(head)
        framing = FRAMING.findall(head)
        if len(framing) != 1 or BARE_LF.search(head):
            # Or told twice how long the body is, or in both ways: nothing to wait for, because the parser refuses it.
            return
        if framing[0]:
            if CHUNKED.search(head):
                self._chunks = ChunkedBody(len(head))
        elif announced := CONTENT_LENGTH.search(head):
            # More digits say no more than that it is beyond the limit.
            length = int(announced[1][:18])
            if length <= self._body_limit and len(head) + length <= self._limit:
                self._length += length
        if b"expect:" in head.lower():
            self._look_at_expectations(head)

    def _look_at_expectations(self, head: bytes) -> None:
        expectations = [expectation.lower() for expectation in EXPECTATIONS.findall(head)]
        if expectations == [b"100-continue"]:
            self._expects_continue = head.partition(END_OF_LINE)[0].endswith(b"HTTP/1.1")
        elif expectations:
            # The parser refuses them, and the client may wait for that before it sends the body.
            self._length = len(head)
            self._chunks = None

    def _is_beyond_limits(self, chunks: ChunkedBody) -> bool:
        return chunks.size > self._body_limit or max(chunks.needed, len(self._data)) > self._limit

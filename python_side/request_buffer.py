"""Collects the bytes of an HTTP/1.1 request until all of it is there.

A worker with one thread must not wait for the rest of a request: everybody else would wait with it. So it collects in
its loop, and parses only what is complete. This is no parser: it looks for the end of the request, and where it cannot
tell, or the request is beyond its limit, it says "ready" and leaves it to gunicorn's parser, which knows.
"""

import re
from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
FRAMING: Final = re.compile(rb"\r\n(?:content-length|(transfer-encoding))[ \t]*:", re.IGNORECASE)
EXPECT: Final = re.compile(rb"\r\nexpect:", re.IGNORECASE)


class RequestBuffer:
    """The bytes of one connection that no parser has seen yet. `limit` is the most it collects before it gives up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._length_of_head: int | None = None
        self._length_of_body: int | None = None

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> bool:
        """Adds what has arrived. True when the request is ready for the parser."""
        searched = max(0, len(self._data) - len(END_OF_HEAD) + 1)
        self._data += data
        if self._length_of_head is None:
            end = self._data.find(END_OF_HEAD, searched)
            if end < 0:
                return len(self._data) > self._limit
            self._length_of_head = end + len(END_OF_HEAD)
            self._length_of_body = self._announced_length(self._length_of_head)
        if self._length_of_body is None:
            # Chunked: the end of the last chunk looks like this. In the midst of the body it is only a guess.
            return len(self._data) > self._limit or (
                len(self._data) > self._length_of_head and self._data.endswith(END_OF_HEAD)
            )
        length = self._length_of_head + self._length_of_body
        return length > self._limit or len(self._data) >= length

    def take(self) -> bytes:
        """Everything collected; the buffer is empty then."""
        data = bytes(self._data)
        self._data.clear()
        self._length_of_head = self._length_of_body = None
        return data

    def _announced_length(self, length_of_head: int) -> int | None:
        head = self._data[:length_of_head]
        if EXPECT.search(head):
            # The client waits for `100 Continue`, which the parser's side sends.
            return 0
        framing = FRAMING.findall(head)
        if len(framing) > 1:
            # Told twice how long the body is, or in both ways: nothing to wait for, because the parser refuses it.
            return 0
        if framing and framing[0]:
            return None
        announced = CONTENT_LENGTH.search(head)
        return int(announced[1]) if announced else 0

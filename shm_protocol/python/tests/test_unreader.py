"""What the gunicorn worker's parser reads from."""

from __future__ import annotations

import socket

from shm_protocol.gunicorn.client_socket import ClientSocket
from shm_protocol.gunicorn.http_connection import DeadlineUnreader


class _Host:
    """Nothing here waits or sends."""


def test_a_head_that_was_collected_is_read_at_once_and_a_body_in_pieces() -> None:
    near, far = socket.socketpair()
    with near, far:
        unreader = DeadlineUnreader(ClientSocket(near, _Host(), lambda: None))  # type: ignore[arg-type]
        head, body = b"GET / HTTP/1.1\r\nLong: " + b"x" * 100_000 + b"\r\n\r\n", b"1\r\nx\r\n" * 10_000
        unreader.give(head + body)
        assert unreader.read() == head
        assert len(unreader.read()) == unreader.mxchunk
        unreader.take_buffered()
        # Nothing but a head, which has not ended yet.
        unreader.give(head[:-1])
        assert unreader.read() == head[:-1]


def test_what_was_collected_is_read_in_pieces_unless_more_is_wanted() -> None:
    near, far = socket.socketpair()
    with near, far:
        unreader = DeadlineUnreader(ClientSocket(near, _Host(), lambda: None))  # type: ignore[arg-type]
        data = bytes(range(256)) * 4096
        unreader.give(b"\r\n\r\n" + data)
        assert unreader.read() == b"\r\n\r\n"
        pieces = [unreader.read() for _ in range(3)]
        assert [len(piece) for piece in pieces] == [unreader.mxchunk] * 3
        unreader.unread(pieces.pop())
        rest = unreader.read() + unreader.chunk(len(data))
        assert b"".join(pieces) + rest == data
        unreader.give(b"\r\n\r\n" + data)
        unreader.read()
        first = unreader.read(10)
        assert first + unreader.take_buffered() == data
        assert unreader.take_buffered() == b""

"""A client's connection to a BridgeWorker: collected bytes, then gunicorn's parser."""

import math
import socket
import time
from collections import deque
from typing import Any, Final

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from python_side.request_buffer import RequestBuffer

MAX_COLLECTED_BYTES: Final = (1 << 20) + (1 << 16)
"""The largest request that is collected before it is handled: a body of 1 MiB and its head."""

RECEIVE_BYTES: Final = 1 << 16


class DeadlineUnreader(SocketUnreader):
    """What the parser reads from: first what `unread` gave it, then the socket, until a deadline for all of it."""

    deadline: float = -math.inf
    """As time.monotonic() counts. In the past, nothing is read from the socket."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next piece from the socket. Raises TimeoutError at the deadline."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the client did not send its request in time")
        self.sock.settimeout(remaining)
        return self.sock.recv(min(max(size_hint or 0, self.mxchunk), RECEIVE_BYTES))


class HttpConnection(TConn):
    """A connection that the worker's poller watches from its acceptance to its end."""

    parser: RequestParser

    def __init__(self, cfg: Config, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.buffer: Final = RequestBuffer(MAX_COLLECTED_BYTES)
        self.queue: deque[HttpConnection] | None = None
        """The worker's queue in which it waits, if it waits."""
        self.expires = math.inf
        """When it has waited long enough, as time.monotonic() counts."""
        self._unreader: Final = DeadlineUnreader(sock)
        self.parser = RequestParser(cfg, sock, client)
        self.parser.unreader = self._unreader
        # ThreadWorker.handle() does neither again.
        self.initialized = True
        self.data_ready = True

    def receive(self) -> bytes | None:
        """What has arrived: empty at the end of file, None if there is nothing yet. Raises OSError."""
        try:
            return self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None

    def hand_over(self, deadline: float) -> None:
        """Gives what was collected to the parser, which may read what is missing from the socket until `deadline`."""
        self._unreader.unread(self.buffer.take())
        self._unreader.deadline = deadline

    def take_back(self) -> bool:
        """Collects again, beginning with what the parser has left over. True if that is a complete request."""
        self.sock.setblocking(False)
        left = self._unreader.take_buffered()
        return bool(left) and self.buffer.feed(left)

    def body_is_finished(self) -> bool:
        """Discards what was collected of a body that the app has not read. False if there is more on its way."""
        self._unreader.deadline = -math.inf
        # The type stubs are of an older gunicorn, where it gave nothing.
        return bool(self.parser.finish_body())  # type: ignore[func-returns-value]

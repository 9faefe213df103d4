"""What gunicorn and the app take for the client's socket: writing to it waits for nobody but a stream's reader."""

import errno
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

from gunicorn.http.wsgi import Response

from .http_refusals import CONTINUE

MAX_UNSENT_BYTES: Final = 1 << 16
"""The next piece of an answer waits while more than so much of it has not been sent. One piece may be of any size."""

JOINED_BYTES: Final = 1 << 16
"""The most that is copied together to be sent at once."""


class Host(Protocol):
    """What the socket needs of the worker."""

    def outside(self, give_up: Callable[[], None]) -> AbstractContextManager[None]:
        """Gives the thread's slot to somebody else while the thread waits for a client. `give_up` ends the wait."""

    def take_turns(self) -> None:
        """Lets others have the slot if this thread has had it for long. Called between the pieces of an answer."""


class ClientSocket:
    """The sending side. The loop sends what the system does not take at once, and ends it for a client that stalls.

    send_later: has the loop call `flush` when the socket takes more; may be called in any thread.
    """

    def __init__(self, raw: socket.socket, host: Host, send_later: Callable[[], None]) -> None:
        self.raw: Final = raw
        self.unsent_bytes = 0
        self.has_begun = False
        """Whether anything of the present answer has been given to it."""
        self.client_waits = False
        """Whether the client sends no body before it gets `100 Continue`."""
        self.chunk_bytes = 0
        """So long the present request's body is at least, as far as its chunks have told before it was handed over."""
        self.failed = False
        """Whether the client takes no more: it has gone, or stalled."""
        self.has_ended = False
        """Whether nothing is to follow what has been given to it so far."""
        self.response: Response | None = None
        """The present answer, as gunicorn counts it."""
        self._host: Final = host
        self._send_later: Final = send_later
        self._unsent: Final[deque[memoryview]] = deque()
        self._gathered: list[bytes] | None = None
        self._lock: Final = threading.Lock()
        self._has_room: Final = threading.Condition(self._lock)

    # For gunicorn and the app.

    def sendall(self, data: bytes) -> None:
        """Sends, or keeps for the loop to send. Waits first, without a slot, while too much is kept already.

        Raises BrokenPipeError when the client takes no more.
        """
        if self._gathered is not None:
            self._gathered.append(data)
            return
        if self.unsent_bytes > MAX_UNSENT_BYTES:
            self._wait_for_room()
        elif self.has_begun:
            self._host.take_turns()
        self.send_or_keep(data)

    def send_together(self, write: Callable[[bytes], object], data: bytes) -> None:
        """Calls `write`, and sends at once what it sends piece by piece. Raises BrokenPipeError as `sendall` does."""
        pieces = self._gathered = []
        try:
            write(data)
        finally:
            self._gathered = None
            if sum(map(len, pieces)) <= JOINED_BYTES:
                pieces = [b"".join(pieces)] if pieces else []
            for piece in pieces:
                self.sendall(piece)

    def send_or_keep(self, data: bytes) -> None:
        """Sends, or keeps for the loop to send; waits for nobody, so the loop itself may call it.

        Raises BrokenPipeError when the client takes no more.
        """
        with self._lock:
            self._require_reader()
            self.has_begun = True
            piece = memoryview(data)
            is_first = not self._unsent
            if is_first:
                piece = piece[self._send(piece) :]
                if not piece:
                    return
            self._unsent.append(piece)
            self.unsent_bytes += len(piece)
        if is_first:
            self._send_later()

    def send(self, data: bytes) -> int:
        """gunicorn sends `100 Continue` so, before the app has seen the request: see `invite`."""
        if not data.startswith(b"HTTP/1.1 100 "):
            self.sendall(data)
        return len(data)

    def invite(self) -> None:
        """Called before more is read: has a client send its body that waits to be told so. RFC 9110 section 10.1.1: an
        app that needs no body, or refuses it, answers at once.
        """
        if self.client_waits and not self.has_begun:
            self.client_waits = False
            self.send_or_keep(CONTINUE)
            self.has_begun = False

    def setblocking(self, flag: bool) -> None:
        """Nothing: the loop's socket never blocks."""

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the worker has its own deadlines."""

    def gettimeout(self) -> float | None:
        """None, as of a socket that blocks."""
        return None

    def shutdown(self, how: int) -> None:
        """Ends the answer. gunicorn does so to one that cannot go on, and would wait for the client then."""
        self.close()
        raise OSError(errno.ENOTCONN, "the worker closes the connection")

    def close(self) -> None:
        """Nothing follows. What has been written is still sent, as by a socket: all of an answer may be there already.
        The connection itself is the loop's to close.
        """
        self.has_ended = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    # For the worker.

    @property
    def takes_no_more(self) -> bool:
        """Whether what is written is refused."""
        return self.failed or self.has_ended

    def is_whole(self) -> bool:
        """Whether the present answer has as many bytes as its head has announced."""
        response = self.response
        if response is None or response.response_length is None:
            return True
        if response.req.method == "HEAD" or response.status_code == HTTPStatus.NOT_MODIFIED:
            return True
        return response.sent >= response.response_length

    # For the loop, and for who waits.

    def wait_for_data(self, seconds: float) -> None:
        """Waits, without a slot, for the client to send something."""
        with self._host.outside(partial(self.raw.shutdown, socket.SHUT_RD)):
            readable = select.poll()
            readable.register(self.raw, select.POLLIN)
            readable.poll(seconds * 1000)

    def flush(self) -> int:
        """Sends of what is kept as much as the system takes. Gives how many bytes that were."""
        with self._lock:
            before = self.unsent_bytes
            try:
                while self._unsent and not self.failed:
                    piece = self._unsent[0]
                    sent = self._send(piece)
                    self.unsent_bytes -= sent
                    if sent < len(piece):
                        self._unsent[0] = piece[sent:]
                        break
                    self._unsent.popleft()
            except OSError:
                self._fail()
            if self.unsent_bytes <= MAX_UNSENT_BYTES:
                self._has_room.notify_all()
            return before - self.unsent_bytes

    def fail(self) -> None:
        """Forgets what has not been sent; who waits or writes is told."""
        with self._lock:
            self._fail()

    def _fail(self) -> None:
        self.failed = True
        self._unsent.clear()
        self.unsent_bytes = 0
        self._has_room.notify_all()

    def _send(self, piece: memoryview) -> int:
        try:
            return self.raw.send(piece)
        except BlockingIOError:
            return 0
        except OSError:
            self._fail()
            raise

    def _wait_for_room(self) -> None:
        with self._host.outside(self.fail), self._lock:
            while self.unsent_bytes > MAX_UNSENT_BYTES and not self.failed:
                self._has_room.wait()

    def _require_reader(self) -> None:
        if self.failed:
            raise BrokenPipeError(errno.EPIPE, "the client does not take the answer")
        if self.has_ended:
            raise BrokenPipeError(errno.EPIPE, "the answer has been ended")

"""A client's connection to a BridgeWorker: collected bytes, then gunicorn's parser."""

import errno
import math
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from gunicorn.config import Config
from gunicorn.http import Request
from gunicorn.http.errors import ExpectationFailed, InvalidHeader, UnsupportedTransferCoding
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from . import http_refusals
from .authority import HOST
from .client_socket import ClientSocket, Host
from .request_buffer import END_OF_HEAD, RequestBuffer

if TYPE_CHECKING:
    from .waiting import Waiting

MAX_COLLECTED_BODY_BYTES: Final = 1 << 20
"""The largest body that is collected before its request is handled."""

MAX_COLLECTED_BYTES: Final = MAX_COLLECTED_BODY_BYTES + (1 << 16)
"""The same with the head, and with what is between chunks."""

RECEIVE_BYTES: Final = 1 << 16


class RequestTooSlow(ConnectionResetError):
    """The client has not sent its request in time. Of a kind that gunicorn and Werkzeug take for a lost client."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client did not send its request in time")


class DeadlineUnreader(SocketUnreader):
    """What the parser reads from: first what `give` gave it, then the socket, until a deadline for all of it."""

    def __init__(self, client: ClientSocket) -> None:
        super().__init__(cast("socket.socket", client))
        self.deadline = -math.inf
        """As time.monotonic() counts. In the past, nothing is read from the socket."""
        self.was_late = False
        """Whether the deadline has passed while the present request was read."""
        self.was_cut_off = False
        """Whether the client has ended it."""
        self._client: Final = client
        self._given = memoryview(b"")

    def give(self, data: bytes) -> None:
        """What has come from the socket already. The head is read at once, because the parser looks through all that it
        has of one for each piece. A body is read in pieces, as if it came now: of that it copies all that it has for
        each chunk, and would hold everybody for a minute by a megabyte of chunks of one byte.
        """
        whole = data + self.take_buffered()
        head, end, _ = whole.partition(END_OF_HEAD)
        self.unread(head + end)
        self._given = memoryview(whole)[len(head) + len(end) :]

    def take_buffered(self) -> bytes:
        """What was given or read and is left."""
        left = super().take_buffered() + bytes(self._given)
        self._given = memoryview(b"")
        return left

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next piece from the socket; the thread waits for it without a slot. Raises RequestTooSlow."""
        wanted = max(size_hint or 0, self.mxchunk)
        if self._given:
            piece, self._given = bytes(self._given[:wanted]), self._given[wanted:]
            return piece
        size = min(wanted, RECEIVE_BYTES)
        while True:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                self.was_late = self.deadline > 0
                raise RequestTooSlow
            self._client.invite()
            try:
                data = self._client.raw.recv(size)
            except BlockingIOError:
                self._client.wait_for_data(remaining)
            else:
                self.was_cut_off = not data
                return data


class StrictRequest(Request):
    """A request as gunicorn's parser takes it, and as RFC 9110 and 9112 have it."""

    version: tuple[int, int]
    _expected_100_continue: bool

    def set_body_reader(self) -> None:
        """Called at the end of the head. Raises ParseException."""
        try:
            super().set_body_reader()
        except UnsupportedTransferCoding:
            # 9112 section 6.3: that nobody knows where the body ends goes before that it cannot be decoded.
            if self.version < (1, 1) or not self._ends_in_chunks():
                raise InvalidHeader("TRANSFER-ENCODING", req=self) from None
            raise
        # 9110 section 5.3: two fields are one list, which gunicorn refuses.
        may_expect = self._expected_100_continue or self.version < (1, 1)
        if may_expect and sum(name == "EXPECT" for name, _ in self.headers) > 1:
            raise ExpectationFailed("more than one")

    def _ends_in_chunks(self) -> bool:
        codings = ",".join(value for name, value in self.headers if name == "TRANSFER-ENCODING")
        return codings.rpartition(",")[2].strip(" \t").lower() == "chunked"


class StrictRequestParser(RequestParser):
    """Makes them."""

    mesg_class = StrictRequest


class HttpConnection(TConn):
    """A connection that the worker's poller watches from its acceptance to its end."""

    parser: RequestParser

    def __init__(
        self,
        cfg: Config,
        raw: socket.socket,
        client: Any,
        server: Any,
        *,
        host: Host,
        head_limit: int,
        line_limit: int,
        send_later: Callable[["HttpConnection"], None],
    ) -> None:
        super().__init__(cfg, raw, client, server)
        self.out: Final = ClientSocket(raw, host, lambda: send_later(self))
        # What gunicorn and the app use of a socket.
        self.sock = cast("socket.socket", self.out)
        self.buffer: Final = RequestBuffer(MAX_COLLECTED_BYTES, head_limit, MAX_COLLECTED_BODY_BYTES, line_limit)
        self.queue: Waiting | None = None
        """The worker's queue in which it waits, if it waits."""
        self.expires = math.inf
        """When it has waited long enough, as time.monotonic() counts."""
        self.events = 0
        """What the worker's poller watches it for."""
        self.is_handled = False
        """Whether a request of it waits for a thread or has one."""
        self.held_bytes = 0
        """What it holds of the loop's budget of unfinished requests."""
        self.keeps_alive = False
        """Whether another request may follow the answer that is being sent."""
        self.ends = math.inf
        """When it is closed at the latest, once it is being closed."""
        self._unreader: Final = DeadlineUnreader(self.out)
        self.parser = StrictRequestParser(cfg, self.sock, client)
        self.parser.unreader = self._unreader
        # ThreadWorker.handle() does neither again.
        self.initialized = True
        self.data_ready = True

    def why_unanswered(self) -> bytes:
        """The answer to a request that nobody else has answered."""
        if self._unreader.was_late:
            return http_refusals.TOO_SLOW
        return http_refusals.CUT_OFF if self._unreader.was_cut_off else http_refusals.FAILED

    def receive(self) -> bytes | None:
        """What has arrived: empty at the end of file, None if there is nothing yet. Raises OSError."""
        try:
            return self.out.raw.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None

    def hand_over(self, deadline: float) -> None:
        """Gives what was collected to the parser, which may read what is missing from the socket until `deadline`."""
        self.out.client_waits = self.buffer.take_expectation()
        self.out.chunk_bytes = self.buffer.chunk_bytes
        self._unreader.give(self.buffer.take())
        self._unreader.deadline = deadline
        self._unreader.was_late = self._unreader.was_cut_off = False
        self.out.has_begun = False

    def take_back(self) -> bool:
        """Collects again, beginning with what the parser has left over. True if that is a complete request."""
        left = self._unreader.take_buffered()
        return bool(left) and self.buffer.feed(left)

    def body_is_finished(self) -> bool:
        """Discards what was collected of a body that the app has not read. False if there is more on its way."""
        self._unreader.deadline = -math.inf
        try:
            # The type stubs are of an older gunicorn, where it gave nothing.
            return bool(self.parser.finish_body())  # type: ignore[func-returns-value]
        except RequestTooSlow:
            return False

    def close(self, graceful: bool = False) -> None:
        """Closes the socket. Never waits: to linger is the loop's."""
        self.out.raw.close()


def mend(request: Request) -> None:
    """What RFC 9112 asks for and gunicorn's parser leaves undone."""
    # Section 9.6: `close` counts wherever it stands in `Connection`.
    for name, value in request.headers:
        if name == "CONNECTION" and "close" in [option.strip(" \t") for option in value.lower().split(",")]:
            request.force_close()
    # Section 3.2.2: of an absolute-form target, the host counts, whatever host `Host` names.
    uri = request.uri or "/"
    if "://" in uri and not uri.startswith("/"):
        host = urlsplit(uri).netloc.rpartition("@")[2]
        request.headers = [
            (name, host if name == "HOST" and HOST.fullmatch(value) else value) for name, value in request.headers
        ]
        request.path = request.path or "/"

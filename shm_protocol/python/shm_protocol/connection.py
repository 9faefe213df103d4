"""One connection: calls, and serves what the peer calls, by the rules of session.py over a transport.

A connection belongs to one thread at a time. While it waits for an answer it serves the calls that arrive, so chains
of calls between both sides cannot deadlock.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextvars import ContextVar
from pathlib import Path
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, NoReturn, Self

from . import forks, frames
from .direct_calls import Unfinished, direct_calls
from .errors import (
    BridgeError,
    CallTimeout,
    CallTooDeep,
    Cancelled,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    ProtocolError,
    RemoteError,
    UnknownMethod,
)
from .exposed import Exposable, Exposed, wrong_count
from .handshake import Role
from .session import Call, Request, Session
from .transport import MessageTransport

logger: Final = logging.getLogger("shm_protocol")

DEFAULT_TIMEOUT_S: Final = 30.0
"""How long a call waits for its answer. Not sent to the peer, which need not know of a deadline nobody chose."""

_NO_LIMIT_NS: Final = -1
_NO_LIMIT_S: Final = 100 * 365 * 86400.0

DEFAULT_CREDIT: Final = 64
"""Items of a stream that the peer may send ahead."""

SERVING_DEPTH_MAX: Final = 16
"""Unrelated calls that may be served one inside the other, each while the one outside waits for an answer of its own.
Beyond it only calls of a chain under way are served: they may be what the one outside waits for."""

READ_AHEAD_MAX: Final = 1024
"""Messages read at once, at most."""

READ_AHEAD_WHILE_SERVING: Final = (256, 1024 * 1024)
"""Requests and bytes of them that are read before the next one is started, to see whether it has been cancelled. The
rest stays in the ring, unless something of ours waits for room: then all is read, so that two full rings cannot block
each other."""

SERVE_READY_MAX: Final = 64
"""Requests that serve_ready starts, at most, before the event loop gets its turn."""

POLL_NS: Final = 2_000
"""How long one poll looks for a message: as long as a look at the other descriptors would take."""

STALE_AFTER_S: Final = 0.001
"""A connection idle for longer is checked for its peer's end before a call is sent. Both sides are parked by then, and
one system call more is little beside the wake-ups."""

PollResult = Literal["ready", "empty", "parked"]


class Peer(NamedTuple):
    """What the other side said of itself in the handshake."""

    name: str
    language: str
    library: str


class CurrentCall:
    """The call of the peer's that is being served.

    connection: the one it came by; calls made while serving go back on it.
    """

    __slots__ = ("_request", "connection")

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection: Final = connection
        self._request: Final = request

    @property
    def method(self) -> str:
        """The name it was called by."""
        return self._request.method

    @property
    def chain(self) -> Sequence[str]:
        """The methods being served above it, outermost first."""
        return self._request.chain

    @property
    def traceparent(self) -> str | None:
        """W3C trace context."""
        return self._request.traceparent

    @property
    def remaining(self) -> float | None:
        """Seconds the caller will still wait, or None where it did not say. Not below 0."""
        return _remaining(self._request)


def _remaining(request: Request) -> float | None:
    deadline = request.deadline
    return None if deadline == math.inf else max(0.0, deadline - monotonic())


being_served: Final[ContextVar[tuple[Connection, Request] | None]] = ContextVar("shm_protocol.serving", default=None)
"""What the CurrentCall of this context is made of: most functions never ask for one."""


def current_call() -> CurrentCall | None:
    """The call being served in this context, or None outside of an exposed function."""
    serving = being_served.get()
    return None if serving is None else CurrentCall(*serving)


class StaleConnection(PeerGone):
    """The peer had gone before anything was sent: the one case in which a pool may dial again and send."""


class Connection:
    """A connection to the peer. Made by connect() and attach().

    Every method may raise PeerGone or ProtocolError, after which the connection has ended; ConnectionClosed after that,
    after close() and in a forked child; and RuntimeError when another thread than the owner uses it.

    transport: "shm" or "socket". role: "client" or "worker". peer: what the other side said of itself.
    served: requests and notifications started here. closed: it has ended or been closed.
    """

    def __init__(self, transport: MessageTransport, *, exposed: Exposed, role: Role, peer: Peer, path: Path) -> None:
        self.role: Final = role
        self.peer: Final = peer
        self.path: Final = path
        self.served = 0
        self.closed = False
        self.owner = get_ident()
        self._transport: Final = transport
        self._kind: Final = transport.kind
        self._max_message: Final = transport.max_message
        # Bound once: two attribute look-ups less in each call.
        self._send: Final = transport.send
        self._receive: Final = transport.receive
        self._try_receive: Final = transport.try_receive
        self._count_call: Final = transport.count_call
        self._session: Final = Session(transport.max_message)
        self._direct: Final = direct_calls(transport, self._session, STALE_AFTER_S)
        self._call_directly: Final = self._direct.call
        self._answer_directly: Final = self._direct.answer
        self._functions: Final = exposed.functions
        self._argument_counts: Final = exposed.argument_counts
        self._exposed: Final = exposed
        self._outbox: Final[deque[bytes]] = deque()
        self._clear = True  # nothing waits to be sent, neither in the transport nor in the outbox
        self._current: Request | None = None  # being served
        self._depth = 0
        self._stream_first = False  # whose turn it is, where both a stream and a request could go on
        self._peer_left = False  # end of the socket; what it sent before may still be unread
        self._ended: BridgeError | None = None
        self._last_used = monotonic()
        forks.register(self)

    # Calling.

    def call(
        self, method: str, *args: Any, timeout: float | None = DEFAULT_TIMEOUT_S, traceparent: str | None = None
    ) -> Any:
        """Call an exposed function of the peer and wait for what it returns.

        timeout: seconds, or None to wait without limit. Made while serving a call, it waits no longer than that one's
        caller does. traceparent: W3C trace context, else that of the call being served.

        Raises RemoteError when the function raised; CallTimeout, UnknownMethod, Busy, CallTooDeep, EncodeError,
        MessageTooLarge; and what any method may raise.
        """
        self._require_owner()
        return self.call_with(method, args, timeout, traceparent)

    def call_with(self, method: str, args: Sequence[Any], timeout: float | None, traceparent: str | None) -> Any:
        """The same as call, with the arguments in a sequence, and for a caller that knows it is the owner."""
        if timeout is not None and traceparent is None and self._current is None and self._clear:
            session = self._session
            call_id = session.last_id = session.last_id + 1
            try:
                answer = self._call_directly(call_id, method, args, timeout, timeout is not DEFAULT_TIMEOUT_S)
            except BaseException as error:
                self._clear = not self._transport.sending
                self._abandon(call_id, method, error, was_sent=self._direct.sent == call_id)
                raise
            if type(answer) is not Unfinished:
                return answer
            if answer.sent:
                return self._finish_call(call_id, method, answer, timeout)
            session.last_id = call_id - 1
        return self._call_the_long_way(method, args, timeout, traceparent)

    def _finish_call(self, call_id: int, method: str, unfinished: Unfinished, seconds: float) -> Any:
        """Go on with what was called directly: it waits, or something else has come than its answer."""
        try:
            self._clear = not self._transport.sending
            call = self._session.track(call_id, method)
            if unfinished.message is not None:
                self._session.receive(unfinished.message)
            self._wait_for(call, unfinished.began + seconds, seconds)
        except BaseException as error:
            self._count_call(unfinished.began, True)
            self._abandon(call_id, method, error)
            raise
        return self._result_of(call, unfinished.began)

    def _call_the_long_way(
        self, method: str, args: Sequence[Any], timeout: float | None, traceparent: str | None
    ) -> Any:
        began = monotonic()
        meta, seconds = self._make_meta(self._current, method, timeout, traceparent)
        if began - self._last_used > STALE_AFTER_S:
            self._check_peer(method)
        self._last_used = began
        self._send_backlog(method, began + seconds)
        call_id, message = self._session.start(method, args, meta or None)
        was_sent = False
        try:
            call = self._session.track(call_id, method)
            self._post(message)
            was_sent = True
            self._wait_for(call, began + seconds, seconds)
        except BaseException as error:
            self._count_call(began, True)
            self._abandon(call_id, method, error, was_sent=was_sent)
            raise
        return self._result_of(call, began)

    def _wait_for(self, call: Call, deadline: float, seconds: float) -> None:
        while not call.done:
            if not self._advance(deadline, call) and not call.done:
                raise CallTimeout(f"{call.method}: no answer within {seconds:g} s")

    def _result_of(self, call: Call, began: float) -> Any:
        self._count_call(began, call.error is not None)
        if call.error is not None:
            raise call.error
        return call.result

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
    ) -> Stream:
        """Call a function of the peer that gives an iterator, and iterate over what it gives.

        timeout: seconds for the whole stream, or None. credit: how many items the peer may send ahead. Close the
        stream, or use it in a `with`, when it is not read to its end. Raises what call raises, here or while iterating.
        """
        return self.stream_with(method, args, timeout, credit, traceparent)

    def stream_with(
        self, method: str, args: Sequence[Any], timeout: float | None, credit: int, traceparent: str | None
    ) -> Stream:
        """The same as stream, with the arguments in a sequence."""
        if type(credit) is not int or not 1 <= credit <= frames.CREDIT_MAX:
            raise ValueError(f"credit={credit!r}: must be an int from 1 to {frames.CREDIT_MAX}")
        self._require_owner()
        began = monotonic()
        meta, seconds = self._make_meta(self._current, method, timeout, traceparent)
        meta["stream"] = credit
        deadline = began + seconds
        self._check_peer(method)
        self._last_used = began
        self._send_backlog(method, deadline)
        call_id, message = self._session.start(method, args, meta)
        try:
            call = self._session.track(call_id, method, credit)
            self._post(message)
        except BaseException as error:
            self._abandon(call_id, method, error)
            raise
        return Stream(self, call, deadline, seconds, credit)

    def notify(self, method: str, *args: Any, traceparent: str | None = None) -> None:
        """Call a function of the peer without wanting to know what becomes of it: no answer, no error.

        Waits for room if the ring is full, at most the default timeout; then CallTimeout.
        Raises EncodeError, MessageTooLarge, CallTooDeep and what any method may raise.
        """
        self.notify_with(method, args, traceparent)

    def notify_with(self, method: str, args: Sequence[Any], traceparent: str | None) -> None:
        """The same as notify, with the arguments in a sequence."""
        self._require_owner()
        began = monotonic()
        meta, _ = self._make_meta(self._current, method, None, traceparent)
        self._check_peer(method)
        self._last_used = began
        deadline = began + DEFAULT_TIMEOUT_S
        self._send_backlog(method, deadline)
        message = frames.encode_notification(self._session.packer, method, args, meta or None)
        try:
            self._post(message)
            self._send_backlog(method, deadline)
        except BridgeError as error:
            self._end_for(error)
            raise

    # Serving.

    def expose(self, functions: Exposable) -> None:
        """Let the peer call more functions. Raises TypeError and ValueError, see Exposed.add."""
        self._exposed.add(functions)

    def serve(self) -> NoReturn:
        """Serve calls until the connection ends. Raises PeerGone then."""
        self._require_owner()
        while True:
            if not self._is_quiet():
                self._advance(math.inf)
                continue
            try:
                message = self._receive(_NO_LIMIT_NS)
                if message is not None:
                    self._serve_first(message)
            except BridgeError as error:
                self._end_for(error)
                raise

    def serve_ready(self) -> int:
        """Serve what has arrived, without waiting for more. Returns how many functions it has started.

        For an event loop: at most SERVE_READY_MAX at a time, then poll() says "ready" again.
        """
        self._require_owner()
        before = self.served
        try:
            for _ in range(SERVE_READY_MAX):
                has_read = False
                if self._is_quiet():
                    message = self._try_receive()
                    if message is not None:
                        if self._serve_first(message):
                            continue
                        has_read = True
                if not self._flush():
                    # Full: what has arrived is read, so that the peer can go on, but not started.
                    if not self._read_ahead() and self._peer_left:
                        raise PeerGone("the peer has closed the connection")
                    break
                has_read = self._read_ahead(*READ_AHEAD_WHILE_SERVING) or has_read
                if not self._start_next() and not has_read:
                    if self._peer_left:
                        raise PeerGone("the peer has closed the connection")
                    break
        except BridgeError as error:
            self._end_for(error)
            raise
        return self.served - before

    def poll(self) -> PollResult:
        """For an event loop that serves: look whether serve_ready has something to do. Never blocks.

        "ready": call serve_ready. "empty": nothing yet, but polling pays, so look again soon. "parked": the spin budget
        is used up; wait until fileno() is readable, beside whatever else the loop waits for, and then call unpark().
        """
        self._require_owner()
        if self._peer_left or (self._clear and self._has_work()):
            return "ready"
        try:
            state = self._transport.poll(POLL_NS)
        except BridgeError as error:
            self._end_for(error)
            raise
        return "ready" if state == 1 else "empty" if state == 0 else "parked"

    def park(self) -> bool:
        """Park at once, without polling first. False: there is something to serve, and it is not parked."""
        self._require_owner()
        if self._peer_left or (self._clear and self._has_work()):
            return False
        return self._transport.park()

    def unpark(self) -> None:
        """Be awake again after fileno() became readable. Does not raise PeerGone: serve_ready does, when all is
        read.
        """
        self._require_owner()
        self._transport.unpark()
        try:
            self._transport.drain()
        except PeerGone:
            self._peer_left = True
        except BridgeError as error:
            self._end_for(error)
            raise

    def fileno(self) -> int:
        """The descriptor that becomes readable when this side is parked and something arrives."""
        return self._transport.fileno()

    def set_busy(self, busy: bool) -> None:
        """Tell the peer that this side is occupied with something else, such as an HTTP request, or no longer."""
        self._require_owner()
        self._transport.set_busy(busy)

    def leave(self, timeout: float) -> None:
        """Have the peer send no new calls, and serve those it had sent before it knew. Close the connection afterwards.

        timeout: seconds; CallTimeout when there is still something to serve then, such as a stream whose caller grants
        no credit. Safe to call twice.
        """
        self._require_owner()
        deadline = monotonic() + timeout
        self._begin_to_leave()
        while not self._has_served_all():
            if not self._advance(deadline):
                raise CallTimeout(f"{self!r} was still serving {timeout} s after it began to leave")

    # State.

    @property
    def transport(self) -> str:
        """What the messages travel on: "shm" or "socket"."""
        return self._kind

    @property
    def stats(self) -> dict[str, int]:
        """Counters since the beginning: messages and bytes each way, doorbells, parks, calls served, late answers
        dropped.
        """
        session = self._session
        return {
            **self._transport.stats(),
            "served": self.served,
            "outstanding": len(session.pending),
            "queued": len(session.queue),
            "late_answers": session.late_answers,
            "dropped_notifications": session.dropped_notifications,
        }

    def close(self) -> None:
        """End the connection. Calls under way fail with PeerGone, here and at the peer. Safe to call twice."""
        if self._ended is None:
            self._require_owner()
            self._end(ConnectionClosed("the connection has been closed"))

    def interrupt(self) -> None:
        """close() for another thread than the owner: what it waits for fails with ConnectionClosed."""
        self._transport.interrupt("the connection has been closed by another thread")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "ended" if self.closed else self._kind
        return f"<Connection {state} to {self.peer.name!r} as {self.role}>"

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        reason = "the connection belongs to the parent process; dial one after the fork"
        self.closed = True
        self._ended = ConnectionClosed(reason)
        self._transport.close_in_child(reason)

    # Machinery. Whatever raises in here that is no answer to a call goes through _end_for or _abandon.

    def _require_owner(self) -> None:
        if self.owner != get_ident():
            raise RuntimeError(
                f"the connection belongs to thread {self.owner} and was used by thread {get_ident()}; "
                "give each thread its own, or use connect(), whose client may be shared"
            )

    @staticmethod
    def _make_meta(
        current: Request | None, method: str, timeout: float | None, traceparent: str | None
    ) -> tuple[dict[str, Any], float]:
        """What a request made while serving `current` tells beside its arguments, and the seconds to wait."""
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout={timeout!r}: must be greater than 0 seconds, or None")
        meta: dict[str, Any] = {}
        seconds = math.inf if timeout is None else float(timeout)
        told = timeout is not DEFAULT_TIMEOUT_S and seconds != math.inf
        if current is not None:
            chain = [*current.chain, current.method]
            if len(chain) >= frames.CHAIN_MAX:
                raise CallTooDeep(f"call {len(chain) + 1} of the chain {' -> '.join((*chain, method))}")
            meta["chain"] = chain
            traceparent = traceparent if traceparent is not None else current.traceparent
            left = _remaining(current)
            if left is not None and left < seconds:
                if left == 0:
                    raise CallTimeout(f"{method}: the deadline of {current.method}, which calls it, has passed")
                seconds, told = left, True
        if told:
            meta["deadline_ms"] = seconds * 1000
        if traceparent is not None:
            meta["traceparent"] = traceparent
        return meta, seconds

    def _check_peer(self, method: str) -> None:
        """Raise StaleConnection if the peer is gone and has left nothing to read."""
        if self._session.pending or self._current is not None:
            return
        try:
            self._transport.drain()
        except PeerGone as error:
            self._end(error)
            raise StaleConnection(f"{method}: the peer had closed the connection before the call") from None
        except BridgeError as error:
            self._end_for(error)
            raise

    def _is_quiet(self) -> bool:
        """Nothing is under way: what arrives next is all there is to do."""
        session = self._session
        return self._clear and not (session.queue or session.flowing or session.replies or self._depth)

    def _serve_first(self, message: bytes) -> bool:
        """Take a message, the first after a quiet time. If it is a request and all that has arrived, serve it: the
        usual case, without any of the general machinery. False: it is received, and has its turn.
        """
        try:
            ahead = self._try_receive()
        except PeerGone:
            # A later look raises again.
            ahead = None
        session = self._session
        if ahead is None:
            request = session.start_alone(message)
            if request is not None:
                self._serve(request)
            return request is not None
        session.receive(message)
        session.receive(ahead)
        return False

    def _advance(self, deadline: float, waiting: Call | None = None) -> bool:
        """Do one thing: send what waits, start a request, send an item of a stream, or wait for a message and take it.

        waiting: the call to return to as soon as it has something. False: the deadline has passed; what had arrived by
        then has been taken.
        """
        try:
            left = deadline - monotonic()
            if left <= 0:
                self._read_ahead(*READ_AHEAD_WHILE_SERVING)
                return False
            if not self._flush():
                if not self._transport.wait(_to_ns(left)):
                    return False
                self._read_ahead()
                return True
            if not self._has_work():
                message = self._receive(_to_ns(left))
                if message is None:
                    return False
                self._session.receive(message)
                if not self._session.queue:
                    return True
            # What has arrived since may be the answer waited for, or cancel what is queued: look before starting
            # anything.
            self._read_ahead(*READ_AHEAD_WHILE_SERVING)
            if waiting is None or not (waiting.done or waiting.items):
                self._start_next()
            return True
        except BridgeError as error:
            self._end_for(error)
            raise

    def _flush(self) -> bool:
        """Send what waits, as far as there is room. True: nothing waits any more."""
        session = self._session
        if self._clear and not session.replies:
            return True
        self._clear = False
        if not self._transport.flush():
            return False
        for waiting in (self._outbox, session.replies):
            while waiting:
                if not self._send(waiting.popleft()):
                    return False
        self._clear = True
        return True

    def _post(self, message: bytes) -> None:
        """Send, or keep for later if there is no room. Raises MessageTooLarge."""
        if len(message) > self._max_message:
            raise MessageTooLarge(f"a message of {len(message)} bytes; max_message is {self._max_message}")
        if self._clear:
            self._clear = False
            self._clear = self._send(message)
        else:
            self._outbox.append(message)

    def _send_backlog(self, method: str, deadline: float) -> None:
        """Send what waits, or raise CallTimeout. Nothing is started meanwhile."""
        try:
            while not self._flush():
                ready = self._transport.wait(_to_ns(deadline - monotonic()))
                self._read_ahead()
                if not ready:
                    raise CallTimeout(f"{method}: there was no room for it within its deadline; it was not sent")
        except BridgeError as error:
            self._end_for(error)
            raise

    def _read_ahead(self, most_requests: float = math.inf, most_bytes: float = math.inf) -> bool:
        """Take the messages that have arrived, while fewer requests and bytes of them are queued. True: there was
        one.
        """
        session = self._session
        for count in range(READ_AHEAD_MAX):
            if len(session.queue) >= most_requests or session.queued_bytes >= most_bytes:
                return count > 0
            try:
                message = self._try_receive()
            except PeerGone:
                if count == 0 and not session.queue:
                    raise
                # What came before the end is dealt with first; a later look raises again.
                return count > 0
            if message is None:
                return count > 0
            session.receive(message)
        return True

    def _begin_to_leave(self) -> None:
        # A second one would break the protocol.
        if not self._session.leaves:
            try:
                self._post(self._session.leave())
            except BridgeError as error:
                self._end_for(error)
                raise

    def _has_served_all(self) -> bool:
        session = self._session
        return session.peer_leaves and self._clear and not (session.incoming or session.queue or session.replies)

    def _has_work(self) -> bool:
        session = self._session
        if session.flowing or session.replies:
            return True
        return bool(session.queue) and (self._depth < SERVING_DEPTH_MAX or any(r.chain for r in session.queue))

    def _start_next(self) -> bool:
        """Start the next request, or send the next item of a stream; by turns where there are both. False: nothing was
        done.
        """
        session = self._session
        if session.flowing:
            self._stream_first = not self._stream_first
            if self._stream_first or not session.queue:
                return self._serve_stream()
        if session.queue:
            request = session.take(roots=self._depth < SERVING_DEPTH_MAX)
            if request is not None:
                self._serve(request)
                return True
        return bool(session.replies) or self._serve_stream()

    def _serve(self, request: Request) -> None:
        function = self._functions.get(request.method)
        if function is None:
            error = UnknownMethod(f"{request.method}: nothing of that name is exposed")
            if request.id:
                self._post(self._session.refuse(request, error))
            else:
                logger.warning("a notification cannot be delivered: %s", error)
            return
        if len(request.args) not in self._argument_counts[request.method]:
            self._refuse_arguments(request)
            return
        self.served += 1
        result, failed = self._run(request, function, request.args)
        if failed is None and request.wants_stream and _is_stream(result):
            result, failed = self._run(request, iter, (result,))
            if failed is None and not request.cancelled:
                self._session.flow(request, result)
                return
        if request.cancelled or (failed is None and not request.id):
            if failed is not None:
                logger.info("%s raised after its caller had given up", request.method, exc_info=failed)
            self._drop(request, result)
        elif failed is not None:
            self._respond_failure(request, failed)
        else:
            self._respond(request, result)

    def _refuse_arguments(self, request: Request) -> None:
        """Answer a call whose number of arguments the function cannot take. It is a TypeError, as in any other call of
        the language, but without a stack: nothing has run.
        """
        wrong = wrong_count(request.method, self._argument_counts[request.method], len(request.args))
        if request.id:
            self._post(self._session.refuse(request, RemoteError("TypeError", wrong)))
        else:
            logger.warning("a notification cannot be delivered: %s", wrong)

    def _serve_stream(self) -> bool:
        request = self._session.next_stream()
        if request is None:
            return False
        if request.cancelled:
            self._drop(request, request.iterator)
        else:
            self._send_item(request)
        return True

    def _send_item(self, request: Request) -> None:
        iterator = request.iterator
        value, failed = self._run(request, next, (iterator, _END))
        if request.cancelled:
            self._drop(request, iterator)
        elif failed is not None:
            self._respond_failure(request, failed)
        elif value is _END:
            self._respond(request, None)
        else:
            try:
                self._post(self._session.continue_stream(request, value))
            except (EncodeError, MessageTooLarge) as error:
                self._drop(request, iterator)
                self._post(self._session.refuse(request, error))

    def _run(self, request: Request, function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, Exception | None]:
        """What the function returned, or what it raised. Raises BridgeError if the connection ended meanwhile."""
        outer = self._current
        self._current = request
        token = being_served.set((self, request))
        self._depth += 1
        result: Any = None
        failed: Exception | None = None
        try:
            result = function(*args)
        except Exception as raised:  # noqa: BLE001  # whatever it is, the caller is told
            # Without our own frame: the stack begins at the user's function.
            failed = raised.with_traceback(raised.__traceback__ and raised.__traceback__.tb_next)
        except BaseException as raised:
            # Ctrl-C or SystemExit: the caller is told, and then it goes its way.
            if self._ended is None and not request.cancelled:
                self._respond_failure(request, raised)
            raise
        finally:
            self._depth -= 1
            being_served.reset(token)
            self._current = outer
        if self._ended is not None:
            self._raise_ended()
        return result, failed

    def _raise_ended(self) -> NoReturn:
        ended = self._ended
        if isinstance(ended, ConnectionClosed):
            raise ConnectionClosed(str(ended))
        raise PeerGone(f"the connection ended while a call was served: {ended}")

    def _post_answer(self, request: Request, result: object) -> None:
        """Send the response of a function that returned, or keep it. Raises EncodeError and MessageTooLarge."""
        if self._clear:
            self._clear = False
            is_published = self._answer_directly(request.id, result)
            self._clear = is_published is not False
            if is_published is not None:
                self._session.finish(request)
                return
        self._post(self._session.answer(request, result))

    def _respond(self, request: Request, result: object) -> None:
        try:
            self._post_answer(request, result)
        except EncodeError as error:
            refusal = error
            if _is_stream(result):
                refusal = EncodeError(f"result: {request.method} gives an iterator; call it with stream()")
            self._post(self._session.refuse(request, refusal))
        except MessageTooLarge as error:
            self._post(self._session.refuse(request, MessageTooLarge(f"the result of {request.method}: {error}")))

    def _respond_failure(self, request: Request, raised: BaseException) -> None:
        if not request.id:
            logger.error("the notification %s raised", request.method, exc_info=raised)
            return
        try:
            self._post(self._session.fail(request, raised))
        except MessageTooLarge:
            # Its data, or a very small max_message: the type and the message must arrive.
            name = type(raised).__name__
            error = MessageTooLarge(
                f"{request.method} raised {name}, and the error with its data and stack is too large"
            )
            self._post(self._session.refuse(request, error))

    def _drop(self, request: Request, result: object) -> None:
        """Nobody wants the result. If it is an iterator, its `finally` blocks run now."""
        self._session.drop(request)
        close = getattr(result, "close", None) if _is_stream(result) else None
        if close is not None:
            _, failed = self._run(request, close, ())
            if failed is not None:
                logger.error("closing the stream of %s raised", request.method, exc_info=failed)

    def _abandon(self, call_id: int, method: str, error: BaseException, *, was_sent: bool = True) -> None:
        """A call of ours ends without its answer: the peer need not go on, and the id is forgotten.

        was_sent: False where perhaps nothing of it was, as after a Ctrl-C: to cancel what was never made would break
        the protocol.
        """
        if isinstance(error, MessageTooLarge):
            self._session.pending.pop(call_id, None)
            return
        if isinstance(error, MemoryError):
            # The message that there was no memory for may still be in the ring, and no other comes past it.
            self._end(PeerGone("there was no memory for a message of the peer's"))
            raise MemoryError(f"{method}: there is no memory for the answer; the connection has ended") from error
        if isinstance(error, BridgeError) and not isinstance(error, CallTimeout | Cancelled):
            self._end_for(error)
        if self._ended is None:
            cancel = self._session.forget(call_id)
            if was_sent:
                self._post(cancel)
        if isinstance(error, PeerGone | ConnectionClosed):
            raise type(error)(f"{method}: {error}") from error

    def _end_for(self, error: BridgeError) -> None:
        """End the connection if `error` means that it cannot go on."""
        if isinstance(error, PeerGone | ProtocolError | ConnectionClosed):
            self._end(error)

    def _end(self, reason: BridgeError) -> None:
        if self._ended is not None:
            return
        self.closed = True
        self._ended = reason
        if isinstance(reason, ProtocolError):
            logger.error("%r ended: %s", self, reason)
        streams = self._session.end(reason)
        self._outbox.clear()
        self._transport.close(f"the connection has ended: {reason}")
        for request in streams:
            close = getattr(request.iterator, "close", None)
            if close is not None:
                try:
                    close()
                except Exception:
                    logger.exception("closing the stream of %s raised", request.method)


class Stream(Iterator[Any]):
    """What a stream gives, item by item. Made by Connection.stream and Client.stream.

    Iterating raises what the function raised, CallTimeout, PeerGone, and TypeError if the function gives no stream.
    """

    def __init__(self, connection: Connection, call: Call, deadline: float, seconds: float, credit: int) -> None:
        self._connection = connection
        self._call = call
        self._deadline = deadline
        self._seconds = seconds
        self._grant_after = max(1, credit // 2)
        self._taken = 0
        self._finished = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._finished:
            raise StopIteration
        connection, call = self._connection, self._call
        items = call.items
        assert items is not None
        connection._require_owner()
        try:
            while not items and not call.done:
                if not connection._advance(self._deadline, call) and not items and not call.done:
                    raise CallTimeout(f"{call.method}: the stream did not end within {self._seconds:g} s")
            if items:
                return self._take(items)
        except BaseException as error:
            self._finish()
            connection._abandon(call.id, call.method, error)
            raise
        self._finish()
        if call.error is not None:
            raise call.error
        if call.result is not None:
            raise TypeError(f"{call.method} gives no stream but a value; use call()")
        raise StopIteration

    def close(self) -> None:
        """Want no more. The peer is told, and its iterator closed. Safe to call twice."""
        if self._finished:
            return
        self._connection._require_owner()
        self._finish()
        if not self._call.done and not self._connection.closed:
            self._connection._post(self._connection._session.forget(self._call.id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, items: deque[Any]) -> Any:
        connection, call = self._connection, self._call
        item = items.popleft()
        self._taken += 1
        if self._taken >= self._grant_after and not call.done:
            try:
                connection._post(connection._session.grant(call, self._taken))
            except BridgeError as error:
                # The items that have come are still given out; the error follows them.
                connection._end_for(error)
            self._taken = 0
        return item

    def _finish(self) -> None:
        self._finished = True


_END: Final = object()


def _is_stream(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, Sized)


def _to_ns(seconds: float) -> int:
    # Longer than a century is no limit, and fits into 64 bits of nanoseconds.
    return _NO_LIMIT_NS if seconds > _NO_LIMIT_S else max(0, int(seconds * 1e9))

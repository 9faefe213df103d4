"""One connection that a thread waits on: calls, and serves what the peer calls, over a transport.

A connection belongs to one thread at a time. While it waits for an answer it serves the calls that were made for that
answer, so chains of calls between both sides cannot deadlock. Calls that have nothing to do with it wait their turn:
served inside a function that waits, they would find its locks held.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from weakref import ref

from . import forks, frames, link, options
from .calls import PendingCall
from .direct_calls import Unfinished, call_nothing
from .errors import BridgeError, CallTimeout, ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError
from .exposables import Exposables
from .exposed import Exposed
from .handshake import Peer, Role
from .link import Link, PollResult, to_ns
from .log import log_plainly
from .nesting import make_meta
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .references import ReferenceCaller
from .serving import Serving
from .serving_traced import TracedServing
from .session import Unrelated
from .streams import Stream
from .tracing import tracing_in_use
from .transports.transport import MessageTransport
from .wake import Wake

MAX_SERVE_READY: Final = 64
"""Requests that serve_ready starts, at most, before the event loop gets its turn."""

WAKE_LOOK_S: Final = 0.1
"""A worker whose ring is full, because the peer reads nothing, looks so often whether it is to stop."""

_NO_LIMIT_NS: Final = -1


class StaleConnection(PeerGone):
    """The peer had gone before anything was sent: the one case in which a pool may dial again and send."""


class Connection:
    """A connection to the peer. Made by connect() and attach().

    Every method may raise PeerGone or ProtocolError, after which the connection has ended; ConnectionClosed after that,
    after close() and in a forked child; and RuntimeError when another thread than the owner uses it.

    transport: "shm" or "socket". role: "client" or "worker". peer: what the other side said of itself. path: the
    acceptor's socket. served: requests and notifications started here. closed: it has ended or been closed. link: for
    the library only.
    """

    def __init__(
        self,
        transport: MessageTransport,
        *,
        exposed: Exposed,
        role: Role,
        peer: Peer,
        path: Path,
        whose: str = "",
        serve_unrelated: bool = False,
    ) -> None:
        self.role: Final = role
        self.peer: Final = peer
        self.path: Final = path
        self.owner = get_ident()
        unrelated: Unrelated = "served" if serve_unrelated else "refused" if role == "client" else "queued"
        self.link: Final = Link(transport, unrelated, whose, peer.minor)
        self._tracing: Final = tracing_in_use(str(path))
        if self._tracing is None:
            self._serving: Serving = Serving(self.link, exposed, self)
        else:
            self._serving = TracedServing(self._tracing, self.link, exposed, self)
        self._exposed: Final = exposed
        self._transport: Final = transport
        self._session: Final = self.link.session
        self._direct: Final = self.link.direct
        self._call_directly: Final = self._direct.call if self._tracing is None else call_nothing
        self._count_call: Final = transport.count_call
        self._is_busy = False  # as the program says
        self._last_used = monotonic()
        # Not kept alive by its own tables: a connection that nobody holds any more ends at once.
        self._session.lending.caller = ref(self)
        forks.register(self)

    # Calling.

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call an exposed function of the peer and wait for what it returns.

        timeout: seconds, or None to wait without limit. Made while serving a call, it waits no longer than that one's
        caller does; where that one did not say how long, all calls made for it end within the default timeout.
        traceparent: W3C trace context, else that of the call being served. kwargs: keyword arguments, beside those that
        are given as such; for one that is named as a parameter of this method is: `kwargs={"timeout": 3}`. A TypeScript
        function gets them all as one object, behind the positional arguments.

        While it waits, calls of the peer that were made for this one are served here; all others wait their turn, and
        a peer with several workers asks another meanwhile.

        Raises RemoteError when the function raised; CallTimeout, UnknownMethod, Busy, CallTooDeep, EncodeError,
        MessageTooLarge; TypeError and ValueError for an option that cannot be; and what any method may raise.
        """
        self.require_owner()
        given = keywords if kwargs is None else options.keywords_of(kwargs, keywords)
        return self.call_with(method, args, timeout, traceparent, given)

    def call_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> Any:
        """The same as call, with the arguments in containers, and for a caller that knows it is the owner.

        handles: what it gives may stay there, and be a Handle here.
        """
        call_id = 0
        is_plain = traceparent is None and not keywords and not handles
        if timeout is not None and is_plain and self._serving.current is None and self.link.clear:
            session = self._session
            session.last_id += 1
            call_id = session.last_id
            try:
                answer = self._call_directly(call_id, method, args, timeout, timeout is not DEFAULT_TIMEOUT_S)
            except BaseException as error:
                self.link.clear = not self._transport.sending
                self.abandon(call_id, method, error, was_sent=self._direct.sent == call_id)
                raise
            if type(answer) is not Unfinished:
                return answer
            if answer.sent:
                return self._finish_call(call_id, method, answer, timeout)
        if self._tracing is None or traceparent is not None:
            return self._call_the_long_way(method, args, timeout, traceparent, keywords, call_id, handles=handles)
        with self._tracing.start_call(method) as span:
            return self._call_the_long_way(method, args, timeout, span.traceparent, keywords, call_id, handles=handles)

    def _finish_call(self, call_id: int, method: str, unfinished: Unfinished, seconds: float) -> Any:
        """Go on with what was called directly: it waits, or something else has come than its answer."""
        try:
            self.link.clear = not self._transport.sending
            call = self._session.track(call_id, method)
            self._wait_for(call, unfinished.began + seconds, seconds, unfinished.message)
        except BaseException as error:
            self._count_call(unfinished.began, True)
            self.abandon(call_id, method, error)
            raise
        return self._result_of(call, unfinished.began)

    def _call_the_long_way(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any] | None,
        reserved: int,
        *,
        handles: bool = False,
    ) -> Any:
        began = monotonic()
        meta, seconds = make_meta(self._serving.current, method, timeout, traceparent)
        self._session.add_keywords(meta, method, keywords)
        if handles:
            meta["handles"] = True
        if began - self._last_used > link.STALE_AFTER_S:
            self._check_peer(method)
        self._last_used = began
        self._flush_before(method, began + seconds)
        call_id, message = self._session.start(method, args, meta or None, reserved)
        was_sent = False
        try:
            call = self._session.track(call_id, method)
            self.link.post(message)
            was_sent = True
            self._wait_for(call, began + seconds, seconds)
        except BaseException as error:
            self._count_call(began, True)
            self.abandon(call_id, method, error, was_sent=was_sent)
            raise
        return self._result_of(call, began)

    def _wait_for(self, call: PendingCall, deadline: float, seconds: float, arrived: bytes | None = None) -> None:
        """Until it is done. arrived: a message that has been received but not taken."""
        outer = len(self._session.waiting)
        try:
            self._begin_to_wait(call)
            if arrived is not None:
                self._session.receive(arrived)
            while not call.done:
                if not self._advance(deadline, call) and not call.done:
                    raise CallTimeout(f"{call.method}: no answer within {seconds:g} s")
            if call.lent:
                self._serve_rest(call)
        finally:
            self._end_to_wait(outer)

    def _serve_rest(self, call: PendingCall) -> None:
        """What was called within a call before its answer was sent, and is not waited for: a function that it has been
        lent would not be there later.
        """
        while any(request.within == call.id for request in self._session.queue) and self._serving.start_next():
            pass

    def _result_of(self, call: PendingCall, began: float) -> Any:
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
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Stream:
        """Call a function of the peer that gives an iterator, and iterate over what it gives.

        timeout: seconds for the whole stream, or None. credit: how many items the peer may send ahead, 1 to 65,536.
        Close the stream, or use it in a `with`, when it is not read to its end. Raises what call raises, here or while
        iterating.
        """
        return self.stream_with(method, args, timeout, credit, traceparent, options.keywords_of(kwargs, keywords))

    def stream_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        credit: int,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> Stream:
        """The same as stream, with the arguments in containers. handles: see call_with."""
        options.check_credit(credit)
        self.require_owner()
        began = monotonic()
        if traceparent is None and self._tracing is not None:
            traceparent = self._tracing.traceparent()
        meta, seconds = make_meta(self._serving.current, method, timeout, traceparent, tells_no_limit=False)
        meta["stream"] = credit
        self._session.add_keywords(meta, method, keywords)
        if handles:
            meta["handles"] = True
        deadline = began + seconds
        self._check_peer(method)
        self._last_used = began
        self._flush_before(method, deadline)
        call_id, message = self._session.start(method, args, meta)
        try:
            call = self._session.track(call_id, method, credit)
            self.link.post(message)
        except BaseException as error:
            self.abandon(call_id, method, error)
            raise
        return Stream(self, call, deadline, seconds, credit)

    def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        """Call a function of the peer without wanting to know what becomes of it: no answer, no error.

        Waits for room if the ring is full, at most the default timeout; then CallTimeout.
        Raises EncodeError, MessageTooLarge, CallTooDeep, TypeError and what any method may raise.
        """
        self.notify_with(method, args, traceparent, options.keywords_of(kwargs, keywords))

    def notify_with(
        self,
        method: str,
        args: Sequence[Any],
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
    ) -> None:
        """The same as notify, with the arguments in containers."""
        self.require_owner()
        began = monotonic()
        if traceparent is None and self._tracing is not None:
            traceparent = self._tracing.traceparent()
        meta, _ = make_meta(self._serving.current, method, None, traceparent, tells_no_limit=False)
        self._session.add_keywords(meta, method, keywords)
        self._check_peer(method)
        self._last_used = began
        deadline = began + DEFAULT_TIMEOUT_S
        self._flush_before(method, deadline)
        message = frames.encode_notification(self._session.encoder, method, args, meta or None)
        try:
            self.link.post(message)
        except BridgeError as error:
            self.end_for(error)
            raise
        self._flush_before(method, deadline)

    # References: see references.ReferenceCaller.

    def call_reference(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None, *, handles: bool
    ) -> Any:
        """Call a function that the peer has lent."""
        self._require_owner_for(method)
        return self.call_with(method, args, timeout, None, dict(kwargs), handles=handles)

    def stream_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        credit: int,
        *,
        handles: bool,
    ) -> Stream:
        """The same for one that gives an iterator."""
        self._require_owner_for(method)
        return self.stream_with(method, args, timeout, credit, None, dict(kwargs), handles=handles)

    def tell_references(self) -> None:
        """Tell the peer what is held and let go of; in another thread than the owner's, that one does, with what it
        sends next.
        """
        if self.closed or self.owner != get_ident():
            return
        try:
            self.link.tell_references()
        except BridgeError as error:
            self.end_for(error)

    def lend_through(self, caller: Callable[[], ReferenceCaller | None]) -> None:
        """Have what the peer lends called through something else than the connection itself."""
        self._session.lending.caller = caller

    def _require_owner_for(self, method: str) -> None:
        if self.owner != get_ident():
            raise RuntimeError(
                f"{method}: the function or object came by a connection that belongs to thread {self.owner}, and was "
                f"called in thread {get_ident()}; have that thread call it, in what it serves"
            )

    # Serving.

    def expose(self, functions: Exposables) -> None:
        """Let the peer call more functions, all of these or none. In another thread than the owner: once that looks up
        from what it does, or something arrives.

        Raises TypeError for what cannot be exposed, ValueError for a name that is taken, too long or private.
        """
        self._exposed.add(functions)

    def name_exposed(self, names: Sequence[str]) -> None:
        """See exposed.Namer."""
        if self.closed:
            return
        try:
            self.link.name(names, is_owner=self.owner == get_ident())
        except BridgeError as error:
            # What is exposed stays so; whoever uses the connection next is told of its end.
            self.end_for(error)

    def serve(self) -> NoReturn:
        """Serve calls until the connection ends. Raises PeerGone then."""
        self.require_owner()
        while True:
            if not self._is_quiet():
                self._advance(math.inf)
                continue
            try:
                message = self.link.receive(_NO_LIMIT_NS)
                if message is not None:
                    self._serve_first(message)
            except BridgeError as error:
                self.end_for(error)
                raise

    def serve_until(self, wake: Wake) -> None:
        """Serve calls until `wake` is set: the call under way then is answered, and no other is started. Raises
        PeerGone when the connection ends first.
        """
        self.require_owner()
        receive, wake_fd = self.link.receive_or_wake, wake.fileno()
        while not wake.is_set:
            if not self._is_quiet():
                self._advance(monotonic() + WAKE_LOOK_S)
                continue
            try:
                message = receive(wake_fd)
                if message is not None:
                    self._serve_first(message)
            except BridgeError as error:
                self.end_for(error)
                raise

    def serve_ready(self) -> int:
        """Serve what has arrived, without waiting for more. Returns how many functions it has started.

        For an event loop: at most MAX_SERVE_READY at a time, then poll() says "ready" again. Raises PeerGone when the
        peer has left and nothing of its was left to serve.
        """
        self.require_owner()
        serving, link = self._serving, self.link
        before = serving.served
        try:
            for _ in range(MAX_SERVE_READY):
                has_read = False
                if self._is_quiet():
                    message = link.try_receive()
                    if message is not None:
                        if self._serve_first(message):
                            continue
                        has_read = True
                if not self._serve_one(has_read):
                    break
        except PeerGone as error:
            # Whoever counts what was served is told that first, and of the end by the next look.
            if serving.served == before or link.ended is not None:
                self.end_for(error)
                raise
            link.peer_left = True
        except BridgeError as error:
            self.end_for(error)
            raise
        return serving.served - before

    def _serve_one(self, has_read: bool) -> bool:
        """One step of serve_ready where there is more than one thing to do. False: there is nothing more."""
        link = self.link
        if not link.flush():
            # Full: what has arrived is read, so that the peer can go on, but not started.
            if not link.read_ahead() and link.peer_left:
                raise PeerGone("the peer has closed the connection")
            return False
        has_read = link.look() or has_read
        if not self._serving.start_next() and not has_read:
            if link.peer_left:
                raise PeerGone("the peer has closed the connection")
            return False
        return True

    def poll(self) -> PollResult:
        """For an event loop that serves: look whether serve_ready has something to do. Never blocks.

        "ready": call serve_ready. "empty": nothing yet, but polling pays, so look again soon. "parked": the spin budget
        is used up; wait until fileno() is readable, beside whatever else the loop waits for, and then call unpark().
        """
        self.require_owner()
        try:
            return self.link.poll()
        except BridgeError as error:
            self.end_for(error)
            raise

    def park(self) -> bool:
        """Park at once, without polling first. False: there is something to serve, and it is not parked."""
        self.require_owner()
        return self.link.park()

    def unpark(self) -> None:
        """Be awake again after fileno() became readable. Does not raise PeerGone: serve_ready does, when all is
        read.
        """
        self.require_owner()
        try:
            self.link.unpark()
        except BridgeError as error:
            self.end_for(error)
            raise

    def fileno(self) -> int:
        """The descriptor that becomes readable when this side is parked and something arrives."""
        return self._transport.fileno()

    def set_busy(self, busy: bool) -> None:
        """Tell the peer that this side is occupied with something else, such as an HTTP request, or no longer.

        Raises TypeError for what is no bool.
        """
        options.check_flag("busy", busy)
        self.require_owner()
        self._is_busy = busy
        if not self._session.waiting:
            self._transport.set_busy(busy)

    def leave(self, timeout: float) -> None:
        """Have the peer send no new calls, and serve those it had sent before it knew. Close the connection afterwards.

        timeout: seconds; CallTimeout when there is still something to serve then, such as a stream whose caller grants
        no credit. A function that runs is not cut off, but no other is started. Safe to call twice. Raises TypeError
        and ValueError for a timeout that cannot be.
        """
        seconds = options.finite_seconds_of(timeout)
        self.require_owner()
        deadline = monotonic() + seconds
        try:
            self.link.begin_to_leave()
        except BridgeError as error:
            self.end_for(error)
            raise
        while not self.link.has_served_all():
            if not self._advance(deadline):
                raise CallTimeout(f"{self!r} was still serving {seconds:g} s after it began to leave")

    # State.

    @property
    def transport(self) -> str:
        """What the messages travel on: "shm" or "socket"."""
        return self._transport.kind

    @property
    def closed(self) -> bool:
        """Whether it has ended or been closed."""
        return self.link.ended is not None

    @property
    def served(self) -> int:
        """Requests and notifications started here."""
        return self._serving.served

    @property
    def stats(self) -> dict[str, int]:
        """Counters since the beginning: messages and bytes each way, doorbells, parks, calls served, late answers
        dropped.
        """
        buffers = self._transport.buffers
        lent = {} if buffers is None else buffers.stats()
        return {**self._transport.stats(), "served": self.served, **self._session.stats(), **lent}

    def close(self) -> None:
        """End the connection. Calls under way fail, here with ConnectionClosed, at the peer with PeerGone. Safe to call
        twice.
        """
        if not self.closed:
            self.require_owner()
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
        state = "ended" if self.closed else self.transport
        return f"<Connection {state} to {self.peer.name!r} as {self.role}>"

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        self.link.end_in_child()

    def heed(self) -> bool:
        """Learn of a cancel that has arrived while a function runs; nothing else is started. False: the peer is gone.

        In another thread than the owner nothing is read, and what the owner has read is known.
        """
        if self.closed or self.owner != get_ident():
            return not self.closed
        try:
            return self.link.heed()
        except BridgeError as error:
            self.end_for(error)
            if not link.ends(error):
                raise
            return False

    # What a stream needs of its connection. Whatever raises and is no answer to a call goes through end_for or abandon.

    def require_owner(self) -> None:
        """Raise RuntimeError in any other thread than the owner."""
        if self.owner != get_ident():
            raise RuntimeError(
                f"the connection belongs to thread {self.owner} and was used by thread {get_ident()}; "
                "give each thread its own, or use connect(), whose client may be shared"
            )

    def advance(self, deadline: float, waiting: PendingCall) -> bool:
        """Wait for something of a call's, and do one thing meanwhile. False: the deadline has passed."""
        outer = len(self._session.waiting)
        try:
            self._begin_to_wait(waiting)
            return self._advance(deadline, waiting)
        finally:
            self._end_to_wait(outer)

    def grant(self, call: PendingCall, items: int) -> None:
        """Let the peer send more items of a stream."""
        try:
            self.link.post(self._session.grant(call, items))
        except BridgeError as error:
            # The items that have come are still given out; the error follows them.
            self.end_for(error)

    def give_up(self, call: PendingCall) -> None:
        """Want the answer no more, and tell the peer, unless there is one already."""
        try:
            self.link.forget(call)
        except BridgeError as error:
            self.end_for(error)
            raise

    def abandon(self, call_id: int, method: str, error: BaseException, *, was_sent: bool = True) -> None:
        """A call of ours ends without its answer: the peer need not go on, and the id is forgotten.

        was_sent: False where perhaps nothing of it was, as after a Ctrl-C: to cancel what was never made would break
        the protocol.
        """
        if isinstance(error, MessageTooLarge):
            self._session.drop(call_id)
            return
        if isinstance(error, MemoryError):
            # The message that there was no memory for may still be in the ring, and no other comes past it.
            self._end(PeerGone("there was no memory for a message of the peer's"))
            raise MemoryError(f"{method}: there is no memory for the answer; the connection has ended") from error
        if isinstance(error, BridgeError):
            self.end_for(error)
        if not self.closed:
            cancel = self._session.forget(call_id)
            if was_sent:
                self.link.post(cancel)
        if isinstance(error, PeerGone | ConnectionClosed):
            raise type(error)(f"{method}: {error}") from error

    def end_for(self, error: BridgeError) -> None:
        """End the connection if `error` means that it cannot go on."""
        if link.ends(error):
            self._end(error)

    # Machinery.

    def _begin_to_wait(self, call: PendingCall) -> None:
        waiting = self._session.waiting
        waiting.append(call.id)
        if self.role == "worker" and len(waiting) == 1 and not self._is_busy and not self.closed:
            self._transport.set_busy(True)

    def _end_to_wait(self, outer: int) -> None:
        # By the number of those around it: Ctrl-C may have struck before it was one of them.
        waiting = self._session.waiting
        del waiting[outer:]
        if self.role == "worker" and not waiting and not self._is_busy:
            # Ended, or interrupted by another thread: then nobody is told, and whoever waited has been.
            with suppress(ConnectionClosed):
                self._transport.set_busy(False)

    def _check_peer(self, method: str) -> None:
        """Raise StaleConnection if the peer is gone and has left nothing to read."""
        if self._session.pending or self._serving.current is not None:
            return
        try:
            self._transport.drain()
        except PeerGone as error:
            self._end(error)
            raise StaleConnection(f"{method}: the peer had closed the connection before the call") from None
        except BridgeError as error:
            self.end_for(error)
            raise

    def _flush_before(self, method: str, deadline: float) -> None:
        try:
            self.link.flush_before(method, deadline)
        except BridgeError as error:
            self.end_for(error)
            raise

    def _is_quiet(self) -> bool:
        """Nothing is under way: what arrives next is all there is to do."""
        session = self._session
        return self.link.clear and not (
            session.queue or session.flowing or session.replies or session.waiting or self._serving.depth
        )

    def _serve_first(self, message: bytes | memoryview) -> bool:
        """Take a message, the first after a quiet time. If it is a request and all that has arrived, serve it: the
        usual case, without any of the general machinery. False: it is received, and has its turn.
        """
        try:
            ahead = self.link.try_receive()
        except PeerGone:
            # A later look raises again.
            ahead = None
        session = self._session
        if ahead is None:
            request = session.start_alone(message)
            if request is not None:
                self._serving.serve(request)
            return request is not None
        session.receive(message)
        session.receive(ahead)
        return False

    def _advance(self, deadline: float, waiting: PendingCall | None = None) -> bool:
        """Do one thing: send what waits, start a request, send an item of a stream, or wait for a message and take it.

        waiting: the call to return to as soon as it has something. False: the deadline has passed; what had arrived by
        then has been taken.
        """
        try:
            session = self._session
            if session.next_expiry != math.inf:
                session.expire()
            left = deadline - monotonic()
            if left <= 0:
                self.link.look()
                return False
            if not self.link.flush():
                if not self._transport.wait(to_ns(left)):
                    return False
                self.link.read_ahead()
                return True
            if not session.has_work():
                expires_in = session.next_expiry - monotonic()
                message = self.link.receive(to_ns(min(left, expires_in)))
                if message is None:
                    return expires_in < left
                session.receive(message)
                if not session.queue:
                    return True
            # What has arrived since may be the answer waited for, or cancel what is queued: look before starting
            # anything.
            self.link.look()
            if waiting is None or not (waiting.done or waiting.items):
                self._serving.start_next()
            return True
        except BridgeError as error:
            self.end_for(error)
            raise

    def _end(self, reason: BridgeError) -> None:
        if self.closed:
            return
        streams = self.link.end(reason)
        if isinstance(reason, ProtocolError):
            log_plainly(logging.ERROR, "%r ended: %s", self, reason)
        self._serving.close_streams(streams)

"""The rules of a connection, without any I/O: ids, calls under way, the queue of requests, streams and their credit.

A session turns calls into messages to send and takes the messages that have arrived: it is the sink of frames.py. It
never runs a function, as serving.py does, and never waits, as connection.py does. Times come from
`clock`: tests need no real ones.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from . import frames, values
from .calls import PendingCall, ServedCall
from .error_maps import error_from_map, error_to_map
from .errors import (
    BridgeError,
    Busy,
    CallTimeout,
    ConnectionClosed,
    EncodeError,
    PeerGone,
    ProtocolError,
    Released,
    RemoteError,
    UnknownMethod,
    name_of,
    text_of,
)
from .exits import is_interrupt
from .handshake import PROTOCOL_MAJOR, PROTOCOL_MINOR
from .lending import Lending
from .nesting import too_deep
from .references import REFERENCE_PREFIX, RemoteReference

if TYPE_CHECKING:
    from .transports.transport import SharedBuffers

MAX_OUTSTANDING: Final = 1024
"""Calls outstanding in one connection and direction (PROTOCOL.md section 11)."""

MAX_QUEUED: Final = 2 * MAX_OUTSTANDING
"""Entries of the queue: as many requests as may be outstanding, and as many notifications. A cancelled request counts
until its turn comes, or a peer that calls and cancels could make the queue as long as it likes.
"""

CLIENT_SERVES: Final = (
    "this side is a client, which serves calls only while a call of its own waits that they belong to"
)
NAMED_AT_ONCE_BYTES: Final = 32 * 1024
"""Of the names of exposed functions in one message, so that many do not hold up what comes behind them."""

MAX_SERVING_DEPTH: Final = 16
"""Calls that may wait one inside the other before unrelated ones are started no more, where they are started at all."""

Unrelated = Literal["queued", "refused", "served"]
"""What becomes of the calls that arrive while one of ours waits and are no part of its chain."""


class Session:
    """One side of one connection.

    max_message: bytes; also of the requests queued, together. unrelated: see Unrelated; a side that never waits, as an
    event loop, has no use for it. whose: what to add where the peer has not got a function. peer_minor: of
    the protocol that the peer speaks.
    """

    def __init__(
        self,
        max_message: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        unrelated: Unrelated = "queued",
        whose: str = "",
        peer_minor: int = PROTOCOL_MINOR,
    ) -> None:
        self._peer_minor: Final = peer_minor
        self._whose: Final = whose
        self.pending: Final[dict[int, PendingCall]] = {}
        self.incoming: Final[dict[int, ServedCall]] = {}
        """Requests taken and not answered yet: queued, running or streaming."""
        self.queue: Final[deque[ServedCall]] = deque()
        """Requests and notifications not started yet, in the order sent."""
        self.flowing: Final[deque[ServedCall]] = deque()
        """Streams that have credit left: each may send an item in its turn."""
        self.replies: Final[deque[bytes]] = deque()
        """Answers the session itself gives, to be sent as soon as there is room."""
        self.lending: Final = Lending(self.replies, peer_minor)
        self.encoder: Final = values.Encoder(self.lending)
        self.waiting: Final[list[int]] = []
        """The calls of ours that are waited for, each made while serving a request of the one before."""
        self.last_id = 0
        """The id of the last call of ours; whoever makes one by other means counts it up: see start."""
        self.queued_bytes = 0
        self.next_expiry = math.inf
        """When a request in the queue may have to be answered although it was not started: see expire."""
        self.peer_leaves = False
        """The peer has sent `leave`: after ours, no new request of its will come."""
        self.late_answers = 0
        self.dropped_notifications = 0
        self._last_peer_id = 0
        self._lent_for: Final[dict[int, Sequence[int]]] = {}  # calls that are about to be tracked
        self.leaves = False
        self._unrelated: Final = unrelated
        self._max_message = max_message
        self._clock = clock
        self.buffers: SharedBuffers | None = None
        """Where large buffers are, outside of the messages; None: nowhere."""
        self._related = 0  # requests in the queue that are part of some chain
        self._arriving = 0  # bytes of the message being received

    def stats(self) -> dict[str, int]:
        """What is under way, and what has been dropped."""
        return {
            "outstanding": len(self.pending),
            "queued": len(self.queue),
            "late_answers": self.late_answers,
            "dropped_notifications": self.dropped_notifications,
        }

    def require_minor(self, minor: int, method: str, what: str) -> None:
        """Raise EncodeError where the peer does not know `what`, which the protocol has since its version 1.`minor`."""
        if self._peer_minor < minor:
            raise EncodeError(
                f"{method}: {what} need protocol {PROTOCOL_MAJOR}.{minor}, the peer speaks "
                f"{PROTOCOL_MAJOR}.{self._peer_minor}"
            )

    def add_keywords(self, meta: dict[str, Any], method: str, keywords: dict[str, Any] | None) -> None:
        """Put keyword arguments, if there are any, into what a request tells. Raises EncodeError for an older peer."""
        if keywords:
            self.require_minor(2, method, "keyword arguments")
            meta["kwargs"] = keywords

    # Calls of ours.

    def start(
        self, method: str, args: Sequence[object], meta: dict[str, Any] | None, reserved: int = 0
    ) -> tuple[int, bytes]:
        """An id and the request to send. Nothing is kept but what is lent for it: see track. reserved: an id that
        nothing was sent with.

        Raises EncodeError and Busy.
        """
        if len(self.pending) >= MAX_OUTSTANDING:
            raise Busy(f"{method}: {MAX_OUTSTANDING} calls to the peer are outstanding already")
        last = self.last_id
        call_id = last if last == reserved > 0 else last + 1
        message, lent = self._encode_request(call_id, method, args, meta)
        # Encoding runs code of the arguments', which may have made calls itself: they are sent already, and ids go up.
        if self.last_id != last:
            message = frames.renumbered(message, call_id, self.last_id + 1)
            call_id = self.last_id + 1
        self.last_id = call_id
        if lent:
            self._lent_for[call_id] = lent
        return call_id, message

    def _encode_request(
        self, call_id: int, method: str, args: Sequence[object], meta: dict[str, Any] | None
    ) -> tuple[bytes, Sequence[int]]:
        # First: what has been encoded in vain may not be there a second time.
        lent = self.lending.lend_arguments(method, args, meta)
        if lent is None:
            return frames.encode_request(self.encoder, call_id, method, args, meta), ()
        try:
            return frames.encode_request(self.encoder, call_id, method, lent.args, lent.meta), lent.ids
        except BaseException:
            self.lending.take_back(lent.ids)
            raise

    def track(self, call_id: int, method: str, credit: int = 0) -> PendingCall:
        """Keep the call, to be done when its answer has been received. `credit` > 0: it asked for a stream."""
        call = self.pending[call_id] = PendingCall(call_id, method, credit)
        if self._lent_for:
            call.lent = self._lent_for.pop(call_id, ())
        return call

    def forget(self, call_id: int) -> bytes:
        """Want the answer no more. Returns the cancel to send; a late answer is dropped and counted."""
        self.drop(call_id, is_given_up=True)
        return frames.encode_cancel(self.encoder, call_id)

    def drop(self, call_id: int, *, is_given_up: bool = False) -> PendingCall | None:
        """Forget a call of ours, and what has been lent for it: see Lending.take_back."""
        call = self.pending.pop(call_id, None)
        if call is not None and call.lent:
            self.lending.take_back(call.lent, is_given_up=is_given_up)
        return call

    def grant(self, call: PendingCall, items: int) -> bytes:
        """Allow `items` more items of a stream. Returns the credit to send."""
        call.credit += items
        return frames.encode_credit(self.encoder, call.id, items)

    def leave(self) -> bytes:
        """The leave to send. The peer answers with its own, and sends no new request after it."""
        self.leaves = True
        return frames.encode_leave(self.encoder)

    def name(self, names: Sequence[str]) -> list[bytes]:
        """The messages that name functions to the peer, in any thread."""
        # Of its own: what is exposed by the code of a value that is being encoded is named all the same.
        encoder = values.Encoder()
        most_bytes = min(NAMED_AT_ONCE_BYTES, self._max_message - 8)
        messages = [frames.encode_expose(encoder, portion) for portion in _in_portions(names, most_bytes)]
        # A peer that does not take a name cannot call it either: the request would be longer.
        return [message for message in messages if len(message) <= self._max_message]

    # Calls of the peer's.

    def may_start(self, request: ServedCall) -> bool:
        """Whether a request may be started now: while a call of ours waits, only one that was made for it, or for one
        of those that wait around it.
        """
        waiting = self.waiting
        if not waiting or request.within in waiting:
            return True
        return self._unrelated == "served" and len(waiting) < MAX_SERVING_DEPTH

    def has_work(self) -> bool:
        """Whether there is something to send, to start or to go on with now."""
        if self.replies:
            return True
        if not self.waiting:
            return bool(self.queue or self.flowing)
        if any(map(self.may_start, self.flowing)):
            return True
        return (self._related > 0 or self._unrelated == "served") and any(map(self.may_start, self.queue))

    def take(self) -> ServedCall | None:
        """The next request to start, or None.

        A request that came too late or is nested too deep is answered here and never started.
        """
        queue = self.queue
        index = 0
        while index < len(queue):
            request = queue[index]
            if not self.may_start(request):
                index += 1
                continue
            del queue[index]
            self._leaves_queue(request)
            if request.cancelled:
                continue
            if request.deadline != math.inf and self._clock() >= request.deadline:
                self._refuse_late(request)
            elif len(request.chain) >= frames.MAX_CHAIN:
                self._refuse(request, too_deep(request.chain, request.method))
            elif request.is_stale:
                stale = Released(f"{request.method}: args: a function or an object among them has been released")
                self._refuse(request, stale)
            elif request.unreadable is not None:
                self._refuse(request, EncodeError(f"{request.method}: args: {request.unreadable}"))
            else:
                request.running = True
                return request
        return None

    def expire(self) -> None:
        """Answer the requests in the queue whose deadline has passed: their turn may be long in coming."""
        now = self._clock()
        if now < self.next_expiry:
            return
        queued = list(self.queue)
        self.queue.clear()
        self.next_expiry = math.inf
        for request in queued:
            if request.deadline > now or request.cancelled:
                self.queue.append(request)
                if not request.cancelled:
                    self.next_expiry = min(self.next_expiry, request.deadline)
            else:
                self._leaves_queue(request)
                self._refuse_late(request)

    def answer(self, request: ServedCall, result: object) -> bytes:
        """The response of a function that returned. The request is answered with it. Raises EncodeError: not
        answered.
        """
        try:
            message = frames.encode_response(self.encoder, request.id, result)
        except EncodeError:
            reference = self._lend_result(request, result)
            if reference is None:
                raise
            message = frames.encode_response(self.encoder, request.id, reference)
        self.finish(request)
        return message

    def item(self, request: ServedCall, value: object) -> bytes:
        """The item of a stream to send. Raises EncodeError."""
        try:
            return frames.encode_item(self.encoder, request.id, value)
        except EncodeError:
            reference = self._lend_result(request, value)
            if reference is None:
                raise
            return frames.encode_item(self.encoder, request.id, reference)

    def _lend_result(self, request: ServedCall, value: object) -> values.Reference | None:
        return self.lending.lend_result(value) if request.wants_handles else None

    def fail(self, request: ServedCall, raised: BaseException) -> bytes:
        """The response of a function that raised. Raises ProtocolError as refuse does."""
        if request.span is not None:
            request.span.fail(raised)
        self.finish(request)
        return frames.encode_error_response(self.encoder, request.id, error_to_map(raised), self._max_message)

    def refuse(self, request: ServedCall, error: BridgeError) -> bytes:
        """The response of the library itself: the function did not run, or its result cannot be sent.

        Raises ProtocolError if the peer takes messages so small that not even this fits.
        """
        if request.span is not None:
            request.span.fail(error)
        self.finish(request)
        kind = {"type": error.type} if isinstance(error, RemoteError) else {}
        text = error.message if isinstance(error, RemoteError) else str(error)
        error_map = {"code": error.code, "message": text, **kind}
        return frames.encode_error_response(self.encoder, request.id, error_map, self._max_message)

    def flow(self, request: ServedCall, iterator: Iterator[Any]) -> None:
        """The request has become a stream of what `iterator` gives."""
        request.iterator = iterator
        request.running = False
        self._queue_flow(request)

    def next_stream(self) -> ServedCall | None:
        """A stream whose turn it is to send an item. Call continue_stream or answer it afterwards."""
        for index, request in enumerate(self.flowing):
            if self.may_start(request):
                del self.flowing[index]
                request.running = True
                return request
        return None

    def continue_stream(self, request: ServedCall, value: object) -> bytes:
        """The item to send. Raises EncodeError."""
        message = self.item(request, value)
        request.credit -= 1
        request.running = False
        self._queue_flow(request)
        return message

    # What arrives.

    def receive(self, message: bytes | memoryview) -> None:
        """Take a message. Raises ProtocolError."""
        try:
            frame = values.decode_plain(message)
        except values.HasReferences:
            self._receive_with_references(message)
            return
        self.receive_frame(frame, len(message))

    def start_alone(self, message: bytes | memoryview) -> ServedCall | None:
        """Take a message while nothing is queued: the usual request is started at once and returned; whatever else it
        is has been received as by receive. Raises ProtocolError.
        """
        try:
            frame = values.decode_plain(message)
        except values.HasReferences:
            self._receive_with_references(message)
            return None
        if type(frame) is list and len(frame) == 4 and frames.is_usual_request(frame):
            request_id, incoming = frame[1], self.incoming
            if request_id > self._last_peer_id and len(incoming) < MAX_OUTSTANDING:
                self._last_peer_id = request_id
                request = incoming[request_id] = ServedCall(request_id, frame[2], frame[3], len(message))
                request.running = True
                return request
        self.receive_frame(frame, len(message))
        return None

    def receive_frame(self, frame: object, size: int) -> None:
        """Take a message of `size` bytes that has been decoded but not checked. Raises ProtocolError."""
        self._arriving = size
        try:
            frames.read_frame(frame, self)
        except BaseException as escaped:
            _require_thought_of(escaped)
            raise

    def _receive_with_references(self, message: bytes | memoryview) -> None:
        try:
            self._put_in_references(message)
        except BaseException as escaped:
            _require_thought_of(escaped)
            raise

    def _put_in_references(self, message: bytes | memoryview) -> None:
        frame = values.decode(message, self.buffers)
        lending = self.lending
        if type(frame) is not list:
            self.receive_frame(frame, len(message))
        lending.put_in(frame)
        kind, call_id = (*frame, None, None)[:2]
        is_answer = type(call_id) is int and (kind == frames.RESPONSE or kind == frames.ITEM)
        call = self.pending.get(call_id) if is_answer else None
        queued = len(self.queue)
        self.receive_frame(frame, len(message))
        arrived, has_stale = lending.arrived()
        unreadable = lending.unreadable
        if kind == frames.REQUEST:
            self._lend_to(self.incoming.get(frame[1]), arrived, has_stale, unreadable)
        elif kind == frames.NOTIFICATION:
            if arrived:
                raise ProtocolError(f"a notification of {frame[1]} with a function or an object")
            # Nobody is told of it, as of any notification that cannot be delivered.
            if (has_stale or unreadable is not None) and len(self.queue) > queued:
                self.queue[-1].cancelled = True
                self.dropped_notifications += 1
        elif call is not None and (kind == frames.ITEM or call.error is None):
            lending.keep(arrived)
            if has_stale:
                self._fail_result(call, Released(f"{call.method}: result: the function or object has been released"))
            elif unreadable is not None:
                self._fail_result(call, EncodeError(f"{call.method}: result: {unreadable}"))
        else:
            # Nobody gets them.
            for reference in arrived:
                lending.let_go(reference)

    def _lend_to(
        self, request: ServedCall | None, references: list[RemoteReference], is_stale: bool, unreadable: str | None
    ) -> None:
        if request is None:
            self.lending.end_call(references)
        else:
            request.references = references
            request.lingers = True
            request.is_stale = is_stale
            request.unreadable = unreadable

    def _fail_result(self, call: PendingCall, why: BridgeError) -> None:
        """What it gives has been released here while it was on its way back, or cannot be read here."""
        if not call.done:
            self._reply(self.forget(call.id))
            call.done = True
            if call.items:
                # It alone: what came before it is read first.
                call.items.pop()
        call.result = None
        call.error = why

    def end(self, reason: BridgeError) -> list[ServedCall]:
        """The connection has ended: every call of ours fails with `reason`. Returns the streams to be closed."""
        for call in self.pending.values():
            call.done = True
            call.error = ended_for(call.method, reason)
            if call.wake is not None:
                call.wake()
        streams = [
            request for request in self.incoming.values() if request.iterator is not None and not request.running
        ]
        for request in self.incoming.values():
            request.cancelled = True
            if request.span is not None:
                request.span.end()
            if request.wake is not None:
                request.wake()
        self.pending.clear()
        self.incoming.clear()
        self.queue.clear()
        self.flowing.clear()
        self.replies.clear()
        self.queued_bytes = self._related = 0
        self.lending.end()
        return streams

    def finish(self, request: ServedCall) -> None:
        """The request has been answered, or needs no answer."""
        request.running = False
        self.incoming.pop(request.id, None)
        if request.lingers:
            if request in self.flowing:
                self.flowing.remove(request)
            self.lending.end_call(request.references)
            if request.span is not None:
                request.span.end()

    def _leaves_queue(self, request: ServedCall) -> None:
        self.queued_bytes -= request.size
        self._related -= request.within > 0

    def _refuse_late(self, request: ServedCall) -> None:
        self._refuse(request, CallTimeout(f"{request.method}: its deadline had passed before it could start"))

    def _refuse(self, request: ServedCall, error: BridgeError) -> None:
        if request.id:
            self._reply(self.refuse(request, error))

    def _reply(self, message: bytes) -> None:
        if len(self.replies) >= MAX_OUTSTANDING:
            raise ProtocolError(f"more than {MAX_OUTSTANDING} requests past the limit of outstanding calls")
        self.replies.append(message)

    def _queue_flow(self, request: ServedCall) -> None:
        if request.credit > 0 and not request.cancelled:
            self.flowing.append(request)

    # The sink of a frame that has been checked.

    def on_request(self, call_id: int, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        """A call of the peer's. Raises ProtocolError."""
        if call_id <= self._last_peer_id:
            raise ProtocolError(f"a request with id {call_id} after one with id {self._last_peer_id}")
        self._last_peer_id = call_id
        request = self._make_request(call_id, method, args, meta)
        if self.lending.lent and method.startswith(REFERENCE_PREFIX):
            # Now: the answer to the call that it has been lent for may come before this one's turn.
            request.lent = self.lending.find(method)
        if len(self.incoming) >= MAX_OUTSTANDING or len(self.queue) >= MAX_QUEUED or self._overflows(request.size):
            self._refuse(request, Busy(f"{method}: too many calls, or too many bytes, are queued already"))
        elif self._is_never_served(request):
            self._refuse(request, Busy(f"{method}: {CLIENT_SERVES}"))
        else:
            self.incoming[call_id] = request
            self._queue_request(request)

    def on_notification(self, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        """A call that wants no answer."""
        request = self._make_request(0, method, args, meta)
        if len(self.queue) >= MAX_OUTSTANDING or self._overflows(request.size) or self._is_never_served(request):
            self.dropped_notifications += 1
        else:
            self._queue_request(request)

    def _make_request(self, request_id: int, method: str, args: list[Any], meta: dict[str, Any] | None) -> ServedCall:
        request = ServedCall(request_id, method, args, self._arriving)
        if meta:
            if "deadline_ms" in meta:
                request.deadline = request.nested_until = self._clock() + meta["deadline_ms"] / 1000
            request.within = meta.get("within", 0)
            request.chain = meta.get("chain", ())
            if request.within > self.last_id:
                raise ProtocolError(f"a request within call {request.within}, which was never made")
            request.traceparent = meta.get("traceparent")
            request.kwargs = meta.get("kwargs")
            request.credit = meta.get("stream", 0)
            request.wants_handles = meta.get("handles", False)
            request.lingers = request.wants_stream = request.credit > 0
        return request

    def _is_never_served(self, request: ServedCall) -> bool:
        return self._unrelated == "refused" and request.within not in self.pending

    def _queue_request(self, request: ServedCall) -> None:
        self.queue.append(request)
        self.queued_bytes += request.size
        self._related += request.within > 0
        self.next_expiry = min(self.next_expiry, request.deadline)

    def _overflows(self, size: int) -> bool:
        return bool(self.queue) and self.queued_bytes + size > self._max_message

    def on_response(self, call_id: int, result: object) -> None:
        """The answer of a function that returned, or the end of a stream. Raises ProtocolError."""
        self._on_answer(call_id, result, None)

    def on_error_response(self, call_id: int, error: dict[str, Any]) -> None:
        """The answer of a function that raised. Raises ProtocolError."""
        raised = error_from_map(error)
        if self._whose and type(raised) is UnknownMethod:
            raised = UnknownMethod(f"{raised}{self._whose}")
            raised.from_peer = True
        self._on_answer(call_id, None, raised)

    def _on_answer(self, call_id: int, result: object, error: BridgeError | None) -> None:
        call = self.drop(call_id)
        if call is None:
            self._count_late(call_id, "a response")
            return
        call.done = True
        call.result = result
        call.error = error
        if call.wake is not None:
            call.wake()

    def on_item(self, call_id: int, value: object) -> None:
        """The next value of a stream. Raises ProtocolError."""
        call = self.pending.get(call_id)
        if call is None:
            self._count_late(call_id, "an item")
            return
        if call.items is None:
            raise ProtocolError(f"an item for call {call_id} of {call.method}, which is not a stream")
        if call.credit <= 0:
            raise ProtocolError(f"an item for the stream {call.method}, which has no credit left")
        call.credit -= 1
        call.items.append(value)
        if call.wake is not None:
            call.wake()

    def _count_late(self, call_id: int, what: str) -> None:
        if not 1 <= call_id <= self.last_id:
            raise ProtocolError(f"{what} for call {call_id}, which was never made")
        self.late_answers += 1

    def on_cancel(self, call_id: int) -> None:
        """The caller wants the answer no more. Raises ProtocolError."""
        request = self._find_request(call_id, "a cancel")
        if request is None:
            return
        request.cancelled = True
        if request.references:
            self.lending.end_call(request.references)
        if request.running:
            if request.wake is not None:
                request.wake()
            return
        # Its arguments may be large, and it stays in the queue until its turn.
        request.args, request.kwargs = [], None
        del self.incoming[request.id]
        if request.iterator is not None:
            if request in self.flowing:
                self.flowing.remove(request)
            self.flowing.appendleft(request)

    def on_credit(self, call_id: int, items: int) -> None:
        """The caller takes more items. Raises ProtocolError."""
        request = self._find_request(call_id, "credit")
        if request is None or request.cancelled:
            return
        had, request.credit = request.credit, request.credit + items
        if request.credit > frames.MAX_CREDIT:
            raise ProtocolError(f"credit of {request.credit} items for the stream {call_id} of {request.method}")
        if had == 0 and request.iterator is not None and not request.running:
            self.flowing.append(request)
        elif request.wake is not None:
            request.wake()

    def on_leave(self) -> None:
        """The peer is about to end the connection, or has heard that we are. Raises ProtocolError."""
        if self.peer_leaves:
            raise ProtocolError("a second leave")
        self.peer_leaves = True
        if not self.leaves:
            self._reply(self.leave())

    def on_expose(self, names: list[str]) -> None:
        """The peer names what it exposes, which is of no use where there is one peer: see exposed.py."""

    def on_release(self, ids: list[int]) -> None:
        """The peer does not use these functions and objects of ours any more. Raises ProtocolError."""
        self.lending.on_release(ids)

    def on_hold(self, ids: list[int]) -> None:
        """The peer keeps these functions of ours beyond their calls. Raises ProtocolError."""
        self.lending.on_hold(ids)

    def on_returned(self, numbers: list[int]) -> None:
        """The peer has done with buffers of ours. Raises ProtocolError."""
        self._require_buffers("returned").on_returned(numbers)

    def on_withdrawn(self, numbers: list[int]) -> None:
        """The peer hands nothing over there any more. Raises ProtocolError."""
        self._require_buffers("withdrawn").on_withdrawn(numbers)

    def _require_buffers(self, what: str) -> SharedBuffers:
        if self.buffers is None:
            raise ProtocolError(f"a {what} on a connection on which no memory is lent")
        return self.buffers

    def _find_request(self, request_id: int, what: str) -> ServedCall | None:
        if not 1 <= request_id <= self._last_peer_id:
            raise ProtocolError(f"{what} for call {request_id}, which was never made")
        return self.incoming.get(request_id)


def _require_thought_of(escaped: BaseException) -> None:
    """Raise ProtocolError for what code of the program's has raised while a message was taken, where nobody has thought
    of it. The message is lost, and whoever waits for it has to be told.
    """
    if isinstance(escaped, BridgeError | MemoryError) or is_interrupt(escaped):
        return
    told = f"{name_of(type(escaped))}: {text_of(escaped)}"
    raise ProtocolError(f"a message of the peer's could not be taken: {told}") from escaped


def ended_for(method: str, reason: BridgeError) -> BridgeError:
    """What a call that was under way is told of the end of its connection."""
    for kind in (ConnectionClosed, ProtocolError):
        if isinstance(reason, kind):
            return kind(f"{method}: {reason}")
    return PeerGone(f"{method}: {reason}")


def _in_portions(names: Sequence[str], most_bytes: int) -> list[list[str]]:
    """Names for several messages of about so many bytes."""
    portions: list[list[str]] = []
    left = 0
    for name in names:
        size = len(name.encode()) + 3  # the longest head of such a string
        if size > left:
            portions.append([])
            left = most_bytes
        portions[-1].append(name)
        left -= size
    return portions

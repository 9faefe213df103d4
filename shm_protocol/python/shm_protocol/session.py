"""The rules of a connection, without any I/O: ids, calls under way, the queue of requests, streams and their credit.

A session turns calls into messages to send and takes the messages that have arrived. It never runs a function and never
waits; connection.py does both. Times come from `clock`, so tests need no real ones.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from . import frames, values
from .errors import (
    BridgeError,
    Busy,
    CallTimeout,
    CallTooDeep,
    PeerGone,
    ProtocolError,
    RemoteError,
    error_from_map,
    error_to_map,
)

OUTSTANDING_MAX: Final = 1024
"""Calls outstanding in one connection and direction (PROTOCOL.md section 11)."""

QUEUED_MAX: Final = 2 * OUTSTANDING_MAX
"""Entries of the queue: as many requests as may be outstanding, and as many notifications. A cancelled request counts
until its turn comes, or a peer that calls and cancels could make the queue as long as it likes.
"""


class Call:
    """A call of ours that waits for its answer. `items` is None unless it asked for a stream.

    wake: called when its answer or an item has come, where whoever waits does not look by itself. It must not raise.
    """

    __slots__ = ("credit", "done", "error", "id", "items", "method", "result", "wake")

    def __init__(self, call_id: int, method: str, credit: int) -> None:
        self.id = call_id
        self.method = method
        self.credit = credit  # items the peer may still send
        self.items: deque[Any] | None = deque() if credit else None
        self.done = False
        self.result: Any = None
        self.error: BridgeError | None = None
        self.wake: Callable[[], None] | None = None


class Request:
    """A call of the peer's. `id` is 0 for a notification. `iterator` is set once it has become a stream.

    wake: called when it is cancelled or granted credit while it runs, where whoever serves it does not look by itself.
    It must not raise.
    """

    # Defaults in the class: most requests set none of them, and each is a store less per call.
    deadline = math.inf
    chain: Sequence[str] = ()
    traceparent: str | None = None
    credit = 0  # items we may still send
    wants_stream = False
    iterator: Iterator[Any] | None = None
    running = False
    cancelled = False
    wake: Callable[[], None] | None = None

    def __init__(self, request_id: int, method: str, args: list[Any], size: int) -> None:
        self.id = request_id
        self.method = method
        self.args = args
        self.size = size  # bytes of the message it came in


class Session:
    """One side of one connection."""

    def __init__(self, max_message: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.packer: Final = values.Packer()
        self.pending: Final[dict[int, Call]] = {}
        self.incoming: Final[dict[int, Request]] = {}
        """Requests taken and not answered yet: queued, running or streaming."""
        self.queue: Final[deque[Request]] = deque()
        """Requests and notifications not started yet, in the order sent."""
        self.flowing: Final[deque[Request]] = deque()
        """Streams that have credit left: each may send an item in its turn."""
        self.replies: Final[deque[bytes]] = deque()
        """Answers the session itself gives, to be sent as soon as there is room."""
        self.last_id = 0
        self.queued_bytes = 0
        self.peer_leaves = False
        """The peer has sent `leave`: after ours, no new request of its will come."""
        self.late_answers = 0
        self.dropped_notifications = 0
        self._last_peer_id = 0
        self.leaves = False
        self._max_message = max_message  # and of requests queued, together
        self._clock = clock

    # Calls of ours.

    def start(self, method: str, args: Sequence[object], meta: dict[str, Any] | None) -> tuple[int, bytes]:
        """A new id and the request to send. Nothing is kept: see track. Raises EncodeError and Busy."""
        if len(self.pending) >= OUTSTANDING_MAX:
            raise Busy(f"{method}: {OUTSTANDING_MAX} calls are outstanding on this connection already")
        call_id = self.last_id + 1
        message = frames.encode_request(self.packer, call_id, method, args, meta)
        self.last_id = call_id
        return call_id, message

    def track(self, call_id: int, method: str, credit: int = 0) -> Call:
        """Keep the call, to be done when its answer has been received. `credit` > 0: it asked for a stream."""
        call = self.pending[call_id] = Call(call_id, method, credit)
        return call

    def forget(self, call_id: int) -> bytes:
        """Want the answer no more. Returns the cancel to send; a late answer is dropped and counted."""
        self.pending.pop(call_id, None)
        return frames.encode_cancel(self.packer, call_id)

    def grant(self, call: Call, items: int) -> bytes:
        """Allow `items` more items of a stream. Returns the credit to send."""
        call.credit += items
        return frames.encode_credit(self.packer, call.id, items)

    def leave(self) -> bytes:
        """The leave to send. The peer answers with its own, and sends no new request after it."""
        self.leaves = True
        return frames.encode_leave(self.packer)

    # Calls of the peer's.

    def take(self, roots: bool = True) -> Request | None:
        """The next request to start, or None. `roots` False: only one that belongs to a chain of calls.

        A request that came too late or is nested too deep is answered here and never started.
        """
        queue = self.queue
        index = 0
        while index < len(queue):
            request = queue[index]
            if not (roots or request.chain or request.cancelled):
                index += 1
                continue
            del queue[index]
            self.queued_bytes -= request.size
            if request.cancelled:
                continue
            if request.deadline != math.inf and self._clock() >= request.deadline:
                self._refuse(request, CallTimeout(f"{request.method}: its deadline had passed before it could start"))
            elif len(request.chain) >= frames.CHAIN_MAX:
                chain = " -> ".join((*request.chain, request.method))
                self._refuse(request, CallTooDeep(f"call {len(request.chain) + 1} of the chain {chain}"))
            else:
                request.running = True
                return request
        return None

    def answer(self, request: Request, result: object) -> bytes:
        """The response of a function that returned. The request is answered with it. Raises EncodeError: not
        answered.
        """
        message = frames.encode_response(self.packer, request.id, result)
        self.finish(request)
        return message

    def fail(self, request: Request, raised: BaseException) -> bytes:
        """The response of a function that raised."""
        self.finish(request)
        return frames.encode_error(self.packer, request.id, error_to_map(raised))

    def refuse(self, request: Request, error: BridgeError) -> bytes:
        """The response of the library itself: the function did not run, or its result cannot be sent.

        Raises ProtocolError if the peer takes messages so small that not even this fits.
        """
        self.finish(request)
        kind = {"type": error.type} if isinstance(error, RemoteError) else {}
        text = error.message if isinstance(error, RemoteError) else str(error)
        for message in (text, f"{text[:100]}…"):
            response = frames.encode_error(self.packer, request.id, {"code": error.code, "message": message, **kind})
            if len(response) <= self._max_message:
                return response
        raise ProtocolError(f"the peer takes messages of {self._max_message} bytes, too few for an error")

    def flow(self, request: Request, iterator: Iterator[Any]) -> None:
        """The request has become a stream of what `iterator` gives."""
        request.iterator = iterator
        request.running = False
        self._queue_flow(request)

    def drop(self, request: Request) -> None:
        """The request needs no answer."""
        self.finish(request)

    def next_stream(self) -> Request | None:
        """A stream whose turn it is to send an item. Call continue_stream or answer it afterwards."""
        if not self.flowing:
            return None
        request = self.flowing.popleft()
        request.running = True
        return request

    def continue_stream(self, request: Request, value: object) -> bytes:
        """The item to send. Raises EncodeError."""
        message = frames.encode_item(self.packer, request.id, value)
        request.credit -= 1
        request.running = False
        self._queue_flow(request)
        return message

    # What arrives.

    def receive(self, message: bytes) -> None:
        """Take a message. Raises ProtocolError."""
        self.receive_frame(values.decode(message), len(message))

    def start_alone(self, message: bytes) -> Request | None:
        """Take a message while nothing is queued: the usual request is started at once and returned; whatever else it
        is has been received as by receive. Raises ProtocolError.
        """
        frame = values.decode(message)
        if type(frame) is list and len(frame) == 4 and frames.is_usual_request(frame):
            request_id, incoming = frame[1], self.incoming
            if request_id > self._last_peer_id and len(incoming) < OUTSTANDING_MAX:
                self._last_peer_id = request_id
                request = incoming[request_id] = Request(request_id, frame[2], frame[3], len(message))
                request.running = True
                return request
        self.receive_frame(frame, len(message))
        return None

    def receive_frame(self, frame: object, size: int) -> None:
        """Take a message of `size` bytes that has been decoded but not checked. Raises ProtocolError."""
        checked = frames.checked(frame)
        _RECEIVERS[checked[0]](self, checked, size)

    def end(self, reason: BridgeError) -> list[Request]:
        """The connection has ended: every call of ours fails with `reason`. Returns the streams to be closed."""
        for call in self.pending.values():
            call.done = True
            call.error = PeerGone(f"{call.method}: {reason}")
            if call.wake is not None:
                call.wake()
        streams = [
            request for request in self.incoming.values() if request.iterator is not None and not request.running
        ]
        for request in self.incoming.values():
            request.cancelled = True
            if request.wake is not None:
                request.wake()
        self.pending.clear()
        self.incoming.clear()
        self.queue.clear()
        self.flowing.clear()
        self.replies.clear()
        self.queued_bytes = 0
        return streams

    def finish(self, request: Request) -> None:
        """The request has been answered, or needs no answer."""
        request.running = False
        self.incoming.pop(request.id, None)
        if request.iterator is not None and request in self.flowing:
            self.flowing.remove(request)

    def _refuse(self, request: Request, error: BridgeError) -> None:
        if request.id:
            self._reply(self.refuse(request, error))

    def _reply(self, message: bytes) -> None:
        if len(self.replies) >= OUTSTANDING_MAX:
            raise ProtocolError(f"more than {OUTSTANDING_MAX} requests past the limit of outstanding calls")
        self.replies.append(message)

    def _queue_flow(self, request: Request) -> None:
        if request.credit > 0 and not request.cancelled:
            self.flowing.append(request)

    def _on_request(self, frame: frames.Frame, size: int) -> None:
        request_id = frame[1]
        if request_id <= self._last_peer_id:
            raise ProtocolError(f"a request with the id {request_id} after one with {self._last_peer_id}")
        self._last_peer_id = request_id
        request = Request(request_id, frame[2], frame[3], size)
        if len(frame) == 5:
            self._apply_meta(request, frame[4])
        if len(self.incoming) >= OUTSTANDING_MAX or len(self.queue) >= QUEUED_MAX or self._overflows(size):
            self._refuse(request, Busy(f"{request.method}: too many calls, or too many bytes, are queued already"))
            return
        self.incoming[request_id] = request
        self.queue.append(request)
        self.queued_bytes += size

    def _on_notification(self, frame: frames.Frame, size: int) -> None:
        if len(self.queue) >= OUTSTANDING_MAX or self._overflows(size):
            self.dropped_notifications += 1
            return
        request = Request(0, frame[1], frame[2], size)
        if len(frame) == 4:
            self._apply_meta(request, frame[3])
        self.queue.append(request)
        self.queued_bytes += size

    def _overflows(self, size: int) -> bool:
        return bool(self.queue) and self.queued_bytes + size > self._max_message

    def _apply_meta(self, request: Request, meta: dict[str, Any]) -> None:
        if "deadline_ms" in meta:
            request.deadline = self._clock() + meta["deadline_ms"] / 1000
        request.chain = meta.get("chain", ())
        request.traceparent = meta.get("traceparent")
        request.credit = meta.get("stream", 0)
        request.wants_stream = request.credit > 0

    def _on_response(self, frame: frames.Frame, size: int) -> None:
        call = self.pending.pop(frame[1], None)
        if call is None:
            self._count_late(frame[1], "a response")
            return
        call.done = True
        if frame[2] is None:
            call.result = frame[3]
        else:
            call.error = error_from_map(frame[2])
        if call.wake is not None:
            call.wake()

    def _on_item(self, frame: frames.Frame, size: int) -> None:
        call = self.pending.get(frame[1])
        if call is None:
            self._count_late(frame[1], "an item")
            return
        if call.items is None or call.credit <= 0:
            raise ProtocolError(f"an item of call {call.id} ({call.method}) without credit for it")
        call.credit -= 1
        call.items.append(frame[2])
        if call.wake is not None:
            call.wake()

    def _count_late(self, call_id: int, what: str) -> None:
        if not 1 <= call_id <= self.last_id:
            raise ProtocolError(f"{what} for the id {call_id}; the ids 1 to {self.last_id} have been used")
        self.late_answers += 1

    def _on_cancel(self, frame: frames.Frame, size: int) -> None:
        request = self._find_request(frame[1], "a cancel")
        if request is None:
            return
        request.cancelled = True
        if request.running:
            if request.wake is not None:
                request.wake()
            return
        # Its arguments may be large, and it stays in the queue until its turn.
        request.args = []
        del self.incoming[request.id]
        if request.iterator is not None and request not in self.flowing:
            self.flowing.append(request)

    def _on_credit(self, frame: frames.Frame, size: int) -> None:
        request = self._find_request(frame[1], "a credit")
        if request is None or request.cancelled:
            return
        had, request.credit = request.credit, request.credit + frame[2]
        if request.credit > frames.CREDIT_MAX:
            raise ProtocolError(
                f"a credit of {request.credit} items outstanding; at most {frames.CREDIT_MAX} are allowed"
            )
        if had == 0 and request.iterator is not None and not request.running:
            self.flowing.append(request)
        elif request.wake is not None:
            request.wake()

    def _on_leave(self, frame: frames.Frame, size: int) -> None:
        if self.peer_leaves:
            raise ProtocolError("a second leave")
        self.peer_leaves = True
        if not self.leaves:
            self._reply(self.leave())

    def _find_request(self, request_id: int, what: str) -> Request | None:
        if not 1 <= request_id <= self._last_peer_id:
            raise ProtocolError(f"{what} for the id {request_id}; the ids 1 to {self._last_peer_id} have been used")
        return self.incoming.get(request_id)


_RECEIVERS: Final[tuple[Callable[[Session, frames.Frame, int], None], ...]] = (
    Session._on_request,
    Session._on_response,
    Session._on_notification,
    Session._on_cancel,
    Session._on_item,
    Session._on_credit,
    Session._on_leave,
)
"""By the type of frame, as frames.py numbers them."""

"""A session's messages on a transport: what waits for room, what has arrived, and the end. It serves nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final, Literal, TypeGuard

from .calls import PendingCall, ServedCall
from .direct_calls import direct_calls
from .errors import (
    BridgeError,
    CallTimeout,
    ConnectionClosed,
    MessageTooLarge,
    PeerGone,
    ProtocolError,
)
from .lending import TELLS_REFERENCES
from .options import MAX_TIMEOUT_S
from .session import Session, Unrelated
from .transports.transport import MessageTransport

MAX_READ_AHEAD: Final = 1024
"""Messages read at once, at most."""

READ_AHEAD_WHILE_SERVING: Final = (256, 1024 * 1024)
"""Requests and bytes of them that are read before the next one is started, to see whether it has been cancelled. The
rest stays in the ring, unless something of ours waits for room or for an answer: then all is read, so that two full
rings cannot block each other and no request keeps an answer from being seen."""

READ_AHEAD_FOR_CANCEL: Final = (1024, 16 * 1024 * 1024)
"""Requests and bytes of them behind which a cancel is still seen while a function runs that asks for it. What is more
than these is left in the ring, as it is where no function asks."""

POLL_NS: Final = 2_000
"""How long one poll looks for a message: as long as a look at the other descriptors would take."""

STALE_AFTER_S: Final = 0.001
"""A connection idle for longer is checked for its peer's end before a call is sent. Both sides are parked by then, and
one system call more is little beside the wake-ups."""

_NO_LIMIT_NS: Final = -1

PollResult = Literal["ready", "empty", "parked"]


class Link:
    """What a connection is made of below its calls. Whoever holds it deals with the errors: see ends.

    clear: nothing waits to be sent, neither in the transport nor in the outbox. peer_left: the socket has ended; what
    the peer sent before may still be unread. ended: why the connection has ended, if it has.
    """

    def __init__(self, transport: MessageTransport, unrelated: Unrelated, whose: str, peer_minor: int) -> None:
        self.transport: Final = transport
        self.session: Final = Session(transport.max_message, unrelated=unrelated, whose=whose, peer_minor=peer_minor)
        self.direct: Final = direct_calls(transport, self.session, STALE_AFTER_S)
        self.clear = True
        self.peer_left = False
        self._buffers: Final = transport.buffers
        if self._buffers is not None:
            self._buffers.replies = self.session.replies
            self.session.buffers = self._buffers
            self.session.encoder.lend_by(self._buffers)
        self.ended: BridgeError | None = None
        self._outbox: Final[deque[bytes]] = deque()
        # Bound once: two attribute look-ups less in each call.
        self.receive: Final = transport.receive
        self.receive_or_wake: Final = transport.receive_or_wake
        self.try_receive: Final = transport.try_receive
        self._send: Final = transport.send
        self._answer_directly: Final = self.direct.answer
        self._max_message: Final = transport.max_message

    # Sending.

    def post(self, message: bytes) -> None:
        """Send, or keep for later if there is no room. Raises MessageTooLarge."""
        if len(message) > self._max_message:
            self.session.encoder.take_back()
            raise MessageTooLarge(f"the message has {len(message)} bytes, max_message is {self._max_message}")
        if self.clear:
            self.clear = False
            self.clear = self._send(message)
        else:
            self._outbox.append(message)

    def name(self, names: Sequence[str], *, is_owner: bool) -> None:
        """Name functions to the peer: at once, or, in another thread than the owner, when that one looks up."""
        for message in self.session.name(names):
            if is_owner:
                self.post(message)
            else:
                self.session.replies.append(message)

    def tell_references(self) -> None:
        """Send what there is to tell of references, before whatever is sent next."""
        for message in self.session.lending.messages():
            self.post(message)

    def post_plain_answer(self, request: ServedCall, result: object) -> bool:
        """Send the response of a function that returned, or keep it. False: it is not as plain as most, and nothing has
        been done. Raises MessageTooLarge.
        """
        if not self.clear:
            return False
        self.clear = False
        is_published = self._answer_directly(request.id, result)
        self.clear = is_published is not False
        if is_published is None:
            return False
        self.session.finish(request)
        return True

    def flush(self) -> bool:
        """Send what waits, as far as there is room. True: nothing waits any more."""
        replies = self.session.replies
        if self.clear and not replies:
            return True
        self.clear = False
        if not self.transport.flush():
            return False
        for waiting in (self._outbox, replies):
            while waiting:
                message = waiting.popleft()
                if message == TELLS_REFERENCES:
                    waiting.extendleft(reversed(self.session.lending.messages()))
                elif not self._send(message):
                    return False
        self.clear = True
        return True

    def flush_before(self, method: str, deadline: float) -> None:
        """Send what waits, or raise CallTimeout. Nothing is started meanwhile."""
        while not self.flush():
            ready = self.transport.wait(to_ns(deadline - monotonic()))
            self.read_ahead()
            if not ready:
                raise CallTimeout(f"{method}: there was no room for it within its deadline; it was not sent")

    # Receiving.

    def read_ahead(self, most_requests: int | None = None, most_bytes: int = 0) -> bool:
        """Take the messages that have arrived, while fewer requests and bytes of them are queued. True: there was
        one.
        """
        session = self.session
        for count in range(MAX_READ_AHEAD):
            if most_requests is not None and (
                len(session.queue) >= most_requests or session.queued_bytes >= most_bytes
            ):
                return count > 0
            try:
                message = self.try_receive()
            except PeerGone:
                if count == 0 and not session.queue:
                    raise
                # What came before the end is dealt with first; a later look raises again.
                return count > 0
            if message is None:
                return count > 0
            session.receive(message)
        return True

    def look(self) -> bool:
        """Take what has arrived, but no more than is soon started, unless something of ours is waited for."""
        if self.session.waiting:
            return self.read_ahead()
        return self.read_ahead(*READ_AHEAD_WHILE_SERVING)

    def heed(self) -> bool:
        """Take what has arrived, so that it is known what has been cancelled; nothing is started. False: the peer is
        gone, and wants nothing any more, whatever it had sent.
        """
        try:
            # First: a ring does not tell.
            self.transport.drain()
            if self.session.waiting:
                self.read_ahead()
            else:
                self.read_ahead(*READ_AHEAD_FOR_CANCEL)
        except PeerGone:
            return False
        return True

    def is_ready(self) -> bool:
        """There is something to do without a look at the transport."""
        return self.peer_left or (self.clear and self.session.has_work())

    def poll(self) -> PollResult:
        """See Connection.poll."""
        if self.is_ready():
            return "ready"
        state = self.transport.poll(POLL_NS)
        return "ready" if state == 1 else "empty" if state == 0 else "parked"

    def park(self) -> bool:
        """Park at once. False: there is something to do, and it is not parked."""
        return not self.is_ready() and self.transport.park()

    def unpark(self) -> None:
        """Be awake again. An end of the socket is noted in peer_left."""
        self.transport.unpark()
        try:
            self.transport.drain()
        except PeerGone:
            self.peer_left = True

    # The end.

    def begin_to_leave(self) -> None:
        """Have the peer send no new requests."""
        # A second one would break the protocol.
        if not self.session.leaves:
            self.post(self.session.leave())

    def has_served_all(self) -> bool:
        """The peer sends no new requests, and those it had sent have been answered."""
        session = self.session
        return session.peer_leaves and self.clear and not (session.incoming or session.queue or session.replies)

    def forget(self, call: PendingCall) -> None:
        """Want the answer no more, and tell the peer, unless there is one already."""
        if not call.done and self.ended is None:
            self.post(self.session.forget(call.id))

    def end(self, reason: BridgeError) -> list[ServedCall]:
        """Nothing is sent or received any more. Returns the streams to be closed."""
        self.ended = reason
        streams = self.session.end(reason)
        self._outbox.clear()
        if self._buffers is not None:
            self._buffers.end(f"the connection has ended: {reason}")
        self.transport.close(f"the connection has ended: {reason}")
        return streams

    def end_in_child(self) -> None:
        """See forks.py."""
        reason = "the connection belongs to the parent process; dial one after the fork"
        self.ended = ConnectionClosed(reason)
        self.session.lending.end()
        if self._buffers is not None:
            self._buffers.end(reason)
        self.transport.close_in_child(reason)


def ends(error: BaseException) -> TypeGuard[BridgeError]:
    """Whether a connection that raised it cannot go on."""
    return isinstance(error, PeerGone | ProtocolError | ConnectionClosed)


def to_ns(seconds: float) -> int:
    """Seconds as a transport takes them."""
    return _NO_LIMIT_NS if seconds > MAX_TIMEOUT_S else max(0, int(seconds * 1e9))

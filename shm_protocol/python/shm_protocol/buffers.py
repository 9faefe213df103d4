"""Large buffers of one connection: what this side has lent the peer, and what it has borrowed (PROTOCOL.md section 12).

They lie in memory of the lender's, which both have mapped; what travels in the message is where. The borrower says when
it has done with each, and only then is that memory written to again.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from typing import Any, Final

from . import frames
from ._memory import ALIGN, Loan, PeerMemory, View
from .errors import ProtocolError
from .pool import Pool
from .transports import shortages
from .transports.descriptors import Descriptors
from .values.wire import Scattered, Undecodable, Unreadable

MAX_KNOWN: Final = 256
"""Memory of one side's that the other may know, one connection (PROTOCOL.md section 11): each takes a descriptor."""

MAX_BUFFER: Final = 2**32 - 1
"""Bytes of one buffer outside of its message (PROTOCOL.md section 11)."""

_MAX_RECEIVED: Final = 4 * MAX_KNOWN
"""Descriptors may be here before the message that withdraws others has been read."""

_PLACE: Final = struct.Struct("<QQQ")
"""Where a buffer lies: number of the memory, offset in it, bytes."""


class _Lent:
    """A loan that the peer has been told of, so many times."""

    __slots__ = ("loan", "times")

    def __init__(self, loan: Loan) -> None:
        self.loan = loan
        self.times = 0


class Buffers:
    """One connection's. threshold: bytes of the smallest buffer that is handed over like this. lent, borrowed: how many
    buffers have been. replies: where messages of the library's own are put, in any thread.
    """

    def __init__(self, descriptors: Descriptors, pool: Pool, threshold: int) -> None:
        self.threshold: Final = threshold
        self.lent = 0
        self.borrowed = 0
        self.replies: deque[bytes] = deque()
        self._descriptors: Final = descriptors
        self._pool: Final = pool
        self._out: Final[dict[int, _Lent]] = {}
        self._known: Final[set[int]] = set()  # to the peer, of ours
        self._placed: Final[list[int]] = []  # by the message that is being encoded, or was last
        self._theirs: Final[dict[int, PeerMemory]] = {}
        self._withdrawn_early: Final[set[int]] = set()  # theirs, before there was a descriptor to receive them with
        self._has_ended = False
        pool.watch(self)

    def describe(self) -> str:
        """Where large buffers go."""
        why_not = self._descriptors.why_not
        return "memory" if why_not is None else f"ring: {why_not}"

    def stats(self) -> dict[str, int]:
        """Buffers lent and borrowed since the beginning, and the bytes that the peer has not returned."""
        lent = sum(one.loan.size for one in tuple(self._out.values()))
        return {"buffers_lent": self.lent, "buffers_borrowed": self.borrowed, "bytes_lent": lent}

    # What this side lends.

    def begin(self) -> None:
        """Another message is encoded: the one before is the peer's."""
        self._placed.clear()

    def take_back(self) -> None:
        """The message that was encoded last is not sent."""
        for number in self._placed:
            self._returned(number)
        self._placed.clear()

    def place(self, head: bytes, body: Any) -> bytes | None:
        """Hand a C-contiguous buffer over. What says so in the message, or None: it has to go with the message.

        Copied, unless it lies in memory that can be lent as it is: see shared_arrays.py.
        """
        size = len(body)
        if size > MAX_BUFFER or not self._may_lend():
            return None
        loan = loan_behind(body)
        offset = -1 if loan is None else loan.offset_of(body)
        if loan is None or offset < 0 or offset % ALIGN:
            try:
                loan = self._pool.lend(size)
            except OSError:
                return None
            loan.fill(body)
            offset = 0
        return self._lend(head, loan, offset, size)

    def place_scattered(self, head: bytes, scattered: Scattered) -> bytes | None:
        """The same for what has to be put together, such as an array that is not C-contiguous: it is copied once."""
        size = scattered.nbytes
        if size > MAX_BUFFER or not self._may_lend():
            return None
        try:
            loan = self._pool.lend(size)
        except OSError:
            return None
        scattered.write_into(loan)
        return self._lend(head, loan, 0, size)

    def _may_lend(self) -> bool:
        return not self._has_ended and len(self._known) < MAX_KNOWN and self._descriptors.is_ready()

    def _lend(self, head: bytes, loan: Loan, offset: int, size: int) -> bytes | None:
        number = loan.memory.number
        if number not in self._known:
            if not self._descriptors.send(loan.memory):
                return None
            self._known.add(number)
        lent = self._out.get(number)
        if lent is None:
            lent = self._out[number] = _Lent(loan)
        lent.times += 1
        self._placed.append(number)
        self.lent += 1
        return head + _PLACE.pack(number, offset, size)

    def on_returned(self, numbers: list[int]) -> None:
        """The peer has done with so many buffers in memory of ours. Raises ProtocolError."""
        for number in numbers:
            if not self._returned(number):
                raise ProtocolError(f"memory {number} is returned that had not been lent")

    def _returned(self, number: int) -> bool:
        lent = self._out.get(number)
        if lent is None:
            return False
        lent.times -= 1
        if lent.times == 0:
            del self._out[number]
        return True

    def withdraw(self, number: int) -> None:
        """See pool.Knower."""
        if number in self._known:
            self._known.discard(number)
            self.replies.append(frames.encode_withdrawn([number]))

    # What it borrows.

    def take_bytes(self, number: int, offset: int, size: int) -> bytes:
        """A copy of what the peer has lent, which is returned at once. Raises Undecodable, Unreadable and
        ProtocolError.
        """
        try:
            copied = self._memory_of(number, offset, size).copy(offset, size)
        except (OSError, MemoryError) as error:
            raise self._withheld(number, size, error) from None
        self._give_back(number)
        return copied

    def take_view(self, number: int, offset: int, size: int) -> View:
        """What the peer has lent, returned when nobody holds it any more. Raises Undecodable, Unreadable and
        ProtocolError.
        """
        try:
            return View(self._memory_of(number, offset, size), offset, size, self._give_back, number)
        except OSError as error:
            raise self._withheld(number, size, error) from None

    def _withheld(self, number: int, size: int, error: Exception) -> Exception:
        reason = shortages.of_receiver(error)
        if reason is None:
            return ProtocolError(f"memory {number} cannot be mapped: {error}")
        self._give_back(number)
        return Unreadable(f"a buffer of {size} bytes cannot be received: {reason}")

    def on_withdrawn(self, numbers: list[int]) -> None:
        """The peer uses that memory no more. Views of it stay as they are. Raises ProtocolError."""
        for number in numbers:
            # It may be one whose descriptor nobody has asked for yet.
            try:
                memory = self._received(number)
            except OSError:
                self._withdraw_early(number)
                continue
            if memory is None:
                raise ProtocolError(f"memory {number} is withdrawn that was never sent")
            del self._theirs[number]

    def _withdraw_early(self, number: int) -> None:
        # Its descriptor comes when there is room for it, and is closed then.
        if number in self._withdrawn_early or len(self._withdrawn_early) >= _MAX_RECEIVED:
            raise ProtocolError(f"memory {number} is withdrawn a second time, or as one of more than {_MAX_RECEIVED}")
        self._withdrawn_early.add(number)

    def _memory_of(self, number: int, offset: int, size: int) -> PeerMemory:
        memory = self._received(number)
        if memory is None:
            raise Undecodable(f"a buffer in memory {number}, whose descriptor has not come")
        if size < 1 or offset % ALIGN or offset + size > memory.size:
            raise Undecodable(f"a buffer of {size} bytes at {offset} in memory of {memory.size}")
        memory.map()
        self.borrowed += 1
        return memory

    def _received(self, number: int) -> PeerMemory | None:
        """That memory of the peer's. None: nothing of it has come. Raises ProtocolError, and OSError where its
        descriptor may have come, but cannot be received now.
        """
        if number not in self._theirs:
            try:
                self._receive_descriptors()
            except OSError:
                # That may have been another's, behind it.
                if number not in self._theirs:
                    raise
        return self._theirs.get(number)

    def _receive_descriptors(self) -> None:
        while (received := self._descriptors.receive()) is not None:
            number, fd = received
            # It has the descriptor closed.
            memory = PeerMemory(fd)
            if number in self._withdrawn_early:
                self._withdrawn_early.discard(number)
                continue
            if number in self._theirs or len(self._theirs) >= _MAX_RECEIVED:
                raise ProtocolError(f"memory {number} is sent a second time, or as one of more than {_MAX_RECEIVED}")
            self._theirs[number] = memory

    def _give_back(self, number: int) -> None:
        if not self._has_ended:
            self.replies.append(frames.encode_returned([number]))

    # The end.

    def end(self, why: str) -> None:
        """The connection has ended. What the peer still has it may look at for ever: that memory is not used again."""
        if self._has_ended:
            return
        self._has_ended = True
        self._pool.unwatch(self)
        for lent in self._out.values():
            lent.loan.spoiled = True
        self._out.clear()
        self._theirs.clear()
        self._descriptors.close(why)

    def __del__(self) -> None:
        # Of a connection that nobody has closed.
        self.end("the connection is not used any more")


def loan_behind(buffer: Any) -> Loan | None:
    """The loan that a buffer is a view of, or an array of NumPy's is."""
    array: Any = getattr(sys.modules.get("numpy"), "ndarray", Loan)
    owner = buffer
    for _ in range(_MAX_VIEWS):
        kind = type(owner)
        if kind is Loan:
            loan: Loan = owner
            return loan
        if kind is memoryview:
            owner = owner.obj
        elif issubclass(kind, array):
            owner = array.base.__get__(owner)
        else:
            return None
    return None


_MAX_VIEWS: Final = 16
"""Views of views that are looked through."""

"""Functions and objects that one side lends to the other, for the time of a call or until they are released
(PROTOCOL.md section 7): the tables of one connection, without any I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import RLock
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, Final, NamedTuple
from weakref import ref

from . import frames, streams, values
from .errors import BridgeError, EncodeError, ProtocolError, Released, UnknownMethod, cut, name_of, sendable
from .exposables import is_function, looked_at
from .references import (
    ENDED,
    KEPT,
    LENT,
    LET_GO,
    REFERENCE_PREFIX,
    Callback,
    Handle,
    Lent,
    ReferenceCaller,
    RemoteReference,
)
from .values import FUNCTION, MAX_NAME_BYTES, OBJECT, RETURNED, Reference
from .values.ext_types import is_ndarray
from .values.tables import TableBytes, is_table
from .values.wire import PLAIN, Missing, Unreadable, Unsendable, is_one_of

TELLS_REFERENCES: Final = b""
"""In the queue of a session's replies: what the tables have to tell by then."""

IDS_AT_ONCE: Final = 1000
"""In one frame, so that it is small beside any message."""

MINOR_OF_REFERENCES: Final = 2
"""Since when a peer knows references."""

MINOR_OF_TABLES: Final = 2
"""Since when it knows Arrow tables."""

_FORMS: Final = {FUNCTION: ("", False), OBJECT: (".", True)}
"""What follows the id in the name of what is called."""

_VALUES: Final = (
    *(NoneType, bool, int, float, str, bytes, bytearray, memoryview, datetime),
    *(list, tuple, dict, set, frozenset, values.NdArray, values.Held, Reference),
)
"""What is sent as a value, or refused as one; so are types derived from these."""


class LentArguments(NamedTuple):
    """Arguments with references in the place of functions. ids: of what has been lent for them."""

    args: Sequence[object]
    meta: dict[str, Any] | None
    ids: Sequence[int]


class _Alive(ref[RemoteReference]):
    """A reference to what the program has, which knows the id when that is gone."""

    __slots__ = ("id",)
    id: int


class Lending:
    """What both sides of one connection have of each other's.

    lent: of this side's, by id. held: of the peer's. replies: what the session is to send. caller: what the peer's are
    called through; None where nothing can be called any more. wake: called, in any thread, when there is something to
    tell the peer, where whoever sends does not look by itself; it must not raise.
    """

    def __init__(self, replies: deque[bytes], peer_minor: int) -> None:
        self.lent: Final[dict[int, Lent]] = {}
        self.held: Final[dict[int, _Alive]] = {}
        self.caller: Callable[[], ReferenceCaller | None] = lambda: None
        self.wake: Callable[[], None] | None = None
        self._replies: Final = replies
        self._peer_minor: Final = peer_minor
        self._last_id = 0
        self._has_ended = False
        # Of the states of what is held: whoever holds it may do so in another thread than the one that serves.
        self._lock: Final = RLock()
        self._to_hold: Final[deque[int]] = deque()
        self._to_release: Final[deque[int]] = deque()
        self._is_telling = False
        self._arrived: list[RemoteReference] = []
        self._has_stale = False
        self.unreadable: str | None = None

    # What this side lends.

    def lend_arguments(self, method: str, args: Sequence[object], meta: dict[str, Any] | None) -> LentArguments | None:
        """Lend the functions among the arguments. None: there are none. Raises EncodeError."""
        kwargs = {} if meta is None else meta.get("kwargs") or {}
        # Most calls have no functions among their arguments, and do not pay for those that have.
        if all(is_one_of(type(value), PLAIN) for value in (*args, *kwargs.values())):
            return None
        named = [(f"args[{index}]", value) for index, value in enumerate(args)]
        named += [(f"kwargs.{name}", value) for name, value in kwargs.items()]
        functions = {path for path, value in named if _is_callback(path, value)}
        if not functions:
            return None
        if self._peer_minor < MINOR_OF_REFERENCES:
            raise EncodeError(
                f"{method}: {min(functions)}: functions as arguments need protocol 1.{MINOR_OF_REFERENCES}, the "
                f"peer speaks 1.{self._peer_minor}"
            )
        ids: list[int] = []

        def lent(path: str, value: object) -> object:
            if path not in functions:
                return value
            try:
                reference = self._lend(FUNCTION, value, is_kept=False)
            except Unsendable as fault:
                self.take_back(ids)
                raise EncodeError(f"{method}: {path}: {fault}") from None
            ids.append(reference.id)
            return reference

        lent_args = tuple(lent(f"args[{index}]", value) for index, value in enumerate(args))
        lent_kwargs = {name: lent(f"kwargs.{name}", value) for name, value in kwargs.items()}
        return LentArguments(lent_args, {**(meta or {}), "kwargs": lent_kwargs} if kwargs else meta, ids)

    def lend_result(self, value: Any) -> Reference | None:
        """Lend what a function gives, or an item of it. None: it is a value, or nothing that is lent."""
        kind = type(value)
        if issubclass(kind, (*_VALUES, type, ModuleType)) or streams.is_stream(value) or is_ndarray(kind):
            return None
        if is_table(kind):
            return None
        if streams.is_awaitable(value) or streams.is_async_stream(value):
            return None
        try:
            return self._lend(FUNCTION if _is_callback("result", value) else OBJECT, value, is_kept=True)
        except Unsendable as fault:
            raise EncodeError(f"result: {fault}") from None

    def _lend(self, kind: int, target: Any, *, is_kept: bool) -> Reference:
        if len(self.lent) >= frames.MAX_REFERENCES:
            raise Unsendable(
                f"the peer has {len(self.lent)} functions and objects of this side's that it has not released; at most "
                f"{frames.MAX_REFERENCES} are allowed"
            )
        self._last_id += 1
        self.lent[self._last_id] = Lent(kind, target, is_kept)
        return Reference(kind, self._last_id, _name_of(kind, target))

    def take_back(self, ids: Sequence[int], *, is_given_up: bool = False) -> None:
        """The call has ended that these were lent for, or was not made. The peer may have held some of them.

        is_given_up: what it has asked for and has not been started is not to be started either.
        """
        for one in ids:
            lent = self.lent.get(one)
            if lent is not None and not lent.is_kept:
                lent.is_over = is_given_up
                del self.lent[one]

    def on_release(self, ids: Sequence[int]) -> None:
        """The peer does not use these any more. Raises ProtocolError."""
        for one in ids:
            self._check_lent(one, "a release of")
            self.lent.pop(one, None)

    def on_hold(self, ids: Sequence[int]) -> None:
        """The peer keeps these. Raises ProtocolError."""
        for one in ids:
            self._check_lent(one, "a hold of")
            lent = self.lent.get(one)
            # Its call may have ended here meanwhile: who holds it is told when it is called.
            if lent is not None:
                lent.is_kept = True

    def find(self, method: str) -> tuple[Lent, str] | None:
        """What a request for a method is for, and the name of the object's method or "". None: see why_not."""
        digits, dot, member = method.removeprefix(REFERENCE_PREFIX).partition(".")
        lent = self.lent.get(_id_of(digits))
        return None if lent is None or (dot, bool(member)) != _FORMS[lent.kind] else (lent, member)

    def why_not(self, method: str) -> BridgeError:
        """What is to be said of a method that find does not find."""
        reference_id = _id_of(method.removeprefix(REFERENCE_PREFIX).partition(".")[0])
        if 1 <= reference_id <= self._last_id and reference_id not in self.lent:
            return Released(f"{method}: the function or object has been released")
        return UnknownMethod(f"{method}: nothing of that name has been lent")

    def _check_lent(self, reference_id: int, what: str) -> None:
        if not 1 <= reference_id <= self._last_id:
            raise ProtocolError(f"{what} {reference_id}, which was never lent")

    # What the peer lends.

    def put_in(self, frame: Any) -> None:
        """Put what the references of a message stand for in their places, and its tables. Raises ProtocolError.

        unreadable: why one of the tables, or something else, cannot be given to the program.
        """
        self._arrived = []
        self._has_stale = False
        self.unreadable = None
        pending = [frame]
        while pending:
            container = pending.pop()
            entries = container.items() if type(container) is dict else enumerate(container)
            for key, value in list(entries):
                if type(value) is Reference:
                    container[key] = self._meant_by(value)
                elif type(value) is TableBytes:
                    container[key] = self._table_of(value)
                elif type(value) is Missing:
                    container[key] = None
                    self.unreadable = value.why
                elif type(value) is list or type(value) is dict:
                    pending.append(value)

    def arrived(self) -> tuple[list[RemoteReference], bool]:
        """What came by the last message with references; and whether something is missing in it that came back and has
        been released here.
        """
        arrived, self._arrived = self._arrived, []
        return arrived, self._has_stale

    def _table_of(self, received: TableBytes) -> Any:
        try:
            return received.table()
        except Unreadable as fault:
            self.unreadable = str(fault)
            return None

    def _meant_by(self, reference: Reference) -> Any:
        if reference.kind == RETURNED:
            self._check_lent(reference.id, "a reference to")
            lent = self.lent.get(reference.id)
            if lent is not None:
                return lent.target
            self._has_stale = True
            return None
        if reference.id in self.held:
            raise ProtocolError(f"a second reference with id {reference.id}")
        if len(self.held) >= 2 * frames.MAX_REFERENCES:
            raise ProtocolError(f"more than {2 * frames.MAX_REFERENCES} references")
        caller = self.caller()
        if caller is None:
            return None
        kind = Callback if reference.kind == FUNCTION else Handle
        name = reference.name or ("a function" if kind is Callback else "an object")
        held = kind(self, caller, reference.id, name, LENT if kind is Callback else KEPT)
        alive = self.held[reference.id] = _Alive(held, self._on_gone)
        alive.id = reference.id
        self._arrived.append(held)
        return held

    def keep(self, references: Sequence[RemoteReference]) -> None:
        """These are results: they are lent until they are released."""
        for held in references:
            held._state = KEPT  # noqa: SLF001

    def end_call(self, references: Sequence[RemoteReference]) -> None:
        """The call has ended that these came with. What has not been held is released, which the peer knows."""
        with self._lock:
            for held in references:
                if held._state == LENT:  # noqa: SLF001
                    held._state = ENDED  # noqa: SLF001
                    self.held.pop(held._id, None)  # noqa: SLF001

    def hold(self, reference: RemoteReference) -> None:
        """See Callback.hold."""
        with self._lock:
            if reference._state == LENT:  # noqa: SLF001
                self._to_hold.append(reference._id)  # noqa: SLF001
                reference._state = KEPT  # noqa: SLF001
            else:
                reference._require_usable(f"{reference._name}.hold()")  # noqa: SLF001
                return
        self._tell(reference)

    def let_go(self, reference: RemoteReference) -> None:
        """See Callback.release and Handle.close."""
        with self._lock:
            if reference._state in (ENDED, LET_GO):  # noqa: SLF001
                return
            reference._state = LET_GO  # noqa: SLF001
            if self.held.pop(reference._id, None) is None:  # noqa: SLF001
                return
            self._to_release.append(reference._id)  # noqa: SLF001
        self._tell(reference)

    def returned(self, reference: RemoteReference) -> Reference:
        """See values.Holding."""
        if reference._lending is not self:  # noqa: SLF001
            raise Unsendable(f"{reference!r} came by another connection and can be sent on that one alone")
        if reference._state in (ENDED, LET_GO):  # noqa: SLF001
            raise Unsendable(f"{reference!r} cannot be sent")
        return Reference(RETURNED, reference._id)  # noqa: SLF001

    def require_tables(self) -> None:
        """See values.Holding."""
        if self._peer_minor < MINOR_OF_TABLES:
            raise Unsendable(
                f"an Arrow table needs protocol 1.{MINOR_OF_TABLES}, the peer speaks 1.{self._peer_minor}: "
                f"it cannot be encoded"
            )

    # Telling the peer.

    def _on_gone(self, alive: Any) -> None:
        # In whichever thread the collector runs, in the middle of whatever that does: nothing is sent here.
        if not self._has_ended:
            self._to_release.append(alive.id)
            self._ask_to_tell()

    def _tell(self, reference: RemoteReference) -> None:
        if not self._has_ended:
            reference._caller.tell_references()  # noqa: SLF001
            if self._to_hold or self._to_release:
                self._ask_to_tell()

    def _ask_to_tell(self) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._replies.append(TELLS_REFERENCES)
            if self.wake is not None:
                self.wake()

    def messages(self) -> list[bytes]:
        """What there is to tell the peer."""
        # First: what is added meanwhile is asked for again.
        self._is_telling = False
        if not self._to_hold and not self._to_release:
            return []
        # Of its own: this may be called by the code of a value that is being encoded.
        encoder = values.Encoder()
        messages: list[bytes] = []
        # What is held is told before it is let go of.
        for ids, encode in ((self._to_hold, frames.encode_hold), (self._to_release, frames.encode_release)):
            while ids:
                portion = [ids.popleft() for _ in range(min(len(ids), IDS_AT_ONCE))]
                messages.append(encode(encoder, portion))
                if ids is self._to_release:
                    for one in portion:
                        self.held.pop(one, None)
        return messages

    def end(self) -> None:
        """The connection has ended, and with it all that has been lent."""
        self._has_ended = True
        self.lent.clear()
        self.held.clear()
        self._to_hold.clear()
        self._to_release.clear()


def _id_of(digits: str) -> int:
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(frames.MAX_ID))
    return int(digits) if is_number and digits[0] != "0" else 0


def _is_callback(path: str, value: object) -> bool:
    if issubclass(type(value), _VALUES):
        return False
    try:
        return looked_at(path, lambda: is_function(value))
    except TypeError:
        # It does not even let itself be looked at: the encoder says so.
        return False


def _name_of(kind: int, target: Any) -> str:
    """For messages. Nothing of the program's is run to find out."""
    function = target.__func__ if type(target) is MethodType else target
    if kind == FUNCTION and type(function) in (FunctionType, BuiltinFunctionType):
        return cut(sendable(function.__name__), MAX_NAME_BYTES)
    return cut(sendable(name_of(type(target))), MAX_NAME_BYTES)

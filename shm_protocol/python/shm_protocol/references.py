"""What stands here for a function or an object of the other side's: Callback and Handle (PROTOCOL.md section 7).

They belong to the connection that they came by. Who is told that one is no longer used, and when, is lending.py's to
know.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol, Self

from . import options
from .errors import Released
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .values import Held

REFERENCE_PREFIX: Final = "shm_polyglot.ref."
"""What the name begins with that a function or an object of the peer's is called by."""

LENT: Final = 0
"""Until the call has ended that it is an argument of."""
KEPT: Final = 1
ENDED: Final = 2
"""Its call has."""
LET_GO: Final = 3


class ReferenceCaller(Protocol):
    """What calls go through: the connection. In asyncio what comes back is to be awaited, or iterated over so."""

    def call_reference(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None, *, handles: bool
    ) -> Any:
        """See Connection."""
        ...

    def stream_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        credit: int,
        *,
        handles: bool,
    ) -> Any:
        """See Connection."""
        ...

    def tell_references(self) -> None:
        """Tell the peer what is held and what is let go of: now, if this thread may, else with what is sent next."""
        ...


class Borrowed(Protocol):
    """The table that it is in: see lending.Lending."""

    def hold(self, reference: RemoteReference) -> None:
        """See Callback.hold."""
        ...

    def let_go(self, reference: RemoteReference) -> None:
        """See Callback.release and Handle.close."""
        ...


class Lent:
    """A function or an object of this side's that the peer has. is_kept: beyond the call that it is an argument of.

    is_over: its call was given up. found: what of it has been called, by name; serving.py's.
    """

    __slots__ = ("found", "is_kept", "is_over", "kind", "target")

    def __init__(self, kind: int, target: Any, is_kept: bool) -> None:
        self.kind = kind
        self.target = target
        self.is_kept = is_kept
        self.is_over = False
        self.found: dict[str, Any] | None = None


class RemoteReference(Held):
    """What a Callback and a Handle have in common. For the library only."""

    __slots__ = ("_caller", "_id", "_lending", "_name", "_state")

    def __init__(self, lending: Borrowed, caller: ReferenceCaller, reference_id: int, name: str, state: int) -> None:
        self._lending = lending
        self._caller = caller
        self._id = reference_id
        self._name = name
        self._state = state

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} belongs to its connection: it cannot be copied or pickled")

    def _require_usable(self, what: str) -> None:
        if self._state == ENDED:
            raise Released(
                f"{what}: the call that this function was given to has ended; call its hold() before that to keep it"
            )
        if self._state == LET_GO:
            raise Released(f"{what}: it has been released")


class Callback(RemoteReference):
    """A function of the other side's, which it has given as an argument. Calling it calls it there, and waits.

    It may be called until the function that it was given to has returned, as part of that call, by the thread which
    runs that; hold() keeps it for longer. It goes back and forth on the connection that it came by: one that a worker
    was given is called in the thread that serves, one that a client was given waits its turn for that very connection.
    Another thread gets a RuntimeError.

    In asyncio a call is to be awaited.
    """

    __slots__ = ()

    def __call__(
        self,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call it with these arguments. timeout, kwargs: as in Connection.call, which has the errors.

        Raises Released after its time, too.
        """
        self._require_usable(self._name)
        given = options.keywords_of(kwargs, keywords)
        return self._caller.call_reference(f"{REFERENCE_PREFIX}{self._id}", args, given, timeout, handles=False)

    def stream(
        self,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call it, where it gives an iterator, and iterate over what it gives. See Connection.stream."""
        self._require_usable(self._name)
        given = options.keywords_of(kwargs, keywords)
        method = f"{REFERENCE_PREFIX}{self._id}"
        return self._caller.stream_reference(method, args, given, timeout, credit, handles=False)

    def hold(self) -> Self:
        """Keep it beyond the call that it was given to: until release(), until nothing refers to it any more, or until
        its connection ends. Safe to call twice. Gives itself. Raises Released when that call has ended.
        """
        self._lending.hold(self)
        return self

    def release(self) -> None:
        """Use it no more: its owner may forget it. Safe to call twice."""
        self._lending.let_go(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Callback {self._name}{_state_of(self)}>"


class Handle(RemoteReference):
    """An object that stays on the other side, where its state is: its public methods are called as those of any object.

    It is released by close(), at the end of a `with`, when nothing refers to it any more, and by the end of its
    connection. Given back to the other side, in any place of a value, it is the object itself there.

    In asyncio a call of a method is to be awaited. A method with the name `close`, and one that begins with `_`, cannot
    be called by a handle.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return Method(self, name)

    def close(self) -> None:
        """Release it: its owner may forget it. Safe to call twice."""
        self._lending.let_go(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Handle of {self._name}{_state_of(self)}>"


class Method:
    """A method of an object that stays on the other side."""

    __slots__ = ("_handle", "_member")

    def __init__(self, handle: Handle, member: str) -> None:
        self._handle = handle
        self._member = member

    def __call__(
        self,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call it with these arguments. See Callback. An object that it gives and that is no value is a Handle."""
        given = options.keywords_of(kwargs, keywords)
        return call_method(self._handle, self._member, args, given, timeout)

    def stream(
        self,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call it, where it gives an iterator, and iterate over what it gives. See Connection.stream."""
        given = options.keywords_of(kwargs, keywords)
        return stream_method(self._handle, self._member, args, given, timeout, credit)

    def __repr__(self) -> str:
        return f"<method {self._member} of {self._handle!r}>"


def call_method(
    handle: Handle,
    member: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    timeout: float | None = DEFAULT_TIMEOUT_S,
    *,
    handles: bool = True,
) -> Any:
    """Call a method of an object of the other side's, for whoever knows its signature."""
    handle._require_usable(f"{handle._name}.{member}")  # noqa: SLF001
    return handle._caller.call_reference(_full_name(handle, member), args, kwargs, timeout, handles=handles)  # noqa: SLF001


def stream_method(
    handle: Handle,
    member: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    timeout: float | None = None,
    credit: int = DEFAULT_CREDIT,
    *,
    handles: bool = True,
) -> Any:
    """The same for a method that gives an iterator."""
    handle._require_usable(f"{handle._name}.{member}")  # noqa: SLF001
    return handle._caller.stream_reference(  # noqa: SLF001
        _full_name(handle, member), args, kwargs, timeout, credit, handles=handles
    )


def class_of(handle: Handle) -> str:
    """The name of the class that it is of, there."""
    return handle._name  # noqa: SLF001


def _full_name(handle: Handle, member: str) -> str:
    return f"{REFERENCE_PREFIX}{handle._id}.{member}"  # noqa: SLF001


def _state_of(reference: RemoteReference) -> str:
    return ", released" if reference._state in (ENDED, LET_GO) else ""  # noqa: SLF001

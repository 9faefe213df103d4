"""Exceptions that arrive as a class of the program's own: registered on both sides under one name.

What arrives is of a class that is made here, of the program's and of RemoteError: it is caught as either, and tells
what a RemoteError tells. Its constructor is not run, whose arguments nobody knows here and which may do anything.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

from .errors import ERRORS, BridgeError, RemoteError, RemoteErrorGroup, name_of, show_remote_stack

MAX_ERROR_NAME_BYTES: Final = 256

_HEAP_TYPE: Final = 1 << 9
_MRO: Final = vars(type)["__mro__"]
_BASE: Final = vars(type)["__base__"]
_FLAGS: Final = vars(type)["__flags__"]
_NAMESPACE: Final[Any] = vars(type)["__dict__"]
_NOTES: Final = "__notes__"
_ITERATION: Final = (StopIteration, StopAsyncIteration)


class _Registered:
    """A class, and those that are made for what arrives."""

    def __init__(self, kind: type[Exception], name: str) -> None:
        self.kind = kind
        self.group: type[RemoteError] | None
        is_group = issubclass(kind, BaseExceptionGroup)
        self.single = None if is_group else _made_of(kind, RemoteError, name)
        try:
            self.group = _made_of(kind, RemoteErrorGroup, name)
        except TypeError:
            # Such as an OSError, which no object can be that is a group: its parts are told by its stack alone.
            if is_group:
                raise
            self.group = None


_lock: Final = Lock()
_by_name: Final[dict[str, _Registered]] = {}
_names: Final[dict[int, str]] = {}
"""By the identity of the class: whether two are equal may be of their metaclass's own opinion."""


def register_error(name: str, kind: type[Exception]) -> None:
    """Have exceptions of this class, and of those derived from it, cross under `name`, and what comes under that name
    arrive as this class. Both sides register their own.

    name: 1 to 256 bytes; none of the bridge's own errors' (`ERRORS`). kind: any class of Exception, also one of
    Python's, such as ValueError; but none of the bridge's errors, and not StopIteration, which would end loops.

    What arrives is also a RemoteError, with `type` (which is `name`), `message`, `data` and `stack`. The class's
    constructor is not run: what else it sets is not there, so what is to cross is to be in `data`. Registering the same
    again does nothing; the class of a module that has been loaded again replaces its predecessor.

    Raises TypeError for what is no such name or class, and ValueError where either is registered with another.
    """
    _check_name(name)
    given: object = kind
    if not isinstance(given, type) or not issubclass(given, Exception):
        raise TypeError(f"register_error: {name}: {_said(given)} must be a class of exceptions, derived from Exception")
    if issubclass(kind, (BridgeError, *_ITERATION)):
        raise TypeError(f"register_error: {name}: {_said(kind)} has a meaning of its own: derive another class")
    # Not by issubclass, which a metaclass may answer.
    if any(base is kind for base in _MRO.__get__(RemoteErrorGroup)):
        raise TypeError(f"register_error: {name}: {_said(kind)} is what every RemoteError, or group, is already")
    try:
        made = _Registered(kind, name)
    except Exception as error:
        why = f"{name_of(type(error))}: {error}"
        raise TypeError(f"register_error: {name}: {_said(kind)} cannot be combined with RemoteError: {why}") from error
    with _lock:
        _check_free(name, kind)
        _by_name[name] = made
        _names[id(kind)] = name


def registered_name(kind: type) -> str | None:
    """The name under which the nearest registered of its classes is."""
    for base in _MRO.__get__(kind):
        name = _names.get(id(base))
        if name is not None:
            return name
    return None


def is_registered(name: str) -> bool:
    """Whether a class is registered under this name."""
    return name in _by_name


def remote_error(
    name: str, message: str, data: object = None, stack: str = "", parts: Sequence[BridgeError] = ()
) -> RemoteError:
    """What has arrived under a name: as the class that is registered under it, unless that cannot hold it."""
    registered = _by_name.get(name)
    if registered is not None:
        made = registered.group if parts and registered.group is not None else registered.single
        if made is not None:
            return _new(made, name, message, data, stack, parts)
    if parts:
        return RemoteErrorGroup(name, message, parts, data, stack)
    return RemoteError(name, message, data, stack)


def _check_name(name: object) -> None:
    if type(name) is not str:
        raise TypeError(f"register_error: a name that is not a str: {name_of(type(name))}")
    size = len(name.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_ERROR_NAME_BYTES:
        raise ValueError(f"register_error: a name of {size} bytes: must be 1 to {MAX_ERROR_NAME_BYTES}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"register_error: {name!r}: a lone surrogate cannot be sent") from None
    if name in ERRORS:
        raise ValueError(f"register_error: {name}: is the bridge's own error")


def _check_free(name: str, kind: type[Exception]) -> None:
    other = _by_name.get(name)
    # One of the same module and name has been loaded again: exceptions of the old class still go by its name.
    if other is not None and other.kind is not kind and _said(other.kind) != _said(kind):
        raise ValueError(f"register_error: {name}: {_said(other.kind)} is registered under this name already")
    known = _names.get(id(kind), name)
    if known != name:
        raise ValueError(f"register_error: {name}: {_said(kind)} is registered as {known} already")


def _said(kind: object) -> str:
    if not isinstance(kind, type):
        return f"an object of class {name_of(type(kind))}"
    return f"{vars(type)['__module__'].__get__(kind)}.{vars(type)['__qualname__'].__get__(kind)}"


def _made_of(kind: type[Exception], base: type[RemoteError], name: str) -> type[RemoteError]:
    """A class of both, which looks like the first."""

    def text(self: RemoteError) -> str:
        # As in one runtime, where the class is told already.
        return self.message

    def reduce(self: RemoteError) -> tuple[Any, ...]:
        parts = BaseExceptionGroup.exceptions.__get__(self) if isinstance(self, BaseExceptionGroup) else ()
        return remote_error, (self.type, self.message, self.data, self.stack, parts)

    def derive(self: RemoteError, parts: Sequence[BridgeError]) -> RemoteError:
        return _new(type(self), self.type, self.message, self.data, self.stack, parts)

    fields: dict[str, object] = {
        "__module__": vars(type)["__module__"].__get__(kind),
        "__qualname__": vars(type)["__qualname__"].__get__(kind),
        # Its own may look for what its constructor sets.
        "__str__": text,
        "__repr__": BaseException.__repr__,
        "__eq__": object.__eq__,
        "__hash__": object.__hash__,
        "__reduce__": reduce,
        # Here, so that the object's own ones are not hidden by what the program's class has of these names.
        **dict.fromkeys(("type", "message", "stack"), ""),
        "data": None,
        "from_peer": False,
        "code": RemoteError.code,
    }
    if any(_NOTES in _NAMESPACE.__get__(base) for base in _MRO.__get__(kind)):
        # A property of that name would go before the object's own.
        fields[_NOTES] = None
    if issubclass(base, RemoteErrorGroup):
        fields["derive"] = derive
    made = types.new_class(name_of(kind), (kind, base), exec_body=lambda namespace: namespace.update(fields))
    # Whether one can be made shows here, not when it is to tell of something.
    _new(made, name, "", None, "-", (RemoteError(name, ""),))
    return made


def _new(
    made: type[RemoteError], name: str, message: str, data: object, stack: str, parts: Sequence[BridgeError]
) -> RemoteError:
    """By the interpreter's own constructor: neither `__new__`, `__init__` nor `__setattr__` of the program's runs."""
    maker = made
    while _FLAGS.__get__(maker) & _HEAP_TYPE:
        maker = _BASE.__get__(maker)
    arguments = (message, tuple(parts)) if issubclass(made, RemoteErrorGroup) else (message,)
    error: RemoteError = maker.__new__(made, *arguments)
    for key, value in (("type", name), ("message", message), ("data", data), ("stack", stack)):
        object.__setattr__(error, key, value)
    if issubclass(made, SyntaxError):
        # `traceback` shows this and not its text.
        vars(SyntaxError)["msg"].__set__(error, message)
    if _NOTES in _NAMESPACE.__get__(made):
        object.__setattr__(error, _NOTES, [])
    show_remote_stack(error)
    return error

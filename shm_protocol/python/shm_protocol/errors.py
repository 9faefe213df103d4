"""The registry of errors. errors.json, PROTOCOL.md section 9 and this file are compared by a test.

Every error that the bridge raises is a BridgeError with a `code` from this registry.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

from .exits import is_interrupt, traceback_of

MAX_TEXT_BYTES: Final = 64 * 1024
"""A longer stack, message or type is cut in the middle: nobody reads more, and an error is to fit into a message."""

MAX_EXCEPTIONS: Final = 100
"""Of an exception with more causes and members, so many are told."""

MAX_FRAMES: Final = 500
"""Of a deeper stack, so many frames are told: those next to where the exception was raised."""

MAX_NOTES: Final = 100
"""Of an exception with more notes, so many are told."""

_NAME: Final = vars(type)["__name__"]
_MRO: Final = vars(type)["__mro__"]
_NAMESPACE: Final = vars(type)["__dict__"]
_OWN_CLASSES: Final = frozenset({BaseException, BaseExceptionGroup, object})
_FOLLOWED: Final = frozenset(
    {"__getattribute__", "__class__", "__cause__", "__context__", "__suppress_context__", "__traceback__", "exceptions"}
)
"""What `traceback` follows without a bound, so that a class with its own may hold it for ever."""
_ELLIPSIS: Final = "…".encode()
T = TypeVar("T")


class BridgeError(Exception):
    """The base of every error the bridge raises.

    code: its name in the registry, e.g. "PeerGone": that of its class, and the same in TypeScript.
    from_peer: whether the peer answered with this error. An EncodeError or MessageTooLarge of the peer is about its
    result, one that was made here is about the arguments.
    """

    code: ClassVar[str] = "BridgeError"
    from_peer: bool = False


class RemoteError(BridgeError):
    """The function raised.

    type: the class of the exception on the other side, e.g. "TypeError".
    message: its message.
    data: what the exception carried as `data`, or None.
    stack: the stack on the other side, or "". A traceback of this error shows it below the local one.
    """

    code = "RemoteError"

    def __init__(self, type: str, message: str, data: object = None, stack: str = "") -> None:  # noqa: A002
        super().__init__(type, message, data, stack)
        self.type = type
        self.message = message
        self.data = data
        self.stack = stack
        show_remote_stack(self)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class RemoteErrorGroup(RemoteError, ExceptionGroup[BridgeError]):
    """The function raised several exceptions: an ExceptionGroup, or JavaScript's AggregateError.

    exceptions: its parts, as of any group, which `except*` tells apart. They are RemoteErrors, or of registered classes
    (register_error). Of very many, the first: `stack` tells of more.
    """

    message: str = ""  # not read-only, as a group's is

    # fmt: off
    def __new__(cls, type: str, message: str, errors: Sequence[BridgeError], data: object = None, stack: str = "") -> Self:  # noqa: A002, ARG004, D102, E501
        return super().__new__(cls, message, errors)

    def __init__(self, type: str, message: str, errors: Sequence[BridgeError], data: object = None, stack: str = "") -> None:  # noqa: A002, E501
        super().__init__(type, message, data, stack)
    # fmt: on

    def derive(self, errors: Sequence[BridgeError]) -> RemoteErrorGroup:  # type: ignore[override]  # of its own parts
        """What is left of it for one of several `except*`."""
        return RemoteErrorGroup(self.type, self.message, errors, self.data, self.stack)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteErrorGroup, (self.type, self.message, self.exceptions, self.data, self.stack)


class CallTimeout(BridgeError):
    """No answer came within the deadline. The function may have run, or may still be running."""

    code = "CallTimeout"


class PeerGone(BridgeError):
    """The connection ended before the answer came. The function may have run."""

    code = "PeerGone"


class PeerUnavailable(BridgeError):
    """Nobody listens, or no worker is attached. The call was not made."""

    code = "PeerUnavailable"


class Busy(BridgeError):
    """Too many calls, or too many bytes, are outstanding or queued already, or the peer is a client, which serves only
    what belongs to a call of its own. The call was not made.
    """

    code = "Busy"


class MessageTooLarge(BridgeError):
    """The encoded message is larger than `max_message`. A call was not made; if it is the result, it was."""

    code = "MessageTooLarge"


class UnknownMethod(BridgeError):
    """Nothing of that name is exposed. The call was not made."""

    code = "UnknownMethod"


class CallTooDeep(BridgeError):
    """The call would be the 33rd of a chain of nested calls. It was not made."""

    code = "CallTooDeep"


class EncodeError(BridgeError):
    """A value cannot be encoded; the message names the path to it, e.g. `args[0].items[3]`."""

    code = "EncodeError"


class Cancelled(BridgeError):
    """The caller cancelled. The function may have run."""

    code = "Cancelled"


class ProtocolError(BridgeError):
    """The peer broke the protocol. The connection is closed."""

    code = "ProtocolError"


class VersionMismatch(ProtocolError):
    """The peer speaks another major version of the protocol."""

    code = "VersionMismatch"


class Released(BridgeError):
    """The function or object of the peer's has been released: the call that the function was given to has ended and it
    was not held, or it was let go of. The call was not made.
    """

    code = "Released"


class ConnectionClosed(BridgeError):
    """The connection or client was used after `close()`, or after a fork by the child."""

    code = "ConnectionClosed"


ERRORS: Final[dict[str, type[BridgeError]]] = {
    error.code: error
    for error in (
        RemoteError,
        CallTimeout,
        PeerGone,
        PeerUnavailable,
        Busy,
        MessageTooLarge,
        UnknownMethod,
        CallTooDeep,
        EncodeError,
        Cancelled,
        ProtocolError,
        VersionMismatch,
        Released,
        ConnectionClosed,
    )
}
"""Every class of the registry by its code."""


def show_remote_stack(error: RemoteError) -> None:
    """Have the traceback of an error show the other side's stack below the local one. Nothing of a program's runs."""
    stack: object = error.stack
    if stack:
        note = f"--- remote stack of {error.type} ---\n{str(stack).rstrip()}"
        object.__setattr__(error, "__notes__", [note])


def stack_of(raised: BaseException) -> str:
    """The traceback of an exception with its causes and groups. It is of bounded size, and raises nothing
    but what exits.is_interrupt tells of.
    """
    exceptions = _with_causes(raised)
    if _are_bounded(exceptions):
        usual = attempt(lambda: "".join(traceback.format_exception(raised, limit=-MAX_FRAMES)))
        if usual is not None:
            return usual
    # One of them cannot be formatted, or there are too many of them.
    parts = [section_of(one) for one in exceptions[:MAX_EXCEPTIONS]]
    if len(exceptions) > MAX_EXCEPTIONS:
        parts.append(f"[more than {MAX_EXCEPTIONS} exceptions; the others are left out]\n")
    return "\nIts cause, its context or a member of its group:\n\n".join(parts)


def has_usual_stack(raised: BaseException) -> bool:
    """Whether `traceback` formats an exception, its causes and groups in bounded time, as logging does. Raises nothing
    but what exits.is_interrupt tells of.
    """
    return _are_bounded(_with_causes(raised))


def name_of(kind: type) -> str:
    """The name of a class, whatever its metaclass says."""
    return str.__str__(_NAME.__get__(kind))


def text_of(raised: BaseException) -> str:
    """The message of an exception."""
    text = attempt(lambda: sendable(str(raised)))
    # A broken __str__ must not hide which exception it was.
    return "<no message: its __str__ raised>" if text is None else text


def sendable(text: object, most: int = MAX_TEXT_BYTES) -> str:
    """An exact str, without lone surrogates, which no UTF-8 can carry, and not too long. What is no str becomes one.

    most: so many bytes; a longer text is cut in the middle.
    """
    words: Any = text if issubclass(type(text), str) else str(text)
    # Not its own methods: it may be of a subclass.
    encoded = str.encode(words, "utf-8", "backslashreplace")
    if len(encoded) <= most:
        return encoded.decode()
    half = most // 2
    beginning = encoded[:half].decode("utf-8", "ignore")
    # The bytes of a character that are left of it are not valid, and no other bytes are not.
    end = encoded[-half:].decode("utf-8", "ignore")
    return f"{beginning}\n[{len(encoded) - 2 * half} bytes cut]\n{end}"


def cut(text: str, max_bytes: int) -> str:
    """The beginning of `text` that takes at most `max_bytes`, with "…" at its end where something is missing."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    if max_bytes < len(_ELLIPSIS):
        return encoded[: max(0, max_bytes)].decode("utf-8", "ignore")
    return encoded[: max_bytes - len(_ELLIPSIS)].decode("utf-8", "ignore") + _ELLIPSIS.decode()


def attempt(look: Callable[[], T]) -> T | None:
    """What a look at something of the user's gives, or None where that raises."""
    try:
        return look()
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        return None


def look(value: object, attribute: str) -> Any:
    """An attribute, or None where there is none or where it raises."""
    return attempt(lambda: getattr(value, attribute, None))


def _with_causes(raised: BaseException) -> list[BaseException]:
    """The exception and those it is connected with, each once; no more than one beyond MAX_EXCEPTIONS."""
    found = [raised]
    known = {id(raised)}
    for one in found:
        members = BaseExceptionGroup.exceptions.__get__(one) if issubclass(type(one), BaseExceptionGroup) else ()
        for other in (look(one, "__cause__"), look(one, "__context__"), *members[: MAX_EXCEPTIONS + 1]):
            if len(found) > MAX_EXCEPTIONS:
                return found
            if issubclass(type(other), BaseException) and id(other) not in known:
                known.add(id(other))
                found.append(other)
    return found


def _are_bounded(exceptions: list[BaseException]) -> bool:
    return len(exceptions) <= MAX_EXCEPTIONS and all(
        _follows_its_own(type(one)) and _has_few_notes(one) and _has_short_line(one) and _has_short_text(one)
        for one in exceptions
    )


def _follows_its_own(kind: type) -> bool:
    """Whether `traceback` finds what the exception holds, not what a class of somebody's makes of it."""
    return all(base in _OWN_CLASSES or _FOLLOWED.isdisjoint(_NAMESPACE.__get__(base)) for base in _MRO.__get__(kind))


def _has_few_notes(raised: BaseException) -> bool:
    notes = look(raised, "__notes__")
    if notes is None:
        return True
    return (
        type(notes) is list
        and len(notes) <= MAX_NOTES
        and all(type(note) is str for note in notes)
        and sum(map(len, notes)) <= 4 * MAX_TEXT_BYTES  # a stack that came from the peer is one
    )


def _has_short_text(raised: BaseException) -> bool:
    """Whether its message is no longer than what is told: `traceback`, and logging, copy all of it several times."""
    text = attempt(lambda: str(raised))
    return text is None or str.__len__(text) <= MAX_TEXT_BYTES


def _has_short_line(raised: BaseException) -> bool:
    """Whether what a SyntaxError points to is there: `traceback` draws a caret for each column, however many."""
    if not issubclass(type(raised), SyntaxError):
        return True
    text, columns = look(raised, "text"), (look(raised, "offset"), look(raised, "end_offset"))
    is_short = text is None or (type(text) is str and len(text) <= MAX_TEXT_BYTES)
    return is_short and all(one is None or (type(one) is int and abs(one) <= MAX_TEXT_BYTES) for one in columns)


def section_of(raised: BaseException) -> str:
    """What `traceback` says of an exception alone, without what it looks at besides."""
    frames = attempt(lambda: "".join(traceback.format_tb(traceback_of(raised), -MAX_FRAMES)))
    name, text = sendable(name_of(type(raised))), text_of(raised)
    heading = "Traceback (most recent call last):\n" if frames else ""
    return f"{heading}{frames or ''}{f'{name}: {text}' if text else name}\n{_notes_of(raised)}"


def _notes_of(raised: BaseException) -> str:
    notes = look(raised, "__notes__")
    if notes is None:
        return ""
    # What is no list may have no end.
    told = notes[:MAX_NOTES] if type(notes) is list else [attempt(lambda: repr(notes))]
    lines = [attempt(functools.partial(sendable, note)) for note in told]
    more = f"[{len(notes) - MAX_NOTES} notes are left out]\n" if type(notes) is list and len(notes) > MAX_NOTES else ""
    return "".join(f"{'<a note that cannot be read>' if line is None else line}\n" for line in lines) + more

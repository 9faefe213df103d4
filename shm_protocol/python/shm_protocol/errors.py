"""The registry of errors. errors.json, PROTOCOL.md section 9 and this file are compared by a test.

Every error that the bridge raises is a BridgeError with a `code` from this registry.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

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
        if stack:
            self.add_note(f"--- remote stack of {type} ---\n{stack.rstrip()}")

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


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


def error_from_map(error: dict[str, object]) -> BridgeError:
    """The error that a response carries, as an exception to raise. Its types have been checked (frames.read_frame).

    A code this side does not know is a RemoteError.
    """
    code, message = str(error["code"]), str(error["message"])
    known = ERRORS.get(code)
    if known is not None and known is not RemoteError:
        raised = known(message)
    else:
        name = "Error" if known is RemoteError else code
        raised = RemoteError(str(error.get("type", name)), message, error.get("data"), str(error.get("stack", "")))
    raised.from_peer = True
    return raised


def error_to_map(raised: BaseException) -> dict[str, object]:
    """What an exposed function raised, as the error of a response. Whether `data` can be encoded shows when it is.

    Whatever the exception does while it is looked at, this tells what could be told and raises nothing but what is not
    the exception's doing: see exits.is_interrupt.
    """
    # Not isinstance, which asks an exception for its __class__.
    kind = type(raised)
    is_remote = issubclass(kind, RemoteError)
    has_data = is_remote or not issubclass(kind, BridgeError)
    # An error from deeper in the chain keeps its name; its note keeps the deeper stack below ours.
    remote: Any = raised
    name = _attempt(lambda: sendable(remote.type)) if is_remote else None
    message = _attempt(lambda: sendable(remote.message)) if is_remote else None
    return {
        "code": RemoteError.code,
        "message": text_of(raised) if message is None else message,
        "type": sendable(name_of(kind)) if name is None else name,
        "stack": sendable(stack_of(raised)),
        "data": _look(raised, "data") if has_data else None,
    }


def stack_of(raised: BaseException) -> str:
    """The traceback of an exception with its causes and groups. It is of bounded size, and raises no more than
    error_to_map does.
    """
    exceptions = _with_causes(raised)
    if _are_bounded(exceptions):
        usual = _attempt(lambda: "".join(traceback.format_exception(raised, limit=-MAX_FRAMES)))
        if usual is not None:
            return usual
    # One of them cannot be formatted, or there are too many of them.
    parts = [_section(one) for one in exceptions[:MAX_EXCEPTIONS]]
    if len(exceptions) > MAX_EXCEPTIONS:
        parts.append(f"[more than {MAX_EXCEPTIONS} exceptions; the others are left out]\n")
    return "\nIts cause, its context or a member of its group:\n\n".join(parts)


def has_usual_stack(raised: BaseException) -> bool:
    """Whether `traceback` formats an exception, its causes and groups in bounded time, as logging does. Raises no more
    than error_to_map does.
    """
    return _are_bounded(_with_causes(raised))


def name_of(kind: type) -> str:
    """The name of a class, whatever its metaclass says."""
    return str.__str__(_NAME.__get__(kind))


def text_of(raised: BaseException) -> str:
    """The message of an exception."""
    text = _attempt(lambda: sendable(str(raised)))
    # A broken __str__ must not hide which exception it was.
    return "<no message: its __str__ raised>" if text is None else text


def sendable(text: object) -> str:
    """An exact str, without lone surrogates, which no UTF-8 can carry, and not too long. What is no str becomes one."""
    words: Any = text if issubclass(type(text), str) else str(text)
    # Not its own methods: it may be of a subclass.
    encoded = str.encode(words, "utf-8", "backslashreplace")
    if len(encoded) <= MAX_TEXT_BYTES:
        return encoded.decode()
    half = MAX_TEXT_BYTES // 2
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


def _attempt(look: Callable[[], T]) -> T | None:
    """What a look at something of the user's gives, or None where that raises."""
    try:
        return look()
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        return None


def _look(value: object, attribute: str) -> Any:
    """An attribute, or None where there is none or where it raises."""
    return _attempt(lambda: getattr(value, attribute, None))


def _with_causes(raised: BaseException) -> list[BaseException]:
    """The exception and those it is connected with, each once; no more than one beyond MAX_EXCEPTIONS."""
    found = [raised]
    known = {id(raised)}
    for one in found:
        members = BaseExceptionGroup.exceptions.__get__(one) if issubclass(type(one), BaseExceptionGroup) else ()
        for other in (_look(one, "__cause__"), _look(one, "__context__"), *members[: MAX_EXCEPTIONS + 1]):
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
    notes = _look(raised, "__notes__")
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
    text = _attempt(lambda: str(raised))
    return text is None or str.__len__(text) <= MAX_TEXT_BYTES


def _has_short_line(raised: BaseException) -> bool:
    """Whether what a SyntaxError points to is there: `traceback` draws a caret for each column, however many."""
    if not issubclass(type(raised), SyntaxError):
        return True
    text, columns = _look(raised, "text"), (_look(raised, "offset"), _look(raised, "end_offset"))
    is_short = text is None or (type(text) is str and len(text) <= MAX_TEXT_BYTES)
    return is_short and all(one is None or (type(one) is int and abs(one) <= MAX_TEXT_BYTES) for one in columns)


def _section(raised: BaseException) -> str:
    """What `traceback` says of an exception alone, without what it looks at besides."""
    frames = _attempt(lambda: "".join(traceback.format_tb(traceback_of(raised), -MAX_FRAMES)))
    name, text = sendable(name_of(type(raised))), text_of(raised)
    heading = "Traceback (most recent call last):\n" if frames else ""
    return f"{heading}{frames or ''}{f'{name}: {text}' if text else name}\n{_notes_of(raised)}"


def _notes_of(raised: BaseException) -> str:
    notes = _look(raised, "__notes__")
    if notes is None:
        return ""
    # What is no list may have no end.
    told = notes[:MAX_NOTES] if type(notes) is list else [_attempt(lambda: repr(notes))]
    lines = [_attempt(functools.partial(sendable, note)) for note in told]
    more = f"[{len(notes) - MAX_NOTES} notes are left out]\n" if type(notes) is list and len(notes) > MAX_NOTES else ""
    return "".join(f"{'<a note that cannot be read>' if line is None else line}\n" for line in lines) + more

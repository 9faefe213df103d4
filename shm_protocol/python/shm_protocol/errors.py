"""The registry of errors. errors.json, PROTOCOL.md section 9 and this file are compared by a test.

Every error that the bridge raises is a BridgeError with a `code` from this registry.
"""

from __future__ import annotations

import traceback
from typing import ClassVar, Final

MAX_STACK_CHARACTERS: Final = 64 * 1024
"""A longer stack or message is cut in the middle: an error must always fit into a message."""


class BridgeError(Exception):
    """The base of every error the bridge raises. `code` is stable and the same in TypeScript."""

    code: ClassVar[str] = "BridgeError"


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
    """Too many calls are outstanding or queued already. The call was not made."""

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
        ConnectionClosed,
    )
}
"""Every class of the registry by its code."""


def error_from_map(error: dict[str, object]) -> BridgeError:
    """The error that a response carries, as an exception to raise. Its types have been checked (frames.decode).

    A code this side does not know is a RemoteError.
    """
    code, message = str(error["code"]), str(error["message"])
    known = ERRORS.get(code)
    if known is not None and known is not RemoteError:
        return known(message)
    name = "Error" if known is RemoteError else code
    return RemoteError(str(error.get("type", name)), message, error.get("data"), str(error.get("stack", "")))


def error_to_map(raised: BaseException) -> dict[str, object]:
    """What an exposed function raised, as the error of a response. Whether `data` can be encoded shows when it is."""
    data: object = None
    if isinstance(raised, RemoteError):
        # An error from deeper in the chain keeps its name; its note keeps the deeper stack below ours.
        name, message, data = raised.type, raised.message, raised.data
    elif isinstance(raised, BridgeError):
        name, message = raised.code, _text_of(raised)
    else:
        name, message = type(raised).__name__, _text_of(raised)
        try:
            data = getattr(raised, "data", None)
        except Exception:  # noqa: BLE001
            # A property of the user's exception raised: the exception itself matters more.
            data = None
    stack = "".join(traceback.format_exception(raised))
    return {
        "code": RemoteError.code,
        "message": _sendable(message),
        "type": _sendable(name),
        "stack": _sendable(stack),
        "data": data,
    }


def _text_of(raised: BaseException) -> str:
    try:
        return str(raised)
    except Exception:  # noqa: BLE001
        # A broken __str__ must not hide which exception it was.
        return "<no message: its __str__ raised>"


def _sendable(text: str) -> str:
    """Without lone surrogates, which no UTF-8 can carry, and not too long."""
    if len(text) > MAX_STACK_CHARACTERS:
        half = MAX_STACK_CHARACTERS // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half} characters cut]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

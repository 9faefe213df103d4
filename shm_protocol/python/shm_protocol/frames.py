"""Frames (PROTOCOL.md section 7): one MessagePack array per message, made and checked here.

Encoding raises EncodeError, with the path to the bad value. Decoding raises ProtocolError for whatever breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from . import values
from .errors import EncodeError, ProtocolError
from .values import Packer

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFICATION: Final = 2
CANCEL: Final = 3
ITEM: Final = 4
CREDIT: Final = 5
LEAVE: Final = 6

ID_MAX: Final = 2**53 - 1
METHOD_BYTES_MAX: Final = 256
CHAIN_MAX: Final = 32
CREDIT_MAX: Final = 65536

# A UTF-8 character has at most 4 bytes: a name this long needs no measuring.
_SURELY_SHORT: Final = METHOD_BYTES_MAX // 4

Frame = list[Any]
"""A decoded frame whose types have been checked."""


def encode_request(
    packer: Packer, call_id: int, method: str, args: Sequence[object], meta: dict[str, Any] | None
) -> bytes:
    """A request. Raises EncodeError."""
    # Without a call for the usual name.
    if type(method) is not str or not 0 < len(method) <= _SURELY_SHORT:
        check_method(method)
    frame = (REQUEST, call_id, method, args) if meta is None else (REQUEST, call_id, method, args, meta)
    plain = packer.pack_plain(frame)
    if plain is not None:
        return plain
    values.check(args, "args[{}]")
    try:
        return packer.pack(frame)
    except Exception as error:  # noqa: BLE001  # msgpack and its hook raise many
        raise _explain(error, ("method", (method,)), ("meta", (meta,)), ("args[{}]", args)) from None


def encode_notification(packer: Packer, method: str, args: Sequence[object], meta: dict[str, Any] | None) -> bytes:
    """A notification. Raises EncodeError."""
    check_method(method)
    values.check(args, "args[{}]")
    try:
        if meta is None:
            return packer.pack((NOTIFICATION, method, args))
        return packer.pack((NOTIFICATION, method, args, meta))
    except Exception as error:  # noqa: BLE001  # msgpack and its hook raise many
        raise _explain(error, ("method", (method,)), ("meta", (meta,)), ("args[{}]", args)) from None


def encode_response(packer: Packer, call_id: int, result: object) -> bytes:
    """The answer of a function that returned. Raises EncodeError."""
    frame = (RESPONSE, call_id, None, result)
    plain = packer.pack_plain(frame)
    if plain is not None:
        return plain
    values.check((result,), "result")
    try:
        return packer.pack(frame)
    except Exception as error:  # noqa: BLE001  # msgpack and its hook raise many
        raise _explain(error, ("result", (result,))) from None


def encode_item(packer: Packer, call_id: int, value: object) -> bytes:
    """The next value of a stream. Raises EncodeError."""
    frame = (ITEM, call_id, value)
    plain = packer.pack_plain(frame)
    if plain is not None:
        return plain
    values.check((value,), "item")
    try:
        return packer.pack(frame)
    except Exception as error:  # noqa: BLE001  # msgpack and its hook raise many
        raise _explain(error, ("item", (value,))) from None


def encode_error(packer: Packer, call_id: int, error: dict[str, object]) -> bytes:
    """The answer of a function that raised. `data` that cannot be encoded is left out."""
    try:
        values.check((error.get("data"),), "data")
        return packer.pack((RESPONSE, call_id, error, None))
    except Exception:  # noqa: BLE001
        # The error itself is text and must arrive.
        return packer.pack((RESPONSE, call_id, {**error, "data": None}, None))


def encode_cancel(packer: Packer, call_id: int) -> bytes:
    """Tells the callee that nobody waits for the answer any more."""
    return packer.pack((CANCEL, call_id))


def encode_credit(packer: Packer, call_id: int, items: int) -> bytes:
    """Grants `items` more items of a stream."""
    return packer.pack((CREDIT, call_id, items))


def encode_leave(packer: Packer) -> bytes:
    """Asks the peer to send no new requests, or promises that none will be sent."""
    return packer.pack((LEAVE,))


def check_method(method: str) -> None:
    """Raise EncodeError unless `method` can be the name of a function."""
    name: object = method
    if type(name) is not str or not 0 < len(name) <= _SURELY_SHORT:
        if not isinstance(name, str) or not name:
            raise EncodeError(f"method: {method!r} is no name of a function; a name is a non-empty str")
        length = len(method.encode("utf-8", "surrogatepass"))
        if length > METHOD_BYTES_MAX:
            raise EncodeError(f"method: a name of {length} bytes; at most {METHOD_BYTES_MAX} can be sent")


def decode(data: bytes) -> Frame:
    """The frame in `data`. Raises ProtocolError unless every field is what it must be."""
    return checked(values.decode(data))


def checked(frame: object) -> Frame:
    """The same `frame`. Raises ProtocolError unless it is a list whose every field is what it must be."""
    if type(frame) is list and len(frame) == 4 and is_usual_request(frame):
        return frame
    if type(frame) is not list or not frame:
        raise ProtocolError(f"a frame is a non-empty array, not {_describe(frame)}")
    kind = frame[0]
    if type(kind) is not int or not 0 <= kind < len(_RULES):
        raise ProtocolError(f"a frame of unknown type {_describe(kind)}")
    name, lengths, rule = _RULES[kind]
    if len(frame) not in lengths:
        raise ProtocolError(f"a {name} of {len(frame)} fields, not {' or '.join(map(str, lengths))}")
    fault = rule(frame)
    if fault is not None:
        raise ProtocolError(f"a {name} with {fault}")
    return frame


def is_usual_request(frame: Frame) -> bool:
    """Whether a frame of four fields is a request as most are: without a call of a function for each field. False: look
    closer.
    """
    kind, call_id, method, args = frame
    return (
        # The type first: an array of numbers is equal to an int element by element.
        type(kind) is int
        and kind == REQUEST
        and type(call_id) is int
        and 0 <= call_id <= ID_MAX
        and type(method) is str
        and 0 < len(method) <= _SURELY_SHORT
        and type(args) is list
    )


def _explain(error: Exception, *parts: tuple[str, Sequence[object]]) -> EncodeError:
    """Whichever of the parts, each a path and its values, is to blame for an `error` of the packer."""
    for path, part in parts:
        try:
            values.check_closely(part, path)
        except EncodeError as found:
            return found
    return EncodeError(f"{parts[-1][0].format(0)}: cannot be encoded: {error}")


def _describe(value: object) -> str:
    text = values.brief(value)
    return text if len(text) <= 64 else f"{text[:64]}…"


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value <= ID_MAX


def _is_credit(value: object) -> bool:
    return type(value) is int and 1 <= value <= CREDIT_MAX


def _fault_of_call(method: object, args: object, meta: object) -> str | None:
    if (
        type(method) is not str
        or not method
        or (len(method) > _SURELY_SHORT and len(method.encode()) > METHOD_BYTES_MAX)
    ):
        return f"a method that is no name: {_describe(method)}"
    if type(args) is not list:
        return f"args that are no array: {_describe(args)}"
    if type(meta) is not dict:
        return f"meta that is no map: {_describe(meta)}"
    return _fault_of_meta(meta) if meta else None


def _fault_of_meta(meta: dict[object, object]) -> str | None:
    if "deadline_ms" in meta:
        deadline = meta["deadline_ms"]
        # A NaN is not greater than 0 either.
        if type(deadline) not in (int, float) or not deadline > 0:  # type: ignore[operator]  # a number here
            return f"a deadline_ms that is no number greater than 0: {_describe(deadline)}"
    if "chain" in meta:
        chain = meta["chain"]
        if type(chain) is not list or len(chain) > CHAIN_MAX or not all(type(method) is str for method in chain):
            return f"a chain that is no array of at most {CHAIN_MAX} str: {_describe(chain)}"
    if "traceparent" in meta and type(meta["traceparent"]) is not str:
        return f"a traceparent that is no str: {_describe(meta['traceparent'])}"
    if "stream" in meta and not _is_credit(meta["stream"]):
        return f"a stream credit that is no int from 1 to {CREDIT_MAX}: {_describe(meta['stream'])}"
    return None


def _fault_of_id(frame: Frame) -> str | None:
    return None if _is_id(frame[1]) else f"an id that is no int from 0 to 2**53 - 1: {_describe(frame[1])}"


def _fault_of_request(frame: Frame) -> str | None:
    return _fault_of_id(frame) or _fault_of_call(frame[2], frame[3], frame[4] if len(frame) == 5 else {})


def _fault_of_notification(frame: Frame) -> str | None:
    return _fault_of_call(frame[1], frame[2], frame[3] if len(frame) == 4 else {})


def _fault_of_response(frame: Frame) -> str | None:
    fault = _fault_of_id(frame)
    error = frame[2]
    if fault is not None or error is None:
        return fault
    if type(error) is not dict:
        return f"an error that is no map: {_describe(error)}"
    for key, needed in (("code", True), ("message", True), ("type", False), ("stack", False)):
        if (needed or key in error) and type(error.get(key)) is not str:
            return f"an error whose {key} is no str: {_describe(error.get(key))}"
    return None


def _fault_of_credit(frame: Frame) -> str | None:
    fault = _fault_of_id(frame)
    if fault is None and not _is_credit(frame[2]):
        return f"a number of items that is no int from 1 to {CREDIT_MAX}: {_describe(frame[2])}"
    return fault


_RULES: Final[tuple[tuple[str, tuple[int, ...], Callable[[Frame], str | None]], ...]] = (
    ("request", (4, 5), _fault_of_request),
    ("response", (4,), _fault_of_response),
    ("notification", (3, 4), _fault_of_notification),
    ("cancel", (2,), _fault_of_id),
    ("item", (3,), _fault_of_id),
    ("credit", (3,), _fault_of_credit),
    ("leave", (1,), lambda _: None),
)
"""Of each type of frame: its name, how many fields it may have, and what is wrong with them, if anything."""

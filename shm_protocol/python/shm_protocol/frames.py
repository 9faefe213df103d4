"""Frames (PROTOCOL.md section 7): one MessagePack array per message, made and checked here.

Encoding raises EncodeError, with the path to the bad value. Reading raises ProtocolError for whatever breaks a rule,
and hands a frame that breaks none to a sink. What a frame means is session.py's to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from . import values
from .error_maps import fault_of, shorter
from .errors import EncodeError, ProtocolError, cut, sendable
from .exits import is_interrupt
from .values import MAX_DEPTH_SENT, Encoder

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFICATION: Final = 2
CANCEL: Final = 3
ITEM: Final = 4
CREDIT: Final = 5
LEAVE: Final = 6
EXPOSE: Final = 7
RELEASE: Final = 8
HOLD: Final = 9
RETURNED: Final = 16
WITHDRAWN: Final = 17

MAX_ID: Final = 2**53 - 1
MAX_METHOD_BYTES: Final = 256
MAX_CHAIN: Final = 32
MAX_CREDIT: Final = 65536
MAX_EXPOSED: Final = 65536
"""Functions that one side exposes."""
MAX_REFERENCES: Final = 65536
"""Functions and objects of one side that the peer has."""
MAX_NUMBERS: Final = 65536
"""Of memory, in one frame."""

# What the fields are called in errors that blame one, and how deep the frame may be nested with the user's values.
# The fields of meta go by their own names, so it is "kwargs.locale" that cannot be encoded.
_REQUEST_NAMES: Final = ("type", "id", "method", "args", "")
_NOTIFICATION_NAMES: Final = ("type", "method", "args", "")
_RESPONSE_NAMES: Final = ("type", "id", "error", "result")
_ITEM_NAMES: Final = ("type", "id", "item")
_LEVELS: Final = MAX_DEPTH_SENT + 1
_LEVELS_OF_CALL: Final = MAX_DEPTH_SENT + 2
_LEVELS_WITH_KWARGS: Final = MAX_DEPTH_SENT + 3

# A UTF-8 character has at most 4 bytes: a name this long needs no measuring.
_SURELY_SHORT: Final = MAX_METHOD_BYTES // 4

Frame = list[Any]
"""A decoded frame."""


class FrameSink(Protocol):
    """Takes the frames that read_frame has checked, by one method for each kind."""

    def on_request(self, call_id: int, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        """The peer calls `method`."""
        ...

    def on_response(self, call_id: int, result: Any) -> None:
        """A call of ours has returned."""
        ...

    def on_error_response(self, call_id: int, error: dict[str, Any]) -> None:
        """A call of ours has failed."""
        ...

    def on_notification(self, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        """The peer notifies `method`."""
        ...

    def on_cancel(self, call_id: int) -> None:
        """The peer waits for this answer of ours no more."""
        ...

    def on_item(self, call_id: int, value: Any) -> None:
        """The next value of a stream we asked for."""
        ...

    def on_credit(self, call_id: int, items: int) -> None:
        """The peer grants `items` more items of a stream of ours."""
        ...

    def on_leave(self) -> None:
        """The peer is about to end the connection, or promises to send no new requests."""
        ...

    def on_expose(self, names: list[str]) -> None:
        """The peer exposes functions of these names, beside those that it has named before."""
        ...

    def on_release(self, ids: list[int]) -> None:
        """The peer does not use these functions and objects of ours any more."""
        ...

    def on_hold(self, ids: list[int]) -> None:
        """The peer keeps these functions of ours beyond the calls that they were arguments of."""
        ...

    def on_returned(self, numbers: list[int]) -> None:
        """The peer has done with buffers that it was lent: for each the number of the memory that it lies in."""
        ...

    def on_withdrawn(self, numbers: list[int]) -> None:
        """The peer hands nothing over in memory of these numbers any more."""
        ...


def encode_request(
    encoder: Encoder, call_id: int, method: str, args: Sequence[object], meta: Mapping[str, Any] | None
) -> bytes:
    """A request. Raises EncodeError and MessageTooLarge."""
    # Without a call for the usual name.
    if type(method) is not str or not 0 < len(method) <= _SURELY_SHORT:
        check_method(method)
    if encoder.busy:
        # Its id is that of the call whose argument this is.
        raise EncodeError(f"{method}: called by the code of a value that is being encoded for the same connection")
    if meta is None:
        return encoder.pack((REQUEST, call_id, method, args), _REQUEST_NAMES, _LEVELS_OF_CALL)
    return encoder.pack((REQUEST, call_id, method, args, meta), _REQUEST_NAMES, _levels_of(meta))


def renumbered(request: bytes, call_id: int, new_id: int) -> bytes:
    """A request that has been encoded with one id, with another."""
    before = len(Encoder().pack(call_id))
    # Behind the head of the array and the kind of the frame.
    return request[:2] + Encoder().pack(new_id) + request[2 + before :]


def encode_notification(encoder: Encoder, method: str, args: Sequence[object], meta: Mapping[str, Any] | None) -> bytes:
    """A notification. Raises EncodeError and MessageTooLarge."""
    check_method(method)
    if meta is None:
        return encoder.pack((NOTIFICATION, method, args), _NOTIFICATION_NAMES, _LEVELS_OF_CALL)
    return encoder.pack((NOTIFICATION, method, args, meta), _NOTIFICATION_NAMES, _levels_of(meta))


def encode_response(encoder: Encoder, call_id: int, result: object) -> bytes:
    """The answer of a function that returned. Raises EncodeError and MessageTooLarge."""
    return encoder.pack((RESPONSE, call_id, None, result), _RESPONSE_NAMES, _LEVELS)


def encode_item(encoder: Encoder, call_id: int, value: object) -> bytes:
    """The next value of a stream. Raises EncodeError and MessageTooLarge."""
    return encoder.pack((ITEM, call_id, value), _ITEM_NAMES, _LEVELS)


def encode_error_response(encoder: Encoder, call_id: int, error: Mapping[str, object], max_message: int) -> bytes:
    """The answer of a call that failed: always one of at most `max_message` bytes, with as much of the error as fits.

    What cannot be encoded or does not fit goes in this order: the data of causes and parts, these, `data`, then the end
    of the stack, of the message, of the type; the code stays. Raises ProtocolError where the peer takes not even that.
    """
    texts = {key: sendable(error[key]) for key in ("code", "message", "type", "stack") if key in error}
    for less in shorter(error):
        longer = _encode_whole_error(encoder, call_id, {**less, **texts})
        if longer is not None and len(longer) <= max_message:
            return longer
    message = _encode_error_map(encoder, call_id, {**texts, "data": None} if "data" in error else texts)
    for key in ("stack", "message", "type"):
        if len(message) <= max_message:
            return message
        # At first as if it took no bytes, but those of a longer head.
        texts[key] = cut(
            texts.get(key, ""), max_message - len(_encode_error_map(encoder, call_id, {**texts, key: ""})) - 4
        )
        if not texts[key] and key != "message":
            del texts[key]
        message = _encode_error_map(encoder, call_id, texts)
    if len(message) > max_message:
        raise ProtocolError(f"the peer takes messages of {max_message} bytes, too few for an error")
    return message


def encode_cancel(encoder: Encoder, call_id: int) -> bytes:
    """Tells the callee that nobody waits for the answer any more."""
    return encoder.pack((CANCEL, call_id))


def encode_credit(encoder: Encoder, call_id: int, items: int) -> bytes:
    """Grants `items` more items of a stream."""
    return encoder.pack((CREDIT, call_id, items))


def encode_leave(encoder: Encoder) -> bytes:
    """Asks the peer to send no new requests, or promises that none will be sent."""
    return encoder.pack((LEAVE,))


def encode_expose(encoder: Encoder, names: Sequence[str]) -> bytes:
    """Names functions that the peer may call from now on."""
    return encoder.pack((EXPOSE, names))


def encode_release(encoder: Encoder, ids: Sequence[int]) -> bytes:
    """Lets go of functions and objects of the peer's."""
    return encoder.pack((RELEASE, ids))


def encode_hold(encoder: Encoder, ids: Sequence[int]) -> bytes:
    """Keeps functions of the peer's that were arguments of its calls."""
    return encoder.pack((HOLD, ids))


def encode_returned(numbers: Sequence[int]) -> bytes:
    """Gives buffers back that were lent, in any thread: for each the number of the memory that it lies in."""
    return Encoder().pack((RETURNED, numbers))


def encode_withdrawn(numbers: Sequence[int]) -> bytes:
    """Has the peer let go of memory, in any thread."""
    return Encoder().pack((WITHDRAWN, numbers))


def check_method(method: str) -> None:
    """Raise EncodeError unless `method` can be the name of a function."""
    name: object = method
    if type(name) is not str or not 0 < len(name) <= _SURELY_SHORT:
        if not isinstance(name, str):
            raise EncodeError("method: must be a string, the name of a function")
        length = len(method.encode("utf-8", "surrogatepass"))
        if not 1 <= length <= MAX_METHOD_BYTES:
            raise EncodeError(f"method: a name of {length} bytes: must be 1 to {MAX_METHOD_BYTES}")


def read_frame(frame: object, sink: FrameSink) -> None:
    """Check a decoded frame and hand it to the one method of `sink` for its kind.

    Raises ProtocolError unless it is an array whose every field is what it must be, and what the sink raises.
    """
    if type(frame) is list and len(frame) == 4 and is_usual_request(frame):
        sink.on_request(frame[1], frame[2], frame[3], None)
        return
    if type(frame) is not list or not frame:
        raise ProtocolError(f"a frame that is not an array, or an empty one: {_describe(frame)}")
    kind = frame[0]
    if type(kind) is not int or kind not in _KIND_OF:
        raise ProtocolError(f"a frame of an unknown type: {_describe(kind)}")
    name, lengths, read = _KIND_OF[kind]
    if len(frame) not in lengths:
        article = "an" if name == "expose" else "a"
        raise ProtocolError(f"{article} {name} of {len(frame)} fields, not {' or '.join(map(str, lengths))}")
    read(name, frame, sink)


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
        and 0 <= call_id <= MAX_ID
        and type(method) is str
        and 0 < len(method) <= _SURELY_SHORT
        and type(args) is list
    )


def _levels_of(meta: Mapping[str, Any]) -> int:
    return _LEVELS_WITH_KWARGS if "kwargs" in meta else _LEVELS_OF_CALL


def _encode_error_map(encoder: Encoder, call_id: int, error: Mapping[str, object]) -> bytes:
    return encoder.pack((RESPONSE, call_id, error, None), _RESPONSE_NAMES, _LEVELS)


def _encode_whole_error(encoder: Encoder, call_id: int, error: Mapping[str, object]) -> bytes | None:
    """With its data and parts; None where these cannot be encoded. Whatever they are or do, the error must arrive."""
    try:
        return _encode_error_map(encoder, call_id, error)
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        return None


def _describe(value: object) -> str:
    text = values.brief(value)
    return text if len(text) <= 64 else f"{text[:64]}…"


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_ID


def _is_credit(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_CREDIT


def _check_id(name: str, call_id: object) -> None:
    if not _is_id(call_id):
        raise ProtocolError(f"a {name} whose id is not an integer from 0 to 2^53 - 1: {_describe(call_id)}")


def _check_call(name: str, method: object, args: object, *meta: object) -> None:
    if (
        type(method) is not str
        or not method
        or (len(method) > _SURELY_SHORT and len(method.encode()) > MAX_METHOD_BYTES)
    ):
        raise ProtocolError(
            f"a {name} whose method is not a string of 1 to {MAX_METHOD_BYTES} bytes: {_describe(method)}"
        )
    if type(args) is not list:
        raise ProtocolError(f"a {name} whose args are not an array: {_describe(args)}")
    for fields in meta:
        fault = _fault_of_meta(fields) if type(fields) is dict else f"meta is not a map: {_describe(fields)}"
        if fault is not None:
            raise ProtocolError(f"a {name} whose {fault}")


def _fault_of_meta(meta: dict[object, object]) -> str | None:
    if "deadline_ms" in meta:
        deadline: Any = meta["deadline_ms"]
        # A NaN is not greater than 0 either.
        if type(deadline) not in (int, float) or not deadline > 0:
            return f"deadline_ms is not a number greater than 0: {_describe(deadline)}"
    if "chain" in meta:
        chain = meta["chain"]
        if type(chain) is not list or len(chain) > MAX_CHAIN or not all(type(method) is str for method in chain):
            return f"chain is not an array of at most {MAX_CHAIN} strings: {_describe(chain)}"
    if "within" in meta and not (_is_id(meta["within"]) and meta["within"]):
        return f"within is not an integer from 1 to 2^53 - 1: {_describe(meta['within'])}"
    if "traceparent" in meta and type(meta["traceparent"]) is not str:
        return f"traceparent is not a string: {_describe(meta['traceparent'])}"
    if "stream" in meta and not _is_credit(meta["stream"]):
        return f"stream is not an integer from 1 to {MAX_CREDIT}: {_describe(meta['stream'])}"
    if "kwargs" in meta:
        kwargs = meta["kwargs"]
        if type(kwargs) is not dict or not all(type(name) is str for name in kwargs):
            return f"kwargs is not a map whose keys are strings: {_describe(kwargs)}"
    if "handles" in meta and type(meta["handles"]) is not bool:
        return f"handles is not true or false: {_describe(meta['handles'])}"
    return None


def _read_request(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_id(name, frame[1])
    _check_call(name, *frame[2:])
    sink.on_request(frame[1], frame[2], frame[3], frame[4] if len(frame) == 5 else None)


def _read_response(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_id(name, frame[1])
    error = frame[2]
    if error is None:
        sink.on_response(frame[1], frame[3])
        return
    if type(error) is not dict:
        raise ProtocolError(f"a {name} whose error is not a map: {_describe(error)}")
    fault = fault_of(error)
    if fault is not None:
        raise ProtocolError(f"a {name} whose {fault}")
    sink.on_error_response(frame[1], error)


def _read_notification(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_call(name, *frame[1:])
    sink.on_notification(frame[1], frame[2], frame[3] if len(frame) == 4 else None)


def _read_cancel(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_id(name, frame[1])
    sink.on_cancel(frame[1])


def _read_item(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_id(name, frame[1])
    sink.on_item(frame[1], frame[2])


def _read_credit(name: str, frame: Frame, sink: FrameSink) -> None:
    _check_id(name, frame[1])
    if not _is_credit(frame[2]):
        raise ProtocolError(f"a {name} whose items are not an integer from 1 to {MAX_CREDIT}: {_describe(frame[2])}")
    sink.on_credit(frame[1], frame[2])


def _read_leave(name: str, frame: Frame, sink: FrameSink) -> None:  # noqa: ARG001
    sink.on_leave()


def _read_expose(name: str, frame: Frame, sink: FrameSink) -> None:
    names = frame[1]
    if type(names) is not list or len(names) > MAX_EXPOSED:
        raise ProtocolError(f"an {name} whose names are not an array of at most {MAX_EXPOSED}: {_describe(names)}")
    for one in names:
        if type(one) is not str or not one or (len(one) > _SURELY_SHORT and len(one.encode()) > MAX_METHOD_BYTES):
            raise ProtocolError(
                f"an {name} with a name that is not a string of 1 to {MAX_METHOD_BYTES} bytes: {_describe(one)}"
            )
    sink.on_expose(names)


def _read_release(name: str, frame: Frame, sink: FrameSink) -> None:
    sink.on_release(_checked_ids(name, frame[1]))


def _read_hold(name: str, frame: Frame, sink: FrameSink) -> None:
    sink.on_hold(_checked_ids(name, frame[1]))


def _checked_ids(name: str, ids: Any) -> list[int]:
    if type(ids) is not list or len(ids) > MAX_REFERENCES:
        raise ProtocolError(f"a {name} whose ids are not an array of at most {MAX_REFERENCES}: {_describe(ids)}")
    for one in ids:
        if not _is_id(one) or not one:
            raise ProtocolError(f"a {name} with an id that is not an integer from 1 to 2^53 - 1: {_describe(one)}")
    return ids


def _read_returned(name: str, frame: Frame, sink: FrameSink) -> None:
    sink.on_returned(_numbers(name, frame))


def _read_withdrawn(name: str, frame: Frame, sink: FrameSink) -> None:
    sink.on_withdrawn(_numbers(name, frame))


def _numbers(name: str, frame: Frame) -> list[int]:
    numbers = frame[1]
    if type(numbers) is not list or len(numbers) > MAX_NUMBERS or not all(map(_is_id, numbers)):
        raise ProtocolError(f"a {name} whose numbers are not an array of at most {MAX_NUMBERS}: {_describe(numbers)}")
    return numbers


_KINDS: Final[tuple[tuple[str, tuple[int, ...], Callable[[str, Frame, FrameSink], None]], ...]] = (
    ("request", (4, 5), _read_request),
    ("response", (4,), _read_response),
    ("notification", (3, 4), _read_notification),
    ("cancel", (2,), _read_cancel),
    ("item", (3,), _read_item),
    ("credit", (3,), _read_credit),
    ("leave", (1,), _read_leave),
    ("expose", (2,), _read_expose),
    ("release", (2,), _read_release),
    ("hold", (2,), _read_hold),
)
"""Of each kind of frame: its name, how many fields it may have, and what checks them and hands them on."""

_KIND_OF: Final = {
    **dict(enumerate(_KINDS)),
    RETURNED: ("returned", (2,), _read_returned),
    WITHDRAWN: ("withdrawn", (2,), _read_withdrawn),
}
"""The same by the type."""

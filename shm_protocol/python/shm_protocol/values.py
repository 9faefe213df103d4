"""Values on the wire (PROTOCOL.md section 8): what may be sent, and what arrives.

_plain_values.pyx does what is plain; msgpack does the rest, and all of it where nothing is compiled. Around them this
file does what msgpack does not: aware datetimes, arrays of numbers, the rules for keys and nesting, and errors that
name the path to the bad value. Finding that path is slow, so it is done only once something has failed.
"""

from __future__ import annotations

import reprlib
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import prod
from types import NoneType
from typing import Any, Final

import msgpack
from msgpack import ExtType, Timestamp, unpackb

from .errors import EncodeError, ProtocolError

try:
    from ._plain_values import DECLINED, PlainEncoder, decode_plain, fault_of_structure
except ImportError:
    # The socket transport does without anything compiled.
    DECLINED = object()

    class PlainEncoder:  # type: ignore[no-redef]
        """Declines all, so that msgpack does it."""

        def pack(self, value: object) -> bytes | None:
            """None."""
            return None

    def decode_plain(message: bytes) -> object:  # noqa: ARG001
        """DECLINED."""
        return DECLINED

    def fault_of_structure(message: bytes) -> str | None:  # noqa: ARG001
        """None: msgpack has to find out."""
        return None


MAX_DEPTH_SENT: Final = 500
MAX_DEPTH_RECEIVED: Final = 512
"""PROTOCOL.md section 11."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1

EXT_ARRAY: Final = 1

ARRAY_DIMENSIONS_MAX: Final = 8
ARRAY_BYTES_MAX: Final = 2**63 - 1
"""What NumPy holds. It leaves out sizes of 0, so that an array without elements can be too large as well."""
ARRAY_DTYPES: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64", "uint64")
"""The dtype of code 1, 2, 3, …"""

_ARRAY_CODES: Final = {name: code for code, name in enumerate(ARRAY_DTYPES, start=1)}
_ITEM_BYTES: Final = {name: int(name.lstrip("uintfloa")) // 8 for name in ARRAY_DTYPES}
_ARRAY_HEADER: Final = struct.Struct("<BBH")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = int((datetime(1, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_LAST_SECOND: Final = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds())

SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})
"""Exact types that can be sent, as values and as keys, unless msgpack itself refuses one for its range."""

_CONTAINERS: Final = frozenset({list, tuple, dict})
# msgpack, or the hook below, refuses a bad one of these, so that only containers need to be looked into.
_PLAIN: Final = SCALARS | _CONTAINERS | {bytearray, memoryview, datetime}
_DEDUPLICATE_FROM: Final = 1000
_PATH_CHARACTERS: Final = 200

_BRIEF: Final = reprlib.Repr()
_BRIEF.maxlevel = 2
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 64


class NdArray:
    """An array of numbers where NumPy is not installed.

    dtype: one of ARRAY_DTYPES.
    shape: the size of each dimension.
    data: the elements, little-endian, in C order.

    Can be sent as well. Raises ValueError if dtype, shape and data do not fit together.
    """

    __slots__ = ("data", "dtype", "shape")
    __hash__ = None  # type: ignore[assignment]  # as a NumPy array: not a key of a map

    def __init__(self, dtype: str, shape: Sequence[int], data: bytes) -> None:
        if dtype not in _ITEM_BYTES:
            raise ValueError(f"dtype {dtype!r} is none of {', '.join(ARRAY_DTYPES)}")
        self.dtype = dtype
        self.shape = tuple(shape)
        self.data = data
        if len(self.shape) > ARRAY_DIMENSIONS_MAX:
            raise ValueError(f"{len(self.shape)} dimensions; at most {ARRAY_DIMENSIONS_MAX} can be sent")
        if prod(self.shape) * _ITEM_BYTES[dtype] != len(data):
            raise ValueError(f"shape {self.shape} of {dtype} takes another number of bytes than {len(data)}")
        _check_size(dtype, self.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NdArray):
            return NotImplemented
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    def __repr__(self) -> str:
        return f"NdArray({self.dtype!r}, {self.shape!r}, <{len(self.data)} bytes>)"


class Packer:
    """A packer of values. Reused, it saves an allocation per message; it belongs to one thread at a time.

    pack_plain(value): its bytes, or None where the value must be checked and packed by pack. encoder: what does that.
    """

    __slots__ = ("encoder", "pack", "pack_plain")

    def __init__(self) -> None:
        self.pack: Final[Callable[[object], bytes]] = msgpack.Packer(default=_pack_other).pack
        self.encoder: Final = PlainEncoder()
        self.pack_plain: Final[Callable[[object], bytes | None]] = self.encoder.pack


def check(values: Sequence[object], path: str) -> None:
    """Check what msgpack does not: keys, nesting and types that msgpack has a use for and we have not.

    path: of `values` itself, or with "{}" for the index. Raises EncodeError.
    """
    if not _are_plain(values):
        check_closely(values, path)


def check_closely(values: Sequence[object], path: str) -> None:
    """The same and all else: raise EncodeError for the first value that cannot be sent, in the order of writing."""
    # A stack of our own: Python's would overflow before 500 levels.
    levels: list[Iterator[tuple[str, object]]] = [iter([(path.format(i), value) for i, value in enumerate(values)])]
    while levels:
        for where, value in levels[-1]:
            fault = _fault_of(value)
            if fault is not None:
                raise EncodeError(f"{_shortened(where)}: {fault}")
            if isinstance(value, list | tuple | dict):
                if len(levels) > MAX_DEPTH_SENT:
                    raise EncodeError(
                        f"{_shortened(where)}: nested more than {MAX_DEPTH_SENT} deep, or contains itself"
                    )
                levels.append(_children(where, value))
                break
        else:
            levels.pop()


def decode(data: bytes) -> Any:
    """The one value in `data`. Raises ProtocolError for anything else."""
    value = decode_plain(data)
    return value if value is not DECLINED else decode_closely(data)


def decode_closely(data: bytes) -> Any:
    """The same by msgpack alone, for whatever is not plain."""
    fault = fault_of_structure(data)
    if fault is not None:
        raise ProtocolError(f"a message of {len(data)} bytes does not decode: {fault}")
    try:
        value = unpackb(data, timestamp=3, strict_map_key=False, ext_hook=_unpack_ext)
    # ValueError: no MessagePack, cut short, or a value out of range; TypeError: an unhashable key; OverflowError: a
    # date.
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(
            f"a message of {len(data)} bytes does not decode: {str(error) or type(error).__name__}"
        ) from None
    fault = _fault_of_received(value)
    if fault is not None:
        raise ProtocolError(f"a message of {len(data)} bytes does not decode: {fault}")
    return value


def brief(value: object) -> str:
    """The beginning of a value's repr, for messages about what a peer has sent: of any size, and nested in any way."""
    return _BRIEF.repr(value)


def _fault_of_received(value: object) -> str | None:
    """What msgpack takes and section 8 does not. Level by level, as _are_plain."""
    level = [value]
    for _ in range(MAX_DEPTH_RECEIVED + 1):
        containers = [item for item in level if type(item) is list or type(item) is dict]
        if not containers:
            return None
        level = []
        for item in containers:
            if type(item) is dict:
                if not SCALARS.issuperset(map(type, item)):
                    return "a map key that is no scalar"
                level += item.values()
            else:
                level += item
    return f"nested more than {MAX_DEPTH_RECEIVED} deep"


def _are_plain(level: Sequence[Any]) -> bool:
    """True: nothing but plain types, plain keys and not too deep. False: look closer.

    Goes level by level, because sets of types are made in C: a tenth of the time of a walk.
    """
    for _ in range(MAX_DEPTH_SENT + 1):
        types = set(map(type, level))
        if not types <= _PLAIN and types - _PLAIN != {_ndarray_type()}:
            return False
        if types.isdisjoint(_CONTAINERS):
            return True
        containers = [item for item in level if type(item) in _CONTAINERS]
        if len(containers) > _DEDUPLICATE_FROM:
            # By identity: a list that contains itself twice would double with each level.
            containers = list({id(item): item for item in containers}.values())
        level = []
        for item in containers:
            if type(item) is dict:
                if not SCALARS.issuperset(map(type, item)):
                    return False
                level += item.values()
            else:
                level += item
    return False


def _children(
    where: str, value: list[object] | tuple[object, ...] | dict[object, object]
) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        for i, item in enumerate(value):
            yield f"{where}[{i}]", item
        return
    for key, item in value.items():
        if not isinstance(key, NoneType | bool | int | float | str | bytes):
            kind = _name_of(type(key))
            raise EncodeError(
                f"{_shortened(where)}: a key of type {kind}; keys may be None, bool, int, float, str or bytes"
            )
        fault = _fault_of(key)
        if fault is not None:
            raise EncodeError(f"{_shortened(where)}: key {_shortened(repr(key))}: {fault}")
        yield f"{where}.{key}" if isinstance(key, str) and key.isidentifier() else f"{where}[{key!r}]", item


def _shortened(path: str) -> str:
    if len(path) <= _PATH_CHARACTERS:
        return path
    return f"{path[: _PATH_CHARACTERS // 2]}…{path[-_PATH_CHARACTERS // 2 :]}"


def _fault_of(value: object) -> str | None:
    """Why `value` itself, not what it contains, cannot be sent."""
    match value:
        case ExtType():
            return "cannot encode a msgpack.ExtType"
        case None | bool() | float() | bytes() | bytearray() | list() | tuple() | dict():
            return None
        case int():
            if INT_MIN <= value <= INT_MAX:
                return None
            return f"an int of {value.bit_length()} bits; -2**63 to 2**64 - 1 can be sent"
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                return f"a str with a lone surrogate at index {error.start}"
            return None
        case memoryview():
            return None if value.c_contiguous else "a memoryview that is not C-contiguous"
        case datetime():
            return _attempt(lambda: _timestamp(value))
        case NdArray():
            return None
    if _is_ndarray(value):
        return _attempt(lambda: _array_header(value))
    hint = {
        "set": "; send a list",
        "frozenset": "; send a list",
        "generator": "; send a list, or call it with stream()",
    }
    name = _name_of(type(value))
    numpy_hint = "; send value.item()" if name.startswith("numpy.") and hasattr(value, "item") else ""
    return f"cannot encode a {name}{hint.get(name, numpy_hint)}"


def _attempt(pack: Any) -> str | None:
    try:
        pack()
    except ValueError as error:
        return str(error)
    return None


def _name_of(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _pack_other(value: object) -> object:
    """msgpack's hook for what it does not know."""
    if isinstance(value, datetime):
        return _timestamp(value)
    if isinstance(value, NdArray):
        header = _header(_ARRAY_CODES[value.dtype], value.shape)
        return ExtType(EXT_ARRAY, header + value.data)
    if _is_ndarray(value):
        return ExtType(EXT_ARRAY, _pack_ndarray(value))
    raise TypeError(f"cannot encode a {_name_of(type(value))}")


def _timestamp(value: datetime) -> Timestamp:
    if value.utcoffset() is None:
        raise ValueError("a naive datetime; give it a time zone, e.g. value.replace(tzinfo=datetime.UTC)")
    since = value - _EPOCH
    seconds = since.days * 86400 + since.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise ValueError("a datetime that is not in the years 1 to 9999 of UTC")
    return Timestamp(seconds, since.microseconds * 1000)


def _ndarray_type() -> Any:
    """numpy.ndarray, or None: a value can only be one if somebody has imported NumPy."""
    numpy = sys.modules.get("numpy")
    return None if numpy is None else getattr(numpy, "ndarray", None)


def _is_ndarray(value: object) -> bool:
    kind = _ndarray_type()
    return kind is not None and isinstance(value, kind)


def _array_header(array: Any) -> bytes:
    if hasattr(array, "mask"):
        raise ValueError("a masked array; send array.filled() or the mask beside it")
    code = _ARRAY_CODES.get(array.dtype.name)
    if code is None:
        raise ValueError(f"an array of dtype {array.dtype}; {', '.join(ARRAY_DTYPES)} can be sent")
    if array.ndim > ARRAY_DIMENSIONS_MAX:
        raise ValueError(f"an array of {array.ndim} dimensions; at most {ARRAY_DIMENSIONS_MAX} can be sent")
    if max(array.shape, default=0) >= 2**32:
        raise ValueError(f"an array of shape {array.shape}; a dimension may have at most 2**32 - 1 elements")
    return _header(code, array.shape)


def _header(code: int, shape: Sequence[int]) -> bytes:
    header = _ARRAY_HEADER.pack(code, len(shape), 0) + struct.pack(f"<{len(shape)}I", *shape)
    return header + bytes(-len(header) % 8)


def _check_size(dtype: str, shape: Sequence[int]) -> None:
    if prod(size for size in shape if size != 0) * _ITEM_BYTES[dtype] > ARRAY_BYTES_MAX:
        raise ValueError(f"an array of {dtype} and shape {shape}, whose sizes other than 0 come to 2**63 bytes or more")


def _pack_ndarray(array: Any) -> bytes:
    header = _array_header(array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return header + bytes(array.tobytes())


def _unpack_ext(code: int, data: bytes) -> object:
    """msgpack's hook for extensions other than the timestamp."""
    if code != EXT_ARRAY:
        raise ValueError(f"an extension of unknown type {code}")
    if len(data) < _ARRAY_HEADER.size:
        raise ValueError(f"an array with a header of {len(data)} bytes")
    dtype_code, dimensions, reserved = _ARRAY_HEADER.unpack_from(data)
    start = _ARRAY_HEADER.size + 4 * dimensions
    padded = start + -start % 8
    if not 1 <= dtype_code <= len(ARRAY_DTYPES):
        raise ValueError(f"an array of unknown dtype {dtype_code}")
    if dimensions > ARRAY_DIMENSIONS_MAX:
        raise ValueError(f"an array of {dimensions} dimensions; at most {ARRAY_DIMENSIONS_MAX} may be sent")
    if reserved != 0 or any(data[start:padded]):
        raise ValueError("an array whose reserved bytes are not zero")
    if len(data) < padded:
        raise ValueError(f"an array with a header of {len(data)} bytes")
    dtype = ARRAY_DTYPES[dtype_code - 1]
    shape = struct.unpack_from(f"<{dimensions}I", data, _ARRAY_HEADER.size)
    if prod(shape) * _ITEM_BYTES[dtype] != len(data) - padded:
        raise ValueError(f"an array of {dtype} and shape {shape} with {len(data) - padded} bytes of data")
    _check_size(dtype, shape)
    try:
        import numpy
    except ImportError:
        return NdArray(dtype, shape, data[padded:])
    # Not copied: a view of the message's own bytes, and therefore read-only.
    return numpy.frombuffer(data, numpy.dtype(dtype), offset=padded).reshape(shape)

"""The ext types of PROTOCOL.md section 8: timestamps and arrays; the others are in reference.py and tables.py."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import prod
from typing import Any, Final

from .reference import unpack_reference
from .tables import TableBytes
from .wire import (
    EXT_ARRAY,
    EXT_BUFFER,
    EXT_REFERENCE,
    EXT_TIMESTAMP,
    TABLE,
    Ext,
    Lender,
    Missing,
    Undecodable,
    Unreadable,
    Unsendable,
)

MAX_ARRAY_SIZE: Final = 2**32 - 1
MAX_ARRAY_DIMENSIONS: Final = 8
MAX_ARRAY_BYTES: Final = 2**63 - 1
"""What NumPy holds. It leaves out sizes of 0, so that an array without elements can be too large as well."""
ARRAY_DTYPES: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64", "uint64")
"""The dtype of code 1, 2, 3, …"""

_ARRAY_CODES: Final = {name: code for code, name in enumerate(ARRAY_DTYPES, start=1)}
_ITEM_BYTES: Final = {name: int(name.lstrip("uintfloa")) // 8 for name in ARRAY_DTYPES}
_ARRAY_HEADER: Final = struct.Struct("<BBH")
_TABLE: Final = bytes([TABLE])
_TABLE_HEADER: Final = struct.Struct("<BBHI")
_PLACE: Final = struct.Struct("<QQQ")
"""Where a buffer outside of the message lies: number of the memory, offset in it, bytes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_FIRST_SECOND: Final = (1 - _EPOCH_DAY) * 86400
_LAST_SECOND: Final = (date.max.toordinal() - _EPOCH_DAY + 1) * 86400 - 1
_DAY: Final = 86400
_NANOSECONDS: Final = 1_000_000_000

# The attributes of a datetime that a subclass cannot have of its own.
_HOUR, _MINUTE, _SECOND_OF, _MICROSECOND = (
    vars(datetime)[name] for name in ("hour", "minute", "second", "microsecond")
)
_DAYS, _SECONDS, _MICROSECONDS = (vars(timedelta)[name] for name in ("days", "seconds", "microseconds"))


class _ScatteredArray:
    """A NumPy array whose elements do not lie one behind the other."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.nbytes: int = array.nbytes

    def write_into(self, room: Any) -> None:
        numpy: Any = sys.modules["numpy"]
        numpy.copyto(numpy.ndarray(self._array.shape, self._array.dtype, room), self._array)

    def tobytes(self) -> bytes:
        copied: bytes = self._array.tobytes()
        return copied


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
            raise ValueError(f"dtype={dtype!r}: must be one of {', '.join(ARRAY_DTYPES)}")
        self.dtype = dtype
        self.shape = tuple(shape)
        self.data = data
        if len(self.shape) > MAX_ARRAY_DIMENSIONS:
            raise ValueError(f"{len(self.shape)} dimensions: must be at most {MAX_ARRAY_DIMENSIONS}")
        if prod(self.shape) * _ITEM_BYTES[dtype] != len(data):
            raise ValueError(f"shape {self.shape} of {dtype} takes another number of bytes than {len(data)}")
        fault = fault_of_size(dtype, self.shape)
        if fault is not None:
            raise ValueError(fault)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NdArray):
            return NotImplemented
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    def __repr__(self) -> str:
        return f"NdArray({self.dtype!r}, {self.shape!r}, <{len(self.data)} bytes>)"


def timestamp(value: datetime) -> Ext:
    """The ext of an aware datetime. Raises Unsendable. Of it nothing is run but its time zone's utcoffset, once."""
    seconds, microseconds = _since_epoch(value)
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise Unsendable("a datetime outside of the years 1 to 9999 cannot be encoded")
    nanoseconds = microseconds * 1000
    if 0 <= seconds < 2**34:
        whole = nanoseconds << 34 | seconds
        return Ext(EXT_TIMESTAMP, whole.to_bytes(4 if whole < 2**32 else 8, "big"))
    return Ext(EXT_TIMESTAMP, struct.pack(">Iq", nanoseconds, seconds))


def _since_epoch(value: datetime) -> tuple[int, int]:
    if type(value) is datetime and value.tzinfo is UTC:
        since = value - _EPOCH
        return since.days * _DAY + since.seconds, since.microseconds
    offset = datetime.utcoffset(value)
    if offset is None:
        raise Unsendable(
            "a naive datetime cannot be encoded; give it a time zone, e.g. value.replace(tzinfo=datetime.UTC)"
        )
    # The value's type, and the offset's, may have attributes of their own that say something else.
    days = date.toordinal(value) - _EPOCH_DAY - _DAYS.__get__(offset)
    minutes = _HOUR.__get__(value) * 60 + _MINUTE.__get__(value)
    seconds = days * _DAY + minutes * 60 + _SECOND_OF.__get__(value) - _SECONDS.__get__(offset)
    carried, microseconds = divmod(_MICROSECOND.__get__(value) - _MICROSECONDS.__get__(offset), 1_000_000)
    return seconds + carried, microseconds


def ndarray_of_ours(value: NdArray) -> Ext:
    """The ext of an NdArray. Raises Unsendable where it has been changed so that nothing fits any more."""
    checked = NdArray(value.dtype, value.shape, bytes(value.data))
    return Ext(EXT_ARRAY, _header(_ARRAY_CODES[checked.dtype], checked.shape), checked.data)


def is_ndarray(kind: type) -> bool:
    """Whether a type is NumPy's array or derived from it: that can only be if somebody has imported NumPy."""
    numpy = sys.modules.get("numpy")
    array = None if numpy is None else getattr(numpy, "ndarray", None)
    return array is not None and issubclass(kind, array)


def of_dlpack(value: Any) -> Ext:
    """The ext of an array of any library that speaks DLPack, such as a tensor of PyTorch. Raises Unsendable, and what
    the library raises, for memory of a graphics card for example.
    """
    try:
        import numpy
    except ImportError:
        raise Unsendable("an array that speaks DLPack can only be encoded where NumPy is installed") from None
    return ndarray(numpy.from_dlpack(value))


def ndarray(value: Any) -> Ext:
    """The ext of a NumPy array. Raises Unsendable."""
    numpy: Any = sys.modules["numpy"]
    masked = sys.modules.get("numpy.ma")
    if masked is not None and issubclass(type(value), masked.MaskedArray):
        raise Unsendable("a masked array cannot be encoded; send array.filled() or the mask beside it")
    # Without what a subclass makes of it.
    array = numpy.ndarray.view(value, numpy.ndarray)
    code = _ARRAY_CODES.get(array.dtype.name)
    if code is None:
        raise Unsendable(f"an array of dtype {array.dtype} cannot be encoded; {', '.join(ARRAY_DTYPES)} can be sent")
    if array.ndim > MAX_ARRAY_DIMENSIONS:
        raise Unsendable(
            f"an array of {array.ndim} dimensions cannot be encoded; at most {MAX_ARRAY_DIMENSIONS} can be"
        )
    if max(array.shape, default=0) > MAX_ARRAY_SIZE:
        raise Unsendable(
            f"an array of shape {array.shape} cannot be encoded; a dimension must have at most 2**32 - 1 elements"
        )
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if not array.flags.c_contiguous:
        return Ext(EXT_ARRAY, _header(code, array.shape), scattered=_ScatteredArray(array))
    # Another thread can change the numbers meanwhile, but not how many there are: the view holds on to them.
    body = memoryview(array.reshape(-1).view(numpy.uint8)) if array.size else b""
    return Ext(EXT_ARRAY, _header(code, array.shape), body)


def unpack_ext(code: int, data: bytearray, lender: Lender | None = None) -> object:
    """The value of an ext, which may keep `data` for its own, or Missing. lender: where buffers outside of the message
    are.

    Raises Undecodable.
    """
    try:
        return _unpack(code, data, lender)
    except Unreadable as fault:
        return Missing(str(fault))


def _unpack(code: int, data: bytearray, lender: Lender | None) -> object:
    if code == EXT_TIMESTAMP:
        return _unpack_timestamp(data)
    if code == EXT_REFERENCE:
        return unpack_reference(data)
    if code == EXT_BUFFER and lender is not None:
        return _unpack_buffer(data, lender)
    if code != EXT_ARRAY:
        raise Undecodable(f"an ext of the unknown type {code}")
    if data[:1] == _TABLE:
        size, padded = _unpack_table_header(data)
        if size != len(data) - padded:
            raise Undecodable(f"a table of {size} bytes with {len(data) - padded} bytes of data")
        return TableBytes(memoryview(data)[padded:])
    dtype, shape, padded = _unpack_array_header(data)
    if prod(shape) * _ITEM_BYTES[dtype] != len(data) - padded:
        raise Undecodable(f"an array of shape {list(shape)} with {len(data) - padded} bytes of data")
    fault = fault_of_size(dtype, shape)
    if fault is not None:
        raise Undecodable(fault)
    numpy = _numpy()
    if numpy is None:
        return NdArray(dtype, shape, bytes(data[padded:]))
    # Not copied once more, and yet it can be written to.
    return numpy.ndarray(shape, numpy.dtype(dtype), data, padded)


def _unpack_buffer(data: bytearray, lender: Lender) -> object:
    if data[:1] == _TABLE:
        return _unpack_lent_table(data, lender)
    is_bytes = data[:8] == bytes(8)
    dtype, shape, padded = ("uint8", (), 8) if is_bytes else _unpack_array_header(data)
    if len(data) != padded + _PLACE.size:
        raise Undecodable(f"a buffer ext of {len(data)} bytes")
    number, offset, size = _PLACE.unpack_from(data, padded)
    if is_bytes:
        return lender.take_bytes(number, offset, size)
    if prod(shape) * _ITEM_BYTES[dtype] != size:
        raise Undecodable(f"an array of shape {list(shape)} with {size} bytes of data")
    view = lender.take_view(number, offset, size)
    numpy = _numpy()
    if numpy is None:
        return NdArray(dtype, shape, bytes(view))
    return numpy.ndarray(shape, numpy.dtype(dtype), view)


def _numpy() -> Any:
    """NumPy, or None where there is none. Raises Unreadable where it cannot be imported now."""
    try:
        import numpy
    except ImportError:
        return None
    except OSError as error:
        raise Unreadable(f"an array cannot be received: NumPy cannot be imported now ({error})") from None
    return numpy


def _unpack_lent_table(data: bytearray, lender: Lender) -> TableBytes:
    table_bytes, padded = _unpack_table_header(data)
    if len(data) != padded + _PLACE.size:
        raise Undecodable(f"a buffer ext of {len(data)} bytes")
    number, offset, size = _PLACE.unpack_from(data, padded)
    if table_bytes != size:
        raise Undecodable(f"a table of {table_bytes} bytes with {size} bytes of data")
    return TableBytes(lender.take_view(number, offset, size))


def _unpack_table_header(data: bytearray) -> tuple[int, int]:
    """The bytes of its stream, and how long the header is."""
    if len(data) < _TABLE_HEADER.size:
        raise Undecodable(f"an array ext of {len(data)} bytes")
    _, dimensions, reserved, size = _TABLE_HEADER.unpack_from(data)
    if dimensions != 1:
        raise Undecodable(f"a table of {dimensions} dimensions")
    if reserved != 0:
        raise Undecodable("a table whose reserved bytes are not zero")
    return size, _TABLE_HEADER.size


def _unpack_array_header(data: bytearray) -> tuple[str, tuple[int, ...], int]:
    """The dtype, the shape, and how long the header is."""
    if len(data) < _ARRAY_HEADER.size:
        raise Undecodable(f"an array ext of {len(data)} bytes")
    dtype_code, dimensions, reserved = _ARRAY_HEADER.unpack_from(data)
    start = _ARRAY_HEADER.size + 4 * dimensions
    padded = start + -start % 8
    if not 1 <= dtype_code <= len(ARRAY_DTYPES):
        raise Undecodable(f"an array of the unknown dtype {dtype_code}")
    if dimensions > MAX_ARRAY_DIMENSIONS:
        raise Undecodable(f"an array of {dimensions} dimensions")
    if reserved != 0 or any(data[start:padded]):
        raise Undecodable("an array whose reserved bytes are not zero")
    if len(data) < padded:
        raise Undecodable(f"an array ext of {len(data)} bytes")
    dtype = ARRAY_DTYPES[dtype_code - 1]
    return dtype, struct.unpack_from(f"<{dimensions}I", data, _ARRAY_HEADER.size), padded


def _unpack_timestamp(data: bytearray) -> datetime:
    if len(data) == 4:
        nanoseconds, seconds = 0, int.from_bytes(data, "big")
    elif len(data) == 8:
        nanoseconds, seconds = divmod(int.from_bytes(data, "big"), 2**34)
    elif len(data) == 12:
        nanoseconds, seconds = struct.unpack(">Iq", data)
    else:
        raise Undecodable(f"a timestamp of {len(data)} bytes")
    if nanoseconds >= _NANOSECONDS:
        raise Undecodable(f"a timestamp with {nanoseconds} nanoseconds")
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise Undecodable("a timestamp outside of the years 1 to 9999")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


def _header(code: int, shape: Sequence[int]) -> bytes:
    header = _ARRAY_HEADER.pack(code, len(shape), 0) + struct.pack(f"<{len(shape)}I", *shape)
    return header + bytes(-len(header) % 8)


def fault_of_size(dtype: str, shape: Sequence[int]) -> str | None:
    """What is wrong with an array of that shape. None: nothing."""
    if prod(size for size in shape if size != 0) * _ITEM_BYTES[dtype] <= MAX_ARRAY_BYTES:
        return None
    return f"an array of shape {list(shape)}, whose sizes other than 0 come to more than 2^63 - 1 bytes"

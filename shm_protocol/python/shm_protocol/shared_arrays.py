"""Arrays that are made in memory which can be handed over as it is: nothing of them is copied when they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from .transports import shortages
from .values.brief import brief
from .values.ext_types import ARRAY_DTYPES, MAX_ARRAY_DIMENSIONS, MAX_ARRAY_SIZE, fault_of_size

if TYPE_CHECKING:
    import numpy


def empty(shape: int | Sequence[int], dtype: Any = float) -> numpy.ndarray[Any, Any]:
    """A NumPy array in shared memory, as `numpy.empty` gives one: what is in it is anything.

    Sent over a connection with shared memory, it is handed over without a copy, and so is every C-contiguous part of it
    that begins at a multiple of 64 bytes; over any other it is sent as other arrays are. The peer sees what is written
    to it afterwards, for as long as it holds it. The memory is used again when neither side holds it any more.

    shape: the size of each dimension, or of the only one. dtype: one that can be sent: int8 to uint64, float32,
    float64.

    Raises ImportError where NumPy or the compiled part of this package is missing, OSError where there is no memory,
    TypeError and ValueError for a shape or dtype that cannot be sent.
    """
    import numpy

    from .pool import own_pool

    kind = _sendable_dtype(numpy, dtype)
    sizes = _sendable_sizes(shape)
    fault = fault_of_size(kind.name, sizes)
    if fault is not None:
        raise ValueError(f"shape={sizes}: {fault}")
    size = max(1, prod(sizes) * kind.itemsize)
    try:
        buffer: Any = own_pool().lend(size)
    except OSError as error:
        why = f"{size} bytes of shared memory cannot be had: {shortages.of_memory(error)}"
        raise OSError(error.errno, why) from None
    return numpy.ndarray(sizes, kind, buffer)


def _sendable_dtype(numpy: Any, dtype: Any) -> Any:
    try:
        kind = numpy.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"dtype={brief(dtype)}: is no dtype of NumPy's: {error}") from None
    if kind.hasobject:
        raise TypeError(f"dtype={kind}: has Python objects in it, which no other process can use")
    if kind.name not in ARRAY_DTYPES:
        raise TypeError(f"dtype={kind}: cannot be sent; {', '.join(ARRAY_DTYPES)} can be")
    return kind


def _sendable_sizes(shape: Any) -> tuple[int, ...]:
    is_one = isinstance(shape, SupportsIndex) and getattr(shape, "ndim", 0) == 0
    try:
        sizes = (index(shape),) if is_one else tuple(index(size) for size in shape)
    except TypeError:
        raise TypeError(f"shape={brief(shape)}: must be a size or a sequence of sizes") from None
    if len(sizes) > MAX_ARRAY_DIMENSIONS or any(not 0 <= size <= MAX_ARRAY_SIZE for size in sizes):
        raise ValueError(f"shape={brief(sizes)}: at most {MAX_ARRAY_DIMENSIONS} sizes from 0 to {MAX_ARRAY_SIZE}")
    return sizes

"""Arrays that are made in memory which can be handed over as it is: nothing of them is copied when they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


def empty(shape: int | Sequence[int], dtype: Any = float) -> numpy.ndarray[Any, Any]:
    """A NumPy array in shared memory, as `numpy.empty` gives one: what is in it is anything.

    Sent over a connection with shared memory, it is handed over without a copy, and so is every C-contiguous part of it
    that begins at a multiple of 64 bytes; over any other it is sent as other arrays are. The peer sees what is written
    to it afterwards, for as long as it holds it. The memory is used again when neither side holds it any more.

    shape: the size of each dimension, or of the only one. dtype: any of NumPy's without objects in it.

    Raises ImportError where NumPy or the compiled part of this package is missing, OSError where there is no memory,
    TypeError and ValueError for a shape or dtype that cannot be.
    """
    import numpy

    from .pool import own_pool

    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"dtype={kind}: has Python objects in it, which no other process can use")
    sizes = (int(shape),) if isinstance(shape, int | numpy.integer) else tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape={sizes}: negative sizes are not allowed")
    count = 1
    for size in sizes:
        count *= size
    buffer: Any = own_pool().lend(max(1, count * kind.itemsize))
    return numpy.ndarray(sizes, kind, buffer)

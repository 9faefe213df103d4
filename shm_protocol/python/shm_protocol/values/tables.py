"""Arrow tables: as IPC streams on the wire (PROTOCOL.md section 8), of pyarrow's in Python. pyarrow is imported for a
table that has arrived, and for what another library gives by Arrow's PyCapsule interface; nothing else needs it.
"""

from __future__ import annotations

import struct
import sys
from typing import Any, Final

from ..errors import name_of, text_of
from ..exits import is_interrupt
from .wire import EXT_ARRAY, MAX_BYTES, TABLE, Ext, Unreadable, Unsendable

_HEADER: Final = struct.Struct("<BBHI")
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"
MAX_TABLE_BYTES: Final = MAX_BYTES - _HEADER.size
"""Within its message: an ext has no more."""


class TableBytes:
    """A table that has arrived, as the bytes of its IPC stream."""

    __slots__ = ("data",)
    __hash__ = None  # type: ignore[assignment]  # as a table: not a key of a map

    def __init__(self, data: Any) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableBytes) and bytes(self.data) == bytes(other.data)

    def table(self) -> Any:
        """The pyarrow.Table, a view of the bytes that can only be read. Raises Unreadable."""
        try:
            import pyarrow
            from pyarrow import ipc
        except ImportError as error:
            raise Unreadable(
                f"an Arrow table can only be received where pyarrow is installed: pip install pyarrow ({error})"
            ) from None
        except OSError as error:
            raise Unreadable(f"an Arrow table cannot be received: pyarrow cannot be imported now ({error})") from None
        view = memoryview(self.data).toreadonly()
        # pyarrow takes a stream that is cut between two batches for a shorter one.
        if bytes(view[-len(_END_OF_STREAM) :]) != _END_OF_STREAM:
            raise Unreadable(f"an Arrow table of {len(view)} bytes, which is cut short")
        try:
            table = ipc.open_stream(pyarrow.py_buffer(view)).read_all()
            # Else pyarrow looks wherever the offsets and indices in it say.
            table.validate(full=True)
        except BaseException as error:
            # Whatever it is: an extension type of the program's may make its values by code of its own.
            if is_interrupt(error):
                raise
            raised = error if isinstance(error, pyarrow.ArrowException) else f"{name_of(type(error))}: {text_of(error)}"
            raise Unreadable(f"an Arrow table of {len(view)} bytes, which pyarrow cannot read: {raised}") from None
        return table


class _Stream:
    """The IPC stream of a table, which is written where there is room for it. nbytes: how many bytes it has."""

    def __init__(self, pyarrow: Any, table: Any) -> None:
        self._pyarrow = pyarrow
        self._table = table
        counted = pyarrow.MockOutputStream()
        self._write(counted)
        self.nbytes: int = counted.size()

    def write_into(self, room: Any) -> None:
        """Write it to a buffer of `nbytes`."""
        self._write(self._pyarrow.FixedSizeBufferWriter(self._pyarrow.py_buffer(room)))

    def tobytes(self) -> bytearray:
        """Its bytes."""
        room = bytearray(self.nbytes)
        self.write_into(room)
        return room

    def _write(self, sink: Any) -> None:
        # Not compressed, which apache-arrow cannot read.
        with self._pyarrow.ipc.new_stream(sink, self._table.schema) as writer:
            writer.write(self._table)


def is_table(kind: type) -> bool:
    """Whether a type is pyarrow's Table or RecordBatch: that can only be if somebody has imported pyarrow."""
    pyarrow = sys.modules.get("pyarrow")
    known: tuple[Any, ...] = tuple(getattr(pyarrow, name, None) for name in ("Table", "RecordBatch"))
    return None not in known and issubclass(kind, known)


def table_ext(value: Any) -> Ext:
    """The ext of a pyarrow.Table or RecordBatch. Raises Unsendable, and what pyarrow raises."""
    import pyarrow
    import pyarrow.ipc

    stream = _Stream(pyarrow, value)
    if stream.nbytes > MAX_TABLE_BYTES:
        raise Unsendable(
            f"an Arrow table of {stream.nbytes} bytes cannot be encoded; at most {MAX_TABLE_BYTES} can be: "
            f"send it in parts"
        )
    return Ext(EXT_ARRAY, _HEADER.pack(TABLE, 1, 0, stream.nbytes), scattered=stream)


def of_arrow_stream(value: Any) -> Ext:
    """The ext of a table of any library that speaks Arrow's PyCapsule interface, such as a DataFrame of Polars. Raises
    Unsendable, and what the library and pyarrow raise.
    """
    try:
        import pyarrow
    except ImportError:
        raise Unsendable(
            "a table that speaks Arrow's PyCapsule interface can only be encoded where pyarrow is installed: "
            "pip install pyarrow"
        ) from None
    return table_ext(pyarrow.table(value))

"""Arrow tables that have arrived, of whatever bytes."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from shm_protocol.values import Encoder, TableBytes, Unreadable, decode

TABLE = pa.table(
    {
        "word": ["one", None, "three", "four"],
        "kind": pa.array(["x", "y", None, "x"]).dictionary_encode(),
        "list": [[1], [], None, [2, None]],
    }
)


def stream_of(table: pa.Table) -> bytes:
    received = decode(Encoder().pack(table))
    assert type(received) is TableBytes
    return bytes(received.data)


def test_a_table_that_is_cut_anywhere_is_refused() -> None:
    whole = stream_of(TABLE)
    assert TableBytes(whole).table().equals(TABLE)
    for end in range(len(whole)):
        with pytest.raises(Unreadable, match=rf"^an Arrow table of {end} bytes, which "):
            TableBytes(whole[:end]).table()


def test_a_table_of_altered_bytes_is_refused_or_whole() -> None:
    whole = stream_of(TABLE)
    chance = random.Random(1)
    refused = 0
    for _ in range(3000):
        altered = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            altered[chance.randrange(len(altered))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        try:
            table = TableBytes(altered).table()
        except Unreadable:
            refused += 1
        else:
            # Whoever looks at every value comes nowhere that is not the table's.
            if table.num_rows <= TABLE.num_rows:
                table.to_pylist()
    assert refused > 300


def test_a_received_table_can_only_be_read() -> None:
    table = TableBytes(bytearray(stream_of(TABLE))).table()
    assert not any(buffer.is_mutable for buffer in table["word"].chunk(0).buffers() if buffer is not None)

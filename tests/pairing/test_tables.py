"""Arrow tables, both ways, within their messages and outside of them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import shm_protocol
from peers import Pair
from shm_protocol.config import read_settings
from shm_protocol.dialing import dial
from shm_protocol.exposed import Exposed

LARGE = 100_000  # rows: more bytes than what stays in the message

TABLES = {
    "numbers, texts and nulls": pa.table({"a": [1, None, 3], "b": ["x", None, "z"], "c": [0.5, 1.5, None]}),
    "dictionaries": pa.table({"d": pa.array(["x", "y", None, "x"]).dictionary_encode()}),
    "lists of lists": pa.table({"l": [[[1], []], None, [[2, None]]]}),
    "structs": pa.table({"s": [{"x": 1, "y": ["a"]}, None]}),
    "timestamps": pa.table({"t": pa.array([datetime(2020, 1, 2, tzinfo=UTC), None], pa.timestamp("us", "UTC"))}),
    "decimals": pa.table({"d": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2))}),
    "bools": pa.table({"b": [True, None, False]}),
    "no rows": pa.table({"a": pa.array([], pa.int32())}),
    "no columns": pa.table({}),
    "metadata": pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    "chunks": pa.table({"a": pa.chunked_array([[1, 2], [], [3]])}),
    "a slice": pa.table({"a": list(range(10)), "b": list("abcdefghij")}).slice(3, 4),
    "large": pa.table({"a": list(range(LARGE)), "b": [str(number) for number in range(LARGE)]}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_crosses_both_ways(node: shm_protocol.Client, name: str) -> None:
    sent = TABLES[name]
    returned = node.call("functions.echo", sent)
    assert type(returned) is pa.Table
    assert returned.to_pylist() == sent.to_pylist()
    assert returned.schema.equals(sent.schema, check_metadata=True)


def test_node_reads_what_python_sends_and_python_what_node_makes(node: shm_protocol.Client) -> None:
    assert node.call("tables.rows", TABLES["dictionaries"]) == [True, ["d"], [["x"], ["y"], [None], ["x"]]]
    assert node.call("tables.sum", TABLES["large"], "a") == LARGE * (LARGE - 1) // 2
    for rows in (3, LARGE):
        made = node.call("tables.make", rows)
        assert made["x"].to_pylist() == list(range(rows))
        assert made["word"].to_pylist()[:3] == ["even", "odd", "even"]
    assert node.call("tables.batch").to_pydict() == {"a": [1, None, 3]}
    assert node.call("tables.none").num_columns == 0


def test_tables_are_values_in_any_place(node: shm_protocol.Client) -> None:
    table = TABLES["decimals"]
    returned = node.call("functions.echo", {"deep": [table, {"more": table}], "n": 1})
    assert returned["deep"][0].equals(table)
    assert returned["deep"][1]["more"].equals(table)
    items = list(node.stream("functions.each", table, TABLES["large"], 1))
    assert items[0].equals(table)
    assert items[1].equals(TABLES["large"])
    assert node.call_with("tables.make", [2], 30.0, None, handles=True).num_rows == 2
    assert node.call("functions.echo", table.to_batches()[0]).equals(table)
    assert node.call("functions.callBack", "worker.echo", [table]).equals(table)
    assert node.call("functions.callBack", "worker.keywords", ["a"], {"of": table})[2]["of"].equals(table)


class Frame:
    """A table of another library, known by Arrow's interface alone."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def test_what_speaks_arrows_interface_is_sent_as_a_table(node: shm_protocol.Client) -> None:
    table = TABLES["chunks"]
    assert node.call("functions.echo", Frame(table)).to_pylist() == table.to_pylist()
    with pytest.raises(shm_protocol.EncodeError, match=r"^args\[0\]: looking at it raised AttributeError"):
        node.call("functions.echo", Frame(None))


def test_a_table_that_the_other_side_cannot_read_fails_its_call_alone(node: shm_protocol.Client) -> None:
    odd = pa.table({"r": pa.array([1, 1, 2]).dictionary_encode().cast(pa.int64())}).append_column(
        "e", pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([1, 2]))
    )
    with pytest.raises(shm_protocol.EncodeError, match=r"^tables.numRows: args: an Arrow table of \d+ bytes") as caught:
        node.call("tables.numRows", odd)
    assert caught.value.from_peer
    node.notify("tables.numRows", odd)
    assert node.call("tables.numRows", TABLES["chunks"]) == 3


class Fussy(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type of the program's own, whose code does not take what it is given."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "test.fussy")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        raise RuntimeError("not this one")


@pytest.fixture
def fussy() -> Iterator[Any]:
    pa.register_extension_type(Fussy())
    yield pa.table({"x": pa.ExtensionArray.from_storage(Fussy(), pa.array([1, 2]))})
    pa.unregister_extension_type("test.fussy")


def test_what_an_extension_type_raises_fails_its_call_alone(pair: Pair, node: shm_protocol.Client, fussy: Any) -> None:
    told = (
        r"^functions.echo: result: an Arrow table of \d+ bytes, which pyarrow cannot read: RuntimeError: not this one"
    )
    with pytest.raises(shm_protocol.EncodeError, match=told):
        node.call("functions.echo", fussy)
    assert node.call("functions.echo", 1) == 1

    async def asynchronously() -> Any:
        async with await shm_protocol.connect_async(pair.path) as client:
            with pytest.raises(shm_protocol.EncodeError, match=told):
                await client.call("functions.echo", fussy)
            return await client.call("functions.echo", 1)

    assert asyncio.run(asynchronously()) == 1


def test_what_can_be_read_once_arrives_whole_beside_a_function(node: shm_protocol.Client) -> None:
    reader = TABLES["large"].to_reader()
    assert node.call("functions.echo", reader, lambda: None).equals(TABLES["large"])


def test_without_pyarrow_the_error_names_what_to_install(
    node: shm_protocol.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(shm_protocol.EncodeError, match=r"^tables.make: result: .* pip install pyarrow"):
        node.call("tables.make", 3)
    with pytest.raises(shm_protocol.EncodeError, match=r"^tables.each: result: .* pip install pyarrow"):
        list(node.stream("tables.each", 3))
    with pytest.raises(shm_protocol.EncodeError, match=r"^args\[0\]: a table .* pip install pyarrow"):
        node.call("functions.echo", Frame(None))
    assert node.call("functions.echo", 1) == 1


@pytest.fixture
def client() -> Iterator[tuple[Pair, shm_protocol.Connection]]:
    """Over shared memory, and no memory is kept."""
    with Pair("shm", {"SHM_POLYGLOT_POOL_BYTES": "0"}) as pair:
        settings = read_settings(pair.path, transport="shm")
        with dial(settings, role="client", exposed=Exposed(), name="tables") as connection:
            yield pair, connection


def test_a_large_table_is_a_view_of_lent_memory_until_it_is_collected(
    client: tuple[Pair, shm_protocol.Connection],
) -> None:
    pair, connection = client

    def lent_by_node() -> int:
        connection.call("functions.echo", 1)
        return int(connection.call("arrays.stats", "tables")["bytesLent"])

    def path() -> object:
        return connection.call("arrays.stats", "tables")["path"]

    # Node takes the second socket in a later turn of its event loop.
    pair.wait_until(lambda: path() == "memory", "the second socket is there")
    table = connection.call("tables.make", LARGE)
    assert connection.stats["buffers_borrowed"] == 1
    assert lent_by_node() >= table.nbytes
    column = table["x"]
    assert not column.chunk(0).buffers()[1].is_mutable
    del table
    assert lent_by_node() > 0
    del column
    gc.collect()
    pair.wait_until(lambda: lent_by_node() == 0, "the table is returned")
    connection.call("tables.numRows", TABLES["large"])
    assert connection.stats["buffers_lent"] == 1

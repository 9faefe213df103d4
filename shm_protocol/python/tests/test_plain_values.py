"""The quick way round msgpack: it must agree with msgpack, or decline."""

from __future__ import annotations

import gc
import math
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shm_protocol import EncodeError, ProtocolError, values
from shm_protocol._plain_values import DECLINED, PlainEncoder, decode_plain, fault_of_structure
from tagged import is_same, load, to_value

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=300)
)
KEYS = SCALARS.filter(lambda key: not isinstance(key, float) or not math.isnan(key))
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20), max_leaves=40
)
EDGES = [0, 31, 32, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


def by_msgpack(message: bytes) -> object:
    try:
        return msgpack.unpackb(message, timestamp=3, strict_map_key=False, ext_hook=lambda code, data: (code, data))
    except (ValueError, TypeError, OverflowError):
        return ProtocolError


@given(PLAIN)
def test_plain_values_are_packed_as_msgpack_packs_them_and_come_back(value: Any) -> None:
    packed = PlainEncoder().pack(value)
    assert packed == values.Packer().pack(value)
    assert is_same(decode_plain(packed), by_msgpack(packed))


@pytest.mark.parametrize("number", [*EDGES, *(-edge for edge in EDGES[:-2]), -(2**63), -32, -33, -129])
def test_an_int_at_the_edge_of_an_encoding_is_packed_as_msgpack_packs_it(number: int) -> None:
    packed = PlainEncoder().pack(number)
    assert packed == values.Packer().pack(number)
    assert is_same(decode_plain(packed), number)


@pytest.mark.parametrize("count", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
@pytest.mark.parametrize("make", ["a".__mul__, b"b".__mul__, [None].__mul__, lambda count: dict.fromkeys(range(count))])
def test_a_container_at_the_edge_of_an_encoding_is_packed_as_msgpack_packs_it(make: Any, count: int) -> None:
    value = make(count)
    packed = PlainEncoder().pack(value)
    assert packed == values.Packer().pack(value)
    assert is_same(decode_plain(packed), value)


@given(st.binary(max_size=60))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\xa2\xff\xff")
@example(b"\x81\x91\x01\x02")
@example(b"\x82\xa1a\x01\xa1a\x02")
def test_any_bytes_decode_as_msgpack_decodes_them_or_are_declined(message: bytes) -> None:
    value = decode_plain(message)
    assert value is DECLINED or is_same(value, by_msgpack(message))


@given(PLAIN, st.data())
def test_a_message_that_was_damaged_decodes_as_msgpack_decodes_it_or_is_declined(
    value: Any, data: st.DataObject
) -> None:
    message = bytearray(values.Packer().pack(value))
    message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode_plain(bytes(message))
    assert decoded is DECLINED or is_same(decoded, by_msgpack(bytes(message)))


@pytest.mark.parametrize("row", load("values.json"), ids=lambda row: row["name"])
def test_the_vectors_are_packed_and_decoded_so_or_declined(row: dict[str, Any]) -> None:
    decoded = decode_plain(bytes.fromhex(row["wire"]))
    assert decoded is DECLINED or is_same(decoded, to_value(row["value"]))
    if "python" in row["encode"]:
        packed = PlainEncoder().pack(to_value(row["value"]))
        assert packed is None or packed.hex() == row["wire"]


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [Word("a"), {1, 2}, object(), bytearray(b"a"), "\ud800", 2**64, -(2**63) - 1, {(1, 2): 3}, "a" * 300_000],
    ids=["subclass", "set", "object", "bytearray", "surrogate", "large int", "small int", "tuple as key", "large"],
)
def test_what_is_not_plain_is_declined_and_the_encoder_goes_on(value: object) -> None:
    encoder = PlainEncoder()
    assert encoder.pack(["before", value]) is None
    assert encoder.pack([1, "after"]) == values.Packer().pack([1, "after"])


def test_deep_nesting_and_a_list_that_contains_itself_are_declined() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert PlainEncoder().pack(endless) is None
    assert decode_plain(b"\x91" * 100 + b"\xc0") is DECLINED
    with pytest.raises(EncodeError):
        values.check((endless,), "value")


def test_keys_that_share_a_place_in_the_cache_stay_apart() -> None:
    keys = [f"{letter}{other}" for letter in "abcdefghijklmnop" for other in "abcdefghijklmnopqrstuvwxyzäöü"]
    for _ in range(2):
        for key in keys:
            assert decode_plain(values.Packer().pack({key: 1})) == {key: 1}


@given(st.binary(max_size=60))
@example(b"\xd4\x05")
@example(b"\xd8\x05" + bytes(16))
@example(b"\xc7\x03\x05abc")
@example(b"\xc9\x00\x00\x00\x01\x05")
@example(b"\xc1")
@example(b"\x92\xcc\x01\xd3" + bytes(8))
def test_no_fault_is_found_in_what_msgpack_takes_but_in_a_key(message: bytes) -> None:
    fault = fault_of_structure(message)
    assert fault in (None, "a map key that is no scalar") or by_msgpack(message) is ProtocolError


@given(PLAIN, st.data())
def test_a_message_that_is_cut_short_or_goes_on_has_a_fault(value: Any, data: st.DataObject) -> None:
    message = values.Packer().pack([value, msgpack.ExtType(1, b"abc"), msgpack.Timestamp(1, 2)])
    assert fault_of_structure(message) is None
    assert fault_of_structure(message[: data.draw(st.integers(0, len(message) - 1))]) is not None
    assert fault_of_structure(message + b"\xc0") is not None


def test_nested_containers_cannot_announce_more_than_the_message_holds() -> None:
    # An extension, so that it is not for decode_plain; then 200 lists, each of as many values as there are bytes.
    lists = b"\xdd\x00\x3f\x00\x00"
    message = b"\x92\xd4\x01\x00" + lists * 200 + bytes(0x400000 - 1000)
    assert decode_plain(message) is DECLINED
    with pytest.raises(ProtocolError, match="cut short"):
        values.decode(message)


def test_declining_keeps_nothing() -> None:
    encoder = PlainEncoder()
    value, message = [[{1}]], b"\x91\x91\xd4\x05\x00"

    def decline(times: int) -> int:
        for _ in range(times):
            assert encoder.pack(value) is None
            assert decode_plain(message) is DECLINED
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = decline(100)
        kept = decline(10_000) - before
    finally:
        tracemalloc.stop()
    assert kept < 10_000, "bytes, for 20,000 messages"

"""What may be sent, what arrives, and which value is blamed when it may not."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
import struct
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, NamedTuple

import msgpack
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import EncodeError, NdArray, ProtocolError, values
from shm_protocol.values.encoder import encode as plain_encode
from tagged import is_same


def encode(value: object) -> bytes:
    from shm_protocol import frames

    request = frames.encode_request(values.Encoder(), 1, "m", (value,), None)
    assert request.startswith(b"\x94\x00\x01\xa1m\x91")
    return request[6:]


def blame(value: object) -> str:
    with pytest.raises(EncodeError) as caught:
        encode(value)
    return str(caught.value)


def nest(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


text = st.text(st.characters(exclude_categories=["Cs"]))
ints = st.integers(-(2**63), 2**64 - 1)
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001
scalars = st.none() | st.booleans() | ints | st.floats() | text | st.binary()
keys = st.none() | ints.filter(lambda n: n not in (0, 1)) | text | st.binary() | st.booleans()
trees = st.recursive(
    scalars | moments, lambda inner: st.lists(inner) | st.dictionaries(text, inner) | st.dictionaries(keys, inner)
)


@given(trees)
def test_every_value_of_the_table_arrives_as_it_was_sent(value: object) -> None:
    assert is_same(values.decode(encode(value)), value)


@given(st.binary())
def test_any_bytes_decode_or_are_refused_with_a_protocol_error(data: bytes) -> None:
    try:
        values.decode(data)
    except ProtocolError:
        return


@given(st.binary().map(lambda data: bytes([0xC7, len(data) % 256, 1]) + data[:255]))
def test_any_bytes_of_an_array_extension_decode_or_are_refused(data: bytes) -> None:
    try:
        values.decode(data)
    except ProtocolError:
        return


@given(st.binary(), st.sampled_from(values.ARRAY_DTYPES))
def test_arrays_keep_their_type_their_shape_and_every_bit(data: bytes, dtype: str) -> None:
    item = numpy.dtype(dtype).itemsize
    array = numpy.frombuffer(data[: len(data) // item * item], dtype=dtype)
    assert is_same(values.decode(encode(array)), array)


@pytest.mark.parametrize("length", [31, 32, 255, 256, 65535, 65536])
def test_strings_and_bytes_are_written_in_the_shortest_form(length: int) -> None:
    heads = {31: b"\xbf", 32: b"\xd9\x20", 255: b"\xd9\xff", 256: b"\xda\x01\x00", 65535: b"\xda\xff\xff"}
    assert encode("a" * length) == heads.get(length, b"\xdb\x00\x01\x00\x00") + b"a" * length
    bins = {31: b"\xc4\x1f", 32: b"\xc4\x20", 255: b"\xc4\xff", 256: b"\xc5\x01\x00", 65535: b"\xc5\xff\xff"}
    assert encode(b"a" * length) == bins.get(length, b"\xc6\x00\x01\x00\x00") + b"a" * length


@pytest.mark.parametrize(
    ("length", "array", "of_map"),
    [
        (15, b"\x9f", b"\x8f"),
        (16, b"\xdc\x00\x10", b"\xde\x00\x10"),
        (65536, b"\xdd\x00\x01\x00\x00", b"\xdf\x00\x01\x00\x00"),
    ],
)
def test_arrays_and_maps_are_written_in_the_shortest_form(length: int, array: bytes, of_map: bytes) -> None:
    assert encode([None] * length) == array + b"\xc0" * length
    assert encode(dict.fromkeys(range(length))).startswith(of_map)


def test_a_tuple_a_subclass_and_a_view_are_sent_as_what_they_are_based_on() -> None:
    class Number(enum.IntEnum):
        ONE = 1

    class Word(str):
        __slots__ = ()

    class Point(NamedTuple):
        x: int
        y: int

    value = [
        (1, 2),
        Point(3, 4),
        Number.ONE,
        Word("w"),
        collections.OrderedDict(a=1),
        memoryview(b"b"),
        bytearray(b"c"),
    ]
    assert values.decode(encode(value)) == [[1, 2], [3, 4], 1, "w", {"a": 1}, b"b", b"c"]


class Colour(enum.Enum):
    RED = "red"
    MIXED = (1, 2)
    SAME = RED_AGAIN = Ellipsis


@dataclasses.dataclass
class Pixel:
    colour: Colour
    at: tuple[int, int]
    kind: ClassVar[str] = "left out"
    neighbours: list[Pixel] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Unset:
    x: int = dataclasses.field(init=False)


@pytest.mark.parametrize("encoded", [encode, lambda value: bytes(plain_encode(value, (), 100))], ids=["usual", "plain"])
def test_an_object_of_a_dataclass_is_sent_as_its_fields_and_a_member_of_an_enum_as_its_value(encoded: Any) -> None:
    pixel = Pixel(Colour.RED, (1, 2), [Pixel(Colour.MIXED, (3, 4))])
    inner = {"colour": [1, 2], "at": [3, 4], "neighbours": []}
    assert values.decode(encoded(pixel)) == {"colour": "red", "at": [1, 2], "neighbours": [inner]}


def test_what_cannot_be_sent_of_a_dataclass_or_an_enum_is_told_with_its_path() -> None:
    assert blame([Pixel(Colour.SAME, (1, 2))]) == "args[0][0].colour: an ellipsis cannot be encoded"
    assert blame(Unset()).startswith("args[0]: looking at it raised AttributeError: ")
    assert blame(Pixel) == "args[0]: a type cannot be encoded"


def test_a_numpy_float64_is_a_float_and_other_numpy_scalars_are_refused_with_advice() -> None:
    assert values.decode(encode(numpy.float64(1.5))) == 1.5
    assert "send value.item()" in blame(numpy.int64(3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"items": [1, 2, 3, {4}]}, "args[0].items[3]: a set cannot be encoded"),
        ({"a b": [object()]}, "args[0]['a b'][0]: an object cannot be encoded"),
        ({7: {b"k": object()}}, "args[0][7][b'k']: an object cannot be encoded"),
        ([[2**64]], "args[0][0][0]: an int of more than 64 bits"),
        ([-(2**63) - 1], "args[0][0]: an int of more than 64 bits"),
        ({"key": "a\ud800"}, "args[0].key: a str with a lone surrogate at index 1"),
        ({"a\ud800": 1}, "args[0]: key 'a\\ud800': a str with a lone surrogate at index 1"),
        ({(1, 2): 3}, "args[0]: a dict with a key that is a tuple cannot be encoded"),
        (
            {"x": {datetime(2026, 1, 1, tzinfo=UTC): 3}},
            "args[0].x: a dict with a key that is an object of class datetime.datetime",
        ),
        ({2**70: 3}, "args[0]: key 1180591620717411303424: an int of more than 64 bits"),
        ([datetime(2026, 1, 1)], "args[0][0]: a naive datetime"),  # noqa: DTZ001
        ([datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))], "args[0][0]: a datetime outside of the years"),
        ([datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-1)))], "args[0][0]: a datetime outside of"),
        ([msgpack.ExtType(5, b"x")], "args[0][0]: an object of class msgpack.ext.ExtType cannot be encoded"),
        ([msgpack.Timestamp(1)], "args[0][0]: an object of class msgpack.ext.Timestamp cannot be encoded"),
        ([memoryview(b"abcd")[::2]], "args[0][0]: a memoryview that is not C-contiguous"),
        ([numpy.array(["a"])], "args[0][0]: an array of dtype <U1"),
        ([numpy.array([1 + 2j])], "args[0][0]: an array of dtype complex128"),
        ([numpy.array([True])], "args[0][0]: an array of dtype bool"),
        ([numpy.zeros((1,) * 9)], "args[0][0]: an array of 9 dimensions"),
        ([numpy.ma.array([1])], "args[0][0]: a masked array"),
        ([i for i in range(3)].__iter__(), "args[0]: a list_iterator cannot be encoded"),  # noqa: C416
        (nest(501), "]: a value nested more than 500 deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_path_to_the_bad_value_is_named(value: object, message: str) -> None:
    assert message in blame(value)


def test_nesting_is_sent_to_500_and_taken_to_512() -> None:
    assert encode(nest(500)) == b"\x91" * 500 + b"\xc0"
    assert values.decode(b"\x91" * 512 + b"\xc0") is not None
    with pytest.raises(ProtocolError, match="nested more than 512 deep"):
        values.decode(b"\x91" * 513 + b"\xc0")


def test_a_date_as_a_key_of_a_map_is_no_message() -> None:
    with pytest.raises(ProtocolError, match="a map key that is not a scalar"):
        values.decode(b"\x81\xd6\xff\x00\x00\x00\x00\xc0")


def test_a_value_that_contains_itself_is_refused() -> None:
    looped: list[Any] = []
    looped += [looped, looped]
    assert "(or in itself)" in blame(looped)


def test_a_large_flat_list_with_one_bad_item_names_it() -> None:
    items: list[object] = [0] * 100_000
    items[77_777] = {1}
    assert blame(items).startswith("args[0][77777]: a set cannot be encoded")


def test_a_packer_can_be_used_again_after_a_refusal() -> None:
    from shm_protocol import frames

    encoder = values.Encoder()
    with pytest.raises(EncodeError):
        frames.encode_request(encoder, 1, "m", ([1, object()],), None)
    assert frames.encode_request(encoder, 1, "m", (7,), None) == b"\x94\x00\x01\xa1m\x91\x07"


def test_a_datetime_keeps_microseconds_and_arrives_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    arrived = values.decode(encode(moment))
    assert arrived == moment
    assert arrived.tzinfo is UTC


def test_an_array_of_any_order_is_sent_in_c_order_and_little_endian() -> None:
    fortran = numpy.asfortranarray(numpy.arange(6, dtype=">i4").reshape(2, 3))
    arrived = values.decode(encode(fortran))
    assert arrived.dtype == numpy.dtype("<i4")
    assert arrived.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_an_arrived_array_can_be_written_to() -> None:
    arrived = values.decode(encode(numpy.zeros(3)))
    arrived[0] = 1
    assert arrived.tolist() == [1, 0, 0]


def test_without_numpy_an_array_arrives_as_an_ndarray_of_ours_and_can_be_sent_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = encode(numpy.array([[1, 2], [3, 4]], dtype="int16"))
    monkeypatch.setitem(sys.modules, "numpy", None)
    arrived = values.decode(wire)
    assert arrived == NdArray("int16", (2, 2), struct.pack("<4h", 1, 2, 3, 4))
    assert repr(arrived) == "NdArray('int16', (2, 2), <8 bytes>)"
    assert encode(arrived) == wire


def test_an_ndarray_of_ours_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="takes another number of bytes than 3"):
        NdArray("int16", [2], b"abc")
    with pytest.raises(ValueError, match="must be one of int8"):
        NdArray("int7", [2], b"ab")
    with pytest.raises(ValueError, match="at most 8"):
        NdArray("int8", [1] * 9, b"a")
    assert NdArray("int8", [2**31, 2**31, 0], b"").shape == (2**31, 2**31, 0)
    with pytest.raises(ValueError, match=r"2\^63 - 1 bytes"):
        NdArray("int16", [2**31, 2**31, 0], b"")


def test_float_keys_and_nan_are_kept() -> None:
    arrived = values.decode(encode({1.5: math.nan, -0.0: None}))
    assert is_same(arrived, {1.5: math.nan, -0.0: None})

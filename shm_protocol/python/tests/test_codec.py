"""The compiled codec and the one in Python: the same bytes, the same values, the same refusals; and both as msgpack."""

from __future__ import annotations

import collections
import enum
import gc
import math
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import repeat
from typing import Any, NamedTuple

import msgpack
import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shm_protocol import EncodeError, MessageTooLarge, NdArray, ProtocolError, _codec, values
from shm_protocol.values import decoder, encoder
from tagged import is_same, load, to_value

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=300)
)
KEYS = SCALARS.filter(lambda key: not isinstance(key, float) or not math.isnan(key))
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20), max_leaves=40
)
EDGES = [0, 31, 32, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


class Word(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1
    MANY = 70_000


class Point(NamedTuple):
    x: int
    y: int


class Items(list[Any]):
    """Shows other items than it has, and another number of them."""

    def __iter__(self) -> Iterator[Any]:
        return iter(["shown"])

    def __len__(self) -> int:
        return 70_000


class Fields(dict[Any, Any]):
    """Hides what begins with an underscore."""

    def items(self) -> Any:
        return [pair for pair in super().items() if not str(pair[0]).startswith("_")]


UNUSUAL = st.one_of(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),  # noqa: DTZ001
    st.text().map(Word),
    st.sampled_from(Number),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(Point._make),
    st.binary(max_size=20).map(bytearray),
    st.binary(max_size=20).map(lambda data: memoryview(data)),
    st.lists(st.integers(0, 255), max_size=20).map(Items),
    st.dictionaries(st.sampled_from(["_a", "b", "c"]), st.booleans()).map(Fields),
    st.dictionaries(st.text().map(Word), st.none()).map(collections.OrderedDict),
    st.binary(max_size=40).map(lambda data: numpy.frombuffer(data, dtype="uint8")),
    st.integers(0, 30).map(lambda count: numpy.arange(count, dtype=">i4")[::2]),
    st.integers(0, 30).map(lambda count: NdArray("int16", [count], bytes(2 * count))),
    st.floats().map(numpy.float64),
)
BAD = st.sampled_from(
    [
        {1, 2},
        object(),
        "a\ud800",
        2**64,
        -(2**63) - 1,
        {(1, 2): 3},
        {2**70: 3},
        {"\ud800": 3},
        {Word("a\ud800"): 3},
        {datetime(2026, 1, 1, tzinfo=UTC): 3},
        datetime(2026, 1, 1),  # noqa: DTZ001
        numpy.int64(3),
        numpy.ma.array([1]),
        numpy.array(["a"]),
        numpy.zeros((1,) * 9),
        memoryview(b"abcd")[::2],
        msgpack.ExtType(5, b"x"),
        range(3),
        NdArray,
    ]
) | st.sampled_from([5000]).map(lambda digits: 10**digits)  # Python writes no number with so many
ANY = st.recursive(
    SCALARS | UNUSUAL | BAD,
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text() | KEYS, inner, max_size=10),
    max_leaves=30,
)


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it gives, or the error with its text."""
    try:
        return function(*arguments)
    except (EncodeError, MessageTooLarge, ProtocolError) as error:
        return type(error), str(error)


def packed(value: object) -> Any:
    """What both encoders make of it."""
    compiled = outcome(_codec.Encoder().pack, value)
    assert compiled == outcome(encoder.Encoder().pack, value)
    return compiled


def read(message: bytes) -> Any:
    """What both decoders make of it."""
    compiled = outcome(_codec.decode, message)
    assert is_same(compiled, outcome(decoder.decode, message))
    return compiled


def refused(message: bytes, why: str) -> Any:
    return ProtocolError, f"a message of {len(message)} bytes cannot be decoded: {why}"


def by_msgpack(message: bytes) -> Any:
    try:
        return msgpack.unpackb(message, timestamp=3, strict_map_key=False, ext_hook=lambda code, data: (code, data))
    except (ValueError, TypeError, OverflowError):
        return ProtocolError


@given(PLAIN)
def test_plain_values_are_packed_as_msgpack_packs_them_and_come_back(value: Any) -> None:
    message = packed(value)
    assert message == msgpack.packb(value)
    assert is_same(read(message), by_msgpack(message))


@settings(max_examples=300)
@given(ANY)
def test_both_encoders_write_the_same_bytes_or_blame_the_same_value_for_the_same_reason(value: Any) -> None:
    message = packed(value)
    if isinstance(message, bytes):
        read(message)


@pytest.mark.parametrize("number", [*EDGES, *(-edge for edge in EDGES[:-2]), -(2**63), -32, -33, -129])
def test_an_int_at_the_edge_of_an_encoding_is_packed_as_msgpack_packs_it(number: int) -> None:
    message = packed(number)
    assert message == msgpack.packb(number)
    assert is_same(read(message), number)


@pytest.mark.parametrize("count", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
@pytest.mark.parametrize("make", ["a".__mul__, b"b".__mul__, [None].__mul__, lambda count: dict.fromkeys(range(count))])
def test_a_container_at_the_edge_of_an_encoding_is_packed_as_msgpack_packs_it(make: Any, count: int) -> None:
    value = make(count)
    message = packed(value)
    assert message == msgpack.packb(value)
    assert is_same(read(message), value)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 12, 13, 16, 243, 244, 65_527, 65_528, 400_000])
def test_an_array_at_the_edge_of_an_encoding_is_packed_as_msgpack_packs_it(length: int) -> None:
    message = packed(numpy.arange(length, dtype="uint8"))
    code, data = by_msgpack(message)
    assert code == 1
    assert message == msgpack.packb(msgpack.ExtType(1, data))
    assert read(message).tolist() == [number % 256 for number in range(length)]


@given(st.binary(max_size=60))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\xc9\xff\xff\xff\xff\x01")
@example(b"\xa2\xff\xff")
@example(b"\x81\x91\x01\x02")
@example(b"\x82\xa1a\x01\xa1a\x02")
@example(b"\x82\xa1a\x01\xa1a\xc1")
@example(b"\x83\x01\xc0\xc3\xc2\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x01")
@example(b"\xca\x7f\xa0\x00\x01")
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\xd7\xff" + b"\xff" * 8)
@example(b"\xc7\x0c\xff" + b"\x00" * 4 + b"\x80" + b"\x00" * 7)
def test_both_decoders_make_the_same_of_any_bytes(message: bytes) -> None:
    value = read(message)
    if by_msgpack(message) is ProtocolError:
        assert value[0] is ProtocolError


@settings(max_examples=300)
@given(st.one_of(PLAIN, UNUSUAL), st.data())
def test_both_decoders_make_the_same_of_a_message_that_was_damaged(value: Any, data: st.DataObject) -> None:
    message = bytearray(packed([value, {"k": value}]))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decoded = read(bytes(message))
    expected = by_msgpack(bytes(message))
    if expected is ProtocolError:
        assert decoded[0] is ProtocolError


@given(PLAIN, st.data())
def test_a_message_that_is_cut_short_or_goes_on_is_refused(value: Any, data: st.DataObject) -> None:
    message = packed([value, numpy.zeros(3), datetime(2026, 1, 1, tzinfo=UTC)])
    for broken in (message[: data.draw(st.integers(0, len(message) - 1))], message + b"\xc0"):
        assert read(broken) == refused(broken, "it is cut short, or goes on after its value")


@pytest.mark.parametrize("row", load("values.json"), ids=lambda row: row["name"])
def test_the_vectors_are_packed_and_decoded_so(row: dict[str, Any]) -> None:
    assert is_same(read(bytes.fromhex(row["wire"])), to_value(row["value"]))
    if "python" in row["encode"]:
        assert packed(to_value(row["value"])).hex() == row["wire"]


@pytest.mark.parametrize("row", [row for row in load("bad.json") if row["of"] == "value"], ids=lambda row: row["name"])
def test_the_bad_vectors_are_refused_by_both(row: dict[str, Any]) -> None:
    assert read(bytes.fromhex(row["wire"]))[0] is ProtocolError


@pytest.mark.parametrize("depth", [0, 499, 500, 501, 511, 512, 513, 2_000])
def test_both_nest_as_deep_and_no_deeper(depth: int) -> None:
    for opening, level in ((b"\x91", lambda inner: [inner]), (b"\x81\xa0", lambda inner: {"": inner})):
        value: Any = None
        for _ in range(depth):
            value = level(value)
        message = packed(value)
        assert (message == opening * depth + b"\xc0") is (depth <= 500)
        assert (type(read(opening * depth + b"\xc0")) is tuple) is (depth > 512)


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless += [endless, endless]
    assert packed(endless)[1].endswith("a value nested more than 500 deep (or in itself) cannot be encoded")


class EndlessItems(dict[str, int]):
    def items(self) -> Any:
        return repeat(("again", 1))


def test_a_dict_whose_items_never_end_is_refused_and_not_sent_as_what_they_came_to() -> None:
    assert packed({"a": EndlessItems(x=1)}) == (
        EncodeError,
        "value.a: a dict whose items() gives more than 524288 cannot be encoded",
    )


AT_MOST = values.MAX_VALUES - 1


@pytest.mark.parametrize("make", [lambda count: [None] * count, lambda count: dict.fromkeys(range(count // 2)), Items])
def test_a_message_of_more_values_than_may_be_is_neither_sent_nor_taken(make: Callable[[int], Any]) -> None:
    assert isinstance(packed([None] * AT_MOST), bytes)
    for value in ([None] * (AT_MOST + 1), dict.fromkeys(range(AT_MOST // 2 + 1)), [[None] * 1024] * 1024):
        assert packed(value) == (
            MessageTooLarge,
            "the message has more than 1048576 values: send numbers as a NumPy array, or several messages",
        )
        message = msgpack.packb(value)
        assert read(message) == refused(message, "more than 1048576 values")


def test_a_list_whose_iteration_never_ends_is_refused() -> None:
    class Endless(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            while True:
                yield None

    assert packed([Endless()])[0] is MessageTooLarge


def test_an_encoder_goes_on_after_a_refusal() -> None:
    for encoding in (_codec.Encoder(), encoder.Encoder()):
        for bad in ({1, 2}, 2**64, "\ud800", [None] * 2**20):
            with pytest.raises((EncodeError, MessageTooLarge)):
                encoding.pack(["before", bad])
            assert encoding.pack([1, "after"]) == msgpack.packb([1, "after"])
            assert not encoding.busy


def test_keys_that_share_a_place_in_the_cache_stay_apart() -> None:
    keys = [f"{letter}{other}" for letter in "abcdefghijklmnop" for other in "abcdefghijklmnopqrstuvwxyzäöü"]
    for _ in range(2):
        for key in keys:
            assert read(packed({key: 1})) == {key: 1}


def test_nested_containers_cannot_announce_more_than_the_message_holds() -> None:
    # 200 lists, each of as many values as there are bytes.
    message = b"\xdd\x00\x3f\x00\x00" * 200 + bytes(0x400000 - 1000)
    tracemalloc.start()
    try:
        for decode in (_codec.decode, decoder.decode):
            assert outcome(decode, message)[0] is ProtocolError
        assert tracemalloc.get_traced_memory()[1] < 2**20, "bytes at most, before it is refused"
    finally:
        tracemalloc.stop()


def test_neither_refusing_nor_a_large_message_keeps_anything() -> None:
    encoding = _codec.Encoder()
    value, message = [[{1}]], b"\x91\x91\xd4\x05\x00"

    def refuse(times: int) -> int:
        for _ in range(times):
            assert outcome(encoding.pack, value)[0] is EncodeError
            assert outcome(_codec.decode, message)[0] is ProtocolError
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = refuse(100)
        kept = refuse(10_000) - before
    finally:
        tracemalloc.stop()
    assert kept < 10_000, "bytes, for 20,000 messages"


# User code that is run while its value is looked at.


class Foreign(BaseException):
    pass


class Zone(tzinfo):
    """Runs something, and then is an hour east."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run

    def utcoffset(self, _moment: datetime | None) -> Any:
        given = self.run()
        return given if given is not None else timedelta(hours=1)

    def dst(self, _moment: datetime | None) -> None:
        return None

    def tzname(self, _moment: datetime | None) -> None:
        return None


def moment(run: Callable[[], Any]) -> datetime:
    return datetime(2026, 1, 1, tzinfo=Zone(run))


def raising(error: BaseException) -> Callable[..., Any]:
    def hook(*_arguments: Any) -> Any:
        raise error

    return hook


def with_hooks(base: type, content: Any, hooks: dict[str, Any]) -> Any:
    return type("Hooked", (base,), hooks)(*content)


HOOKS = (
    "__iter__", "__len__", "__getitem__", "__eq__", "__ne__", "__contains__", "__repr__", "__str__", "__bool__",
    "__class__", "__getattribute__", "__sizeof__", "__index__", "__int__", "__float__", "__buffer__", "__bytes__",
    "__reduce__", "__array__", "__array_interface__", "__array_finalize__", "encode", "items", "keys", "values", "get",
    "copy", "isidentifier", "tobytes", "view", "astype", "utcoffset", "timestamp", "toordinal", "year", "hour",
    "tzinfo", "__sub__", "replace", "shape", "dtype", "data", "flags", "ndim", "item", "mask", "bit_length", "to_bytes",
)  # fmt: skip
BASES: list[tuple[type, Any]] = [
    (list, ([1, "a"],)),
    (tuple, ([1, "a"],)),
    (dict, ({"k": 1},)),
    (str, ("text",)),
    (bytes, (b"bytes",)),
    (bytearray, (b"bytes",)),
    (int, (7,)),
    (float, (1.5,)),
    (datetime, (2026, 1, 2, 3, 4, 5, 6, UTC)),
    (NdArray, ("int8", [2], b"ab")),
    (object, ()),
]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(BASES),
    st.dictionaries(
        st.sampled_from(HOOKS),
        st.sampled_from(
            [
                Foreign(), ValueError("m"), GeneratorExit(), SystemExit(), RecursionError(), None, 5, -1, "odd",
                b"odd", [1], [(1,)], {(1, 2): 3}, Word("odd"), "an iterator", int, timedelta(days=1),
            ]
        ),
        max_size=6,
    ),
    st.booleans(),
)  # fmt: skip
def test_a_value_whose_hooks_raise_or_give_something_odd_is_sent_whole_or_refused(
    base: tuple[type, Any], given_by: dict[str, Any], is_key: bool
) -> None:
    def hook(odd: Any) -> Any:
        def give(*_arguments: Any, **_named: Any) -> Any:
            if isinstance(odd, BaseException):
                raise odd
            # A new one each time: both encoders are to find the same.
            return iter([1]) if odd == "an iterator" else odd

        return give

    try:
        value = with_hooks(*base, {name: hook(odd) for name, odd in given_by.items()})
        value = {value: "after"} if is_key else ["before", value, "after"]
    except BaseException:
        return
    message = packed(value)
    if isinstance(message, bytes):
        arrived = read(message)
        assert type(arrived) is type(value)
        assert is_key or (arrived[0], arrived[2], len(arrived)) == ("before", "after", 3)
    else:
        assert message[0] is EncodeError
        assert message[1].startswith(("value: ", "value[1]"))


def test_ctrl_c_is_not_swallowed_where_a_value_is_looked_at() -> None:
    for encoding in (_codec.Encoder(), encoder.Encoder()):
        with pytest.raises(KeyboardInterrupt):
            encoding.pack([moment(raising(KeyboardInterrupt()))])
        assert encoding.pack(1) == b"\x01"


@pytest.mark.parametrize(
    "change",
    [
        list.clear, lambda items: items.append(1), lambda items: items.extend(range(10_000)), lambda items: items.pop(),
        lambda items: items.__setitem__(slice(None), [items] * 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_list_that_is_changed_while_it_is_encoded_is_sent_as_it_was_or_is_or_refused(
    change: Callable[[list[Any]], Any], at: int
) -> None:
    for encoding in (_codec.Encoder(), encoder.Encoder()):
        inner: list[Any] = [["x" * 100], ["y" * 100], ["z" * 100]]
        inner.insert(at, moment(lambda inner=inner: change(inner)))  # type: ignore[misc]
        try:
            message = encoding.pack([inner, "after"])
        except EncodeError:
            continue
        assert read(message)[1] == "after"


@pytest.mark.parametrize(
    "change",
    [
        dict.clear, lambda fields: fields.update({n: n for n in range(10_000)}), lambda fields: fields.popitem(),
        lambda fields: fields.update(new=fields.pop("b")), lambda fields: fields.update(b=None),
    ],
)  # fmt: skip
def test_a_dict_that_is_changed_while_it_is_encoded_is_sent_as_it_was_or_is_or_refused(
    change: Callable[[dict[Any, Any]], Any],
) -> None:
    for encoding in (_codec.Encoder(), encoder.Encoder()):
        fields: dict[Any, Any] = {"b": ["y" * 100], "c": ["z" * 100]}
        fields = {"a": moment(lambda: change(fields)), **fields}  # noqa: B023
        try:
            message = encoding.pack([fields, "after"])
        except EncodeError:
            continue
        assert read(message)[1] == "after"


def test_a_value_whose_code_encodes_another_value_with_the_same_encoder_is_sent_whole() -> None:
    for encoding in (_codec.Encoder(), encoder.Encoder()):
        inner: list[bytes] = []
        message = encoding.pack(["x" * 100, moment(lambda: inner.append(encoding.pack(["inner"]))), "after"])  # noqa: B023
        assert inner == [msgpack.packb(["inner"])]
        assert read(message)[::2] == ["x" * 100, "after"]


@given(
    st.datetimes(),
    st.timedeltas(timedelta(days=-1, microseconds=1), timedelta(days=1, microseconds=-1)),
    st.booleans(),
)
@example(datetime(1, 1, 1), timedelta(0), False)  # noqa: DTZ001
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999), timedelta(0), False)  # noqa: DTZ001
@example(datetime(1969, 12, 31, 23, 59, 59, 1), timedelta(microseconds=3), True)  # noqa: DTZ001
def test_every_aware_datetime_of_the_years_1_to_9999_arrives_exactly(
    naive: datetime, offset: timedelta, derived: bool
) -> None:
    aware = naive.replace(tzinfo=timezone(offset))
    value = aware
    if derived:
        kind = type("Moment", (datetime,), {"__sub__": raising(Foreign()), "utcoffset": raising(Foreign())})
        value = kind(*naive.timetuple()[:6], naive.microsecond, timezone(offset))
    message = packed(value)
    try:
        expected = aware.astimezone(UTC)
    except OverflowError:
        assert message[1].endswith("a datetime outside of the years 1 to 9999 cannot be encoded")
        return
    arrived = read(message)
    assert (arrived, arrived.tzinfo) == (expected, UTC)


@pytest.mark.parametrize("given_by", [timedelta(days=1), timedelta(days=-1), 5, "x", ValueError("m"), Foreign()])
def test_a_time_zone_that_gives_no_offset_is_blamed_by_the_path(given_by: Any) -> None:
    run = raising(given_by) if isinstance(given_by, BaseException) else lambda: given_by
    kind, text = packed({"at": moment(run)})
    assert kind is EncodeError
    assert text.startswith("value.at: looking at it raised ")


def test_a_view_that_was_released_and_a_reference_that_is_dead_are_blamed() -> None:
    import weakref

    released = memoryview(b"bytes")
    released.release()
    dead: Any = weakref.proxy(collections.Counter())
    assert "value[0]: looking at it raised ValueError" in packed([released])[1]
    assert "value[0]: an object of class weakref.ProxyType cannot be encoded" in packed([dead])[1]


def test_subclasses_of_numpy_arrays_are_sent_as_the_array_they_are() -> None:
    class Quantity(numpy.ndarray[Any, Any]):
        def __array_finalize__(self, other: Any) -> None:
            if other is not None:
                raise Foreign

        def tobytes(self, *_arguments: Any, **_named: Any) -> bytes:
            raise Foreign

    quantity = numpy.ndarray.__new__(Quantity, (2,), "int8", b"ab")
    assert read(packed(quantity)).tolist() == [97, 98]
    with pytest.warns(PendingDeprecationWarning):
        matrix = numpy.matrix([[1, 2]])
    assert read(packed(matrix)).tolist() == [[1, 2]]
    assert "an array of dtype" in packed(numpy.rec.fromrecords([(1, 2.0)]))[1]
    assert "a masked array" in packed(numpy.ma.masked_array([1]))[1]


def test_an_array_that_arrives_can_be_written_to_and_is_aligned() -> None:
    for decode in (_codec.decode, decoder.decode):
        for dtype in values.ARRAY_DTYPES:
            array = decode(packed(["x", numpy.arange(6, dtype=dtype).reshape(2, 3)]))[1]
            array[0, 0] = 7
            assert array.tolist() == [[7, 1, 2], [3, 4, 5]]
            assert array.flags.aligned

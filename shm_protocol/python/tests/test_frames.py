"""Encoding frames. Decoding them is tested with the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import EncodeError, ProtocolError, frames, values

packer = values.Packer()


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists))
def test_any_value_is_a_frame_or_a_protocol_error(value: object) -> None:
    try:
        frames.checked(value)
    except ProtocolError:
        return


@given(st.lists(st.integers(-1, 6) | st.text(max_size=3) | st.none() | st.lists(st.none(), max_size=1), max_size=6))
def test_any_small_array_is_a_frame_or_a_protocol_error(value: list[object]) -> None:
    try:
        frames.checked(value)
    except ProtocolError:
        return


def test_what_is_encoded_passes_the_check() -> None:
    error: dict[str, object] = {"code": "Busy", "message": "m"}
    for message, frame in (
        (frames.encode_request(packer, 1, "a.b", (1,), None), [0, 1, "a.b", [1]]),
        (frames.encode_request(packer, 1, "a.b", [], {"stream": 3}), [0, 1, "a.b", [], {"stream": 3}]),
        (frames.encode_response(packer, 1, None), [1, 1, None, None]),
        (frames.encode_error(packer, 1, error), [1, 1, error, None]),
        (frames.encode_notification(packer, "a.b", (), None), [2, "a.b", []]),
        (frames.encode_notification(packer, "a.b", (), {"chain": ["c"]}), [2, "a.b", [], {"chain": ["c"]}]),
        (frames.encode_cancel(packer, 9), [3, 9]),
        (frames.encode_item(packer, 9, "x"), [4, 9, "x"]),
        (frames.encode_credit(packer, 9, 32), [5, 9, 32]),
    ):
        assert frames.decode(message) == frame


def test_the_bad_argument_is_named_by_its_index() -> None:
    with pytest.raises(EncodeError, match=r"^args\[2\]: cannot encode a set"):
        frames.encode_request(packer, 1, "a.b", (1, "x", {1}), None)
    with pytest.raises(EncodeError, match=r"^args\[1\]: an int of 71 bits"):
        frames.encode_notification(packer, "a.b", (1, 2**70), None)


def test_a_bad_result_and_a_bad_item_are_named() -> None:
    with pytest.raises(EncodeError, match=r"^result\.items\[3\]: cannot encode a set"):
        frames.encode_response(packer, 1, {"items": [1, 2, 3, {4}]})
    with pytest.raises(EncodeError, match=r"^item\[0\]: a str with a lone surrogate"):
        frames.encode_item(packer, 1, ["\ud800"])
    with pytest.raises(EncodeError, match=r"^result: an int of 65 bits"):
        frames.encode_response(packer, 1, 2**64)


def test_data_of_an_error_that_cannot_be_encoded_is_left_out() -> None:
    for data in (object(), {(1, 2): 3}, 2**64):
        error: dict[str, object] = {"code": "RemoteError", "message": "m", "data": data}
        assert frames.decode(frames.encode_error(packer, 1, error))[2] == {**error, "data": None}


@pytest.mark.parametrize("method", ["", "ä" * 129, "x" * 257, b"a.b", None, 5, "a\ud800"])
def test_what_is_no_name_of_a_function_is_refused(method: str) -> None:
    with pytest.raises(EncodeError, match="^method: "):
        frames.encode_request(packer, 1, method, (), None)


def test_a_name_of_256_bytes_is_sent() -> None:
    assert frames.decode(frames.encode_request(packer, 1, "ä" * 128, (), None))[2] == "ä" * 128


def test_a_bad_traceparent_is_named() -> None:
    with pytest.raises(EncodeError, match=r"^meta\.traceparent: a str with a lone surrogate"):
        frames.encode_request(packer, 1, "a.b", (), {"traceparent": "\ud800"})


def test_a_type_nested_deep_is_refused_also_where_little_of_the_stack_is_left() -> None:
    def below(levels: int) -> object:
        return below(levels - 1) if levels > 0 else frames.decode(b"\x91" * 511 + b"\xc0")

    with pytest.raises(ProtocolError, match="a frame of unknown type"):
        below(600)

"""Encoding frames. Decoding them is tested with the vectors."""

from __future__ import annotations

from typing import Any

import pytest
from frame_sinks import Encoded, checked
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import ERRORS, EncodeError, ProtocolError, frames, values
from shm_protocol.errors import sendable

encoder = values.Encoder()


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists))
def test_any_value_is_a_frame_or_a_protocol_error(value: object) -> None:
    try:
        frames.read_frame(value, Encoded())
    except ProtocolError:
        return


@given(st.lists(st.integers(-1, 6) | st.text(max_size=3) | st.none() | st.lists(st.none(), max_size=1), max_size=6))
def test_any_small_array_is_a_frame_or_a_protocol_error(value: list[object]) -> None:
    try:
        frames.read_frame(value, Encoded())
    except ProtocolError:
        return


def test_what_is_encoded_passes_the_check() -> None:
    error: dict[str, object] = {"code": "Busy", "message": "m"}
    for message, frame in (
        (frames.encode_request(encoder, 1, "a.b", (1,), None), [0, 1, "a.b", [1]]),
        (frames.encode_request(encoder, 1, "a.b", [], {"stream": 3}), [0, 1, "a.b", [], {"stream": 3}]),
        (frames.encode_response(encoder, 1, None), [1, 1, None, None]),
        (frames.encode_error_response(encoder, 1, error, 2**26), [1, 1, error, None]),
        (frames.encode_notification(encoder, "a.b", (), None), [2, "a.b", []]),
        (frames.encode_notification(encoder, "a.b", (), {"chain": ["c"]}), [2, "a.b", [], {"chain": ["c"]}]),
        (frames.encode_cancel(encoder, 9), [3, 9]),
        (frames.encode_item(encoder, 9, "x"), [4, 9, "x"]),
        (frames.encode_credit(encoder, 9, 32), [5, 9, 32]),
    ):
        assert checked(message) == frame


def test_the_bad_argument_is_named_by_its_index() -> None:
    with pytest.raises(EncodeError, match=r"^args\[2\]: a set cannot be encoded"):
        frames.encode_request(encoder, 1, "a.b", (1, "x", {1}), None)
    with pytest.raises(EncodeError, match=r"^args\[1\]: an int of more than 64 bits"):
        frames.encode_notification(encoder, "a.b", (1, 2**70), None)


def test_a_bad_result_and_a_bad_item_are_named() -> None:
    with pytest.raises(EncodeError, match=r"^result\.items\[3\]: a set cannot be encoded"):
        frames.encode_response(encoder, 1, {"items": [1, 2, 3, {4}]})
    with pytest.raises(EncodeError, match=r"^item\[0\]: a str with a lone surrogate"):
        frames.encode_item(encoder, 1, ["\ud800"])
    with pytest.raises(EncodeError, match=r"^result: an int of more than 64 bits"):
        frames.encode_response(encoder, 1, 2**64)


def test_data_of_an_error_that_cannot_be_encoded_is_left_out() -> None:
    for data in (object(), {(1, 2): 3}, 2**64):
        error: dict[str, object] = {"code": "RemoteError", "message": "m", "data": data}
        assert checked(frames.encode_error_response(encoder, 1, error, 2**26))[2] == {**error, "data": None}


@pytest.mark.parametrize("method", ["", "ä" * 129, "x" * 257, b"a.b", None, 5, "a\ud800"])
def test_what_is_no_name_of_a_function_is_refused(method: str) -> None:
    with pytest.raises(EncodeError, match="^method: "):
        frames.encode_request(encoder, 1, method, (), None)


def test_a_name_of_256_bytes_is_sent() -> None:
    assert checked(frames.encode_request(encoder, 1, "ä" * 128, (), None))[2] == "ä" * 128


def test_a_bad_traceparent_is_named() -> None:
    with pytest.raises(EncodeError, match=r"^traceparent: a str with a lone surrogate"):
        frames.encode_request(encoder, 1, "a.b", (), {"traceparent": "\ud800"})


def test_a_type_nested_deep_is_refused_also_where_little_of_the_stack_is_left() -> None:
    def below(levels: int) -> object:
        return below(levels - 1) if levels > 0 else checked(b"\x91" * 511 + b"\xc0")

    with pytest.raises(ProtocolError, match="a frame of an unknown type"):
        below(600)


@pytest.mark.parametrize("within", [1, 2**53 - 1])
def test_a_request_names_the_one_it_was_made_within(within: int) -> None:
    frame = checked(frames.encode_request(encoder, 1, "a.b", (), {"within": within}))
    assert frame == [0, 1, "a.b", [], {"within": within}]


@pytest.mark.parametrize("within", [0, -1, 2**53, 1.0, True, "1", None, [1]])
def test_what_is_no_id_of_a_request_to_be_within_is_refused(within: object) -> None:
    for frame in ([0, 1, "a.b", [], {"within": within}], [2, "a.b", [], {"within": within}]):
        with pytest.raises(ProtocolError, match="a (request|notification) whose within is not an integer from 1 to"):
            frames.read_frame(frame, Encoded())


TEXTS = st.text() | st.sampled_from(["x" * 100_000, "€" * 1000, "𝄞" * 30_000, "a\ud800b"])


class Raises(dict[str, object]):
    """A map whose items cannot be had."""

    def items(self) -> Any:
        raise GeneratorExit


DATA = st.sampled_from([None, {"k": 1}, ["x" * 10_000], object(), {1, 2}, 2**64, Raises(a=1), "\ud800"])


@given(
    st.sampled_from(sorted(ERRORS)),
    TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    DATA,
    st.integers(45, 70) | st.integers(45, 1000) | st.integers(0, 2**20),
    st.integers(0, frames.MAX_ID),
)
def test_the_answer_of_a_call_that_failed_always_fits_with_as_much_as_can_be_told(
    code: str, message: str, name: str | None, stack: str | None, data: object, room: int, call_id: int
) -> None:
    room = max(room, 36 + len(code))
    error: dict[str, object] = {"code": code, "message": message, "data": data}
    error |= {key: text for key, text in (("type", name), ("stack", stack)) if text is not None}
    sent = frames.encode_error_response(encoder, call_id, error, room)
    assert len(sent) <= room
    kind, answered, told, result = checked(sent)
    assert (kind, answered, told["code"], result) == (1, call_id, code, None)
    for key in ("message", "type", "stack"):
        whole, arrived = sendable(error.get(key, "")), told.get(key, "")
        assert arrived == whole or whole.startswith(arrived.removesuffix("…"))
    # One thing after the other: what is more important is not cut where something less important is left.
    order = [told.get(key, "") == sendable(error.get(key, "")) for key in ("type", "message")]
    if told.get("stack"):
        assert all(order)
    if told["message"]:
        assert order[0]


def test_an_error_is_cut_to_the_last_byte_that_fits() -> None:
    error: dict[str, object] = {"code": "RemoteError", "message": "ä" * 1000, "type": "ValueError", "stack": "s" * 5000}
    for room in range(100, 3000, 7):
        # A key with less than a few bytes is left out.
        assert room - 13 <= len(frames.encode_error_response(encoder, 1, error, room)) <= room


def test_a_peer_that_takes_not_even_the_code_is_a_peer_that_breaks_the_protocol() -> None:
    for room in (0, 1, 30):
        with pytest.raises(ProtocolError, match=f"messages of {room} bytes, too few for an error"):
            frames.encode_error_response(encoder, 1, {"code": "RemoteError", "message": "m"}, room)

"""The quick way for calls: it must send what frames.py would, take the answer it waits for, and leave all else."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shm_protocol import ConnectionClosed, MessageTooLarge, PeerGone, frames, values
from shm_protocol._binding import Channel, segment_bytes
from shm_protocol._direct_calls import DirectCalls, Unfinished
from tagged import is_same
from test_codec import PLAIN

RING = 1 << 16
MAX_MESSAGE = 1 << 20
FOREVER_S = 3600.0
AT_ONCE_S = 1e-9
HANG_NS = 200 * 10**9
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
IDS = st.integers(1, frames.MAX_ID)

encoder = values.Encoder()


class Ends:
    """The calls of one side over shared memory, and the channel of the other."""

    def __init__(self, under_way: tuple[Any, ...] = (), stale_after_s: float = FOREVER_S) -> None:
        near, far = socket.socketpair()
        memory = os.memfd_create("segment")
        os.posix_fallocate(memory, 0, segment_bytes(RING))
        self.near = Channel(memory, near.fileno(), ring_capacity=RING, max_message=MAX_MESSAGE, spin_us=0)
        self.far = Channel(memory, far.fileno(), max_message=MAX_MESSAGE, spin_us=0)
        os.close(memory)
        near.close()
        far.close()
        self.calls = DirectCalls(self.near, values.Encoder(), under_way, stale_after_s)

    def call(self, call_id: int = 1, args: Any = (), *, answered_by: bytes | None = None) -> Any:
        """What comes of a call whose answer, if any, is there already."""
        if answered_by is not None:
            self.far.send(answered_by)
        return self.calls.call(call_id, "f", args, AT_ONCE_S if answered_by is None else 30.0, False)


@contextmanager
def ends(**options: Any) -> Iterator[Ends]:
    made = Ends(**options)
    try:
        yield made
    finally:
        made.near.close()
        made.far.close()


@given(IDS, NAMES, st.lists(PLAIN, max_size=4))
@example(1, "f" * 64, [])
@example(frames.MAX_ID, "é" * 64, [2**64 - 1, "x" * 1000])
def test_a_request_is_sent_as_frames_encodes_it(call_id: int, method: str, args: list[Any]) -> None:
    with ends() as both:
        unfinished = both.calls.call(call_id, method, tuple(args), AT_ONCE_S, False)
        assert unfinished.sent
        assert unfinished.message is None
        assert both.calls.sent == call_id
        assert both.far.try_receive() == frames.encode_request(encoder, call_id, method, args, None)


@pytest.mark.parametrize("timeout", [AT_ONCE_S, 0.25, 1])
def test_a_timeout_that_is_to_be_told_is_sent_in_milliseconds(timeout: float) -> None:
    with ends() as both:
        assert both.calls.call(7, "f", ("x",), timeout, True).sent
        expected = frames.encode_request(encoder, 7, "f", ("x",), {"deadline_ms": timeout * 1000.0})
        assert both.far.try_receive() == expected


@given(IDS, PLAIN)
@example(1, "x" * 1024)
@example(1, b"x" * 40_000)
@example(frames.MAX_ID, None)
def test_the_answer_is_the_result(call_id: int, result: Any) -> None:
    with ends() as both:
        message = frames.encode_response(encoder, call_id, result)
        assert is_same(both.call(call_id, answered_by=message), values.decode(message)[3])


def test_an_answer_of_which_a_part_has_come_is_left_to_the_long_way() -> None:
    with ends() as both:
        assert not both.far.send(frames.encode_response(encoder, 1, b"x" * 2 * RING))
        unfinished = both.call()
        assert both.far.sending
        assert unfinished.sent
        assert unfinished.message is None


@pytest.mark.parametrize("argument", ["x" * 5 * RING, ["é" * 1000] * 200])
def test_a_call_of_several_fragments_each_way_is_made_in_one_step(argument: Any) -> None:
    with ends() as both, ThreadPoolExecutor(1) as others:

        def answer() -> None:
            request = both.far.receive(HANG_NS)
            assert request is not None
            rest = values.decode(request)[3][0]
            both.far.send(frames.encode_response(encoder, 1, rest))
            while not both.far.flush():
                assert both.far.wait(HANG_NS)

        answered = others.submit(answer)
        assert both.calls.call(1, "f", (argument,), HANG_NS / 1e9, False) == argument
        answered.result()


REQUEST = frames.encode_request(encoder, 1, "g", (), None)
OTHERS = {
    "an error": frames.encode_error_response(encoder, 1, {"code": "Busy", "message": "full"}, 2**26),
    "the answer of another call": frames.encode_response(encoder, 2, "x"),
    "a request": REQUEST,
    "an item": frames.encode_item(encoder, 1, "x"),
    "a leave": frames.encode_leave(encoder),
    "an extension of unknown type": b"\x94\x01\x01\xc0\xd4\x05\x00",
    "a negative id": b"\x94\x01\xff\xc0\xc0",
    "an id that is a float": b"\x94\x01\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xc0\xc0",
    "an answer cut short": frames.encode_response(encoder, 1, "result")[:-1],
    "an answer with a rest": frames.encode_response(encoder, 1, "result") + b"\xc0",
    "no UTF-8": b"\x94\x01\x01\xc0\xa2\xff\xff",
    "nothing": b"",
    "more than fits into a short copy": b"\xc1" * 5000,
}


@pytest.mark.parametrize("message", OTHERS.values(), ids=OTHERS.keys())
def test_whatever_else_comes_is_handed_over_as_it_is(message: bytes) -> None:
    with ends() as both:
        unfinished = both.call(1, answered_by=message)
        assert type(unfinished) is Unfinished
        assert unfinished.sent
        assert unfinished.message == message


@given(st.binary(max_size=40), st.integers(0, 30), st.integers(0, 255))
def test_an_altered_answer_is_read_as_the_long_way_reads_it_or_handed_over(rest: bytes, at: int, byte: int) -> None:
    message = bytearray(b"\x94\x01\x07\xc0" + rest)
    message[at % len(message)] = byte
    with ends() as both:
        found = both.call(7, answered_by=bytes(message))
        if type(found) is Unfinished:
            assert found.message == bytes(message)
        else:
            frame = values.decode(bytes(message))
            assert frame[:3] == [1, 7, None]
            assert is_same(found, frame[3])


NOT_TAKEN: dict[str, tuple[Any, Any, Any]] = {
    "an argument that cannot be encoded": ("f", ({1, 2},), 1.0),
    "an argument that cannot be sent": ("f", ({1, 2},), 1.0),
    "an int of more than 64 bits": ("f", (2**64,), 1.0),
    "a lone surrogate": ("f", ("\ud800",), 1.0),
    "a list of arguments": ("f", [], 1.0),
    "an empty name": ("", (), 1.0),
    "a long name": ("f" * 65, (), 1.0),
    "no name": (None, (), 1.0),
    "no timeout": ("f", (), None),
    "a timeout of 0": ("f", (), 0),
    "a negative timeout": ("f", (), -1.0),
    "a timeout that is no number": ("f", (), "1"),
    "a timeout that is NaN": ("f", (), math.nan),
    "an infinite timeout": ("f", (), math.inf),
    "a timeout of more than a day": ("f", (), 86401),
    "a timeout that no float holds": ("f", (), 10**400),
}


@pytest.mark.parametrize(("method", "args", "timeout"), NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_what_is_not_usual_is_left_to_the_long_way_and_nothing_is_sent(method: Any, args: Any, timeout: Any) -> None:
    with ends() as both:
        unfinished = both.calls.call(1, method, args, timeout, True)
        assert type(unfinished) is Unfinished
        assert not unfinished.sent
        assert both.calls.sent == 0
        assert both.far.try_receive() is None


def test_nothing_is_sent_while_something_else_is_under_way() -> None:
    queue: list[str] = []
    with ends(under_way=({}, queue)) as both:
        queue.append("a request")
        assert not both.call().sent
        queue.clear()
        assert both.call().sent


def test_on_a_connection_that_has_been_idle_it_is_looked_first_whether_the_peer_is_there() -> None:
    for stale_after_s in (0, FOREVER_S):
        with ends(stale_after_s=stale_after_s) as both:
            assert both.call().sent
            both.far.close()
            if stale_after_s == 0:
                assert not both.call(2).sent
            else:
                with pytest.raises(PeerGone):
                    both.call(2)
            assert both.calls.sent == (1 if stale_after_s == 0 else 2)


def test_a_request_that_finds_the_ring_full_is_kept_and_goes_on_with_flush() -> None:
    with ends() as both:
        fillers = [b"x" * 1000] * (RING // 1008)
        assert all(both.near.send(filler) for filler in fillers)
        assert both.call(1, ("y" * 100,)).sent
        assert both.calls.sent == 1
        assert both.near.sending
        with pytest.raises(ValueError, match="partly sent"):
            both.call(2)
        assert [both.far.try_receive() for _ in fillers] == fillers
        assert both.near.flush()
        assert both.far.try_receive() == frames.encode_request(encoder, 1, "f", ("y" * 100,), None)


def test_a_request_too_large_is_refused_and_counts_as_not_sent() -> None:
    with ends() as both:
        both.near.max_message = 100
        with pytest.raises(MessageTooLarge, match="max_message is 100"):
            both.call(1, ("x" * 200,))
        assert both.calls.sent == 0
        assert both.call(2, ("x",)).sent


def test_a_peer_that_goes_while_a_call_waits_is_gone() -> None:
    with ends() as both:
        both.far.close()
        with pytest.raises(PeerGone):
            both.calls.call(1, "f", (), 30.0, False)
        both.near.close("over")
        with pytest.raises(ConnectionClosed, match="over"):
            both.call()


@given(IDS, PLAIN)
def test_an_answer_is_sent_as_frames_encodes_it(request_id: int, result: Any) -> None:
    with ends() as both:
        assert both.calls.answer(request_id, result) is True
        assert both.far.try_receive() == frames.encode_response(encoder, request_id, result)


@pytest.mark.parametrize("result", [{1, 2}, 2**64, "\ud800", [None] * 2**20])
def test_an_answer_that_cannot_be_encoded_is_left_to_the_long_way(result: Any) -> None:
    with ends() as both:
        assert both.calls.answer(1, result) is None
        assert both.far.try_receive() is None

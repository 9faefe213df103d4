"""The rules of a connection, with two sessions and the messages between them in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import (
    Busy,
    CallTimeout,
    CallTooDeep,
    EncodeError,
    PeerGone,
    ProtocolError,
    RemoteError,
    frames,
    values,
)
from shm_protocol.calls import PendingCall, ServedCall
from shm_protocol.nesting import make_meta
from shm_protocol.options import DEFAULT_TIMEOUT_S
from shm_protocol.session import MAX_OUTSTANDING, MAX_QUEUED, Session


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Pair:
    """A caller and a callee."""

    def __init__(self, max_message: int = 2**26) -> None:
        self.clock = Clock()
        self.caller = Session(max_message, self.clock)
        self.callee = Session(max_message, self.clock)

    def call(self, method: str, *args: Any, meta: dict[str, Any] | None = None) -> PendingCall:
        """A call that has been sent and received."""
        call_id, message = self.caller.start(method, args, meta)
        call = self.caller.track(call_id, method, (meta or {}).get("stream", 0))
        self.callee.receive(message)
        return call

    def take(self) -> ServedCall:
        """The next request of the callee."""
        request = self.callee.take()
        assert request is not None
        return request

    def deliver_replies(self) -> None:
        """What the callee's session answers itself."""
        while self.callee.replies:
            self.caller.receive(self.callee.replies.popleft())


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_call_is_answered(pair: Pair) -> None:
    call = pair.call("m.f", 1, "x")
    request = pair.take()
    assert (request.id, request.method, request.args) == (1, "m.f", [1, "x"])
    pair.caller.receive(pair.callee.answer(request, "result"))
    assert (call.done, call.error, call.result) == (True, None, "result")
    assert not pair.caller.pending
    assert not pair.callee.incoming


def test_ids_count_from_one_and_are_never_used_again(pair: Pair) -> None:
    ids = [pair.call("f").id for _ in range(3)]
    pair.caller.forget(3)
    assert [*ids, pair.call("f").id] == [1, 2, 3, 4]


def test_an_argument_that_cannot_be_encoded_uses_no_id(pair: Pair) -> None:
    with pytest.raises(Exception, match="a set cannot be encoded"):
        pair.caller.start("f", ({1},), None)
    assert pair.call("f").id == 1


def test_requests_are_started_in_the_order_sent(pair: Pair) -> None:
    for i in range(5):
        pair.call("f", i)
    assert [pair.take().args for _ in range(5)] == [[0], [1], [2], [3], [4]]
    assert pair.callee.take() is None


@given(st.permutations(range(6)))
def test_answers_reach_their_calls_in_any_order(order: list[int]) -> None:
    pair = Pair()
    calls = [pair.call("f", i) for i in range(6)]
    requests = [pair.take() for _ in calls]
    for i in order:
        pair.caller.receive(pair.callee.answer(requests[i], i * i))
    assert [call.result for call in calls] == [i * i for i in range(6)]


def test_both_sides_count_their_ids_independently(pair: Pair) -> None:
    pair.call("f")
    call_id, message = pair.callee.start("g", (), None)
    back = pair.callee.track(call_id, "g")
    pair.caller.receive(message)
    request = pair.caller.take()
    assert request is not None
    assert (call_id, request.id) == (1, 1)
    pair.callee.receive(pair.caller.answer(request, "back"))
    assert back.result == "back"
    assert 1 in pair.caller.pending


def test_a_raised_exception_arrives_as_a_remote_error(pair: Pair) -> None:
    call = pair.call("f")
    pair.caller.receive(pair.callee.fail(pair.take(), ValueError("bad")))
    assert isinstance(call.error, RemoteError)
    assert (call.error.type, call.error.message) == ("ValueError", "bad")


def test_a_late_answer_is_dropped_and_counted_and_never_given_to_the_next_call(pair: Pair) -> None:
    first = pair.call("f")
    request = pair.take()
    pair.caller.forget(first.id)
    second = pair.call("f")
    pair.caller.receive(pair.callee.answer(request, "late"))
    assert pair.caller.late_answers == 1
    assert not first.done
    assert not second.done


def test_a_late_item_is_dropped_and_counted(pair: Pair) -> None:
    call = pair.call("f", meta={"stream": 2})
    pair.caller.forget(call.id)
    pair.caller.receive(frames.encode_item(pair.callee.encoder, call.id, "late"))
    assert pair.caller.late_answers == 1


@pytest.mark.parametrize("call_id", [0, 2, 99])
def test_an_answer_to_an_id_that_was_never_used_breaks_the_protocol(pair: Pair, call_id: int) -> None:
    pair.call("f")
    for message in (
        frames.encode_response(pair.callee.encoder, call_id, None),
        frames.encode_item(pair.callee.encoder, call_id, None),
    ):
        with pytest.raises(ProtocolError, match=f"for call {call_id}, which was never made"):
            pair.caller.receive(message)


@pytest.mark.parametrize("call_id", [0, 2])
def test_a_cancel_or_a_credit_for_an_id_that_was_never_used_breaks_the_protocol(pair: Pair, call_id: int) -> None:
    pair.call("f")
    for message in (
        frames.encode_cancel(pair.caller.encoder, call_id),
        frames.encode_credit(pair.caller.encoder, call_id, 1),
    ):
        with pytest.raises(ProtocolError, match=f"for call {call_id}, which was never made"):
            pair.callee.receive(message)


def test_a_request_that_uses_an_id_again_breaks_the_protocol(pair: Pair) -> None:
    message = frames.encode_request(pair.caller.encoder, 5, "f", (), None)
    pair.callee.receive(message)
    for call_id in (5, 4, 0):
        with pytest.raises(ProtocolError, match=f"with id {call_id} after one with id 5"):
            pair.callee.receive(frames.encode_request(pair.caller.encoder, call_id, "f", (), None))


def test_the_caller_refuses_more_calls_than_may_be_outstanding(pair: Pair) -> None:
    for _ in range(MAX_OUTSTANDING):
        pair.call("f")
    with pytest.raises(Busy, match="1024 calls to the peer are outstanding"):
        pair.caller.start("f", (), None)
    pair.caller.receive(pair.callee.answer(pair.take(), None))
    pair.call("f")


def test_the_callee_answers_busy_past_the_limit(pair: Pair) -> None:
    for _ in range(MAX_OUTSTANDING):
        pair.call("f")
    pair.caller.pending.popitem()
    call = pair.call("f")
    pair.deliver_replies()
    assert isinstance(call.error, Busy)
    assert len(pair.callee.queue) == MAX_OUTSTANDING


def test_a_peer_that_floods_in_spite_of_busy_breaks_the_protocol(pair: Pair) -> None:
    message_of = pair.caller.encoder.pack
    with pytest.raises(ProtocolError, match="past the limit of outstanding calls"):
        for call_id in range(1, 3 * MAX_OUTSTANDING):
            pair.callee.receive(message_of([0, call_id, "f", []]))
    assert len(pair.callee.queue) == MAX_OUTSTANDING
    assert len(pair.callee.replies) == MAX_OUTSTANDING


def test_a_peer_that_calls_and_cancels_cannot_make_the_queue_as_long_as_it_likes(pair: Pair) -> None:
    with pytest.raises(ProtocolError, match="past the limit of outstanding calls"):
        for _ in range(10_000):
            call = pair.call("f")
            pair.callee.receive(frames.encode_cancel(pair.caller.encoder, call.id))
            pair.caller.pending.clear()
    assert len(pair.callee.queue) == MAX_QUEUED
    assert not pair.callee.incoming


def test_the_bytes_that_may_be_queued_are_bounded() -> None:
    pair = Pair(max_message=1000)
    calls = [pair.call("f", b"x" * 400) for _ in range(3)]
    pair.deliver_replies()
    assert [type(call.error) for call in calls] == [type(None), type(None), Busy]
    pair.take()
    assert pair.call("f", b"x" * 400).error is None


def test_notifications_past_the_limit_are_dropped_and_counted(pair: Pair) -> None:
    message = frames.encode_notification(pair.caller.encoder, "f", (), None)
    for _ in range(MAX_OUTSTANDING + 3):
        pair.callee.receive(message)
    assert pair.callee.dropped_notifications == 3


def test_a_notification_is_queued_and_gets_no_answer(pair: Pair) -> None:
    pair.callee.receive(frames.encode_notification(pair.caller.encoder, "f", (1,), {"traceparent": "t"}))
    request = pair.take()
    assert (request.id, request.args, request.traceparent) == (0, [1], "t")
    assert not pair.callee.incoming


def test_a_request_whose_deadline_passed_in_the_queue_is_not_started(pair: Pair) -> None:
    late = pair.call("late", meta={"deadline_ms": 500})
    pair.call("in.time", meta={"deadline_ms": 5000})
    pair.clock.now += 0.5
    assert pair.take().method == "in.time"
    pair.deliver_replies()
    assert late.error is not None
    assert late.error.code == "CallTimeout"


def test_a_thousand_expired_requests_do_not_exhaust_the_stack(pair: Pair) -> None:
    for _ in range(MAX_OUTSTANDING):
        pair.call("late", meta={"deadline_ms": 1})
    pair.clock.now += 1
    assert pair.callee.take() is None
    assert len(pair.callee.replies) == MAX_OUTSTANDING


def test_a_chain_of_32_is_answered_with_its_names(pair: Pair) -> None:
    allowed = pair.call("last", meta={"chain": ["m"] * 31})
    refused = pair.call("last", meta={"chain": [f"m{i}" for i in range(32)]})
    assert pair.take().id == allowed.id
    assert pair.callee.take() is None
    pair.deliver_replies()
    assert isinstance(refused.error, CallTooDeep)
    assert "more than 32 nested calls: m0 -> m1 -> " in str(refused.error)
    assert str(refused.error).endswith("m31 -> last")


def test_while_a_call_waits_only_those_made_for_it_or_for_one_around_it_are_taken(pair: Pair) -> None:
    pair.callee.waiting.extend([3, 5])
    pair.callee.last_id = 5
    for method, within in (("root", 0), ("of the outer", 3), ("of another", 4), ("of the inner", 5)):
        pair.call(method, meta={"within": within, "chain": ["a"]} if within else None)
    assert [pair.take().method for _ in range(2)] == ["of the outer", "of the inner"]
    assert not pair.callee.has_work()
    assert pair.callee.take() is None
    pair.callee.waiting.clear()
    assert pair.callee.has_work()
    assert [pair.take().method for _ in range(2)] == ["root", "of another"]


def test_a_stream_sends_no_item_inside_of_a_call_that_it_has_nothing_to_do_with(pair: Pair) -> None:
    start_stream(pair, 2, itertools.count())
    pair.callee.waiting.append(1)
    assert not pair.callee.has_work()
    assert pair.callee.next_stream() is None
    pair.callee.waiting.pop()
    assert pump(pair) == 2


def test_a_request_whose_deadline_passes_while_another_call_waits_is_answered_then(pair: Pair) -> None:
    calls = [pair.call("f", i, meta={"deadline_ms": 100 * i} if i else None) for i in range(4)]
    pair.callee.waiting.append(1)
    pair.clock.now += 0.2
    assert pair.callee.next_expiry <= pair.clock.now
    pair.callee.expire()
    pair.deliver_replies()
    assert [type(call.error) for call in calls] == [type(None), CallTimeout, CallTimeout, type(None)]
    assert pair.callee.next_expiry == pytest.approx(pair.clock.now + 0.1)
    pair.callee.waiting.pop()
    assert [pair.take().args for _ in range(2)] == [[0], [3]]
    assert pair.callee.queued_bytes == 0


def test_a_client_refuses_what_none_of_its_calls_waits_for_and_says_why() -> None:
    pair = Pair()
    client, node = Session(2**26, pair.clock, unrelated="refused"), pair.callee
    client.last_id += 1
    outer, _ = client.start("outer", (), None)
    client.track(outer, "outer")
    calls = []
    for meta in (None, {"within": 1}, {"within": outer}):
        call_id, message = node.start("f", (), meta)
        calls.append(node.track(call_id, "f"))
        client.receive(message)
    client.receive(frames.encode_notification(node.encoder, "f", (), None))
    while client.replies:
        node.receive(client.replies.popleft())
    assert [type(call.error) for call in calls] == [Busy, Busy, type(None)]
    assert "this side is a client, which serves calls only while" in str(calls[0].error)
    assert client.dropped_notifications == 1


@pytest.mark.parametrize("within", ["1", -1, 0, 1.0, True, 1])
def test_a_within_that_is_no_id_of_a_call_breaks_the_protocol(pair: Pair, within: object) -> None:
    with pytest.raises(ProtocolError, match="within"):
        pair.call("f", meta={"within": within})


def test_a_call_is_bounded_by_the_request_it_is_made_for() -> None:
    def left(request: ServedCall, now: float) -> tuple[dict[str, Any], float]:
        return make_meta(request, "g", 1000.0, None, clock=lambda: now)

    told, untold, stream = (ServedCall(i, "f", [], 0) for i in (1, 2, 3))
    told.deadline = told.nested_until = 105.0
    assert left(told, 100.0) == ({"chain": ["f"], "within": 1, "deadline_ms": 5000.0}, 5.0)
    with pytest.raises(CallTimeout, match="the deadline of f, which calls it, has passed"):
        left(told, 105.0)
    # Nobody said how long: from its first call on it may go on as long as a call does.
    assert left(untold, 100.0)[1] == DEFAULT_TIMEOUT_S
    assert left(untold, 110.0)[1] == DEFAULT_TIMEOUT_S - 10
    with pytest.raises(CallTimeout, match="f, called without a deadline, has made calls for 30 s"):
        left(untold, 130.0)
    # A stream may be read for as long as its caller likes.
    stream.wants_stream = True
    assert left(stream, 1e6)[1] == 1000.0


def test_a_first_call_that_nobody_limited_tells_no_limit_at_whatever_time_it_is_made() -> None:
    # 995.1 + 30 - 995.1 is less than 30, because there is a power of two between them.
    times = [995.1, 1000.0, 2020.2]
    assert min(now + DEFAULT_TIMEOUT_S - now for now in times) < DEFAULT_TIMEOUT_S
    for now in times:
        clock = Clock()
        clock.now = now
        made = make_meta(ServedCall(1, "f", [], 0), "g", DEFAULT_TIMEOUT_S, None, clock=clock)
        assert made == ({"chain": ["f"], "within": 1}, DEFAULT_TIMEOUT_S)


def test_a_cancelled_request_is_never_started(pair: Pair) -> None:
    call = pair.call("cancelled", "x" * 1000)
    pair.call("next")
    pair.callee.receive(pair.caller.forget(call.id))
    assert pair.take().method == "next"
    assert list(pair.callee.incoming) == [2]
    assert pair.callee.queued_bytes == 0


def test_a_cancel_of_a_running_request_is_noted(pair: Pair) -> None:
    call = pair.call("f")
    request = pair.take()
    pair.callee.receive(pair.caller.forget(call.id))
    assert request.cancelled


def test_a_cancel_after_the_answer_is_ignored(pair: Pair) -> None:
    call = pair.call("f")
    pair.callee.answer(pair.take(), None)
    pair.callee.receive(pair.caller.forget(call.id))


def test_an_answer_of_the_library_is_shortened_to_what_the_peer_takes(pair: Pair) -> None:
    small = Pair(max_message=300)
    call = small.call("m", meta={"chain": ["m" * 256] * 32})
    assert small.callee.take() is None
    small.deliver_replies()
    assert isinstance(call.error, CallTooDeep)
    tiny = Pair(max_message=10)
    tiny.call("m", meta={"chain": ["m"] * 32})
    with pytest.raises(ProtocolError, match="too few for an error"):
        tiny.callee.take()


# Streams.


def start_stream(pair: Pair, credit: int, source: Iterator[Any]) -> tuple[PendingCall, ServedCall]:
    call = pair.call("s", meta={"stream": credit})
    request = pair.take()
    assert request.wants_stream
    pair.callee.flow(request, source)
    return call, request


def pump(pair: Pair) -> int:
    """Let the callee send items while it has credit. Returns how many."""
    for sent in itertools.count():
        request = pair.callee.next_stream()
        if request is None:
            return sent
        assert request.iterator is not None
        pair.caller.receive(pair.callee.continue_stream(request, next(request.iterator)))
    raise AssertionError


def test_a_stream_is_sent_as_far_as_its_credit_and_goes_on_with_more(pair: Pair) -> None:
    call, _ = start_stream(pair, 3, itertools.count())
    assert pump(pair) == 3
    pair.callee.receive(pair.caller.grant(call, 2))
    assert pump(pair) == 2
    assert call.items is not None
    assert list(call.items) == [0, 1, 2, 3, 4]
    assert call.credit == 0


def test_streams_take_turns(pair: Pair) -> None:
    first, _ = start_stream(pair, 2, itertools.count())
    second, _ = start_stream(pair, 2, itertools.count())
    order = []
    while (request := pair.callee.next_stream()) is not None:
        order.append(request.id)
        pair.callee.continue_stream(request, None)
    assert order == [first.id, second.id, first.id, second.id]


def test_a_stream_is_closed_by_a_response(pair: Pair) -> None:
    call, request = start_stream(pair, 3, iter([1]))
    assert pair.callee.next_stream() is request
    pair.caller.receive(pair.callee.continue_stream(request, 1))
    pair.caller.receive(pair.callee.answer(request, None))
    assert call.done
    assert list(call.items or ()) == [1]


def test_an_item_without_credit_breaks_the_protocol(pair: Pair) -> None:
    call, _ = start_stream(pair, 1, itertools.count())
    pump(pair)
    with pytest.raises(ProtocolError, match="which has no credit left"):
        pair.caller.receive(frames.encode_item(pair.callee.encoder, call.id, 2))


def test_an_item_for_a_call_that_wants_no_stream_breaks_the_protocol(pair: Pair) -> None:
    call = pair.call("f")
    with pytest.raises(ProtocolError, match="which is not a stream"):
        pair.caller.receive(frames.encode_item(pair.callee.encoder, call.id, 2))


def test_more_credit_than_the_limit_breaks_the_protocol(pair: Pair) -> None:
    call, request = start_stream(pair, frames.MAX_CREDIT, itertools.count())
    with pytest.raises(ProtocolError, match="credit of 65537 items for the stream"):
        pair.callee.receive(pair.caller.grant(call, 1))
    assert request.credit > 0


def test_a_credit_that_comes_before_the_stream_has_begun_counts(pair: Pair) -> None:
    call = pair.call("s", meta={"stream": 1})
    pair.callee.receive(pair.caller.grant(call, 1))
    pair.callee.flow(pair.take(), itertools.count())
    assert pump(pair) == 2


def test_a_cancelled_stream_gets_one_more_turn_to_be_closed(pair: Pair) -> None:
    call, request = start_stream(pair, 1, itertools.count())
    pump(pair)
    pair.callee.receive(pair.caller.forget(call.id))
    assert pair.callee.next_stream() is request
    assert request.cancelled
    pair.callee.finish(request)
    assert pair.callee.next_stream() is None
    assert not pair.callee.incoming


def test_a_stream_that_runs_is_not_offered_again_meanwhile(pair: Pair) -> None:
    call, request = start_stream(pair, 1, itertools.count())
    assert pair.callee.next_stream() is request
    pair.callee.receive(pair.caller.grant(call, 5))
    assert pair.callee.next_stream() is None
    pair.callee.continue_stream(request, 0)
    assert pair.callee.next_stream() is request


def test_a_credit_or_cancel_of_a_stream_that_has_ended_is_ignored(pair: Pair) -> None:
    call, request = start_stream(pair, 1, iter(()))
    pair.callee.answer(request, None)
    pair.callee.receive(pair.caller.grant(call, 1))
    pair.callee.receive(pair.caller.forget(call.id))
    pump(pair)


# The end.


def test_a_leave_is_answered_with_one_and_a_second_breaks_the_protocol(pair: Pair) -> None:
    leave = pair.caller.leave()
    pair.callee.receive(leave)
    assert list(pair.callee.replies) == [leave]
    pair.deliver_replies()
    assert pair.caller.peer_leaves
    # It was the answer: it is not answered again.
    assert not pair.caller.replies
    with pytest.raises(ProtocolError, match="second leave"):
        pair.callee.receive(leave)


def test_at_the_end_every_call_fails_and_streams_are_returned_to_be_closed(pair: Pair) -> None:
    _, request = start_stream(pair, 1, itertools.count())
    calls = [pair.call("f"), pair.call("g")]
    pair.caller.end(PeerGone("gone"))
    assert [str(call.error) for call in calls] == ["f: gone", "g: gone"]
    assert all(call.done and isinstance(call.error, PeerGone) for call in calls)
    assert pair.callee.end(PeerGone("gone")) == [request]
    assert not pair.callee.queue


def test_what_an_older_peer_does_not_know_is_refused_with_both_versions() -> None:
    Session(2**20, peer_minor=2).require_minor(2, "m.f", "keyword arguments")
    with pytest.raises(EncodeError, match=r"^m\.f: keyword arguments need protocol 1\.2, the peer speaks 1\.1$"):
        Session(2**20, peer_minor=1).require_minor(2, "m.f", "keyword arguments")


@given(st.lists(st.binary(max_size=20)))
def test_any_messages_are_taken_or_break_the_protocol(messages: list[bytes]) -> None:
    session = Session(2**20)
    for message in messages:
        try:
            session.receive(message)
        except ProtocolError:
            return


small = st.integers(-1, 4) | st.none() | st.text(max_size=2)
frame_like = st.one_of(
    st.tuples(
        st.just(0),
        small,
        st.sampled_from(["f", ""]),
        st.just([]),
        st.fixed_dictionaries({}, optional={"stream": small}),
    ),
    st.tuples(st.just(1), small, st.none() | st.just({"code": "Busy", "message": ""}), small),
    st.tuples(st.just(2), st.just("f"), st.just([])),
    st.tuples(st.just(3), small),
    st.tuples(st.just(4), small, small),
    st.tuples(st.just(5), small, small),
)


@given(
    st.lists(frame_like, max_size=30),
    st.lists(st.sampled_from(["take", "call", "forget", "stream", "end"]), max_size=30),
)
def test_any_frames_in_any_order_are_taken_or_break_the_protocol(script: list[tuple[Any, ...]], own: list[str]) -> None:
    session = Session(2**20)
    encoder = values.Encoder()
    for frame, deed in itertools.zip_longest(script, own):
        match deed:
            case "take":
                request = session.take()
                if request is not None and request.wants_stream:
                    session.flow(request, itertools.count())
                elif request is not None and request.id:
                    session.answer(request, None)
            case "call":
                call_id, _ = session.start("f", (), None)
                session.track(call_id, "f", 2)
            case "forget":
                session.forget(session.last_id)
            case "stream":
                stream = session.next_stream()
                if stream is not None:
                    session.finish(stream) if stream.cancelled else session.continue_stream(stream, 1)
            case "end":
                session.end(PeerGone("gone"))
        if frame is not None:
            try:
                session.receive(encoder.pack(frame))
            except ProtocolError:
                return
        assert session.queued_bytes >= 0

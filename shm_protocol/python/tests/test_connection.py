"""One connection between two ends in this process, over each transport: calls, nesting, streams, limits, the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import shm_protocol
from ends import HANG_S, RING, TRANSPORTS, Ends
from shm_protocol import (
    Busy,
    CallTimeout,
    CallTooDeep,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    ProtocolError,
    RemoteError,
    UnknownMethod,
    connection,
    current_call,
    frames,
    nesting,
    session,
    values,
)
from shm_protocol.connection import Connection
from shm_protocol.exposables import Exposables
from shm_protocol.wake import Wake


class Raised(Exception):
    data = {"limit": 3}


class Functions:
    """What the far end exposes."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.release = threading.Event()
        self.started = threading.Event()

    def echo(self, value: Any) -> Any:
        return value

    def fail(self, message: str) -> None:
        raise Raised(message)

    def unsendable(self) -> Any:
        return {"items": [1, 2, 3, {4}]}

    def size(self, value: bytes) -> int:
        return len(value)

    def blob(self, size: int) -> bytes:
        return b"x" * size

    def note(self, value: Any) -> None:
        self.noted.append(value)

    def hold(self, value: Any) -> Any:
        self.started.set()
        assert self.release.wait(HANG_S)
        return value

    def context(self) -> Any:
        call = current_call()
        assert call is not None
        return [call.method, list(call.chain), call.traceparent, call.remaining is None]

    def back(self, method: str, *args: Any) -> Any:
        call = current_call()
        assert call is not None
        return call.connection.call(method, *args)

    def down(self, depth: int) -> Any:
        call = current_call()
        assert call is not None
        return len(call.chain) if depth == 0 else call.connection.call("f.down", depth - 1)

    def count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def forever(self) -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            self.noted.append("closed")

    def break_after(self, to: int) -> Iterator[int]:
        yield from range(to)
        raise Raised("no more")

    def odd_items(self) -> Iterator[Any]:
        try:
            yield 1
            yield {1}
        finally:
            self.noted.append("closed")

    def blobs(self, size: int) -> Iterator[bytes]:
        while True:
            yield b"x" * size

    def leave(self) -> None:
        raise SystemExit(3)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def make(transport: str) -> Iterator[Callable[..., Ends]]:
    """Makes ends."""
    made: list[Ends] = []

    def make(
        near: Exposables | None = None,
        far: Exposables | None = None,
        max_message: int = 1 << 26,
        serve_unrelated: bool = False,
    ) -> Ends:
        made.append(Ends(transport, max_message, near, far, serve_unrelated))
        return made[-1]

    yield make
    for ends in made:
        ends.close()


@pytest.fixture
def ends(make: Callable[..., Ends], functions: Functions) -> Ends:
    """Both expose the functions; the far end serves."""
    made = make({"f": functions}, {"f": functions})
    made.serve()
    return made


# Calls.


def test_a_call_gives_what_the_function_returns(ends: Ends, transport: str) -> None:
    assert ends.near.call("f.echo", {"a": [1, None, "ä", b"b"]}) == {"a": [1, None, "ä", b"b"]}
    assert ends.near.transport == transport
    assert ends.near.peer.name == "peer"


@pytest.mark.parametrize("size", [0, 1, 1000, RING - 8, RING, 5 * RING, 1 << 20, 32 << 20])
def test_messages_of_every_size_cross_both_ways(ends: Ends, size: int) -> None:
    value = os.urandom(min(size, 1 << 16)) * max(1, size >> 16)
    assert ends.near.call("f.echo", value) == value


def test_an_exception_crosses_with_its_data_and_stack(ends: Ends) -> None:
    with pytest.raises(RemoteError) as caught:
        ends.near.call("f.fail", "bad")
    error = caught.value
    assert (error.type, error.message, error.data) == ("Raised", "bad", {"limit": 3})
    # The stack begins at the user's function.
    assert error.stack.split("\n")[1].endswith("in fail")


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("f.echo", [1, 2, 3], "f.echo takes 1 argument, and was given 3"),
        ("f.echo", [], "f.echo takes 1 argument, and was given 0"),
        ("f.back", [], "f.back takes at least 1 argument, and was given 0"),
        ("f.unsendable", [None], "f.unsendable takes no arguments, and was given 1"),
    ],
)
def test_a_call_with_a_wrong_number_of_arguments_is_a_type_error_that_says_so_and_nothing_runs(
    ends: Ends, method: str, args: list[Any], message: str
) -> None:
    with pytest.raises(RemoteError) as caught:
        ends.near.call(method, *args)
    error = caught.value
    assert (error.type, error.message, error.stack, error.data) == ("TypeError", message, "", None)
    with pytest.raises(RemoteError, match="TypeError: f.count takes 1 argument, and was given 2"):
        list(ends.near.stream("f.count", 1, 2))
    assert ends.near.call("f.echo", "still there") == "still there"
    assert ends.far.stats["served"] == 1


def test_a_notification_with_a_wrong_number_of_arguments_is_dropped_and_logged(
    ends: Ends, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    ends.near.notify("f.note")
    ends.near.notify("f.note", 1)
    assert ends.near.call("f.echo", 2) == 2
    assert functions.noted == [1]
    assert "cannot be delivered: f.note takes 1 argument, and was given 0" in caplog.text


@pytest.mark.parametrize(
    "method",
    [
        "f.echo.__call__",
        "f.echo.__globals__",
        "f.__init__",
        "f.__class__",
        "f.__dict__",
        "f.noted",
        "f.noted.append",
        "f.release.set",
        "f",
        "f.",
        ".echo",
        "echo",
        "__import__",
        "eval",
        "builtins.eval",
        "os.system",
        "shm_protocol.connect",
        "F.echo",
        "f.echo ",
        "f.echo\0",
        "../f.echo",
    ],
)
def test_no_name_reaches_what_is_not_exposed(ends: Ends, method: str) -> None:
    with pytest.raises(UnknownMethod):
        ends.near.call(method, "x")
    assert ends.near.call("f.echo", 1) == 1
    assert ends.far.stats["served"] == 1


def test_an_unknown_method_is_told(ends: Ends) -> None:
    with pytest.raises(UnknownMethod, match=r"^f\.no_such: nothing of that name is exposed"):
        ends.near.call("f.no_such")


def test_a_value_that_cannot_be_encoded_is_named_and_nothing_is_sent(ends: Ends) -> None:
    before = ends.near.stats["messages_sent"]
    with pytest.raises(EncodeError, match=r"^args\[0\]\.items\[3\]: a set cannot be encoded"):
        ends.near.call("f.echo", {"items": [1, 2, 3, {4}]})
    assert ends.near.stats["messages_sent"] == before


def test_a_result_that_cannot_be_encoded_is_named(ends: Ends) -> None:
    with pytest.raises(EncodeError, match=r"^f.unsendable: result\.items\[3\]: a set cannot be encoded"):
        ends.near.call("f.unsendable")
    assert ends.near.call("f.echo", 1) == 1


def test_messages_past_the_limit_are_told_on_both_ways_and_the_connection_stays(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions, "fail_big": fail_big}, max_message=10_000)
    ends.serve()
    with pytest.raises(MessageTooLarge, match="max_message is 10000"):
        ends.near.call("f.size", b"x" * 10_001)
    with pytest.raises(MessageTooLarge, match=r"f\.blob: result: the message has .* bytes, max_message is 10000"):
        ends.near.call("f.blob", 10_001)
    with pytest.raises(RemoteError) as caught:
        ends.near.call("fail_big")
    assert caught.value.type == "Raised"
    assert re.fullmatch("x{9000,}…", caught.value.message)
    assert ends.near.call("f.size", b"x" * 9_000) == 9_000


def fail_big() -> None:
    raise Raised("x" * 20_000)


def test_a_notification_is_delivered_in_order_and_unanswered(ends: Ends, functions: Functions) -> None:
    for i in range(10):
        ends.near.notify("f.note", i)
    ends.near.notify("f.no_such")
    ends.near.notify("f.fail", "unheard")
    assert ends.near.call("f.echo", 1) == 1
    assert functions.noted == list(range(10))
    assert ends.near.stats["messages_received"] == 1


def test_the_call_being_served_is_known_and_gone_afterwards(ends: Ends) -> None:
    assert ends.near.call("f.context", traceparent="00-aa-bb-01") == ["f.context", [], "00-aa-bb-01", True]
    assert ends.near.call("f.context", timeout=HANG_S) == ["f.context", [], None, False]
    assert current_call() is None


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("-inf"), 1e300, 10**400, 4e9])
def test_a_timeout_that_cannot_be_is_refused(ends: Ends, timeout: float) -> None:
    for attempt in (ends.near.call, ends.near.stream):
        with pytest.raises(
            ValueError, match=r"timeout=.*: must be a number of seconds greater than 0 and at most 3153600000"
        ):
            attempt("f.echo", 1, timeout=timeout)
    assert ends.near.stats["messages_sent"] == 0


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": bad} for bad in ("1", b"1", True, [1], {}, 1j, object())),
        *({"traceparent": bad} for bad in (5, b"00-abc", ["00-abc"], True, object())),
    ],
)
def test_an_option_of_another_type_is_a_type_error_here_and_nothing_is_sent(ends: Ends, options: Any) -> None:
    (name,) = options
    attempts: list[Callable[..., Any]] = [ends.near.call, ends.near.stream]
    if name == "traceparent":
        attempts.append(ends.near.notify)
    for attempt in attempts:
        with pytest.raises(TypeError, match=f"^{name}=.*: must be "):
            attempt("f.echo", 1, **options)
    assert ends.near.stats["messages_sent"] == 0
    assert ends.near.call("f.echo", 1) == 1


@pytest.mark.parametrize("method", [None, 5, b"f.echo", ["f.echo"], object()])
def test_a_method_of_another_type_is_a_type_error_here_and_nothing_is_sent(ends: Ends, method: Any) -> None:
    for attempt in (ends.near.call, ends.near.stream, ends.near.notify):
        with pytest.raises(TypeError, match="^method=.*: must be a str"):
            attempt(method, 1)
    assert ends.near.stats["messages_sent"] == 0


@pytest.mark.parametrize("timeout", [None, float("inf"), 0, -1, float("nan"), "1", True])
def test_a_timeout_for_leaving_must_be_a_number_of_seconds(ends: Ends, timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="^timeout="):
        ends.near.leave(timeout)
    assert ends.near.call("f.echo", 1) == 1


@pytest.mark.parametrize("timeout", [None, float("inf"), 10**9])
def test_a_timeout_may_be_as_long_as_one_likes(ends: Ends, timeout: float | None) -> None:
    assert ends.near.call("f.echo", 1, timeout=timeout) == 1


# Deadlines.


def test_a_call_past_its_deadline_names_method_and_seconds_and_its_late_answer_is_dropped(
    ends: Ends, functions: Functions
) -> None:
    with pytest.raises(CallTimeout, match=r"^f\.hold: no answer within 0\.02 s"):
        ends.near.call("f.hold", "late", timeout=0.02)
    functions.release.set()
    assert [ends.near.call("f.echo", i) for i in range(3)] == [0, 1, 2]


def test_an_answer_that_comes_after_its_caller_gave_up_is_counted(make: Callable[..., Ends]) -> None:
    ends = make()
    with pytest.raises(CallTimeout):
        ends.near.call("f", timeout=0.01)
    for call_id, answer in ((1, "late"), (2, "in time")):
        ends.far_transport.send(frames.encode_response(values.Encoder(), call_id, answer))
    assert ends.near.call("f") == "in time"
    assert ends.near.stats["late_answers"] == 1
    assert ends.near.stats["outstanding"] == 0


def test_a_caller_that_gave_up_tells_the_peer(make: Callable[..., Ends]) -> None:
    ends = make()
    with pytest.raises(CallTimeout):
        ends.near.call("f", timeout=0.01)
    request, cancel = (ends.far_transport.try_receive() for _ in range(2))
    assert request is not None
    assert cancel is not None
    assert values.decode(request)[4] == {"deadline_ms": 10.0}
    assert values.decode(cancel) == [3, 1]


def test_a_default_timeout_is_not_sent(make: Callable[..., Ends]) -> None:
    ends = make()
    received: list[bytes | memoryview | None] = []

    def answer() -> None:
        received.append(ends.far_transport.receive(int(HANG_S * 1e9)))
        ends.far_transport.send(frames.encode_response(values.Encoder(), 1, "answer"))

    ends.run(answer)
    assert ends.near.call("f") == "answer"
    assert values.decode(received[0] or b"") == [0, 1, "f", []]


def test_a_flood_does_not_keep_a_call_from_its_deadline(make: Callable[..., Ends]) -> None:
    ends = make()
    flooding = threading.Event()
    notification = frames.encode_notification(values.Encoder(), "nobody", (), None)

    def flood() -> None:
        while not flooding.is_set():
            if ends.far_transport.sending:
                ends.far_transport.flush()
            else:
                ends.far_transport.send(notification)

    ends.run(flood)
    with pytest.raises(CallTimeout):
        ends.near.call("f", timeout=0.05)
    flooding.set()
    ends.join()


def test_a_cancelled_request_in_the_queue_is_not_started(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})
    with pytest.raises(CallTimeout):
        ends.near.call("f.note", "cancelled", timeout=0.01)
    ends.near.notify("f.note", "wanted")
    ends.serve()
    assert ends.near.call("f.echo", 1) == 1
    assert functions.noted == ["wanted"]


def test_a_nested_call_inherits_the_deadline_of_the_call_being_served(make: Callable[..., Ends]) -> None:
    def relay() -> Any:
        call = current_call()
        assert call is not None
        return call.connection.call("near.remaining", timeout=1000.0)

    def remaining() -> float | None:
        call = current_call()
        assert call is not None
        return call.remaining

    ends = make({"near.remaining": remaining}, {"relay": relay})
    ends.serve()
    assert 0 < ends.near.call("relay", timeout=20.0) <= 20.0
    assert 900 < ends.near.call("relay", timeout=None) <= 1000.0


def test_the_calls_made_for_one_that_told_no_deadline_end_within_the_default_timeout(
    make: Callable[..., Ends], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nesting, "DEFAULT_TIMEOUT_S", 0.3)

    def relay() -> str:
        call = current_call()
        assert call is not None
        for _ in range(1000):
            call.connection.call("slow", timeout=0.25)
        return "held for as long as the peer liked"

    ends = make({"slow": lambda: time.sleep(0.2)}, {"relay": relay})
    ends.serve()
    with pytest.raises(RemoteError, match="CallTimeout: slow: "):
        ends.near.call("relay")


def test_a_nested_call_is_not_made_when_the_deadline_has_passed(
    make: Callable[..., Ends], functions: Functions
) -> None:
    outcome: list[BaseException] = []

    def relay() -> None:
        call = current_call()
        assert call is not None
        while call.remaining:
            time.sleep(0.001)
        try:
            call.connection.call("f.note", "never")
        except CallTimeout as error:
            outcome.append(error)

    ends = make({"f": functions}, {"relay": relay, "f": functions})
    ends.serve()
    timeout = 0.02
    # On a busy machine it may pass before the call is started: then it is not.
    while not outcome:
        # The answer comes at the very deadline.
        with contextlib.suppress(CallTimeout):
            ends.near.call("relay", timeout=timeout)
        assert ends.near.call("f.echo", 1) == 1
        timeout *= 2
    assert "the deadline of relay, which calls it, has passed" in str(outcome[0])
    assert functions.noted == []


# Nesting.


def test_calls_nest_both_ways_on_one_connection(ends: Ends) -> None:
    assert ends.near.call("f.back", "f.back", "f.back", "f.echo", "deep") == "deep"


def test_the_chain_grows_with_each_call_and_carries_the_trace(ends: Ends) -> None:
    chain = ends.near.call("f.back", "f.context", traceparent="00-aa-bb-01")
    assert chain == ["f.context", ["f.back"], "00-aa-bb-01", True]


def test_32_nested_calls_are_allowed_and_the_33rd_is_refused_with_the_chain(ends: Ends) -> None:
    assert ends.near.call("f.down", 31) == 31
    with pytest.raises(RemoteError, match=r"^CallTooDeep: more than 32 nested calls: f\.down -> f\.down"):
        ends.near.call("f.down", 32)
    assert ends.near.call("f.echo", "fine") == "fine"


def test_a_chain_of_32_from_a_peer_that_does_not_count_is_refused(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    encoder = values.Encoder()
    ends.near_transport.send(frames.encode_request(encoder, 1, "f.note", (1,), {"chain": ["a"] * 32}))
    assert ends.far.serve_ready() == 0
    ends.far.serve_ready()
    message = ends.near_transport.receive(int(HANG_S * 1e9))
    assert message is not None
    assert values.decode(message)[2]["code"] == CallTooDeep.code
    assert functions.noted == []


def test_an_error_from_deep_in_a_chain_keeps_its_name_and_all_stacks(ends: Ends) -> None:
    with pytest.raises(RemoteError) as caught:
        ends.near.call("f.back", "f.back", "f.fail", "deep")
    assert (caught.value.type, caught.value.message) == ("Raised", "deep")
    assert caught.value.data == {"limit": 3}
    assert caught.value.stack.count("in back") == 2
    assert "in fail" in caught.value.stack


def test_unrelated_calls_are_served_while_waiting_where_that_is_asked_for_but_not_without_bound(
    make: Callable[..., Ends],
) -> None:
    """Each root call waits for an answer: only so many are started inside one another, the next when one has ended."""
    roots = 40
    depth = 0
    most = 0

    def wait() -> None:
        nonlocal depth, most
        depth += 1
        most = max(most, depth)
        call = current_call()
        assert call is not None
        call.connection.call("asked back")
        depth -= 1

    ends = make(None, {"wait": wait}, serve_unrelated=True)

    def receive() -> Any:
        message = ends.near_transport.receive(int(HANG_S * 1e9))
        assert message is not None
        return values.decode(message)

    encoder = values.Encoder()
    ends.serve()
    for call_id in range(1, roots + 1):
        assert ends.near_transport.send(frames.encode_request(encoder, call_id, "wait", (), None))
    waiting = [receive() for _ in range(session.MAX_SERVING_DEPTH)]
    for number in range(1, roots + 1):
        asked = waiting.pop()
        assert (asked[0], asked[2]) == (frames.REQUEST, "asked back")
        # Had one more been started meanwhile, its question would come before this one's answer.
        ends.near_transport.send(frames.encode_response(encoder, asked[1], None))
        assert receive()[0] == frames.RESPONSE
        if number + session.MAX_SERVING_DEPTH <= roots:
            waiting.append(receive())
    assert most == session.MAX_SERVING_DEPTH


# Streams.


def test_a_stream_gives_every_item_in_order(ends: Ends) -> None:
    for credit in (1, 2, 7, 64):
        assert list(ends.near.stream("f.count", 200, credit=credit)) == list(range(200))
    assert list(ends.near.stream("f.count", 0)) == []
    assert ends.near.stats["outstanding"] == 0


def test_no_more_items_are_sent_than_credit_was_granted(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})
    stream = ends.near.stream("f.forever", credit=5)
    ends.far.serve_ready()
    ends.far.serve_ready()
    assert ends.far.stats["messages_sent"] == 5
    assert [next(stream) for _ in range(2)] == [0, 1]
    ends.far.serve_ready()
    assert ends.far.stats["messages_sent"] == 7
    stream.close()
    ends.far.serve_ready()
    assert functions.noted == ["closed"]


def test_closing_a_stream_closes_the_generator_and_the_connection_stays(ends: Ends, functions: Functions) -> None:
    with ends.near.stream("f.forever") as stream:
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration):
        next(stream)
    # The call may be served before the stream has its last turn, but not two.
    assert [ends.near.call("f.echo", i) for i in range(2)] == [0, 1]
    assert functions.noted == ["closed"]


def test_a_stream_that_breaks_gives_its_items_and_then_the_error(ends: Ends) -> None:
    stream = ends.near.stream("f.break_after", 3)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RemoteError, match="Raised: no more"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_an_item_that_cannot_be_encoded_ends_the_stream_and_is_named(ends: Ends, functions: Functions) -> None:
    stream = ends.near.stream("f.odd_items")
    assert next(stream) == 1
    with pytest.raises(EncodeError, match="item: a set cannot be encoded"):
        next(stream)
    assert functions.noted == ["closed"]
    assert ends.near.call("f.echo", 1) == 1


def test_an_item_past_the_limit_ends_the_stream(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions}, max_message=2000)
    ends.serve()
    with pytest.raises(MessageTooLarge):
        next(ends.near.stream("f.blobs", 3000))
    assert ends.near.call("f.echo", 1) == 1


def test_streams_and_calls_share_a_connection(ends: Ends) -> None:
    one, other = ends.near.stream("f.count", 50, credit=3), ends.near.stream("f.count", 50, credit=2)
    seen = []
    for a, b in zip(one, other, strict=True):
        seen.append((a, b, ends.near.call("f.echo", a)))
    assert seen == [(i, i, i) for i in range(50)]


def test_a_stream_may_call_back_for_each_item(make: Callable[..., Ends], functions: Functions) -> None:
    def items() -> Iterator[Any]:
        call = current_call()
        assert call is not None
        for i in range(10):
            yield call.connection.call("f.echo", i * i)

    ends = make({"f": functions}, {"items": items})
    ends.serve()
    assert list(ends.near.stream("items", credit=2)) == [i * i for i in range(10)]


def test_large_items_go_through_a_small_ring(ends: Ends) -> None:
    with ends.near.stream("f.blobs", 100_000, credit=8) as stream:
        assert [len(item) for item in itertools.islice(stream, 20)] == [100_000] * 20


def test_a_call_of_a_streaming_function_and_a_stream_of_another_are_told(ends: Ends) -> None:
    with pytest.raises(EncodeError, match=r"f\.count gives a stream: call it with stream\(\)"):
        ends.near.call("f.count", 3)
    with pytest.raises(TypeError, match=r"f\.echo gave a value, not a stream: use call\(\)"):
        next(ends.near.stream("f.echo", 5))
    assert list(ends.near.stream("f.echo", None)) == []


@pytest.mark.parametrize("credit", [0, -1, 65537, 10**400, 1.5, True, "8", None])
def test_a_credit_that_cannot_be_is_refused(ends: Ends, credit: Any) -> None:
    kind = ValueError if type(credit) is int else TypeError
    with pytest.raises(kind, match="credit=.*: must be an integer from 1 to 65536"):
        ends.near.stream("f.count", 3, credit=credit)


def test_a_stream_past_its_deadline_says_so_and_is_cancelled(make: Callable[..., Ends]) -> None:
    ends = make()
    stream = ends.near.stream("f", timeout=0.01)
    with pytest.raises(CallTimeout, match=r"^f: the stream did not end within 0\.01 s"):
        next(stream)
    arrived: list[bytes | memoryview] = list(iter(ends.far_transport.try_receive, None))
    assert [values.decode(message)[0] for message in arrived] == [frames.REQUEST, frames.CANCEL]


def test_a_stream_that_is_always_ahead_of_its_reader_ends_at_its_deadline(make: Callable[..., Ends]) -> None:
    def numbers() -> Iterator[int]:
        yield from itertools.count()

    ends = make(None, {"f": numbers})
    ends.serve()
    stream = ends.near.stream("f", timeout=0.05)
    passed = time.monotonic() + 0.05
    assert next(stream) == 0
    while time.monotonic() < passed:
        pass
    with pytest.raises(CallTimeout, match=r"^f: the stream did not end within 0\.05 s"):
        next(stream)
    with ends.near.stream("f", timeout=HANG_S) as again:
        assert next(again) == 0


# Full rings.


def test_two_full_rings_do_not_block_each_other(make: Callable[..., Ends], functions: Functions) -> None:
    """Both sides send much more than fits, at the same time, and neither serves before it has sent."""
    # Both wait for each other at once, which Node never does.
    ends = make({"f": functions}, {"f": functions}, serve_unrelated=True)
    big = b"x" * (1 << 20)
    outcome: list[Any] = []
    finished = threading.Event()

    def far() -> None:
        outcome.extend(ends.far.call("f.echo", big) for _ in range(5))
        while not finished.is_set():
            ends.far.serve_ready()

    ends.run(far)
    for _ in range(5):
        assert ends.near.call("f.echo", big) == big
    while len(outcome) < 5:
        ends.near.serve_ready()
    finished.set()
    ends.join()
    assert ends.far_error is None
    assert outcome == [big] * 5


def test_a_call_into_a_full_ring_that_nobody_reads_times_out_and_the_connection_recovers(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    with pytest.raises(CallTimeout):
        ends.near.call("f.size", b"x" * (1 << 20), timeout=0.02)
    with pytest.raises(CallTimeout, match="there was no room for it within its deadline"):
        ends.near.call("f.size", b"y" * (1 << 20), timeout=0.02)
    ends.serve()
    assert ends.near.call("f.size", b"z" * (1 << 20)) == 1 << 20


def test_a_peer_that_goes_while_a_message_is_partly_sent_is_gone(make: Callable[..., Ends]) -> None:
    ends = make()
    ends.run(ends.far.close)
    with pytest.raises(PeerGone):
        ends.near.call("f", b"x" * (1 << 20))
    ends.join()


def test_the_responses_of_many_calls_wait_for_room_and_all_arrive(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    near = ends.near._session
    calls = []
    for _ in range(30):
        call_id, message = near.start("f.blob", (RING,), None)
        calls.append(near.track(call_id, "f.blob"))
        ends.near.link.post(message)
    ends.serve()
    assert ends.near.call("f.echo", 1) == 1
    while not all(call.done for call in calls):
        ends.near._advance(time.monotonic() + HANG_S)
    assert [len(call.result) for call in calls] == [RING] * 30


def test_more_calls_than_may_be_outstanding_are_busy(
    make: Callable[..., Ends], functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MAX_OUTSTANDING", 3)
    ends = make(None, {"f": functions})
    streams = [ends.near.stream("f.count", 2) for _ in range(3)]
    with pytest.raises(Busy, match="f.echo: 3 calls to the peer are outstanding already"):
        ends.near.call("f.echo", 1)
    ends.serve()
    assert [list(stream) for stream in streams] == [[0, 1]] * 3
    assert ends.near.call("f.echo", 1) == 1


# Event loops.


def test_an_event_loop_serves_what_arrives(make: Callable[..., Ends], functions: Functions, transport: str) -> None:
    ends = make({"f": functions}, {"f": functions})

    def loop() -> None:
        served = 0
        while served < 20:
            state = ends.far.poll()
            if state == "ready":
                served += ends.far.serve_ready()
            elif state == "parked":
                assert select.select([ends.far.fileno()], [], [], HANG_S)[0]
                ends.far.unpark()

    ends.run(loop)
    assert [ends.near.call("f.echo", i) for i in range(20)] == list(range(20))
    ends.join()
    assert ends.far_error is None
    assert ends.far.served == 20


def test_an_event_loop_learns_of_the_end_after_it_has_served_what_came_before(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    assert ends.far.poll() == "parked"
    ends.near.notify("f.note", 1)
    ends.near.notify("f.note", 2)
    ends.near.close()

    def loop() -> None:
        while True:
            if ends.far.poll() == "parked":
                assert select.select([ends.far.fileno()], [], [], HANG_S)[0]
                ends.far.unpark()
            ends.far.serve_ready()

    with pytest.raises(PeerGone):
        loop()
    assert functions.noted == [1, 2]
    assert ends.far.closed


def test_an_event_loop_learns_of_the_end_although_its_answer_finds_no_room(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    ends.near.stream("f.blob", 1_000_000)
    ends.far.serve_ready()
    assert ends.far_transport.sending
    ends.near.close()
    ends.far.unpark()
    with pytest.raises(PeerGone):
        for _ in range(10):
            assert ends.far.poll() == "ready"
            ends.far.serve_ready()


def test_parking_at_once_says_whether_there_is_something_to_serve(
    make: Callable[..., Ends], functions: Functions
) -> None:
    ends = make(None, {"f": functions})
    assert ends.far.park()
    ends.near.notify("f.note", 1)
    ends.far.unpark()
    assert not ends.far.park()
    ends.far.set_busy(True)
    while ends.far.poll() == "ready":
        ends.far.serve_ready()
    assert functions.noted == [1]


def test_serve_ready_gives_the_loop_its_turn(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})
    for i in range(100):
        ends.near.notify("f.note", i)
    assert ends.far.serve_ready() == connection.MAX_SERVE_READY
    assert ends.far.poll() == "ready"
    while ends.far.poll() == "ready":
        ends.far.serve_ready()
    assert functions.noted == list(range(100))


# Interruptions.


def interrupt_after(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


@pytest.fixture
def alarm_interrupts() -> Iterator[list[int]]:
    """Gives the alarms that have struck: what it raises in a callback of the collector is swallowed there."""
    struck: list[int] = []

    def interrupt(number: int, _: object) -> None:
        struck.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield struck
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def interrupted_once(condition: Callable[[], object]) -> Iterator[None]:
    """The alarm strikes this thread as soon as something is so."""
    thread = threading.get_ident()

    def strike() -> None:
        while not condition():
            time.sleep(0.001)
        signal.pthread_kill(thread, signal.SIGALRM)

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        striking.join()


@pytest.mark.usefixtures("alarm_interrupts")
def test_ctrl_c_ends_the_wait_cancels_the_call_and_leaves_the_connection_usable(
    ends: Ends, functions: Functions
) -> None:
    with interrupted_once(functions.started.is_set):
        ends.near.call("f.hold", 1)
    functions.release.set()
    assert [ends.near.call("f.echo", i) for i in range(3)] == [0, 1, 2]
    assert ends.near.stats["outstanding"] == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("argument", ["plain", datetime(2026, 1, 1, tzinfo=UTC)], ids=["plain", "not plain"])
def test_ctrl_c_at_any_moment_of_a_call_leaves_the_connection_usable(
    ends: Ends, argument: Any, alarm_interrupts: list[int]
) -> None:
    for attempt in range(400):
        with contextlib.suppress(KeyboardInterrupt):
            interrupt_after(random.uniform(1e-5, 3e-4))
            while len(alarm_interrupts) == attempt:
                assert ends.near.call("f.echo", argument) == argument
        assert ends.near.call("f.echo", attempt) == attempt
        assert ends.near.stats["outstanding"] == 0
    assert len(alarm_interrupts) == 400


def test_a_call_that_ctrl_c_ends_before_it_is_sent_is_not_cancelled(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    for part, method in ((ends.near, "_call_directly"), (ends.near.link, "post")):
        with monkeypatch.context() as patch:
            patch.setattr(part, method, strike)
            with pytest.raises(KeyboardInterrupt):
                ends.near.call("f.echo", "x", timeout=HANG_S if method == "_call_directly" else None)
        assert ends.near.call("f.echo", "y") == "y"
        assert ends.near.stats["outstanding"] == 0


@pytest.mark.usefixtures("alarm_interrupts")
@pytest.mark.parametrize("size", [1 << 17, 1 << 20])
def test_ctrl_c_while_a_message_is_partly_sent_leaves_the_connection_usable(
    make: Callable[..., Ends], functions: Functions, size: int
) -> None:
    ends = make(None, {"f": functions})
    near = ends.near_transport
    # A socket may take all of it.
    with interrupted_once(lambda: near.sending or near.stats()["messages_sent"]):
        ends.near.call("f.size", b"x" * size)
    ends.serve()
    assert ends.near.call("f.size", b"y" * (1 << 20)) == 1 << 20


@pytest.mark.usefixtures("alarm_interrupts")
def test_ctrl_c_in_a_served_function_is_told_to_the_caller_and_goes_on(make: Callable[..., Ends]) -> None:
    def spin() -> None:
        interrupt_after(0.01)
        while True:
            time.sleep(0.01)

    ends = make({"spin": spin})
    answer: list[Any] = []
    ends.run(lambda: answer.append(ends.far.call("spin")))
    with pytest.raises(KeyboardInterrupt):
        ends.near.serve()
    ends.join()
    assert isinstance(ends.far_error, RemoteError)
    assert ends.far_error.type == "KeyboardInterrupt"
    assert not ends.near.closed


def test_a_function_that_exits_tells_its_caller_and_exits(ends: Ends) -> None:
    with pytest.raises(RemoteError, match="SystemExit: 3"):
        ends.near.call("f.leave")
    ends.join()
    assert isinstance(ends.far_error, SystemExit)


# The end.


def test_closing_is_told_to_the_peer(ends: Ends) -> None:
    assert ends.near.call("f.echo", 1) == 1
    ends.near.close()
    ends.join()
    assert isinstance(ends.far_error, PeerGone)


def test_everything_outstanding_fails_when_the_peer_goes(make: Callable[..., Ends]) -> None:
    ends = make()
    streams = [ends.near.stream("f") for _ in range(3)]
    ends.run(ends.far.close)
    with pytest.raises(PeerGone, match="^g: "):
        ends.near.call("g")
    for stream in streams:
        with pytest.raises(PeerGone, match="^f: "):
            next(stream)
    assert ends.near.closed


def test_an_answer_sent_just_before_the_end_still_arrives(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})

    def answer_and_go() -> None:
        while not ends.far.serve_ready():
            pass
        ends.far.close()

    ends.run(answer_and_go)
    assert ends.near.call("f.echo", 5) == 5
    ends.join()


def test_streams_are_closed_when_the_connection_ends(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})
    ends.near.stream("f.forever", credit=1)
    ends.far.serve_ready()
    ends.far.close()
    assert functions.noted == ["closed"]


def test_items_that_had_come_are_given_out_after_the_end(make: Callable[..., Ends], functions: Functions) -> None:
    ends = make(None, {"f": functions})
    stream = ends.near.stream("f.forever", credit=4)
    ends.far.serve_ready()
    ends.far.close()
    assert [next(stream) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(PeerGone):
        next(stream)


@pytest.mark.parametrize(
    "garbage", [b"", b"\xc1", b"\x90", b"\x94\x01\x05\xc0\xc0", b"\x94\x00\x00\xa1f\x90", b"\xa1x", bytes(100)]
)
def test_a_message_that_breaks_the_protocol_ends_the_connection_with_an_error(
    make: Callable[..., Ends], garbage: bytes
) -> None:
    ends = make()
    stream = ends.near.stream("g")
    ends.far_transport.send(garbage)
    with pytest.raises(ProtocolError):
        ends.near.call("f")
    # The same for all that was under way, as under asyncio.
    with pytest.raises(ProtocolError, match="^g: "):
        next(stream)
    assert ends.near.closed
    with pytest.raises(PeerGone):
        ends.far.serve()


def test_every_method_after_close_says_that_it_is_closed(make: Callable[..., Ends]) -> None:
    ends = make()
    near = ends.near
    near.close()
    near.close()
    near.interrupt()
    assert near.closed
    attempts: dict[str, Callable[[], object]] = {
        "call": lambda: near.call("f"),
        "call_with": lambda: near.call_with("f", (), 1.0, None),
        "call_reference": lambda: near.call_reference("f", (), {}, 1.0, handles=False),
        "stream_reference": lambda: near.stream_reference("f", (), {}, 1.0, 1, handles=False),
        "stream": lambda: near.stream("f"),
        "stream_with": lambda: near.stream_with("f", (), None, 1, None),
        "notify": lambda: near.notify("f"),
        "notify_with": lambda: near.notify_with("f", (), None),
        "leave": lambda: near.leave(1.0),
        "serve": near.serve,
        "serve_until": lambda: near.serve_until(Wake()),
        "serve_ready": near.serve_ready,
        "poll": near.poll,
        "park": near.park,
        "unpark": near.unpark,
        "fileno": near.fileno,
        "set_busy": lambda: near.set_busy(True),
        "stats": lambda: near.stats,
    }
    harmless = {"close", "closed", "interrupt", "expose", "name_exposed", "served", "transport", "after_fork_in_child"}
    harmless |= {"heed", "lend_through", "tell_references"}
    of_streams = {"require_owner", "advance", "grant", "give_up", "abandon", "end_for"}
    assert {name for name in vars(Connection) if not name.startswith("_")} == attempts.keys() | harmless | of_streams
    for attempt in attempts.values():
        with pytest.raises(ConnectionClosed):
            attempt()


def test_another_thread_is_told_whose_the_connection_is(make: Callable[..., Ends]) -> None:
    ends = make()
    caught: list[BaseException] = []

    def use() -> None:
        for attempt in (
            lambda: ends.near.call("f"),
            lambda: ends.near.stream("f"),
            ends.near.serve_ready,
            ends.near.close,
        ):
            try:
                attempt()
            except RuntimeError as error:
                caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 4
    assert f"belongs to thread {threading.get_ident()}" in str(caught[0])


def test_a_thread_that_waits_comes_up_when_another_interrupts(ends: Ends) -> None:
    ends.near.call("f.echo", 1)
    ends.far.interrupt()
    ends.join()
    assert isinstance(ends.far_error, ConnectionClosed)


def test_a_forked_child_may_not_use_the_connection_and_the_parents_stays(ends: Ends) -> None:
    assert ends.near.call("f.echo", 1) == 1
    descriptor = ends.near.fileno()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ends.near.call("f.echo", 2)
        except ConnectionClosed as error:
            try:
                os.fstat(descriptor)
            except OSError:
                code = 0 if "belongs to the parent process" in str(error) else 2
        finally:
            ends.near.close()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ends.near.call("f.echo", 3) == 3


def test_the_representation_names_the_peer(ends: Ends) -> None:
    assert "'peer'" in repr(ends.near)


def test_the_public_names_are_there() -> None:
    assert all(hasattr(shm_protocol, name) for name in shm_protocol.__all__)

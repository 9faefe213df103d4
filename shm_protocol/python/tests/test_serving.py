"""Whatever user code does while it is run, looked at, encoded, iterated, closed or logged: its caller is told, and
nobody else notices. And whose context it runs in.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ends import HANG_S, TRANSPORTS, Ends
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shm_protocol import EncodeError, PeerGone, ProtocolError, RemoteError, current_call, frames, values
from shm_protocol.serving import last_answer

Make = Callable[..., Ends]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(transport: str) -> Iterator[Make]:
    made: list[Ends] = []

    def make(near: Any = None, far: Any = None, max_message: int = 1 << 26, serve_unrelated: bool = False) -> Ends:
        made.append(Ends(transport, max_message, near, far, serve_unrelated))
        return made[-1]

    yield make
    for ends in made:
        ends.close()


def serve(make: Make, *functions: Callable[..., Any], max_message: int = 1 << 26) -> Ends:
    """Ends whose far one serves these, and `ping`."""
    named = {function.__name__: function for function in functions}
    ends = make(None, {**named, "ping": lambda: "pong"}, max_message=max_message)
    ends.serve()
    return ends


def test_an_argument_is_looked_at_once_beside_a_function_and_a_result_that_fails(make: Make) -> None:
    looks: list[str] = []

    @dataclasses.dataclass
    class Looked:
        name: str

        def __getattribute__(self, name: str) -> Any:
            if name == "name":
                looks.append(name)
            return super().__getattribute__(name)

    def takes(value: Any, callback: Callable[[], Any], **more: Any) -> Any:
        return [value, callback(), more]

    ends = serve(make, takes)
    assert ends.near.call("takes", Looked("a"), lambda: 1, of=Looked("b")) == [{"name": "a"}, 1, {"of": {"name": "b"}}]
    assert len(looks) == 2
    with pytest.raises(EncodeError, match=r"args\[2\]"):
        ends.near.call("takes", Looked("a"), lambda: 1, object())
    assert len(looks) == 3


def back() -> Any:
    call = current_call()
    assert call is not None
    return call.connection


class Panic(BaseException):
    """As a library's own, which is no Exception."""


RAISED = (ValueError, RuntimeError, StopIteration, PeerGone, asyncio.CancelledError, GeneratorExit, Panic, MemoryError)
HOOKS_RAISE = (*RAISED, SystemExit)


class Hostile:
    """An object whose hooks raise as drawn, and else do what an object does."""

    def __init__(self, raises: dict[str, type[BaseException]]) -> None:
        self.raises = raises

    def _hook(self, name: str) -> None:
        raises = object.__getattribute__(self, "raises")
        if name in raises:
            raise raises[name](name)


# fmt: off
HOOKS = (
    "__class__", "__getattr__", "__iter__", "__next__", "__len__",
    "__str__", "__repr__", "__eq__", "__hash__", "__bool__",
    "__index__", "__float__", "__buffer__", "__array_interface__", "__array__",
    "__fspath__", "__format__", "__call__", "__await__", "__aiter__",
    "__anext__", "close", "aclose", "items", "keys",
    "values", "data", "args", "__notes__", "__cause__",
    "__context__", "__traceback__", "__module__", "__dict__", "isoformat",
    "timestamp", "tzinfo",
)
# fmt: on


def hostile_class(bases: tuple[type, ...], hooks: list[str]) -> type:
    """A class of objects whose hooks are those, as methods or as properties."""

    def method(name: str) -> Any:
        def hook(self: Any, *args: Any, **named: Any) -> Any:
            Hostile._hook(self, name)
            if name in ("__iter__", "__await__", "__aiter__"):
                return self
            if name == "__next__":
                raise StopIteration
            return {"__len__": 0, "__str__": "", "__repr__": "", "__hash__": 0, "__bool__": True}.get(name)

        return hook

    properties = ("__class__", "__dict__", "__module__", "data", "args", "__notes__", "__cause__", "__traceback__")
    members = {name: property(method(name)) if name in properties else method(name) for name in hooks}
    return type("Drawn", (Hostile, *bases), members)


class Box:
    """Keeps what is drawn from being looked at by the test's own tools."""

    def __init__(self, value: Any) -> None:
        self.value = value


@st.composite
def hostile(draw: st.DrawFn, bases: tuple[type, ...]) -> Any:
    hooks = draw(st.lists(st.sampled_from(HOOKS), unique=True, max_size=6))
    raises = draw(st.dictionaries(st.sampled_from(hooks), st.sampled_from(HOOKS_RAISE))) if hooks else {}
    kind = hostile_class(bases, hooks)
    try:
        made: Any = bases[0].__new__(kind)  # type: ignore[call-overload]  # none of them is `type`
        object.__setattr__(made, "raises", raises) if "__dict__" not in hooks else None
    except BaseException:
        return Box(kind)  # what cannot be made is as odd a result as any
    return Box(made)


RESULTS = st.one_of(*(hostile((base,)) for base in (object, list, dict, str, int, bytes, tuple)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(results=st.lists(RESULTS, min_size=1, max_size=4), raised=hostile((Exception,)))
def test_whatever_an_object_does_its_caller_is_told_and_everybody_else_served(
    hostile_ends: Ends, results: list[Box], raised: Box
) -> None:
    ends = hostile_ends
    for box in (*results, raised):
        gifts.append(box.value)
        attempts: list[Callable[[], Any]] = [
            lambda: ends.near.call("gives", timeout=HANG_S),
            lambda: list(ends.near.stream("gives", timeout=HANG_S)),
            lambda: list(ends.near.stream("yields", timeout=HANG_S)),
            lambda: ends.near.call("raises", timeout=HANG_S),
            lambda: ends.near.notify("raises"),
        ]
        for attempt in attempts:
            try:
                attempt()
            except (RemoteError, EncodeError, TypeError):
                pass
        gifts.clear()
        assert ends.near.call("ping", timeout=HANG_S) == "pong"
    assert not ends.near.closed


gifts: list[Any] = []


@pytest.fixture
def hostile_ends(make: Make, caplog: pytest.LogCaptureFixture) -> Iterator[Ends]:
    def gives() -> Any:
        return gifts[0]

    def yields() -> Iterator[Any]:
        yield gifts[0]

    def raises() -> None:
        raise gifts[0]

    ends = serve(make, gives, yields, raises)
    yield ends
    assert "broke" not in caplog.text
    assert "ended:" not in caplog.text


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Panic, StopIteration, PeerGone, MemoryError])
def test_what_a_function_raises_is_answered_and_ends_nothing(make: Make, kind: type[BaseException]) -> None:
    def raises() -> None:
        raise kind("on purpose")

    def breaks() -> Iterator[int]:
        yield 1
        raise kind("on purpose")

    ends = serve(make, raises, breaks)
    with pytest.raises(RemoteError, match=f"^{kind.__name__}: on purpose"):
        ends.near.call("raises")
    stream = ends.near.stream("breaks")
    assert next(stream) == 1
    with pytest.raises(RemoteError, match="on purpose"):
        next(stream)
    ends.near.notify("raises")
    assert ends.near.call("ping") == "pong"


class Thing:
    pass


def released() -> Any:
    view = memoryview(bytearray(8))
    view.release()
    return view


def dead_proxy() -> Any:
    return weakref.proxy(Thing())


class NotOfAnyClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise Panic("class")


class Counted(list[int]):
    def __len__(self) -> int:
        raise PeerGone("not the connection's")


class Falls:
    def __del__(self) -> None:
        raise ValueError("at the end")


class ComparedAlone(type):
    """Its classes have no hash: what Python makes of an `__eq__` without a `__hash__`."""

    def __eq__(cls, other: object) -> bool:
        return cls is other


class OfNoHash(metaclass=ComparedAlone):
    pass


class ListOfNoHash(list[int], metaclass=ComparedAlone):
    pass


class ItemsOfNoHash(metaclass=ComparedAlone):
    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])


def test_a_result_whose_class_has_no_hash_is_told_by_its_methods(make: Make) -> None:
    def nothing() -> Any:
        return OfNoHash()

    def plain() -> Any:
        return ListOfNoHash([1, 2])

    def items() -> Any:
        return ItemsOfNoHash()

    ends = serve(make, nothing, plain, items)
    with pytest.raises(EncodeError, match="OfNoHash"):
        ends.near.call("nothing")
    assert ends.near.call("plain") == [1, 2]
    assert list(ends.near.stream("items")) == [1, 2]
    with pytest.raises(EncodeError, match=r"call it with stream\(\)"):
        ends.near.call("items")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make_result", [released, dead_proxy, NotOfAnyClass, Counted, Falls])
def test_a_result_that_cannot_be_looked_at_is_an_encode_error(make: Make, make_result: Callable[[], Any]) -> None:
    def gives() -> Any:
        return make_result()

    def items() -> Iterator[Any]:
        yield make_result()

    ends = serve(make, gives, items)
    if make_result is not Counted:  # how long it says it is need not be asked
        with pytest.raises(EncodeError, match="^gives: result: "):
            ends.near.call("gives")
        with pytest.raises(EncodeError, match="^items: item: "):
            list(ends.near.stream("items"))
    assert ends.near.call("ping") == "pong"
    ends.near.close()
    ends.join()
    gc.collect()


def test_what_escapes_while_an_answer_is_taken_is_told_to_who_waits_for_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise Panic("nobody has thought of this")

    def fails() -> None:
        raise ValueError

    ends = serve(make, fails)
    monkeypatch.setattr("shm_protocol.frames.fault_of", broken)
    with pytest.raises(ProtocolError, match=r"could not be taken: .*Panic: nobody has thought of this"):
        ends.near.call("fails")
    assert ends.near.closed


def test_the_last_answer_is_a_response_and_needs_nothing_of_the_users(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise Panic("no error is safe from this")

    def raises() -> None:
        raise ValueError

    monkeypatch.setattr(frames, "encode_error_response", broken)
    ends = serve(make, raises)
    with pytest.raises(RemoteError, match="an error that cannot be described"):
        ends.near.call("raises")
    assert ends.near.call("ping") == "pong"
    decoded: Any = values.decode(last_answer(2**53 - 1))
    assert decoded[:2] == [1, 2**53 - 1]
    assert decoded[2]["code"] == "RemoteError"


def test_a_log_that_fails_ends_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Panic("a handler of the program's")

    def raises() -> None:
        raise ValueError("unheard")

    handler = Broken()
    logging.getLogger("shm_protocol").addHandler(handler)
    try:
        ends = serve(make, raises)
        ends.near.notify("raises")
        ends.near.notify("nothing.of.that.name")
        assert ends.near.call("ping") == "pong"
    finally:
        logging.getLogger("shm_protocol").removeHandler(handler)


def test_ctrl_c_while_a_result_is_looked_at_is_told_first(make: Make) -> None:
    class Interrupted(list[int]):
        def __iter__(self) -> Any:
            raise KeyboardInterrupt

    def gives() -> Any:
        return Interrupted([1])

    ends = serve(make, gives)
    with pytest.raises(EncodeError, match="^gives: result: "):
        ends.near.call("gives")
    ends.join()
    assert type(ends.far_error) is KeyboardInterrupt


# Streams that nobody asked for, and asynchronous functions.


class Source:
    """An iterator with a close of its own."""

    def __init__(self, closed: list[str], close: BaseException | None = None) -> None:
        self.closed = closed
        self.failure = close

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> int:
        return 1

    def close(self) -> None:
        self.closed.append("closed")
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize("failure", [None, ValueError("no"), Panic("no")])
def test_a_stream_that_was_called_is_closed_and_told_once(
    make: Make, failure: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    def source() -> Any:
        return Source(closed, failure)

    ends = serve(make, source)
    with pytest.raises(EncodeError, match=r"source gives a stream: call it with stream\(\)"):
        ends.near.call("source")
    assert ends.near.call("ping") == "pong"
    assert closed == ["closed"]
    assert ends.near.stats["late_answers"] == 0
    assert ("closing the stream of source raised" in caplog.text) == (failure is not None)


def test_a_stream_whose_close_raises_is_over_for_its_caller_and_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    def source() -> Any:
        return Source(closed, Panic("no"))

    ends = serve(make, source)
    with ends.near.stream("source", credit=1) as stream:
        assert next(stream) == 1
    assert [ends.near.call("ping") for _ in range(3)] == ["pong"] * 3
    assert closed == ["closed"]
    assert "closing the stream of source raised" in caplog.text


def test_what_turns_out_to_be_asynchronous_is_told_with_what_to_do(make: Make, recwarn: Any) -> None:
    async def later() -> int:
        return 1

    async def items() -> Any:
        yield 1

    def gives_later() -> Any:
        return later()

    def gives_items() -> Any:
        return items()

    ends = serve(make, gives_later, gives_items)
    for attempt in (
        lambda: ends.near.call("gives_later"),
        lambda: ends.near.call("gives_items"),
        lambda: list(ends.near.stream("gives_items")),
    ):
        with pytest.raises(EncodeError, match=r"is asynchronous; it needs an event loop: serve it with serve_async"):
            attempt()
    ends.near.notify("gives_later")
    assert ends.near.call("ping") == "pong"
    gc.collect()
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


# Contexts, and what is served while a call waits.

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def test_each_root_call_runs_in_a_context_of_its_own(make: Make) -> None:
    def become(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    def items() -> Iterator[str]:
        for name in ("alice", "bob"):
            before = tenant.get()
            tenant.set(name)
            yield before

    ends = make(None, {"become": become, "items": items})
    seen: list[str] = []

    def far() -> None:
        tenant.set("the thread's")
        try:
            ends.far.serve()
        finally:
            seen.append(tenant.get())

    ends.run(far)
    assert [ends.near.call("become", "alice"), ends.near.call("become", "bob")] == ["nobody", "nobody"]
    # A generator keeps its context from item to item.
    assert list(zip(ends.near.stream("items"), ends.near.stream("items"), strict=True)) == [
        ("nobody", "nobody"),
        ("alice", "alice"),
    ]
    ends.near.close()
    ends.join()
    assert seen == ["the thread's"]


def test_a_call_of_the_chain_sees_the_context_of_the_call_that_waits_and_cannot_change_it(make: Make) -> None:
    def look() -> str:
        before = tenant.get()
        tenant.set("changed inside")
        return before

    def outer() -> list[str]:
        tenant.set("alice")
        return [back().call("forward", "look"), tenant.get()]

    def forward(method: str) -> Any:
        return back().call(method)

    ends = make({"forward": forward}, {"outer": outer, "look": look})
    ends.serve()
    assert ends.near.call("outer") == ["alice", "alice"]


def test_unrelated_calls_wait_until_the_call_that_waits_is_answered(make: Make) -> None:
    lock = threading.Lock()
    order: list[str] = []

    def outer() -> str:
        with lock:
            order.append("outer")
            back().call("hold")
            order.append("outer ends")
        return "done"

    def unrelated() -> str:
        order.append("unrelated")
        return "locked" if lock.acquire(timeout=HANG_S) else "deadlock"

    ends = make(None, {"outer": outer, "unrelated": unrelated})
    encoder = values.Encoder()
    ends.serve()
    send = ends.near_transport.send
    send(frames.encode_request(encoder, 1, "outer", (), None))
    hold: Any = receive(ends)
    assert hold[2] == "hold"
    assert hold[4] == {"chain": ["outer"], "within": 1}
    send(frames.encode_request(encoder, 2, "unrelated", (), None))
    send(frames.encode_request(encoder, 3, "unrelated", (), {"deadline_ms": 20}))
    # One whose deadline passes meanwhile is told so at once.
    late: Any = receive(ends)
    assert (late[1], late[2]["code"]) == (3, "CallTimeout")
    send(frames.encode_request(encoder, 4, "outer", (), {"chain": ["hold"], "within": hold[1] + 5}))
    with pytest.raises(PeerGone):
        # Within a call that was never made.
        receive(ends)
    assert order == ["outer"]


def test_unrelated_calls_are_served_in_their_order_afterwards(make: Make) -> None:
    order: list[str] = []

    def outer() -> None:
        order.append("outer")
        back().call("hold")
        order.append("outer ends")

    ends = make(None, {"outer": outer, "note": order.append})
    encoder = values.Encoder()
    ends.serve()
    send = ends.near_transport.send
    send(frames.encode_request(encoder, 1, "outer", (), None))
    hold: Any = receive(ends)
    for number in range(2, 5):
        send(frames.encode_request(encoder, number, "note", (f"note {number}",), None))
    send(frames.encode_request(encoder, 5, "note", ("of the chain",), {"chain": ["outer", "hold"], "within": hold[1]}))
    assert receive(ends)[1] == 5
    send(frames.encode_response(encoder, hold[1], None))
    assert [receive(ends)[1] for _ in range(4)] == [1, 2, 3, 4]
    assert order == ["outer", "of the chain", "outer ends", "note 2", "note 3", "note 4"]


def test_more_unrelated_calls_than_are_read_ahead_do_not_keep_the_answer_from_being_seen(make: Make) -> None:
    def outer() -> Any:
        return back().call("hold")

    ends = make(None, {"outer": outer, "ping": lambda: "pong"})
    encoder = values.Encoder()
    ends.serve()

    def send(message: bytes) -> None:
        if not ends.near_transport.send(message):
            while not ends.near_transport.flush():
                time.sleep(0.001)

    send(frames.encode_request(encoder, 1, "outer", (), None))
    hold = receive(ends)
    for number in range(2, 1000):
        send(frames.encode_request(encoder, number, "ping", (), None))
    send(frames.encode_response(encoder, hold[1], "answered"))
    assert receive(ends) == [1, 1, None, "answered"]


def test_a_worker_that_waits_says_that_it_is_busy_until_it_has_its_answer(
    make: Make, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if transport == "socket":
        return  # it has no states to tell: Node counts the calls of a worker's that it serves

    def outer() -> Any:
        return back().call("look")

    ends = make(None, {"outer": outer})
    states: list[int] = []
    ends.serve()
    encoder = values.Encoder()
    ends.near_transport.send(frames.encode_request(encoder, 1, "outer", (), None))
    hold = receive(ends)
    end = time.monotonic() + HANG_S
    while ends.near_transport.peer_state() not in (1, 2) and time.monotonic() < end:  # type: ignore[attr-defined]
        pass
    ends.near_transport.send(frames.encode_response(encoder, hold[1], None))
    states.append(receive(ends)[1])
    assert states == [1]


def receive(ends: Ends) -> Any:
    message = ends.near_transport.receive(int(HANG_S * 1e9))
    assert message is not None
    return values.decode(message)


def test_a_stream_that_nobody_reads_any_more_is_closed_before_the_next_call_starts(make: Make) -> None:
    lock, holds, released = threading.Lock(), threading.Event(), threading.Event()
    got: list[bool] = []

    def items() -> Iterator[int]:
        with lock:
            while True:
                yield 1

    def hold() -> None:
        holds.set()
        released.wait(HANG_S)

    def take() -> None:
        got.append(lock.acquire(blocking=False))
        if got[-1]:
            lock.release()

    ends = serve(make, items, hold, take)
    rounds = 6
    for number in range(rounds):
        holds.clear()
        released.clear()
        # Streams and requests have turns, which each item changes: another number of items each time.
        stream = ends.near.stream("items", timeout=HANG_S, credit=1 + number)
        assert next(stream) == 1
        ends.near.notify("hold")
        assert holds.wait(HANG_S)
        # Both are there when the far side goes on.
        stream.close()
        ends.near.notify("take")
        released.set()
        ends.near.call("ping", timeout=HANG_S)
    assert got == [True] * rounds

"""What ends the program while something of a user's is looked at: what strikes meanwhile, and nothing else."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import pytest
from ends import HANG_S, TRANSPORTS, Ends
from shm_protocol import EncodeError, RemoteError, _codec, error_maps, errors, exits, frames, log, streams
from shm_protocol.values import encoder

Handler = Callable[[int, FrameType | None], Any]
STRUCK = signal.SIGUSR1


@pytest.fixture
def handle() -> Iterator[Callable[[Handler], None]]:
    before = signal.getsignal(STRUCK)

    def handle(handler: Handler) -> None:
        signal.signal(STRUCK, handler)

    yield handle
    signal.signal(STRUCK, before)


def strike(*_: object) -> None:
    signal.raise_signal(STRUCK)


def leave(*_: object) -> NoReturn:
    sys.exit(7)


def exits_deeper(_number: int, _frame: FrameType | None) -> None:
    leave()


def forgets(number: int, frame: FrameType | None) -> None:
    del number, frame
    leave()


def exits_once(*_: object) -> None:
    signal.signal(STRUCK, signal.SIG_IGN)
    leave()


def closure() -> Handler:
    def handler(number: int, frame: FrameType | None) -> None:
        def log() -> tuple[int, FrameType | None]:
            return number, frame

        log()
        signal.signal(STRUCK, signal.SIG_DFL)
        leave()

    return handler


def by_keyword(number: int, frame: FrameType | None, *, how: Callable[[], None]) -> None:
    del number, frame
    how()


@functools.wraps(forgets)
def decorated(*args: Any) -> None:
    forgets(*args)


class Service:
    def stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        leave()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        leave()


HANDLERS: list[Handler] = [
    leave,
    exits_deeper,
    forgets,
    exits_once,
    closure(),
    decorated,
    Service().stop,
    Service(),
    functools.partial(by_keyword, how=leave),
    functools.partial(functools.partial(Service().stop)),
    lambda *_: leave(),
]


def raised(body: Callable[[], object]) -> BaseException:
    try:
        body()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_a_signal_handler_raises_is_told_from_what_an_object_does(
    handle: Callable[[Handler], None], handler: Handler
) -> None:
    handle(handler)
    assert exits.is_interrupt(raised(strike))
    # Others of its kind are set, and it is not: then it is a function as any other.
    handle(lambda *_: leave())
    assert not exits.is_interrupt(raised(leave))
    assert not exits.is_interrupt(raised(lambda: leave(1, sys._getframe(1))))


def test_whatever_else_is_raised_is_the_objects_own() -> None:
    for kind in (ValueError, GeneratorExit, SystemExit, errors.PeerGone):
        assert not exits.is_interrupt(raised(lambda kind=kind: (_ for _ in ()).throw(kind)))  # type: ignore[misc]
    assert not exits.is_interrupt(SystemExit(3))
    assert exits.is_interrupt(KeyboardInterrupt())
    assert exits.ends_program(SystemExit())
    assert exits.ends_program(KeyboardInterrupt())
    assert not exits.ends_program(GeneratorExit())


def test_only_the_main_thread_is_interrupted(handle: Callable[[Handler], None]) -> None:
    handle(leave)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(exits.is_interrupt(raised(leave))))
    thread.start()
    thread.join(HANG_S)
    assert found == [False]


class Namespace(dict[str, Any]):
    """Of a class's body."""

    def get(self, *_: object) -> NoReturn:
        raise AssertionError("it was looked at")


class Prepared(type):
    @classmethod
    def __prepare__(cls, *_: object, **__: object) -> Namespace:
        return Namespace()


def test_nothing_of_what_has_raised_is_run() -> None:
    def body() -> None:
        class Odd(metaclass=Prepared):
            leave()

    assert not exits.is_interrupt(raised(body))


# Each look of the library's.


class OddKind(type):
    """Of a class that the abstract types cannot keep."""

    hook: Callable[[], Any]

    def __hash__(cls) -> int:
        cls.hook()
        return 1


def error_with(hook: Callable[..., Any]) -> Exception:
    hooks: dict[str, object] = dict.fromkeys(("__str__", "__repr__"), hook)
    hooks.update({name: property(hook) for name in ("data", "__notes__", "__cause__", "__traceback__", "__class__")})
    return type("Hooked", (Exception,), hooks)("text")  # type: ignore[no-any-return]


class Logs(logging.Handler):
    def __init__(self, hook: Callable[..., Any]) -> None:
        super().__init__()
        self.hook = hook

    def emit(self, record: logging.LogRecord) -> None:
        self.hook()


def logs(hook: Callable[..., Any], write: Callable[[], None]) -> None:
    handler = Logs(hook)
    log.logger.addHandler(handler)
    try:
        write()
    finally:
        log.logger.removeHandler(handler)


def encode(encoding: Any, hook: Callable[..., Any], is_key: bool) -> Any:
    kind: Any = type("Hooked", (str,), {"__class__": property(hook)})
    items = type("Items", (dict,), {"items": hook, "__iter__": hook, "__len__": hook})(a=1)
    with pytest.raises(EncodeError, match="SystemExit"):
        encoding.pack({kind("a"): items} if is_key else [kind("a"), items])


LOOKS: dict[str, Callable[[Callable[..., Any]], object]] = {
    "an exception": lambda hook: error_maps.error_to_map(error_with(hook)),
    "a stack": lambda hook: errors.stack_of(error_with(hook)),
    "a kind": lambda hook: streams.is_stream(OddKind("Odd", (), {"hook": hook})()),
    "a value, compiled": lambda hook: encode(_codec.Encoder(), hook, False),
    "a value": lambda hook: encode(encoder.Encoder(), hook, False),
    "a key, compiled": lambda hook: encode(_codec.Encoder(), hook, True),
    "a key": lambda hook: encode(encoder.Encoder(), hook, True),
    "an error's data": lambda hook: frames.encode_error_response(
        _codec.Encoder(),
        1,
        {"code": "RemoteError", "message": "", "data": type("Items", (dict,), {"items": hook})(a=1)},
        1024,
    ),
    "a log": lambda hook: logs(hook, lambda: log.log_plainly(logging.ERROR, "text")),
    "a traceback's log": lambda hook: logs(hook, lambda: log.log_raised(logging.ERROR, "text", raised=ValueError())),
    "a traceback": lambda hook: log.log_raised(logging.ERROR, "text", raised=error_with(hook)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_an_object_that_exits_while_it_is_looked_at_ends_nothing(look: str) -> None:
    LOOKS[look](leave)


@pytest.mark.parametrize("look", [look for look in LOOKS if look not in ("a stack", "a traceback")])
def test_a_signal_that_ends_the_program_while_an_object_is_looked_at_ends_it(
    handle: Callable[[Handler], None], look: str
) -> None:
    handle(exits_once)
    with pytest.raises(SystemExit):
        LOOKS[look](strike)


# Served.


@pytest.fixture(params=TRANSPORTS)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    made = Ends(request.param, 1 << 26, None, None)
    yield made
    made.close()


class Source:
    """An iterator whose hooks do what `hooks` say."""

    def __init__(self, hooks: dict[str, Callable[..., Any]]) -> None:
        self.hooks = hooks
        self.left = 3

    def do(self, name: str) -> None:
        if name in self.hooks:
            self.hooks[name]()

    def __iter__(self) -> Any:
        self.do("__iter__")
        return self

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        self.do("__next__")
        return self.left

    def close(self) -> None:
        self.do("close")


class Numbers:
    """Not an iterator itself."""

    def __iter__(self) -> Iterator[int]:
        yield 1
        leave()


GIFTS: dict[str, Callable[[], Any]] = {
    "iter": lambda: Source({"__iter__": leave}),
    "next": lambda: Source({"__next__": leave}),
    "close": lambda: Source({"close": leave}),
    "generator of an object": lambda: Numbers(),  # a class is not exposed
    "list": lambda: type("Items", (list,), {"__iter__": leave, "__len__": leave})([1]),
    "dict": lambda: type("Items", (dict,), {"items": leave})(a=1),
    "item": lambda: iter([type("Items", (dict,), {"items": leave})(a=1)]),
    "reduce": lambda: type("Reduced", (), {"__reduce__": leave, "__getattr__": leave, "__class__": property(leave)})(),
}


@pytest.mark.parametrize("gift", GIFTS)
def test_an_object_that_exits_ends_no_worker_in_its_main_thread(ends: Ends, gift: str) -> None:
    def raises() -> None:
        raise error_with(leave)

    ends.near.expose({"gives": GIFTS[gift], "raises": raises, "ping": lambda: "pong"})
    told: list[Any] = []

    def read_one() -> None:
        with ends.far.stream("gives", timeout=HANG_S, credit=1) as stream:
            next(stream)

    def ask() -> None:
        far = ends.far
        for attempt in (
            lambda: far.call("gives", timeout=HANG_S),
            lambda: list(far.stream("gives", timeout=HANG_S)),
            read_one,
            lambda: far.call("raises", timeout=HANG_S),
        ):
            try:
                attempt()
            except (RemoteError, EncodeError, TypeError) as error:
                told.append(str(error))
            far.notify("gives")
            far.notify("raises")
            told.append(far.call("ping", timeout=HANG_S))
        far.close()

    ends.run(ask)
    with pytest.raises(errors.PeerGone):
        ends.near.serve()
    ends.join()
    assert ends.far_error is None
    assert told.count("pong") == 4


def closing() -> Iterator[int]:
    try:
        yield from range(10)
    finally:
        leave()


def test_a_generator_that_exits_when_it_is_closed_ends_no_worker(ends: Ends) -> None:
    ends.near.expose({"closing": closing, "ping": lambda: "pong"})

    def ask() -> None:
        with ends.far:
            with ends.far.stream("closing", timeout=HANG_S, credit=1) as stream:
                assert next(stream) == 0
            assert ends.far.call("ping", timeout=HANG_S) == "pong"
            with pytest.raises(EncodeError, match="call it with stream"):
                ends.far.call("closing", timeout=HANG_S)
            assert ends.far.call("ping", timeout=HANG_S) == "pong"

    ends.run(ask)
    with pytest.raises(errors.PeerGone):
        ends.near.serve()
    ends.join()
    assert ends.far_error is None


def exiting_generator() -> Iterator[int]:
    yield 1
    leave()


@pytest.mark.parametrize("function", [leave, exiting_generator])
def test_a_function_that_exits_itself_ends_the_worker_after_its_caller_was_told(
    ends: Ends, function: Callable[[], Any]
) -> None:
    ends.near.expose({"exits": function})
    ends.run(lambda: list(ends.far.stream("exits", timeout=HANG_S)))
    with pytest.raises(SystemExit):
        ends.near.serve()
    ends.join()
    assert isinstance(ends.far_error, RemoteError)
    assert str(ends.far_error) == "SystemExit: 7"
    assert not ends.near.closed


@pytest.mark.parametrize("gift", ["iter", "next", "close", "list", "dict", "item"])
def test_a_signal_that_ends_the_program_while_it_serves_ends_it_after_the_caller_was_told(
    ends: Ends, handle: Callable[[Handler], None], gift: str
) -> None:
    handle(exits_once)
    hooked: dict[str, Callable[[], Any]] = {
        "iter": lambda: Source({"__iter__": strike}),
        "next": lambda: Source({"__next__": strike}),
        "close": lambda: Source({"close": strike}),
        "list": lambda: type("Items", (list,), {"__iter__": strike})([1]),
        "dict": lambda: type("Items", (dict,), {"items": strike})(a=1),
        "item": lambda: iter([type("Items", (dict,), {"items": strike})(a=1)]),
    }
    ends.near.expose({"gives": hooked[gift]})

    def ask() -> None:
        if gift in ("close", "list", "dict"):
            ends.far.call("gives", timeout=HANG_S)
        else:
            list(ends.far.stream("gives", timeout=HANG_S))

    ends.run(ask)
    with pytest.raises(SystemExit):
        ends.near.serve()
    ends.join()
    assert isinstance(ends.far_error, RemoteError | EncodeError)

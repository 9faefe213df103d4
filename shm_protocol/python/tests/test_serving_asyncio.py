"""In an event loop: whatever an awaitable, an asynchronous iterator or a task of a user's does, its caller is told, and
nobody else notices. And whose context it runs in.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from acceptor import HANG_S, Acceptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shm_protocol import (
    AsyncClient,
    BridgeError,
    CallTimeout,
    EncodeError,
    PeerGone,
    RemoteError,
    connect_async,
    current_call,
)

Run = Callable[[Callable[[AsyncClient], Coroutine[Any, Any, Any]]], Any]


def connection_back() -> Any:
    call = current_call()
    assert call is not None
    return call.connection


def back(method: str, *args: Any, timeout: float = HANG_S) -> Any:
    """Call the client."""
    return connection_back().call(method, *args, timeout=timeout)


def read_back(method: str, timeout: float = HANG_S, take: int = 1_000_000) -> list[Any]:
    with connection_back().stream(method, timeout=timeout, credit=4) as stream:
        return list(itertools.islice(stream, take))


def hasty(how: str, method: str, give_up_after: float = 0.05) -> Any:
    """As those, but gives up soon."""
    return back(method, timeout=give_up_after) if how == "back" else read_back(method, timeout=give_up_after)


def notify_back(method: str) -> None:
    connection_back().notify(method)


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def run(path: Path, transport: str, listen: Callable[..., Acceptor]) -> Run:
    """Runs a test's coroutine with a client of an acceptor that calls back."""
    functions = (back, read_back, hasty, notify_back)
    listen({function.__name__: function for function in functions}).serve_in_background()

    def run(test: Callable[[AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
        async def body() -> Any:
            async with await connect_async(path, transport=transport) as client:
                client.expose({"ping": lambda: "pong", "ping_later": ping_later})
                return await asyncio.wait_for(test(client), HANG_S)

        return asyncio.run(body())

    return run


async def ping_later() -> str:
    await asyncio.sleep(0)
    return "pong"


async def is_served(client: AsyncClient) -> None:
    """Everybody else is."""
    assert await client.call("back", "ping") == "pong"
    assert await client.call("back", "ping_later") == "pong"


class Panic(BaseException):
    """As a library's own, which is no Exception."""


class Untellable(Exception):
    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__


RAISED: tuple[type[BaseException], ...] = (
    ValueError,
    StopIteration,
    StopAsyncIteration,
    asyncio.CancelledError,
    GeneratorExit,
    PeerGone,
    MemoryError,
    Panic,
    Untellable,
)


def untold(junk: object) -> Any:
    raise Panic("what is it")


class Junk:
    """Given where the language expects something else, and raising when it is looked at."""

    __class__ = property(untold)

    def __repr__(self) -> str:
        raise Panic("no text")


class OddFuture:
    """What asyncio takes for a future, and which does what `hooks` say."""

    def __init__(self, hooks: dict[str, Any]) -> None:
        self._asyncio_future_blocking = True
        self.loop = asyncio.get_running_loop()
        vars(self).update(hooks)

    def __repr__(self) -> str:
        raise Panic("no text")

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def add_done_callback(self, callback: Callable[[Any], None], **_: Any) -> None:
        callback(self)

    def cancel(self, **_: Any) -> bool:
        raise Panic("it goes on")


def told(how: Any) -> Any:
    """What is done, and with what: junk is drawn by its name, because the test's own tools look at what they draw."""
    kind, what = how
    return kind, JUNK[what]() if isinstance(what, str) else what


class Waits:
    """Awaitable: what awaiting it does is told by `how`."""

    def __init__(self, how: Any) -> None:
        self.how = how

    def __await__(self) -> Generator[Any, Any, Any]:
        kind, what = told(self.how)
        if kind == "raises":
            raise what("on purpose")
        if kind == "gives":
            return what  # type: ignore[no-any-return]  # junk, most often
        return self.go_on(kind, what)

    def go_on(self, kind: str, what: Any) -> Generator[Any, Any, Any]:
        if kind == "yields":
            yield what
        if kind == "raises later":
            yield None
            raise what("on purpose")
        if kind == "ignores its end":
            try:
                yield from asyncio.sleep(0).__await__()
                while True:
                    yield from asyncio.get_running_loop().create_future().__await__()
            except BaseException:
                return "went on"
        return what


class Gives:
    """An asynchronous iterator: what each method does is told by `hows`, by its name."""

    def __init__(self, hows: dict[str, Any]) -> None:
        self.hows = hows
        self.left = 3

    def do(self, name: str, usually: Any) -> Any:
        kind, what = told(self.hows.get(name, ("usual", None)))
        if kind == "raises":
            raise what("on purpose")
        if kind == "gives":
            return what
        return usually if kind == "usual" else Waits((kind, what))

    def __aiter__(self) -> Any:
        return self.do("__aiter__", self)

    def __anext__(self) -> Any:
        self.left -= 1
        if self.left < 0:
            return Waits(("raises later", StopAsyncIteration))
        return self.do("__anext__", Waits(("returns", self.left)))

    def aclose(self) -> Any:
        return self.do("aclose", Waits(("returns", None)))


JUNK: dict[str, Callable[[], Any]] = {
    "int": lambda: 5,
    "None": lambda: None,
    "str": lambda: "text",
    "iterator": lambda: iter(()),
    "hostile": Junk,
    "awaitable": lambda: Waits(("returns", 1)),
    "future": lambda: OddFuture({}),
    "future not asked": lambda: OddFuture({"_asyncio_future_blocking": False}),
    "future of another loop": lambda: OddFuture({"get_loop": lambda: None}),
    "future of no loop": lambda: OddFuture({"get_loop": untold}),
    "future without an end": lambda: OddFuture({"add_done_callback": untold}),
}
HOWS = st.one_of(
    st.tuples(st.sampled_from(("raises", "raises later")), st.sampled_from(RAISED)),
    st.tuples(st.sampled_from(("gives", "returns")), st.sampled_from(sorted(JUNK))),
    st.tuples(st.just("yields"), st.sampled_from(sorted(JUNK))),
)
WAITS = st.builds(Waits, HOWS)
GIVES = st.builds(Gives, st.dictionaries(st.sampled_from(("__aiter__", "__anext__", "aclose")), HOWS))
EXPECTED = (RemoteError, EncodeError, TypeError)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(gifts=st.lists(st.one_of(WAITS, GIVES), min_size=1, max_size=6))
def test_whatever_an_asynchronous_object_does_its_caller_is_told_and_everybody_else_served(
    run: Run, gifts: list[Any]
) -> None:
    async def test(client: AsyncClient) -> None:
        gift: Any = None

        async def awaits() -> Any:
            return await gift

        async def yields() -> AsyncIterator[Any]:
            yield gift
            async for item in gift:
                yield item

        client.expose({"gives": lambda: gift, "awaits": awaits, "yields": yields})
        for gift in gifts:
            for how, method in itertools.product(("back", "read_back"), ("gives", "awaits", "yields")):
                try:
                    await client.call(how, method)
                except CallTimeout:
                    raise AssertionError(f"{how} {method} was not answered: {vars(gift)}") from None
                except (*EXPECTED, BridgeError):
                    pass
            for method in ("gives", "awaits", "yields"):
                await client.call("notify_back", method)
            await is_served(client)

    run(test)


def exits(*_: object) -> Any:
    raise SystemExit(3)


class Exits:
    """Each of whose hooks would end the program."""

    __class__ = property(exits)
    __getattr__ = __repr__ = __await__ = __aiter__ = exits


class YieldsExits:
    def __await__(self) -> Any:
        yield Exits()


class ItemsExit(Gives):
    def __anext__(self) -> Any:
        return exits() if self.left < 3 else super().__anext__()


class EndExits(Gives):
    async def aclose(self) -> None:
        exits()


class Interrupted(asyncio.Future[None]):
    """A future that cannot be cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        return exits(msg)  # type: ignore[no-any-return]


class Exiting:
    def __await__(self) -> Any:
        exits()
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [Exits, YieldsExits, Exiting, ItemsExit, EndExits, Interrupted])
def test_an_object_that_exits_while_it_is_awaited_ends_nothing(run: Run, kind: type) -> None:
    def gift() -> Any:
        return kind({}) if issubclass(kind, Gives) else kind()

    async def raises() -> None:
        raise type("Raised", (Exception,), {"__str__": exits, "data": property(exits)})

    async def yields() -> AsyncIterator[Any]:
        yield 1
        yield gift()

    async def awaits() -> Any:
        try:
            return await gift()
        except SystemExit:
            return "it exited"

    async def test(client: AsyncClient) -> None:
        client.expose({"gives": gift, "raises": raises, "yields": yields, "awaits": awaits})
        for how, method in itertools.product(("hasty", "back", "read_back"), ("gives", "raises", "yields", "awaits")):
            if how == "hasty":
                args: tuple[str, ...] = ("hasty", "read_back", method)
            elif kind is Interrupted and method in ("gives", "awaits"):
                continue  # it never ends
            else:
                args = (how, method)
            try:
                await client.call(*args)
            except (*EXPECTED, BridgeError):
                pass
            await client.call("notify_back", method)
            await is_served(client)

    run(test)


class Chained:
    """Awaits what asyncio cannot wait for, and goes on."""

    def __await__(self) -> Any:
        for _ in range(3):
            with pytest.raises(RuntimeError, match=r"^asyncio cannot wait for <Exits>"):
                yield Exits()
        yield from asyncio.sleep(0).__await__()
        return "went on"


def test_who_awaits_what_cannot_be_awaited_is_told_and_may_go_on(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        made: dict[str, type] = {"chained": Chained, "yields_exits": YieldsExits}
        client.expose({name: lambda kind=kind: kind() for name, kind in made.items()})  # a class is not exposed
        assert await client.call("back", "chained") == "went on"
        with pytest.raises(RemoteError, match="^RuntimeError: asyncio cannot wait for <Exits>"):
            await client.call("back", "yields_exits")
        await is_served(client)

    run(test)


class OwnTask(asyncio.Task[Any]):
    """Of a program's own class, which asyncio looks at closer."""


def test_tasks_and_futures_of_the_programs_own_classes_are_awaited_as_ever(run: Run) -> None:
    begun: list[Any] = []
    ended: list[str] = []
    all_ended = asyncio.Event()

    async def works(result: Any) -> Any:
        try:
            await asyncio.sleep(0)
            begun.append(result)
            if result == "forever":
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ended.append("cancelled")
            raise
        if isinstance(result, Exception):
            raise result
        return result

    async def awaits(how: Any) -> Any:
        task = OwnTask(works(ValueError("on purpose") if how == "raises" else how))
        try:
            return await task
        finally:
            ended.append(f"{task.done()}")
            if len(ended) == 6:
                all_ended.set()

    async def is_cancelled() -> Any:
        task = asyncio.ensure_future(awaits("forever"))
        await asyncio.sleep(0.01)
        task.cancel()
        return await task

    async def test(client: AsyncClient) -> None:
        client.expose(
            {
                "gives": lambda: awaits(7),
                "raises": lambda: awaits("raises"),
                "forever": lambda: awaits("forever"),
                "is_cancelled": is_cancelled,
                "own": lambda: OwnTask(works(8)),
            }
        )
        assert await client.call("back", "gives") == 7
        assert await client.call("back", "own") == 8
        with pytest.raises(RemoteError, match="ValueError: on purpose"):
            await client.call("back", "raises")
        assert ended == ["True", "True"]
        with pytest.raises(RemoteError, match="CancelledError"):
            await client.call("back", "is_cancelled")
        assert ended == ["True", "True", "cancelled", "True"]
        # The task that serves is cancelled, and with it the one that it awaits, to its end.
        begun.clear()
        seconds = 0.05
        # On a busy machine they may pass before it is begun.
        while not begun:
            with pytest.raises(RemoteError, match="CallTimeout"):
                await client.call("hasty", "back", "forever", seconds)
            seconds *= 2
        await all_ended.wait()
        assert ended[4:] == ["cancelled", "True"]
        await is_served(client)

    run(test)


@pytest.mark.parametrize("how", ["plainly", "awaited", "item", "item later"])
def test_a_function_that_exits_ends_the_loop_after_its_caller_was_told(
    path: Path, transport: str, listen: Callable[..., Acceptor], how: str
) -> None:
    told: list[str] = []
    has_ended = threading.Event()

    async def later() -> None:
        await asyncio.sleep(0)
        exits()

    async def item() -> AsyncIterator[int]:
        yield 1
        exits()

    async def item_later() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        exits()

    functions = {"plainly": exits, "awaited": later, "item": item, "item later": item_later}

    def ask() -> None:
        try:
            read_back("function", timeout=HANG_S)
        except RemoteError as error:
            told.append(str(error))
            raise
        finally:
            has_ended.set()

    acceptor = listen({"ask": ask})
    acceptor.serve_in_background()

    async def body() -> None:
        async with await connect_async(path, transport=transport) as client:
            client.expose({"function": functions[how]})
            await asyncio.wait_for(client.call("ask"), HANG_S)

    with pytest.raises(SystemExit):
        asyncio.run(body())
    # To close the acceptor would keep it from reading what has been sent.
    assert has_ended.wait(HANG_S)
    acceptor.close()
    assert told == ["SystemExit: 3"]


def forever_awaited() -> Waits:
    return Waits(("ignores its end", None))


async def forever_yielded() -> AsyncIterator[int]:
    while True:
        try:
            for number in itertools.count():
                yield number
        except GeneratorExit:
            # "async generator ignored GeneratorExit"
            yield -1


async def forever_closing() -> AsyncIterator[int]:
    try:
        for number in itertools.count():
            yield number
    finally:
        await asyncio.get_running_loop().create_future()


def never_answers() -> Gives:
    return Gives({"__anext__": ("ignores its end", None), "aclose": ("ignores its end", None)})


@pytest.mark.parametrize("function", [forever_awaited, forever_yielded, forever_closing, never_answers])
def test_what_never_ends_or_ignores_its_end_holds_nobody_but_its_caller(
    run: Run, function: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def test(client: AsyncClient) -> None:
        client.expose({"endless": function})
        for how in ("back", "read_back"):
            with pytest.raises((CallTimeout, EncodeError, RemoteError)):
                await client.call("hasty", how, "endless")
        if function in (forever_yielded, forever_closing):
            assert await client.call("read_back", "endless", HANG_S, 10) == list(range(10))
        await is_served(client)
        # What is left of them would keep the loop from ending.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(test)


def test_a_stream_that_was_called_is_closed_and_told(run: Run) -> None:
    closed: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("items")

    class Items(Gives):
        def aclose(self) -> Any:
            closed.append("Items")
            return super().aclose()

    async def later() -> Any:
        return Items({})

    async def test(client: AsyncClient) -> None:
        client.expose({"items": items, "Items": lambda: Items({}), "later": later, "plain": lambda: iter([1])})
        for method in ("items", "Items", "later", "plain"):
            with pytest.raises(
                RemoteError, match=rf"^EncodeError: result: {method} gives a stream: call it with stream\(\)"
            ):
                await client.call("back", method)
        # A generator that has not begun has nothing to close.
        assert closed == ["Items", "Items"]
        await is_served(client)

    run(test)


def test_functions_leave_nothing_in_each_others_context(run: Run) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    def become() -> str:
        before = tenant.get()
        tenant.set("somebody")
        return before

    async def become_later() -> str:
        await asyncio.sleep(0)
        return become()

    async def become_in_items() -> AsyncIterator[str]:
        yield become()
        yield become()

    async def test(client: AsyncClient) -> None:
        client.expose({function.__name__: function for function in (become, become_later, become_in_items)})
        for method in ("become", "become_later", "become"):
            assert await client.call("back", method) == "nobody"
        for _ in range(2):
            assert await client.call("read_back", "become_in_items") == ["nobody", "somebody"]
        assert tenant.get() == "nobody"

    run(test)


def test_a_task_that_user_code_cancels_is_answered(run: Run) -> None:
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def cancels_its_stream() -> AsyncIterator[int]:
        yield 1
        await cancels_itself()

    async def test(client: AsyncClient) -> None:
        client.expose({"cancels_itself": cancels_itself, "cancels_its_stream": cancels_its_stream})
        for how, method in (("back", "cancels_itself"), ("read_back", "cancels_its_stream")):
            with pytest.raises(RemoteError, match="CancelledError"):
                await client.call(how, method)
        await is_served(client)

    run(test)


def test_a_log_that_fails_ends_nothing(run: Run) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Panic("a handler of the program's")

    async def raises() -> None:
        raise ValueError("unheard")

    def closing_raises() -> Any:
        return Gives({"aclose": ("raises", Panic)})

    async def test(client: AsyncClient) -> None:
        client.expose({"raises": raises, "closing_raises": closing_raises})
        for method in ("raises", "nothing.of.that.name"):
            await client.call("notify_back", method)
        assert await client.call("read_back", "closing_raises") == [2, 1, 0]
        await is_served(client)

    handler = Broken()
    logging.getLogger("shm_protocol").addHandler(handler)
    try:
        run(test)
    finally:
        logging.getLogger("shm_protocol").removeHandler(handler)

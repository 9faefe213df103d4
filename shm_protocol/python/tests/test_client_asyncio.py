"""The asyncio client, against the acceptor in Python: many calls on one connection, streams, serving, and the end.

The acceptor serves in threads, with the library's other connection. Where a test needs a peer that does something odd,
it takes a connection by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from acceptor import Acceptor
from shm_protocol import (
    AsyncClient,
    BridgeError,
    Busy,
    CallTimeout,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    PeerUnavailable,
    ProtocolError,
    RemoteError,
    UnknownMethod,
    client_asyncio,
    connect_async,
    current_call,
)
from shm_protocol.connection import Connection
from shm_protocol.connection_asyncio import LoopConnection
from shm_protocol.dialing import dial_as
from shm_protocol.session import MAX_OUTSTANDING
from tagged import SHM_PROTOCOL

HANG_S = 200.0
ROOT = SHM_PROTOCOL.parent

Run = Callable[[Callable[[AsyncClient], Coroutine[Any, Any, Any]]], Any]


class Raised(Exception):
    data = {"limit": 3}


class Functions:
    """What the acceptor exposes."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.sent = 0
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)

    def echo(self, value: Any) -> Any:
        return value

    def fail(self, message: str) -> None:
        raise Raised(message)

    def hold(self, value: Any) -> Any:
        self.waiting.release()
        assert self.opened.wait(HANG_S)
        return value

    def note(self, value: Any) -> None:
        self.noted.append(value)

    def notes(self) -> list[Any]:
        return self.noted

    def back(self, method: str, *args: Any) -> Any:
        """Call the caller."""
        call = current_call()
        assert call is not None
        return call.connection.call(method, *args)

    def back_all(self, method: str, args: list[Any]) -> list[Any]:
        """Have many calls of the caller's functions under way at once."""
        call = current_call()
        assert call is not None
        streams = [call.connection.stream(method, arg) for arg in args]
        return [list(stream) for stream in streams]

    def read_back(self, method: str, take: int, credit: int) -> list[Any]:
        """The first items of a stream of the caller's."""
        call = current_call()
        assert call is not None
        with call.connection.stream(method, credit=credit) as stream:
            return list(itertools.islice(stream, take))

    def notify_back(self, method: str, values: list[Any]) -> None:
        call = current_call()
        assert call is not None
        for value in values:
            call.connection.notify(method, value)

    def impatient(self, method: str, seconds: float) -> str:
        call = current_call()
        assert call is not None
        try:
            call.connection.call(method, timeout=seconds)
        except CallTimeout:
            return "gave up"
        return "was answered"

    def down(self, depth: int) -> Any:
        call = current_call()
        assert call is not None
        return list(call.chain) if depth == 0 else call.connection.call("down", depth - 1)

    def context(self) -> Any:
        call = current_call()
        assert call is not None
        return [call.method, list(call.chain), call.traceparent, call.remaining]

    def count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def forever(self) -> Iterator[int]:
        try:
            for number in itertools.count():
                self.sent = number + 1
                yield number
        finally:
            self.noted.append("closed")

    def break_after(self, to: int) -> Iterator[int]:
        yield from range(to)
        raise Raised("no more")

    def blob(self, size: int) -> bytes:
        return b"x" * size

    def size(self, value: bytes) -> int:
        return len(value)


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def functions() -> Iterator[Functions]:
    made = Functions()
    yield made
    made.opened.set()


@pytest.fixture
def acceptor(listen: Callable[..., Acceptor], functions: Functions) -> Acceptor:
    names = (name for name in vars(Functions) if not name.startswith("_"))
    return listen({name: getattr(functions, name) for name in names})


@pytest.fixture
def run(path: Path, transport: str, acceptor: Acceptor) -> Run:
    """Runs a test's coroutine with a client of an acceptor that serves."""
    acceptor.serve_in_background()
    return runner(path, transport)


def runner(path: Path, transport: str, **options: Any) -> Run:
    def run(test: Callable[[AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
        async def body() -> Any:
            async with await connect_async(path, transport=transport, **options) as client:
                assert client.transport == transport
                return await asyncio.wait_for(test(client), HANG_S)

        return asyncio.run(body())

    return run


async def turns(count: int = 3) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go round until something is so."""
    while not condition():  # noqa: ASYNC110  # most conditions are a peer's doing
        await asyncio.sleep(0.001)


# Calls.


def test_a_call_gives_what_the_function_returns(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        for value in (None, 1, "text", [1, {"a": b"bytes"}], "x" * 100_000):
            assert await client.call("echo", value) == value

    run(test)


@pytest.mark.parametrize("size", [0, 1, 1024, 65536, 262144, 262145, 3_000_000])
def test_messages_of_every_size_cross_both_ways(run: Run, size: int) -> None:
    async def test(client: AsyncClient) -> None:
        assert await client.call("size", bytes(size)) == size
        assert await client.call("blob", size) == b"x" * size

    run(test)


def test_1000_calls_outstanding_on_one_connection_each_get_their_own_answer(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        answers = await asyncio.gather(*(client.call("echo", [n, "x" * (n % 50)]) for n in range(1000)))
        assert answers == [[n, "x" * (n % 50)] for n in range(1000)]
        assert client.stats["outstanding"] == 0

    run(test)


def test_answers_in_another_order_than_asked_find_their_callers(path: Path, transport: str, acceptor: Acceptor) -> None:
    def answer_backwards() -> None:
        connection = acceptor.accept()
        session = connection._session
        while len(session.queue) < 1000:
            assert connection._transport.wait(int(HANG_S * 1e9))
            connection.link.read_ahead()
        for request in [session.take() for _ in range(1000)][::-1]:
            assert request is not None
            connection.link.post(session.answer(request, request.args[0]))
        with contextlib.suppress(PeerGone):
            connection.serve()

    async def test(client: AsyncClient) -> None:
        assert await asyncio.gather(*(client.call("f", n) for n in range(1000))) == list(range(1000))

    acceptor._start(answer_backwards)
    runner(path, transport)(test)


def test_the_loop_goes_on_while_a_call_is_under_way(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while ticks < 1000:
                await asyncio.sleep(0)
                ticks += 1
            functions.opened.set()

        # The function returns when the loop has ticked: a loop that stands still would never end this.
        ticking = asyncio.create_task(tick())
        assert await client.call("hold", 1) == 1
        await ticking
        assert ticks == 1000

    run(test)


def test_an_exception_crosses_with_its_data_and_both_stacks(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(RemoteError, match="^Raised: no") as caught:
            await client.call("fail", "no")
        assert caught.value.data == {"limit": 3}
        assert "in fail" in caught.value.stack
        assert any("in fail" in note for note in caught.value.__notes__)
        assert any(entry.name == "test" for entry in caught.traceback)

    run(test)


def test_what_cannot_be_called_or_sent_is_told_and_the_connection_stays(
    path: Path, transport: str, acceptor: Acceptor
) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(UnknownMethod, match="absent"):
            await client.call("absent")
        with pytest.raises(EncodeError, match=r"args\[0\]\[1\]"):
            await client.call("echo", [1, {2}])
        with pytest.raises(EncodeError, match=r"args\[0\]"):
            await client.notify("note", {2})
        with pytest.raises(EncodeError, match="stream"):
            await client.call("count", 3)
        with pytest.raises(TypeError, match="echo gave a value"):
            await anext(client.stream("echo", 3))
        with pytest.raises(MessageTooLarge):
            await client.call("echo", bytes(5000))
        with pytest.raises(MessageTooLarge):
            await client.notify("note", bytes(5000))
        with pytest.raises(ValueError, match="timeout"):
            await client.call("echo", 1, timeout=0)
        with pytest.raises(ValueError, match="credit"):
            client.stream("count", 3, credit=0)
        assert client.stats["outstanding"] == 0
        assert await client.call("echo", 1) == 1

    acceptor.serve_in_background()
    runner(path, transport, max_message=4096)(test)


def test_more_calls_than_may_be_outstanding_are_busy_and_the_others_answered(
    path: Path, transport: str, acceptor: Acceptor
) -> None:
    asked = threading.Event()

    def take_all_then_serve() -> None:
        connection = acceptor.accept()
        while len(connection._session.queue) < MAX_OUTSTANDING:
            assert connection._transport.wait(int(HANG_S * 1e9))
            connection.link.read_ahead()
        assert asked.wait(HANG_S)
        with contextlib.suppress(PeerGone):
            connection.serve()

    async def test(client: AsyncClient) -> None:
        held = [asyncio.create_task(client.call("echo", n)) for n in range(MAX_OUTSTANDING)]
        await until(lambda: client.stats["outstanding"] == MAX_OUTSTANDING)
        with pytest.raises(Busy):
            await client.call("echo", 1)
        asked.set()
        assert await asyncio.gather(*held) == list(range(MAX_OUTSTANDING))

    acceptor._start(take_all_then_serve)
    runner(path, transport)(test)


def test_a_notification_is_delivered_in_order_and_unanswered(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        for number in range(100):
            await client.notify("note", number)
        assert await client.call("notes") == list(range(100))
        assert client.stats["messages_received"] == 1

    run(test)


# Deadlines and cancellation.


def test_a_call_past_its_deadline_says_so_and_its_late_answer_is_dropped(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(CallTimeout, match=r"^hold: no answer within 0\.05 s$"):
            await client.call("hold", 1, timeout=0.05)
        functions.opened.set()
        assert await client.call("echo", 2) == 2
        assert client.stats["outstanding"] == 0

    run(test)


@pytest.mark.parametrize("timeout", [None, float("inf"), 10_000_000.0])
def test_a_timeout_may_be_as_long_as_one_likes(run: Run, timeout: float | None) -> None:
    async def test(client: AsyncClient) -> None:
        assert await client.call("echo", 1, timeout=timeout) == 1

    run(test)


def test_an_answer_that_came_while_the_loop_was_busy_with_something_else_is_in_time(
    run: Run, acceptor: Acceptor, functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(client: AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(client.call("hold", 1, timeout=HANG_S / 3))
        assert await asyncio.to_thread(functions.waiting.acquire, timeout=HANG_S)
        # As in a loop that runs its timers before it looks at its sockets.
        loop.remove_reader(client._connection._descriptor)
        functions.opened.set()
        # The loop stands still, and the answer comes meanwhile.
        while acceptor.connections[0].stats["messages_sent"] == 0:
            pass
        if client.transport == "socket":
            # It counts a message before it sends it.
            assert select.select([client._connection._descriptor], [], [], HANG_S)[0]
        # Past the deadline by the loop's clock.
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + HANG_S / 2)
        assert await call == 1

    run(test)


def test_a_task_that_is_cancelled_tells_the_peer(path: Path, transport: str, acceptor: Acceptor) -> None:
    seen: list[bool] = []

    def see_cancel() -> None:
        connection = acceptor.accept()
        connection._session.receive(receive(connection))
        request = connection._session.take()
        assert request is not None
        connection._session.receive(receive(connection))
        seen.append(request.cancelled)
        with contextlib.suppress(PeerGone):
            connection.serve()

    async def test(client: AsyncClient) -> None:
        call = asyncio.create_task(client.call("f", timeout=None))
        await until(lambda: client.stats["outstanding"])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.stats["outstanding"] == 0
        await until(lambda: seen)
        # The client is none the worse.
        assert await client.call("echo", 1) == 1

    acceptor._start(see_cancel)
    runner(path, transport)(test)
    assert seen == [True]


def close(connection: Connection) -> None:
    """Close an acceptor's connection that no thread uses any more."""
    connection.owner = threading.get_ident()
    connection.close()


def receive(connection: Connection) -> bytes | memoryview:
    message = connection._transport.receive(int(HANG_S * 1e9))
    assert message is not None
    return message


def test_cancelling_some_of_many_calls_leaves_the_others_their_answers(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        tasks = [asyncio.create_task(client.call("hold", n)) for n in range(200)]
        await until(lambda: client.stats["outstanding"] == 200)
        for task in tasks[::2]:
            task.cancel()
        functions.opened.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == list(range(1, 200, 2))
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])

    run(test)


def test_a_call_into_a_full_ring_that_nobody_reads_times_out_and_goes_on_when_it_is_read(
    path: Path, transport: str, acceptor: Acceptor
) -> None:
    accepted: list[Connection] = []
    acceptor._start(lambda: accepted.append(acceptor.accept()))

    async def test(client: AsyncClient) -> None:
        first = asyncio.create_task(client.call("size", bytes(4_000_000), timeout=None))
        await until(lambda: client._connection._transport.sending)
        ticks = 0
        with pytest.raises(CallTimeout, match="it was not sent"):
            await client.call("echo", 1, timeout=0.05)
        for _ in range(100):
            await asyncio.sleep(0)
            ticks += 1
        later = [asyncio.create_task(client.call("echo", n)) for n in range(10)]
        await until(lambda: accepted)
        acceptor._start(lambda: acceptor._serve(accepted[0]))
        assert await first == 4_000_000
        assert await asyncio.gather(*later) == list(range(10))
        assert ticks == 100

    runner(path, transport, ring_capacity=4096)(test)


def test_two_full_rings_do_not_block_each_other(path: Path, transport: str, acceptor: Acceptor) -> None:
    acceptor.serve_in_background()

    async def test(client: AsyncClient) -> None:
        blobs = [bytes([n]) * 100_000 for n in range(50)]
        assert await asyncio.gather(*(client.call("echo", blob) for blob in blobs)) == blobs

    runner(path, transport, ring_capacity=4096)(test)


# Streams.


@pytest.mark.parametrize("credit", [1, 2, 3, 64])
def test_a_stream_gives_every_item_in_order(run: Run, credit: int) -> None:
    async def test(client: AsyncClient) -> None:
        assert [item async for item in client.stream("count", 500, credit=credit)] == list(range(500))
        assert client.stats["outstanding"] == 0

    run(test)


def test_no_more_items_are_sent_than_credit_was_granted(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        stream = client.stream("forever", credit=8)
        assert [await anext(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
        # Eight at first, and four when four had been taken.
        await until(lambda: functions.sent >= 12)
        await client.call("echo", 1)
        assert functions.sent == 12
        await stream.aclose()

    run(test)


def test_leaving_a_stream_early_closes_the_peers_generator(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        async with contextlib.aclosing(client.stream("forever", credit=4)) as stream:
            async for item in stream:
                if item == 10:
                    break
        await until(lambda: functions.noted == ["closed"])
        # Without aclosing, when the generator is collected.
        async for item in client.stream("forever", credit=4):
            if item == 10:
                break
        gc.collect()
        await until(lambda: functions.noted == ["closed", "closed"])
        assert await client.call("echo", 1) == 1

    run(test)


def test_a_stream_that_breaks_gives_its_items_and_then_the_error(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        got = []
        with pytest.raises(RemoteError, match="no more"):
            async for item in client.stream("break_after", 10, credit=3):
                got.append(item)  # noqa: PERF401
        assert got == list(range(10))

    run(test)


def test_a_stream_past_its_deadline_says_so(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(CallTimeout, match="the stream did not end"):
            async for _ in client.stream("hold", 1, timeout=0.05):
                pass
        functions.opened.set()
        assert client.stats["outstanding"] == 0
        assert await client.call("echo", 1) == 1

    run(test)


def test_a_stream_that_is_always_ahead_of_its_reader_ends_at_its_deadline(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        with pytest.raises(CallTimeout, match=r"^forever: the stream did not end within 0\.1 s"):
            async for item in client.stream("forever", timeout=0.1):
                await until(lambda item=item: functions.sent > item + 3)  # type: ignore[misc]
                await turns()
                # It would never end.
                assert item < 50_000
        assert await client.call("echo", 1) == 1

    run(test)


def test_streams_and_calls_share_the_connection(run: Run) -> None:
    async def collect(client: AsyncClient, to: int) -> list[int]:
        return [item async for item in client.stream("count", to, credit=2)]

    async def test(client: AsyncClient) -> None:
        lists = await asyncio.gather(*(collect(client, n) for n in range(50)), client.call("echo", [5]))
        assert lists == [*(list(range(n)) for n in range(50)), [5]]

    run(test)


# Serving.


def test_the_peer_may_call_functions_sync_and_async_while_the_client_is_connected(run: Run) -> None:
    async def later(value: Any) -> Any:
        await asyncio.sleep(0)
        return [value, asyncio.get_running_loop().is_running()]

    async def test(client: AsyncClient) -> None:
        client.expose({"at_once": lambda value: [value], "later": later})
        assert await client.call("back", "at_once", 1) == [1]
        assert await client.call("back", "later", 2) == [2, True]
        with pytest.raises(RemoteError, match="exposed already"):
            await client.call("back", "raise_value_error")
        assert client.stats["served"] == 3

    def with_error(client: AsyncClient) -> Coroutine[Any, Any, Any]:
        client.expose({"raise_value_error": lambda: client.expose({"later": later})})
        return test(client)

    run(with_error)


def test_functions_that_wait_are_served_side_by_side(path: Path, transport: str, acceptor: Acceptor) -> None:
    started: list[int] = []

    async def together(number: int) -> AsyncIterator[int]:
        """Ends when all 100 have begun: served one after the other they never would."""
        started.append(number)
        await until(lambda: len(started) == 100)
        yield number

    async def test(client: AsyncClient) -> None:
        assert await client.call("back_all", "together", list(range(100))) == [[n] for n in range(100)]

    async def gives_iterator(number: int) -> AsyncIterator[int]:
        return together(number)

    acceptor.serve_in_background()
    runner(path, transport, expose={"together": together})(test)
    started.clear()
    runner(path, transport, expose={"together": gives_iterator})(test)


def test_an_asynchronous_function_that_raises_is_told_with_a_stack_that_begins_there(run: Run) -> None:
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise Raised("later")

    async def test(client: AsyncClient) -> None:
        client.expose({"fail_later": fail_later})
        with pytest.raises(RemoteError, match="Raised: later") as caught:
            await client.call("back", "fail_later")
        # Theirs, which holds ours.
        assert "in back" in caught.value.stack
        assert "in fail_later" in caught.value.stack
        assert "connection_asyncio.py" not in caught.value.stack

    run(test)


@pytest.mark.parametrize("wrong", ["boss", "", 5, None, ["worker"], {}])
def test_a_role_that_there_is_not_is_refused_before_anybody_is_dialed(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(TypeError, match="role=.*: must be 'client' or 'worker'"):
        asyncio.run(connect_async(tmp_path / "nobody.sock", role=wrong))


def test_what_an_asynchronous_function_gives_that_cannot_be_sent_is_named(run: Run) -> None:
    async def unsendable() -> Any:
        return {"items": [{4}]}

    async def stream() -> AsyncIterator[int]:
        yield 1

    async def odd_items() -> AsyncIterator[Any]:
        try:
            yield 1
            yield {1}
        finally:
            closed.append(True)

    closed: list[bool] = []

    async def test(client: AsyncClient) -> None:
        client.expose({"unsendable": unsendable, "stream": stream, "odd_items": odd_items})
        with pytest.raises(RemoteError, match=r"EncodeError: unsendable: result\.items\[0\]"):
            await client.call("back", "unsendable")
        with pytest.raises(RemoteError, match=r"EncodeError: .*stream gives a stream: call it with stream\(\)"):
            await client.call("back", "stream")
        with pytest.raises(RemoteError, match=r"EncodeError: odd_items: item"):
            await client.call("read_back", "odd_items", 5, 5)
        assert closed == [True]

    run(test)


@pytest.mark.parametrize("credit", [1, 3, 500])
def test_an_asynchronous_generator_sends_no_further_ahead_than_its_credit_and_is_closed(run: Run, credit: int) -> None:
    made: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                made.append(number)
                yield number
        finally:
            made.append(-1)

    async def test(client: AsyncClient) -> None:
        client.expose({"numbers": numbers})
        assert await client.call("read_back", "numbers", 100, credit) == list(range(100))
        await until(lambda: made[-1] == -1)
        assert len(made) - 1 <= 100 + credit

    run(test)


def test_a_call_that_its_caller_gave_up_cancels_the_task_that_serves_it(run: Run) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def endless() -> None:
        begun.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def test(client: AsyncClient) -> None:
        client.expose({"endless": endless})
        seconds = 0.05
        # On a busy machine they may pass before it is begun: then it is not.
        while not begun:
            assert await client.call("impatient", "endless", seconds) == "gave up"
            seconds *= 2
        await until(lambda: len(ended) == len(begun))
        assert client._connection._session.incoming == {}
        assert await client.call("echo", 1) == 1

    run(test)


def test_a_notification_of_an_asynchronous_function_is_run_and_its_failure_logged(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    noted: list[Any] = []

    async def note(value: Any) -> None:
        await asyncio.sleep(0)
        noted.append(1 / value)

    async def test(client: AsyncClient) -> None:
        client.expose({"note_later": note})
        await client.call("notify_back", "note_later", [1, 2, 0, 4])
        await until(lambda: len(noted) == 3)

    run(test)
    assert noted == [1.0, 0.5, 0.25]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "the notification note_later raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_notifications_that_never_end_are_bounded(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[Any] = []

    async def endless(value: Any) -> None:
        started.append(value)
        await asyncio.Event().wait()

    async def test(client: AsyncClient) -> None:
        client.expose({"endless": endless})
        await client.call("notify_back", "endless", list(range(MAX_OUTSTANDING + 5)))
        await until(lambda: client.stats["dropped_notifications"] == 5)
        await until(lambda: len(started) == MAX_OUTSTANDING)

    run(test)
    assert "the notification endless is dropped" in caplog.text


def test_calls_nest_both_ways_and_carry_their_chain_trace_and_deadline(run: Run) -> None:
    async def through(client: AsyncClient, depth: int) -> Any:
        return await client.call("context") if depth == 0 else await client.call("back", "through", depth - 1)

    async def test(client: AsyncClient) -> None:
        client.expose({"through": lambda depth: through(client, depth)})
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        method, chain, traceparent, remaining = await client.call("back", "through", 2, timeout=20, traceparent=trace)
        assert method == "context"
        assert chain == ["back", "through"] * 3
        assert traceparent == trace
        assert 0 < remaining <= 20
        # Outside of a call nothing is inherited.
        assert await client.call("context") == ["context", [], None, None]

    run(test)


def test_the_33rd_nested_call_is_refused(run: Run) -> None:
    async def down(client: AsyncClient) -> Any:
        return await client.call("back", "down_here")

    async def test(client: AsyncClient) -> None:
        client.expose({"down_here": lambda: down(client)})
        with pytest.raises(RemoteError, match="CallTooDeep: more than 32 nested calls"):
            await client.call("back", "down_here")

    run(test)


def test_a_task_that_outlives_the_call_it_was_made_in_is_no_part_of_its_chain(run: Run) -> None:
    tasks: list[Awaitable[Any]] = []
    answered = asyncio.Event()

    async def test(client: AsyncClient) -> None:
        async def outlive() -> Any:
            await answered.wait()
            return await client.call("context")

        async def begin() -> None:
            tasks.append(asyncio.create_task(outlive()))

        client.expose({"begin": begin})
        await client.call("back", "begin")
        answered.set()
        assert (await tasks[0])[1] == []

    run(test)


def test_functions_do_not_run_in_the_context_of_whichever_call_woke_the_loop(run: Run) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    async def look() -> str:
        return variable.get()

    async def test(client: AsyncClient) -> None:
        client.expose({"look": look, "look_at_once": variable.get})
        variable.set("a caller's")
        assert await client.call("back", "look") == "unset"
        assert await client.call("back", "look_at_once") == "unset"

    run(test)


def test_a_blocking_call_from_a_function_that_is_served_says_what_to_do_instead(run: Run) -> None:
    def block(how: str) -> Any:
        call = current_call()
        assert call is not None
        return getattr(call.connection, how)("echo", 1)

    async def test(client: AsyncClient) -> None:
        client.expose({"block": block})
        for how in ("call", "stream", "notify"):
            with pytest.raises(RemoteError, match=r"RuntimeError: echo: .*await a call of the AsyncClient"):
                await client.call("back", "block", how)

    run(test)


# The end.


def test_everything_under_way_fails_when_the_peer_goes(path: Path, transport: str, acceptor: Acceptor) -> None:
    accepted: list[Connection] = []
    acceptor._start(lambda: accepted.append(acceptor.accept()))

    async def test(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call(f"f{n}", timeout=None)) for n in range(100)]
        stream = asyncio.create_task(anext(client.stream("g")))
        await until(lambda: client.stats["outstanding"] == 101 and accepted)
        close(accepted[0])
        results = await asyncio.gather(*calls, stream, return_exceptions=True)
        assert {type(result) for result in results} == {PeerGone}
        assert [str(result).split(":")[0] for result in results] == [*(f"f{n}" for n in range(100)), "g"]
        assert client.closed
        with pytest.raises(ConnectionClosed, match=r"^h: .*the peer has closed"):
            await client.call("h")

    runner(path, transport)(test)


def test_a_peer_that_goes_while_the_ring_is_full_ends_those_who_wait_for_room(
    path: Path, transport: str, acceptor: Acceptor
) -> None:
    accepted: list[Connection] = []
    acceptor._start(lambda: accepted.append(acceptor.accept()))

    async def test(client: AsyncClient) -> None:
        first = asyncio.create_task(client.call("size", bytes(4_000_000), timeout=None))
        await until(lambda: client._connection._transport.sending and accepted)
        others = [asyncio.create_task(client.call("echo", n, timeout=None)) for n in range(3)]
        notice = asyncio.create_task(client.notify("note", 1))
        await turns()
        close(accepted[0])
        results = await asyncio.gather(first, *others, notice, return_exceptions=True)
        assert {type(result) for result in results} == {PeerGone}

    runner(path, transport, ring_capacity=4096)(test)


def test_answers_sent_just_before_the_end_still_arrive(path: Path, transport: str, acceptor: Acceptor) -> None:
    def answer_and_go() -> None:
        connection = acceptor.accept()
        served = 0
        while served < 50:
            served += connection.serve_ready()
        connection.close()

    async def test(client: AsyncClient) -> None:
        assert await asyncio.gather(*(client.call("echo", n) for n in range(50))) == list(range(50))

    acceptor._start(answer_and_go)
    runner(path, transport)(test)


def test_closing_fails_what_is_under_way_with_connection_closed(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call("hold", n)) for n in range(10)]
        stream = asyncio.create_task(anext(client.stream("hold", 1)))
        await until(lambda: client.stats["outstanding"] == 11)
        client.close()
        client.close()
        results = await asyncio.gather(*calls, stream, return_exceptions=True)
        assert {type(result) for result in results} == {ConnectionClosed}
        assert client.closed
        for attempt in (client.call("echo", 1), anext(client.stream("count", 1)), client.notify("note", 1)):
            with pytest.raises(ConnectionClosed, match="closed"):
                await attempt
        with pytest.raises(ConnectionClosed):
            _ = client.stats

    run(test)


def test_a_task_that_serves_a_peer_that_goes_is_cancelled(path: Path, transport: str, acceptor: Acceptor) -> None:
    begun: list[float | None] = []
    ended: list[float | None] = []

    async def endless(seconds: float | None) -> None:
        begun.append(seconds)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(seconds)

    accepted: list[Connection] = []

    def call_and_go() -> None:
        accepted.append(acceptor.accept())
        seconds = 0.05
        # On a busy machine they may pass before it is begun: then it is not.
        while not begun:
            with pytest.raises(CallTimeout):
                accepted[0].call("endless", seconds, timeout=seconds)
            seconds *= 2
        with contextlib.suppress(BridgeError):
            accepted[0].call("endless", None, timeout=None)

    async def test(client: AsyncClient) -> None:
        await until(lambda: None in begun)
        # Those that were given up.
        await until(lambda: ended == begun[:-1] != [])
        accepted[0].interrupt()
        await until(lambda: ended == begun)

    acceptor._start(call_and_go)
    runner(path, transport, expose={"endless": endless})(test)


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x94\x01\x05\xc0\xc0", b"\x94\x00\x00\xa1f\x90", bytes(100)])
def test_a_message_that_breaks_the_protocol_ends_every_call(
    path: Path, transport: str, acceptor: Acceptor, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def send_garbage() -> None:
        connection = acceptor.accept()
        receive(connection)
        connection._transport.send(garbage)
        with pytest.raises(PeerGone):
            while True:
                receive(connection)
        connection.close()

    async def test(client: AsyncClient) -> None:
        async def stream() -> None:
            async for _ in client.stream("f"):
                pass

        outcomes = await asyncio.gather(client.call("f"), client.call("f"), stream(), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ProtocolError] * 3
        assert all(str(outcome).startswith("f: ") for outcome in outcomes)
        with pytest.raises(ConnectionClosed):
            await client.call("f")

    acceptor._start(send_garbage)
    runner(path, transport)(test)
    assert "ended" in caplog.text


def test_a_peer_that_is_killed_fails_the_calls_under_way(path: Path, transport: str, acceptor: Acceptor) -> None:
    pids: list[int] = []

    def serve_in_a_child() -> None:
        connection = acceptor.accept()
        pids.append(os.getpid())
        with contextlib.suppress(BridgeError):
            connection.serve()

    child = os.fork()
    if child == 0:
        try:
            serve_in_a_child()
        finally:
            os._exit(0)

    async def test(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call("hold", n)) for n in range(10)]
        await until(lambda: client.stats["outstanding"] == 10)
        os.kill(child, signal.SIGKILL)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {PeerGone}

    try:
        runner(path, transport)(test)
    finally:
        os.waitpid(child, 0)


# Loops, threads, forks, and the end of the program.


def test_another_loop_is_told_whose_the_client_is(path: Path, transport: str, acceptor: Acceptor) -> None:
    acceptor.serve_in_background()

    async def body() -> None:
        client = await connect_async(path, transport=transport)
        for use in (client.call("echo", 1), client.notify("note", 1)):
            with pytest.raises(RuntimeError, match=r"belongs to <.*> and was used in <"):
                await asyncio.to_thread(asyncio.run, use)

        def close() -> None:
            with pytest.raises(RuntimeError, match="call_soon_threadsafe"):
                client.close()

        await asyncio.to_thread(close)
        assert await client.call("echo", 1) == 1
        asyncio.get_running_loop().call_soon_threadsafe(client.close)
        await until(lambda: client.closed)

    asyncio.run(body())


def test_a_client_may_be_closed_after_its_loop_with_a_call_under_way(
    path: Path, transport: str, acceptor: Acceptor, caplog: pytest.LogCaptureFixture
) -> None:
    acceptor.serve_in_background()
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(connect_async(path, transport=transport))
    call = loop.create_task(client.call("hold", 1))
    loop.run_until_complete(until(lambda: client.stats["outstanding"]))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    client.close()
    assert client.closed
    del call
    gc.collect()
    # asyncio's own complaint, and none of ours.
    assert [record.getMessage().split("\n")[0] for record in caplog.records if record.levelno >= logging.ERROR] == [
        "Task was destroyed but it is pending!"
    ]


def test_a_forked_child_may_not_use_the_client_and_the_parents_stays(run: Run) -> None:
    async def test(client: AsyncClient) -> None:
        assert await client.call("echo", 1) == 1
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(use_in_child(client))
                code = 0
            finally:
                os._exit(code)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 0
        assert await asyncio.gather(*(client.call("echo", n) for n in range(100))) == list(range(100))

    async def use_in_child(client: AsyncClient) -> None:
        with pytest.raises(ConnectionClosed, match="belongs to the parent process"):
            await client.call("echo", 2)
        client.close()

    run(test)


def test_a_dial_that_is_given_up_is_closed_when_it_succeeds(
    path: Path, transport: str, acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialed: list[LoopConnection] = []
    begun = threading.Event()

    def dial(*args: Any, **options: Any) -> LoopConnection:
        begun.set()
        dialed.append(dial_as(*args, **options))
        return dialed[-1]

    monkeypatch.setattr(client_asyncio, "dial_as", dial)

    async def body() -> None:
        # Nobody accepts yet, so the dial cannot have been quicker.
        dialing = asyncio.create_task(connect_async(path, transport=transport))
        await until(begun.is_set)
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
        acceptor.accept().close()

    asyncio.run(body())
    with pytest.raises(ConnectionClosed):
        dialed[0]._transport.fileno()


def test_nobody_there_is_told(path: Path, transport: str) -> None:
    async def body() -> None:
        with pytest.raises(PeerUnavailable, match="nobody listens"):
            await connect_async(path, transport=transport)

    asyncio.run(body())


def test_a_program_that_never_closes_its_client_ends_silently(
    path: Path, transport: str, acceptor: Acceptor, functions: Functions
) -> None:
    acceptor.serve_in_background()
    program = f"""
import asyncio, shm_protocol
async def main():
    client = await shm_protocol.connect_async({str(path)!r}, transport={transport!r})
    assert await client.call("echo", 1) == 1
    left = asyncio.create_task(client.call("hold", 1))
    stream = client.stream("forever")
    await anext(stream)
asyncio.run(main(), debug=False)  # it would tell of a slow machine
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_that_does_not_ask_for_it_does_not_import_asyncio() -> None:
    program = "import sys, shm_protocol; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_an_idle_client_does_not_keep_the_loop_busy(run: Run, functions: Functions) -> None:
    async def test(client: AsyncClient) -> None:
        held = asyncio.create_task(client.call("hold", 1))
        assert await asyncio.to_thread(functions.waiting.acquire, timeout=HANG_S)
        # The spin budget ends by itself; then no turn is due until the socket says so.
        await until(lambda: not client._connection._has_turn)
        functions.opened.set()
        assert await held == 1
        await until(lambda: not client._connection._has_turn)

    run(test)

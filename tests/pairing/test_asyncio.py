"""Python calls from an asyncio event loop, with many calls under way on one connection, and Node answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from peers import HANG_S, Pair
from shm_protocol import (
    AsyncClient,
    Busy,
    CallTimeout,
    ConnectionClosed,
    PeerGone,
    RemoteError,
    connect_async,
    current_call,
)

Test = Callable[[AsyncClient], Coroutine[Any, Any, None]]


@pytest.fixture
def mortal(transport: str) -> Iterator[Pair]:
    """A pair for one test, without a worker."""
    with Pair(transport) as pair:
        yield pair


def run(pair: Pair, test: Test, **options: Any) -> None:
    """Run a test's coroutine with a client of the pair's Node."""

    async def body() -> None:
        async with await connect_async(pair.path, transport=pair.transport, **options) as client:
            assert client.transport == pair.transport
            await asyncio.wait_for(test(client), HANG_S)

    asyncio.run(body())


async def until(client: AsyncClient, method: str, expected: Callable[[Any], bool]) -> None:
    """Ask Node until it says so."""
    while not expected(await client.call(method)):  # noqa: ASYNC110  # it happens in Node
        await asyncio.sleep(0.005)


async def until_sent(client: AsyncClient, messages: int) -> None:
    """Let the loop go round until so many messages are in the ring or the socket."""
    while client.stats["messages_sent"] < messages:  # noqa: ASYNC110  # there is nothing to be told by
        await asyncio.sleep(0)


def test_1000_calls_outstanding_each_get_their_own_answer(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        # None is answered before all have been made.
        calls = [asyncio.create_task(client.call("functions.hold", [n, f"question {n}"])) for n in range(1000)]
        await until_sent(client, 1000)
        assert client.stats["outstanding"] == 1000
        await client.notify("functions.release")
        assert await asyncio.gather(*calls) == [[n, f"question {n}"] for n in range(1000)]

    run(pair, test)


def test_more_calls_than_may_be_outstanding_are_refused_and_the_others_answered(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call("functions.hold", n)) for n in range(1100)]
        # None is answered before all have been made or refused.
        while sum(call.done() for call in calls) < 1100 - 1024:  # noqa: ASYNC110  # as in until_sent
            await asyncio.sleep(0)
        # By another connection: on this one Node drops a notification too, and may not have started all calls yet.
        with pair.connect() as other:
            while not all(call.done() for call in calls):
                await asyncio.to_thread(other.call, "functions.release")
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, Busy)] == list(range(1024))
        assert len([answer for answer in answers if isinstance(answer, Busy)]) == 1100 - 1024

    run(pair, test)


def test_the_loop_goes_on_while_node_holds_a_call(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        call = asyncio.create_task(client.call("functions.hold", "held"))
        ticks = 0
        while ticks < 5000:
            await asyncio.sleep(0)
            ticks += 1
        assert not call.done()
        # Node answers when the loop has ticked: a loop that stands still would never come here.
        await client.notify("functions.release")
        assert await call == "held"

    run(pair, test)


def test_an_exception_of_typescripts_shows_both_stacks(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        for method, kind in (("functions.fail", "Refusal"), ("functions.failLater", "RangeError")):
            with pytest.raises(RemoteError, match=f"^{kind}: too much") as caught:
                await client.call(method, "too much")
            assert "node_peer.ts" in caught.value.stack
            assert any("node_peer.ts" in note for note in caught.value.__notes__)
            assert any(entry.name == "test" for entry in caught.traceback)

    run(pair, test)


def test_cancelling_the_task_aborts_the_function_in_typescript(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        call = asyncio.create_task(client.call("functions.hangUntilCancelled", "from asyncio"))
        await until_sent(client, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(client, "functions.cancelled", lambda cancelled: "from asyncio" in cancelled)

    run(pair, test)


def test_calls_past_their_deadlines_say_so_and_the_others_are_answered(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        late = [client.call("functions.hang", timeout=0.05 + n / 1000) for n in range(50)]
        prompt = [client.call("functions.echo", n, timeout=HANG_S) for n in range(50)]
        results = await asyncio.gather(*late, *prompt, return_exceptions=True)
        assert {type(result) for result in results[:50]} == {CallTimeout}
        assert results[50:] == list(range(50))
        assert client.stats["outstanding"] == 0

    run(pair, test)


def test_every_call_under_way_is_told_when_node_is_killed(mortal: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call("functions.hang", timeout=None)) for _ in range(100)]
        await until_sent(client, 100)
        mortal.node.kill()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {PeerGone}
        with pytest.raises(ConnectionClosed):
            await client.call("functions.echo", 1)

    run(mortal, test)


@pytest.mark.parametrize("credit", [1, 2, 64])
def test_a_typescript_generator_is_iterated_over(pair: Pair, credit: int) -> None:
    async def test(client: AsyncClient) -> None:
        assert [item async for item in client.stream("functions.count", 500, credit=credit)] == list(range(500))

    run(pair, test)


def test_streams_run_side_by_side_with_calls(pair: Pair) -> None:
    async def collect(client: AsyncClient, to: int) -> list[int]:
        return [item async for item in client.stream("functions.count", to, credit=3)]

    async def test(client: AsyncClient) -> None:
        got = await asyncio.gather(*(collect(client, 10 * n) for n in range(20)), client.call("functions.echo", ["me"]))
        assert got == [*(list(range(10 * n)) for n in range(20)), ["me"]]

    run(pair, test)


def test_leaving_a_stream_ends_the_typescript_generator(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        before = (await client.call("functions.cancelled")).count("countForever")
        async with contextlib.aclosing(client.stream("functions.countForever", credit=8)) as numbers:
            assert [await anext(numbers) for _ in range(100)] == list(range(100))
        await until(client, "functions.cancelled", lambda noted: noted.count("countForever") == before + 1)

    run(pair, test)


def test_typescript_calls_back_into_functions_sync_and_async(pair: Pair) -> None:
    async def later(value: Any) -> Any:
        await asyncio.sleep(0)
        return ["later", value]

    async def test(client: AsyncClient) -> None:
        client.expose({"mine": {"later": later, "at_once": lambda value: ["at once", value]}})
        assert await client.call("functions.callBack", "mine.later", [1]) == ["later", 1]
        assert await client.call("functions.callBack", "mine.at_once", [2]) == ["at once", 2]
        many = await asyncio.gather(*(client.call("functions.callBack", "mine.later", [n]) for n in range(300)))
        assert many == [["later", n] for n in range(300)]

    run(pair, test)


def test_an_exception_of_an_async_function_crosses_and_comes_back_with_every_stack(pair: Pair) -> None:
    async def refuse(value: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError(f"no {value}")

    async def test(client: AsyncClient) -> None:
        client.expose({"mine": {"refuse": refuse}})
        with pytest.raises(RemoteError, match="^LookupError: no bread") as caught:
            await client.call("functions.callBack", "mine.refuse", ["bread"])
        assert "in refuse" in caught.value.stack

    run(pair, test)


def test_calls_nest_through_both_languages_with_their_chain(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        async def down(depth: int) -> Any:
            call = current_call()
            assert call is not None
            return list(call.chain) if depth == 0 else await client.call("functions.down", depth - 1)

        client.expose({"worker": {"down": down}})
        assert await client.call("functions.down", 7) == ["functions.down", "worker.down"] * 3 + ["functions.down"]
        # Many chains at once do not get mixed up.
        chains = await asyncio.gather(*(client.call("functions.down", depth) for depth in range(16)))
        assert [len(chain) for chain in chains] == list(range(16))

    run(pair, test)


def test_as_a_worker_it_serves_calls_that_node_makes_of_its_own(mortal: Pair) -> None:
    async def echo(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def test(client: AsyncClient) -> None:
        answers = await client.call("driver.attemptAll", "worker.echo", list(range(1000)))
        assert answers == [{"value": number} for number in range(1000)]
        for credit in (1, 64):
            got = await client.call("driver.collect", "worker.count", [300], 1000, credit)
            assert got == {"items": list(range(300))}

    run(mortal, test, expose={"worker": {"echo": echo, "count": count}}, role="worker")


def test_no_call_of_nodes_fails_while_a_worker_leaves_and_another_takes_its_place(mortal: Pair) -> None:
    released, counted = asyncio.Event(), asyncio.Event()

    async def hold(value: Any) -> Any:
        await released.wait()
        return value

    def count() -> Iterator[int]:
        yield from itertools.takewhile(lambda _: not counted.is_set(), itertools.count())

    def attach() -> Coroutine[Any, Any, AsyncClient]:
        functions = {"hold": hold, "count": count, "echo": lambda value: value}
        return connect_async(mortal.path, transport=mortal.transport, expose={"worker": functions}, role="worker")

    async def test(client: AsyncClient) -> None:
        async with await attach() as old:
            held = asyncio.create_task(client.call("driver.attemptAll", "worker.hold", list(range(100))))
            # Most of the time this one waits for credit.
            stream = asyncio.create_task(client.call("driver.collect", "worker.count", [], 1_000_000, 1))
            await until(client, "driver.connections", lambda all_: sum(one["outstanding"] for one in all_) == 101)
            async with await attach():
                left = asyncio.gather(old.leave(HANG_S), old.leave(HANG_S))
                answers = [await client.call("driver.attempt", "worker.echo", [n]) for n in range(200)]
                assert answers == [{"value": n} for n in range(200)]
                assert await client.call("driver.workers") == 1
                assert not left.done()
                released.set()
                assert await held == [{"value": n} for n in range(100)]
                assert not left.done()
                counted.set()
                got = await stream
                assert got == {"items": list(range(len(got["items"])))}
                await left

    run(mortal, test)


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_worker_that_leaves_says_when_it_has_not_served_all(mortal: Pair, end: str) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def test(client: AsyncClient) -> None:
        call = asyncio.create_task(client.call("driver.attempt", "worker.hang", []))
        await until(client, "driver.connections", lambda all_: all_[0]["outstanding"] == 1)
        with pytest.raises(CallTimeout, match=r"still serving 0\.01 s after it began to leave"):
            await client.leave(0.01)
        leaving = asyncio.create_task(client.leave(HANG_S))
        await until(client, "driver.workers", lambda workers: workers == 0)
        if end == "close":
            client.close()
        else:
            mortal.node.kill()
        for waiting in (leaving, call):
            with pytest.raises(ConnectionClosed if end == "close" else PeerGone):
                await waiting

    run(mortal, test, expose={"worker": {"hang": hang}}, role="worker")


def test_a_worker_that_leaves_serves_a_notification_to_its_end(mortal: Pair) -> None:
    noted: list[str] = []
    may_note = asyncio.Event()

    async def note(value: str) -> None:
        await may_note.wait()
        noted.append(value)

    async def test(client: AsyncClient) -> None:
        await client.call("driver.notify", "worker.note", ["a notification"])
        leaving = asyncio.create_task(client.leave(HANG_S))
        await until(client, "driver.workers", lambda workers: workers == 0)
        assert not leaving.done()
        may_note.set()
        await leaving
        assert noted == ["a notification"]

    run(mortal, test, expose={"worker": {"note": note}}, role="worker")


def test_closing_ends_a_leave_that_node_has_not_answered(pair: Pair) -> None:
    async def test(client: AsyncClient) -> None:
        leaving = asyncio.create_task(client.leave(HANG_S))
        await until_sent(client, 1)
        client.close()
        with pytest.raises(ConnectionClosed):
            await leaving

    run(pair, test)

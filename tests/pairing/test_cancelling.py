"""Who no longer waits for an answer stops the function, on the other side, whatever kind of function it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import python_peer
import shm_protocol
from peers import HANG_S, Pair

WAITING = threading.Event()


def notes(node: shm_protocol.Client) -> list[Any]:
    """What the worker has noted."""
    noted: list[Any] = node.call("driver.attempt", "worker.notes", [])["value"]
    return noted


# TypeScript calls Python.


def test_a_plain_function_learns_that_an_abort_signal_has_fired(
    node: shm_protocol.Client, pair: Pair, tmp_path: Path
) -> None:
    begun, name = str(tmp_path / "begun"), f"aborted over {pair.transport}"
    answer = node.call("driver.abortOnceThere", begun, "worker.until_cancelled", [begun, name])
    assert answer["error"]["code"] == "Cancelled"
    pair.wait_until(lambda: name in notes(node), "the function has stopped")


def test_a_generator_learns_it_between_two_items(node: shm_protocol.Client, pair: Pair, tmp_path: Path) -> None:
    begun, name = str(tmp_path / "begun"), f"no more items over {pair.transport}"
    answer = node.call("driver.abortOnceThere", begun, "worker.items_until_cancelled", [begun, name], True)
    assert answer["error"]["code"] == "Cancelled"
    pair.wait_until(lambda: name in notes(node), "the generator has stopped")


def test_a_plain_function_learns_that_its_deadline_has_passed(
    node: shm_protocol.Client, pair: Pair, tmp_path: Path
) -> None:
    begun, name = str(tmp_path / "begun"), f"too late over {pair.transport}"
    seconds = 0.1
    # On a busy machine they may pass before it is begun: then it is not.
    while not Path(begun).exists():
        answer = node.call("driver.attempt", "worker.until_cancelled", [begun, name], {"timeoutMs": seconds * 1000})
        # The function knows it as soon as Node does.
        assert answer == {"value": None} or answer["error"]["code"] == "CallTimeout"
        seconds *= 2
    pair.wait_until(lambda: name in notes(node), "the function has stopped")


def test_a_function_of_a_worker_in_a_thread_learns_it(node: shm_protocol.Client, pair: Pair, tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    python_peer.noted.clear()
    exposed = {"in_thread": {"until_cancelled": python_peer.until_cancelled}}
    with shm_protocol.Worker(pair.path, transport=pair.transport, expose=exposed):
        pair.wait_until(lambda: node.call("driver.workers") == 2, "it is attached")
        answer = node.call("driver.abortOnceThere", begun, "in_thread.until_cancelled", [begun, "in a thread"])
        assert answer["error"]["code"] == "Cancelled"
        pair.wait_until(lambda: python_peer.noted == ["in a thread"], "the function has stopped")


def test_a_function_that_is_called_while_a_call_waits_learns_it(pair: Pair, tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    python_peer.noted.clear()
    exposed = {"nested": {"until_cancelled": python_peer.until_cancelled}}
    with pair.connect(expose=exposed) as client:
        answer = client.call("functions.abortNested", begun, "nested.until_cancelled", [begun, "nested"])
        assert answer["error"]["code"] == "Cancelled"
        assert python_peer.noted == ["nested"]


@pytest.mark.parametrize("kind", ["coroutine", "generator", "plain", "thread"])
def test_what_an_event_loop_serves_is_cancelled_or_learns_it(
    node: shm_protocol.Client, pair: Pair, tmp_path: Path, kind: str
) -> None:
    begun = tmp_path / "begun"
    ended: list[str] = []

    async def coroutine() -> None:
        begun.touch()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("coroutine")

    async def generator() -> AsyncIterator[int]:
        begun.touch()
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append("generator")

    def plain() -> None:
        python_peer.noted.clear()
        python_peer.until_cancelled(str(begun), "plain")
        ended.extend(python_peer.noted)

    async def thread() -> None:
        await asyncio.to_thread(plain)

    functions: dict[str, Callable[..., Any]] = {
        "coroutine": coroutine,
        "generator": generator,
        "plain": plain,
        "thread": thread,
    }

    async def test() -> None:
        async with shm_protocol.AsyncWorker(pair.path, transport=pair.transport, expose={"loop": functions}):
            while await asyncio.to_thread(node.call, "driver.workers") != 2:  # noqa: ASYNC110  # it happens in Node
                await asyncio.sleep(0.002)
            answer = await asyncio.to_thread(
                node.call, "driver.abortOnceThere", str(begun), f"loop.{kind}", [], kind == "generator"
            )
            assert answer["error"]["code"] == "Cancelled"
            while not ended:  # noqa: ASYNC110  # it happens in another task, or thread
                await asyncio.sleep(0.002)

    asyncio.run(asyncio.wait_for(test(), HANG_S))
    assert len(ended) == 1


# Python calls TypeScript, where `currentCall().signal` is aborted.


def stopped(node: shm_protocol.Client, name: str) -> bool:
    """Whether that function has seen its signal aborted."""
    return name in node.call("functions.cancelled")


def test_a_deadline_of_pythons_aborts_the_signal(node: shm_protocol.Client, pair: Pair) -> None:
    with pytest.raises(shm_protocol.CallTimeout):
        node.call("functions.hangUntilCancelled", "by its deadline", timeout=0.2)
    pair.wait_until(lambda: stopped(node, "by its deadline"), "the function has stopped")


def test_a_future_of_another_thread_that_is_cancelled_aborts_the_signal(node: shm_protocol.Client, pair: Pair) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with await shm_protocol.connect_async(pair.path, transport=pair.transport) as client:

            def call_and_cancel() -> None:
                call = client.call("functions.hangUntilCancelled", "by its future")
                future = asyncio.run_coroutine_threadsafe(call, loop)
                while not client.stats["outstanding"] and not future.done():
                    WAITING.wait(0.002)
                future.cancel()

            await asyncio.to_thread(call_and_cancel)
            while not stopped(node, "by its future"):  # noqa: ASYNC110  # it happens in Node
                await asyncio.sleep(0.002)

    asyncio.run(asyncio.wait_for(test(), HANG_S))


@pytest.fixture(autouse=True)
def _noted() -> Iterator[None]:
    yield
    python_peer.noted.clear()

"""A worker in an event loop: until its task is cancelled, or it is stopped; what it had been called for is answered."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from acceptor import Acceptor
from shm_protocol import AsyncWorker, ConfigError, PeerGone, ProtocolError, VersionMismatch, serve_async
from shm_protocol.connection import Connection
from shm_protocol.handshake import Refusal

HANG_S = 200.0

Listen = Callable[..., Acceptor]


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(body: Awaitable[Any]) -> Any:
    async def within() -> Any:
        return await asyncio.wait_for(body, HANG_S)

    return asyncio.run(within())


async def accepted(acceptor: Acceptor) -> Connection:
    return await asyncio.to_thread(acceptor.accept)


async def call(connection: Connection, *calls: tuple[Any, ...]) -> list[Any]:
    """Make these calls as Node would, in a thread, and go on serving until the connection ends; what came of it."""

    def in_thread() -> list[Any]:
        outcomes: list[Any] = []
        connection.owner = threading.get_ident()
        for one in calls:
            try:
                outcomes.append(connection.call(*one, timeout=HANG_S))
            except Exception as error:
                outcomes.append(error)
        try:
            connection.serve()
        except shm_protocol.BridgeError as error:
            outcomes.append(type(error))
        connection.close()
        return outcomes

    return await asyncio.to_thread(in_thread)


class Gate:
    """A coroutine function that is under way until it is let go."""

    def __init__(self) -> None:
        self.begun, self.opened = asyncio.Event(), asyncio.Event()

    async def hold(self, value: Any) -> Any:
        self.begun.set()
        await self.opened.wait()
        return value


def test_a_worker_serves_beside_the_body_of_async_with_and_leaves_at_its_end(
    path: Path, transport: str, listen: Listen
) -> None:
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def body() -> None:
        acceptor, heard = listen(), asyncio.Event()

        def last(x: int) -> int:
            heard.set()
            return x

        worker = AsyncWorker(path, transport=transport, expose={"double": double, "count": count, "last": last})
        accepting = asyncio.create_task(accepted(acceptor))
        async with worker as entered:
            assert entered is worker
            assert (worker.attached, worker.closed) == (True, False)
            calls = asyncio.create_task(call(await accepting, ("double", 4), ("last", 5)))
            await heard.wait()
        assert (worker.attached, worker.closed) == (False, True)
        assert await calls == [8, 5, PeerGone]

    run(body())


def test_a_call_under_way_when_the_task_is_cancelled_is_answered(path: Path, transport: str, listen: Listen) -> None:
    async def body() -> None:
        gate, acceptor = Gate(), listen()
        task = asyncio.create_task(serve_async(path, transport=transport, expose={"hold": gate.hold}))
        calls = asyncio.create_task(call(await accepted(acceptor), ("hold", "answered")))
        await gate.begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await calls == ["answered", PeerGone]

    run(body())


def test_a_call_under_way_when_a_worker_is_stopped_is_answered(path: Path, transport: str, listen: Listen) -> None:
    async def body() -> None:
        gate, acceptor = Gate(), listen()
        worker = AsyncWorker(path, transport=transport, expose={"hold": gate.hold})
        task = asyncio.create_task(worker.serve())
        calls = asyncio.create_task(call(await accepted(acceptor), ("hold", "answered")))
        await gate.begun.wait()
        worker.stop()
        gate.opened.set()
        await task
        assert await calls == ["answered", PeerGone]

    run(body())


def test_a_task_that_is_cancelled_twice_ends_at_once(path: Path, transport: str, listen: Listen) -> None:
    async def body() -> None:
        gate, acceptor = Gate(), listen()
        task = asyncio.create_task(serve_async(path, transport=transport, expose={"hold": gate.hold}))
        calls = asyncio.create_task(call(await accepted(acceptor), ("hold", "never")))
        await gate.begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        error, _ = await calls
        assert isinstance(error, PeerGone)

    run(body())


def test_a_call_that_does_not_end_holds_a_worker_no_longer_than_its_leave_timeout(
    path: Path, transport: str, listen: Listen
) -> None:
    async def body() -> None:
        gate, acceptor = Gate(), listen()
        worker = AsyncWorker(path, transport=transport, expose={"hold": gate.hold}, leave_timeout=0.02)
        task = asyncio.create_task(worker.serve())
        calls = asyncio.create_task(call(await accepted(acceptor), ("hold", "never")))
        await gate.begun.wait()
        worker.stop()
        await task
        error, _ = await calls
        assert isinstance(error, PeerGone)

    run(body())


def test_a_worker_dials_again_when_its_peer_has_gone(path: Path, transport: str, listen: Listen) -> None:
    async def body() -> None:
        # Nobody listens when it begins.
        async with AsyncWorker(path, transport=transport, expose={"echo": lambda value: value}) as worker:
            assert not worker.attached
            for value in range(2):
                acceptor = listen()
                connection = await accepted(acceptor)
                calls = asyncio.create_task(call(connection, ("echo", value)))
                # The names of what is exposed, and the answer.
                while connection.stats["messages_received"] < 2:  # noqa: ASYNC110  # there is nothing to be told by
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(acceptor.close)
                assert (await calls)[0] == value

    run(body())


def test_a_refusal_that_no_dial_could_mend_ends_the_worker(path: Path, listen: Listen) -> None:
    async def body() -> None:
        with pytest.raises(VersionMismatch, match="too old"):
            async with AsyncWorker(path, expose={"echo": len}):
                raise AssertionError("never entered")
        with pytest.raises(VersionMismatch, match="too old"):
            await serve_async(path, expose={"echo": len})

    listen(refusal=Refusal("VersionMismatch", "too old")).serve_in_background()
    run(body())


def test_a_peer_that_breaks_the_protocol_ends_the_worker_which_says_so_when_it_is_closed(
    path: Path, transport: str, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        acceptor = listen()
        accepting = asyncio.create_task(accepted(acceptor))
        worker = AsyncWorker(path, transport=transport, expose={"echo": len})
        await worker.__aenter__()
        connection = await accepting
        connection._transport.send(b"\xc1")
        while not worker.closed:  # noqa: ASYNC110  # there is nothing to be told by
            await asyncio.sleep(0.001)
        with pytest.raises(ProtocolError):
            await worker.close()
        await worker.close()
        connection.owner = threading.get_ident()
        connection.close()
        assert f"{worker!r} ends: ProtocolError" in caplog.text

    run(body())


FORKING = """
import asyncio, os, sys
import shm_protocol

def begun(child):
    if child == 0:
        sys.stderr = open(os.devnull, "w")
    return child

def ended(child):
    return None if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def plain():
    return ended(begun(os.fork()))

def exits():
    child = begun(os.fork())
    return ended(child) if child else sys.exit(3)

async def coroutine():
    return plain()

async def waits():
    child = begun(os.fork())
    if child == 0:
        await asyncio.get_event_loop_policy().get_event_loop().create_future()
    return ended(child)

async def task():
    return await asyncio.create_task(waits())

def items():
    yield plain()

async def async_items():
    yield plain()

path, transport = sys.argv[1:]
functions = [plain, exits, coroutine, waits, task, items, async_items]
expose = {function.__name__: function for function in functions}
asyncio.run(shm_protocol.serve_async(path, transport=transport, expose=expose))
"""


def test_a_child_that_a_function_forks_ends_when_it_comes_back_and_the_worker_goes_on(
    path: Path, transport: str, listen: Listen
) -> None:
    acceptor = listen()
    with subprocess.Popen([sys.executable, "-c", FORKING, str(path), transport]) as program:
        try:
            connection = acceptor.accept()
            codes = {
                name: connection.call(name, timeout=HANG_S) for name in ("plain", "exits", "coroutine", "waits", "task")
            }
            assert codes == {"plain": 1, "exits": 3, "coroutine": 1, "waits": 1, "task": 1}
            for name in ("items", "async_items"):
                assert list(connection.stream(name, timeout=HANG_S)) == [1]
            assert len(acceptor.hellos) == 1
        finally:
            program.kill()


def test_a_worker_begins_once(path: Path) -> None:
    async def body() -> None:
        async with AsyncWorker(path, expose={"echo": len}) as worker:
            with pytest.raises(RuntimeError, match="it serves already"):
                await worker.serve()
        with pytest.raises(RuntimeError, match="it has stopped; make another"):
            await worker.serve()

    run(body())


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"leave_timeout": -1}, ConfigError, r"^leave_timeout=-1: must be a number of seconds greater than 0"),
        ({"name": 5}, TypeError, r"^name=5: must be a string or None"),
        ({"timeout": "1"}, TypeError, r"^timeout='1': must be"),
        ({"transport": "tcp"}, ConfigError, r"^transport="),
        ({"expose": {"Class": dict}}, TypeError, r"^expose: Class is a class"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_dialed(
    path: Path, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    given = {"expose": {"echo": len}, **options}
    with pytest.raises(kind, match=said):
        run(serve_async(path, **given))

    async def make() -> None:
        AsyncWorker(path, **given)

    with pytest.raises(kind, match=said):
        run(make())


def test_a_client_tells_why_its_connection_has_ended(path: Path, transport: str, listen: Listen) -> None:
    async def body() -> None:
        acceptor = listen({"echo": lambda value: value}).serve_in_background()
        node = await shm_protocol.connect_async(path, transport=transport)
        waiting = asyncio.create_task(node.wait_closed())
        assert await node.call("echo", 1) == 1
        assert not waiting.done()
        await asyncio.to_thread(acceptor.close)
        assert isinstance(await waiting, PeerGone)
        assert isinstance(await node.wait_closed(), PeerGone)

    run(body())

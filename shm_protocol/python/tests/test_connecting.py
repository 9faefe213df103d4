"""When a client connects: at once, at its first call (`lazy`), or as soon as somebody listens (`wait`)."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from acceptor import Acceptor
from shm_protocol import (
    AsyncClient,
    Busy,
    CallTimeout,
    ConnectionClosed,
    PeerGone,
    PeerUnavailable,
    client,
    client_asyncio,
    connect_async,
)
from shm_protocol.backoff import BACKOFF_FIRST_S, WAITING_MOST_S
from shm_protocol.handshake import Refusal

HANG_S = 200.0
NOBODY = r"^nobody listens at .*: start the Node side first"

Listen = Callable[..., Acceptor]


def echo(value: Any) -> Any:
    return value


EXPOSED = {"echo": echo}


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(body: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(body, HANG_S))


class Pauses:
    """Takes the place of a client's pauses while it waits for a listener: the second one begins to listen."""

    def __init__(self, listen: Callable[[], object]) -> None:
        self.listen = listen
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 2:
            self.listen()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def pauses(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses(lambda: listen(EXPOSED).serve_in_background())
    monkeypatch.setattr(client, "sleep", pauses.sleep)
    return pauses


def test_a_lazy_client_connects_at_its_first_call(path: Path, transport: str, listen: Listen) -> None:
    with shm_protocol.connect(path, transport=transport, lazy=True) as node:
        assert (list(node.connections), node.transport) == ([], transport)
        acceptor = listen(EXPOSED).serve_in_background()
        assert acceptor.hellos == []
        assert [node.call("echo", number) for number in range(3)] == [0, 1, 2]
        assert len(acceptor.hellos) == 1


def test_a_lazy_client_streams_and_notifies_as_any_other(path: Path, transport: str, listen: Listen) -> None:
    heard = threading.Event()
    listen({"count": lambda to: iter(range(to)), "note": lambda: heard.set()}).serve_in_background()
    with shm_protocol.connect(path, transport=transport, lazy=True) as node:
        node.notify("note")
        assert heard.wait(HANG_S)
    with shm_protocol.connect(path, transport=transport, lazy=True) as node:
        assert list(node.stream("count", 3)) == [0, 1, 2]


def test_a_lazy_client_whose_first_dial_fails_tells_the_call_and_the_next_one_tries_again(
    path: Path, transport: str, listen: Listen
) -> None:
    with shm_protocol.connect(path, transport=transport, lazy=True) as node:
        with pytest.raises(PeerUnavailable, match=NOBODY):
            node.call("echo", 1)
        listen(EXPOSED).serve_in_background()
        # The back-off comes to an end by the clock.
        while (answer := _answer_or_back_off(node)) is None:
            threading.Event().wait(BACKOFF_FIRST_S)
        assert answer == 2


def _answer_or_back_off(node: shm_protocol.Client) -> Any:
    try:
        return node.call("echo", 2)
    except PeerUnavailable as error:
        if "tried a moment ago" not in str(error):
            raise
        return None


def test_threads_that_make_the_first_call_of_a_lazy_client_at_once_share_what_it_may_dial(
    path: Path, transport: str, listen: Listen
) -> None:
    acceptor = listen(EXPOSED).serve_in_background()
    together = threading.Barrier(8)
    with shm_protocol.connect(path, transport=transport, lazy=True, max_connections=1) as node:

        def call(number: int) -> Any:
            together.wait(HANG_S)
            return node.call("echo", number, timeout=HANG_S)

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(call, range(8))) == list(range(8))
    assert len(acceptor.hellos) == 1


def test_a_lazy_client_made_before_a_fork_connects_in_each_process_for_itself(
    path: Path, transport: str, listen: Listen
) -> None:
    program = """if True:
        import os, sys
        import shm_protocol

        node = shm_protocol.connect(sys.argv[1], transport=sys.argv[2], lazy=True)
        child = os.fork()
        who = "parent" if child else "child"
        assert node.call("echo", who) == who
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    acceptor = listen(EXPOSED).serve_in_background()
    subprocess.run([sys.executable, "-c", program, str(path), transport], check=True, timeout=HANG_S)
    assert len(acceptor.hellos) == 2


def test_a_lazy_client_that_was_closed_before_its_first_call_dials_nobody(path: Path, listen: Listen) -> None:
    acceptor = listen(EXPOSED).serve_in_background()
    node = shm_protocol.connect(path, lazy=True)
    node.close()
    with pytest.raises(ConnectionClosed, match="echo: the client has been closed"):
        node.call("echo", 1)
    assert acceptor.hellos == []


def test_what_cannot_be_is_refused_by_a_lazy_client_at_once(path: Path) -> None:
    with pytest.raises(TypeError, match=r"name=5: must be a string or None"):
        shm_protocol.connect(path, lazy=True, name=5)  # type: ignore[arg-type]
    with pytest.raises(shm_protocol.ConfigError, match=r"timeout=0: must be a number of seconds greater than 0"):
        shm_protocol.connect(path, lazy=True, timeout=0)
    with pytest.raises(TypeError, match="expose: thing has no public functions"):
        shm_protocol.connect(path, lazy=True, expose={"thing": {}})
    with pytest.raises(TypeError, match="method=5: must be a string"):
        shm_protocol.connect(path, lazy=True).call(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"lazy": 1}, r"lazy=1: must be True or False"),
        ({"lazy": "yes"}, r"lazy='yes': must be True or False"),
        ({"wait": "5"}, r"wait='5': must be a number of seconds greater than 0 and at most \d+, or None"),
        ({"wait": True}, r"wait=True: must be a number of seconds"),
        ({"wait": 0}, r"wait=0: must be a number of seconds greater than 0 and at most \d+, or None"),
        ({"wait": -1.5}, r"wait=-1.5: must be a number of seconds"),
        ({"wait": float("nan")}, r"wait=nan: must be a number of seconds"),
        ({"wait": float("inf")}, r"wait=inf: must be a number of seconds"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anybody_is_dialed(
    path: Path, options: dict[str, Any], refusal: str
) -> None:
    kind = shm_protocol.ConfigError if isinstance(options.get("wait", ""), int | float) else TypeError
    kind = TypeError if options.get("wait") is True else kind
    with pytest.raises(kind, match=refusal):
        shm_protocol.connect(path, **options)
    with pytest.raises(kind, match=refusal):
        run(connect_async(path, **options))


def test_a_lazy_worker_of_an_event_loop_is_refused_because_nobody_could_call_it(path: Path) -> None:
    with pytest.raises(shm_protocol.ConfigError, match=r"^lazy=True: must be False with role='worker'"):
        run(connect_async(path, lazy=True, role="worker", expose=EXPOSED))


def test_connect_waits_for_a_listener_that_is_still_starting(path: Path, transport: str, pauses: Pauses) -> None:
    with shm_protocol.connect(path, transport=transport, wait=HANG_S) as node:
        assert node.call("echo", 1) == 1
    assert len(pauses.pauses) == 2
    assert all(0 < pause <= WAITING_MOST_S for pause in pauses.pauses)


def test_the_first_call_of_a_lazy_client_waits_for_a_listener(path: Path, transport: str, pauses: Pauses) -> None:
    with shm_protocol.connect(path, transport=transport, lazy=True, wait=HANG_S) as node:
        assert pauses.pauses == []
        assert node.call("echo", 1) == 1
    assert len(pauses.pauses) == 2


def test_where_nobody_comes_to_listen_the_error_says_how_long_it_was_waited_for(path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=NOBODY + r".* \(waited for it for 0.02 s\)$"):
        shm_protocol.connect(path, wait=0.02)
    # A socket that its listener has left.
    with Acceptor(path) as left:
        left.listening.close()
        with pytest.raises(PeerUnavailable, match=r"Connection refused.* \(waited for it for 0.02 s\)$"):
            shm_protocol.connect(path, wait=0.02)
        left.listening = socket.socket(socket.AF_UNIX)


def test_a_call_waits_for_a_listener_no_longer_than_its_own_timeout(path: Path) -> None:
    # Less by what passed until it began to wait.
    with (
        shm_protocol.connect(path, lazy=True, wait=HANG_S) as node,
        pytest.raises(PeerUnavailable, match=r"\(waited for it for (0|0\.0\d+|\de-\d+) s\)$"),
    ):
        node.call("echo", 1, timeout=0.02)


@pytest.mark.parametrize("kind", [Busy, PeerUnavailable])
def test_a_listener_that_refuses_is_not_waited_for(
    path: Path, listen: Listen, pauses: Pauses, kind: type[shm_protocol.BridgeError]
) -> None:
    listen(refusal=Refusal(kind.code, "not you")).serve_in_background()
    with pytest.raises(kind, match="^not you$"):
        shm_protocol.connect(path, wait=HANG_S)
    with pytest.raises(kind, match="^not you$"):
        run(connect_async(path, wait=HANG_S))
    assert pauses.pauses == []


def test_closing_a_client_ends_its_wait_for_a_listener(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = shm_protocol.connect(path, lazy=True, wait=HANG_S)
    monkeypatch.setattr(client, "sleep", lambda _: node.close())
    with pytest.raises(ConnectionClosed, match="echo: the client has been closed"):
        node.call("echo", 1)


def test_a_client_that_has_been_connected_waits_for_nobody_any_more(path: Path, listen: Listen, pauses: Pauses) -> None:
    acceptor = listen(EXPOSED).serve_in_background()
    with shm_protocol.connect(path, wait=HANG_S) as node:
        acceptor.close()
        # It may be found out by this call only.
        with pytest.raises((PeerGone, PeerUnavailable)):
            node.call("echo", 1)
        with pytest.raises(PeerUnavailable, match="nobody listens at "):
            node.call("echo", 1)
    assert pauses.pauses == []


# The asyncio client.


def test_a_lazy_asyncio_client_connects_once_for_all_that_call_at_once(
    path: Path, transport: str, listen: Listen
) -> None:
    async def body() -> None:
        async with await connect_async(path, transport=transport, lazy=True) as node:
            assert (node.transport, node.closed, "not connected yet" in repr(node)) == (transport, False, True)
            with pytest.raises(PeerUnavailable, match="a lazy client connects at its first call"):
                _ = node.peer
            with pytest.raises(PeerUnavailable, match="a lazy client connects at its first call"):
                _ = node.stats
            acceptor = listen(EXPOSED).serve_in_background()
            answers = await asyncio.gather(*(node.call("echo", number) for number in range(20)))
            assert (answers, len(acceptor.hellos)) == (list(range(20)), 1)
            assert (node.peer.name, node.stats["messages_sent"]) == ("acceptor", 20)
        assert node.closed

    run(body())


def test_a_lazy_asyncio_client_streams_and_notifies_as_any_other(path: Path, transport: str, listen: Listen) -> None:
    heard = threading.Event()
    listen({"count": lambda to: iter(range(to)), "note": lambda: heard.set()}).serve_in_background()

    async def body() -> None:
        async with await connect_async(path, transport=transport, lazy=True) as node:
            assert [item async for item in node.stream("count", 3)] == [0, 1, 2]
        async with await connect_async(path, transport=transport, lazy=True) as node:
            await node.notify("note")
            assert await asyncio.to_thread(heard.wait, HANG_S)

    run(body())


def test_a_lazy_asyncio_client_whose_first_dial_fails_tells_all_who_called_and_the_next_one_tries_again(
    path: Path, transport: str, listen: Listen
) -> None:
    async def body() -> None:
        async with await connect_async(path, transport=transport, lazy=True) as node:
            failed = await asyncio.gather(*(node.call("echo", 1) for _ in range(3)), return_exceptions=True)
            assert len({id(error) for error in failed}) == 3
            for error in failed:
                assert isinstance(error, PeerUnavailable)
                assert str(error).startswith("nobody listens at ")
            listen(EXPOSED).serve_in_background()
            assert await node.call("echo", 2) == 2

    run(body())


def test_a_task_that_is_cancelled_while_a_lazy_client_connects_takes_nothing_from_the_others(
    path: Path, listen: Listen
) -> None:
    async def body() -> None:
        async with await connect_async(path, lazy=True, wait=HANG_S) as node:
            first, second = (asyncio.create_task(node.call("echo", number)) for number in (1, 2))
            await asyncio.sleep(0)
            first.cancel()
            listen(EXPOSED).serve_in_background()
            assert await second == 2
            assert first.cancelled()

    run(body())


def test_a_call_of_a_lazy_asyncio_client_that_gets_no_connection_in_time_was_not_made(path: Path) -> None:
    async def body() -> None:
        async with await connect_async(path, lazy=True, wait=HANG_S) as node:
            with pytest.raises(CallTimeout, match="echo: there was no connection within its deadline; it was not sent"):
                await node.call("echo", 1, timeout=0.02)

    run(body())


def test_closing_a_lazy_asyncio_client_ends_the_calls_that_wait_for_its_connection(path: Path) -> None:
    async def body() -> None:
        node = await connect_async(path, lazy=True, wait=HANG_S)
        call = asyncio.create_task(node.call("echo", 1))
        await asyncio.sleep(0)
        node.close()
        with pytest.raises(ConnectionClosed, match="echo: the client has been closed"):
            await call
        with pytest.raises(ConnectionClosed, match="echo: the client has been closed"):
            await node.call("echo", 1)
        with pytest.raises(ConnectionClosed):
            await node.leave(1)
        assert node.closed
        node.close()

    run(body())


def test_a_lazy_asyncio_client_may_not_be_closed_in_another_thread(path: Path) -> None:
    async def body() -> None:
        node = await connect_async(path, lazy=True)
        with pytest.raises(RuntimeError, match=r"use loop.call_soon_threadsafe\(client.close\)"):
            await asyncio.to_thread(node.close)
        node.close()
        await asyncio.to_thread(node.close)

    run(body())


def test_a_lazy_asyncio_client_belongs_to_the_loop_that_it_was_made_in(path: Path) -> None:
    node: AsyncClient = run(connect_async(path, lazy=True))
    with pytest.raises(RuntimeError, match="belongs to"):
        run(node.call("echo", 1))
    node.close()


def test_what_a_lazy_asyncio_client_serves_does_not_run_in_the_context_of_its_first_call(
    path: Path, listen: Listen
) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="none")

    def back() -> Any:
        call = shm_protocol.current_call()
        assert call is not None
        return call.connection.call("read")

    listen({"back": back}).serve_in_background()

    async def body() -> None:
        mark.set("of connect_async")
        async with await connect_async(path, lazy=True, expose={"read": mark.get}) as node:

            async def first() -> Any:
                mark.set("of the first call")
                return await node.call("back")

            assert await asyncio.create_task(first()) == "of connect_async"

    run(body())


def test_connect_async_waits_for_a_listener_that_is_still_starting(
    path: Path, transport: str, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(*, lazy: bool) -> None:
        async with await connect_async(path, transport=transport, lazy=lazy, wait=HANG_S) as node:
            assert await node.call("echo", 1) == 1

    monkeypatch.setattr(client_asyncio, "sleep", pauses.sleep_async)
    run(body(lazy=False))
    assert len(pauses.pauses) == 2


def test_where_nobody_comes_to_listen_connect_async_says_how_long_it_waited(path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=NOBODY + r".* \(waited for it for 0.02 s\)$"):
        run(connect_async(path, wait=0.02))

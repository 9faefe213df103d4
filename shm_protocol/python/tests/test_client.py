"""The client: a pool for threads, redialing, back-off, forks, closing, and the end of the interpreter."""

from __future__ import annotations

import gc
import inspect
import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from acceptor import Acceptor
from shm_protocol import (
    Busy,
    CallTimeout,
    ConnectionClosed,
    PeerGone,
    PeerUnavailable,
    RemoteError,
    client,
    current_call,
)
from shm_protocol.backoff import BACKOFF_FIRST_S, BACKOFF_MOST_S, Backoff
from tagged import SHM_PROTOCOL

HANG_S = 200.0
ROOT = SHM_PROTOCOL.parent

Listen = Callable[..., Acceptor]
Connect = Callable[..., shm_protocol.Client]


class Gate:
    """Functions that hold a call until a test lets it go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)

    def hold(self, value: Any) -> Any:
        self.waiting.release()
        assert self.opened.wait(HANG_S)
        return value

    def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            assert self.waiting.acquire(timeout=HANG_S)


def echo(value: Any) -> Any:
    return value


def count(to: int) -> Iterator[int]:
    yield from range(to)


def back(method: str, *args: Any) -> Any:
    call = current_call()
    assert call is not None
    return call.connection.call(method, *args)


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def functions(gate: Gate) -> dict[str, object]:
    return {"echo": echo, "count": count, "back": back, "hold": gate.hold, "divide": operator.truediv}


@pytest.fixture
def acceptor(listen: Listen, functions: dict[str, object]) -> Acceptor:
    return listen(functions).serve_in_background()


@pytest.fixture
def connect(path: Path, transport: str) -> Iterator[Connect]:
    clients: list[shm_protocol.Client] = []

    def connect(**options: Any) -> shm_protocol.Client:
        clients.append(shm_protocol.connect(path, transport=transport, **options))
        return clients[-1]

    yield connect
    for made in clients:
        made.close()


@pytest.mark.usefixtures("acceptor")
def test_a_client_calls_streams_and_notifies(connect: Connect) -> None:
    node = connect()
    assert node.call("echo", "a") == "a"
    assert list(node.stream("count", 5)) == [0, 1, 2, 3, 4]
    node.notify("echo", "unheard")
    assert node.call("echo", "b", timeout=HANG_S, traceparent="t") == "b"
    assert len(node.connections) == 1


@pytest.mark.parametrize("wrong", ["no", 1, 0, None, [], object()])
def test_a_switch_that_is_no_bool_is_refused_before_anybody_is_dialed(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "nobody.sock"
    message = "serve_unrelated=.*: must be True or False"
    with pytest.raises(TypeError, match=message):
        shm_protocol.connect(path, serve_unrelated=wrong)
    with pytest.raises(TypeError, match=message):
        shm_protocol.attach(path, expose={"echo": echo}, serve_unrelated=wrong)
    with pytest.raises(TypeError, match=message):
        shm_protocol.serve(path, expose={"echo": echo}, serve_unrelated=wrong)


@pytest.mark.usefixtures("acceptor")
def test_a_call_is_the_same_compiled_and_in_python(connect: Connect) -> None:
    looked = inspect.signature(shm_protocol.Client.call)
    in_python = inspect.signature(shm_protocol.Connection.call)
    assert {name: one.default for name, one in looked.parameters.items()} == {
        name: one.default for name, one in in_python.parameters.items()
    }
    assert "Call an exposed function" in (shm_protocol.Client.call.__doc__ or "")
    node = connect()
    call: Any = node.call
    for _ in range(2):
        # The first has to make a connection.
        assert call("echo", 1) == call("echo", 1, timeout=9) == call("echo", 1, timeout=None) == 1
        assert call(method="echo", kwargs={"value": 1}) == call("echo", value=1) == 1
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            call()
        with pytest.raises(TypeError, match="timeout='1'"):
            call("echo", 1, timeout="1")
        with pytest.raises(TypeError, match="method"):
            call(1)
        with pytest.raises(RemoteError, match="unexpected keyword argument 'loud'"):
            call("echo", 1, loud=True)
        with pytest.raises(RemoteError, match="division by zero"):
            call("divide", 1, 0)
    assert len(node.connections) == 1
    assert not node.connections[0].in_use


@pytest.mark.usefixtures("acceptor")
def test_a_bound_call_keeps_its_client_and_a_subclass_may_have_a_call_of_its_own(path: Path) -> None:
    call = shm_protocol.connect(path).call
    gc.collect()
    assert call("echo", 1) == 1

    class Loud(shm_protocol.Client):
        def call(self, method: str, *args: Any, **options: Any) -> Any:
            return [method, super().call(method, *args, **options)]

    with shm_protocol.connect(path) as node:
        node.__class__ = Loud
        assert node.call("echo", 2) == ["echo", 2]


@pytest.mark.usefixtures("acceptor")
def test_threads_share_a_client_and_each_gets_its_own_answers(connect: Connect) -> None:
    node = connect(max_connections=4)

    def work(thread: int) -> list[Any]:
        return [node.call("echo", [thread, i]) for i in range(50)]

    with ThreadPoolExecutor(12) as threads:
        results = list(threads.map(work, range(12)))
    assert results == [[[thread, i] for i in range(50)] for thread in range(12)]
    assert 1 <= len(node.connections) <= 4
    assert not any(info.in_use for info in node.connections)


@pytest.mark.usefixtures("acceptor")
def test_a_thread_waits_for_a_connection_and_gets_the_first_that_is_free(connect: Connect, gate: Gate) -> None:
    node = connect(max_connections=1)
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(node.call, "hold", 1)
        gate.wait_for(1)
        assert [info.in_use for info in node.connections] == [True]
        waiting = threads.submit(node.call, "echo", 2)
        gate.opened.set()
        assert (held.result(HANG_S), waiting.result(HANG_S)) == (1, 2)


@pytest.mark.usefixtures("acceptor")
def test_a_thread_that_gets_no_connection_within_its_timeout_is_told_busy(connect: Connect, gate: Gate) -> None:
    node = connect(max_connections=2)
    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(node.call, "hold", i) for i in range(2)]
        gate.wait_for(2)
        with pytest.raises(Busy, match=r"^echo: all 2 connections were in use for 0\.02 s"):
            node.call("echo", 1, timeout=0.02)
        gate.opened.set()
        assert [call.result(HANG_S) for call in held] == [0, 1]


@pytest.mark.usefixtures("acceptor")
def test_a_stream_keeps_its_connection_and_other_calls_take_another(connect: Connect) -> None:
    node = connect()
    stream = node.stream("count", 100, credit=2)
    assert [next(stream), node.call("echo", "x"), next(stream)] == [0, "x", 1]
    assert [info.in_use for info in node.connections].count(True) == 1
    assert list(stream) == list(range(2, 100))
    assert not any(info.in_use for info in node.connections)


@pytest.mark.usefixtures("acceptor")
def test_a_stream_may_move_to_another_thread(connect: Connect) -> None:
    node = connect()
    stream = node.stream("count", 10, credit=2)
    assert next(stream) == 0
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(list, stream).result(HANG_S) == list(range(1, 10))


@pytest.mark.usefixtures("acceptor")
def test_a_closed_stream_gives_its_connection_back(connect: Connect) -> None:
    node = connect(max_connections=1)
    with node.stream("count", 10**9) as stream:
        assert next(stream) == 0
    stream.close()
    assert node.call("echo", 1) == 1


@pytest.mark.usefixtures("acceptor")
def test_a_stream_that_is_forgotten_gives_its_place_back(connect: Connect) -> None:
    node = connect(max_connections=1)
    next(node.stream("count", 10**9))
    gc.collect()
    assert node.call("echo", 1) == 1


@pytest.mark.usefixtures("acceptor")
def test_the_peer_may_call_back_while_a_call_waits(connect: Connect) -> None:
    node = connect(expose={"echo": echo})
    assert node.call("back", "echo", "nested") == "nested"


@pytest.mark.usefixtures("acceptor")
def test_a_call_of_the_client_made_while_serving_goes_back_on_the_same_connection(connect: Connect) -> None:
    def relay(value: Any) -> Any:
        node.notify("echo", value)
        return [node.call("echo", value), *node.stream("count", 2)]

    node = connect(max_connections=1)
    node.expose({"relay": relay})
    assert node.call("back", "relay", "x") == ["x", 0, 1]
    assert len(node.connections) == 1


@pytest.mark.usefixtures("acceptor")
def test_a_call_made_while_serving_but_in_another_thread_takes_another_connection(connect: Connect) -> None:
    def relay() -> Any:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(node.call, "echo", "other").result(HANG_S)

    node = connect(expose={"relay": relay})
    assert node.call("back", "relay") == "other"
    assert len(node.connections) == 2


# Breaking and dialing again.


def test_a_broken_connection_fails_its_call_and_the_next_one_dials_again(
    listen: Listen, functions: dict[str, object], connect: Connect, gate: Gate
) -> None:
    acceptor = listen(functions).serve_in_background()
    node = connect()
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(node.call, "hold", 1)
        gate.wait_for(1)
        # Before it may answer.
        acceptor.connections[0].interrupt()
        gate.opened.set()
        with pytest.raises(PeerGone, match="^hold: "):
            held.result(HANG_S)
    assert node.call("echo", 2) == 2
    assert len(acceptor.hellos) == 2


def test_a_connection_that_broke_while_idle_is_replaced_without_failing_a_call(
    listen: Listen, functions: dict[str, object], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_protocol.link.STALE_AFTER_S", 0.0)
    first = listen(functions).serve_in_background()
    node = connect()
    assert node.call("echo", 1) == 1
    first.close()
    listen(functions).serve_in_background()
    assert node.call("echo", 2) == 2
    node.notify("echo", 3)
    assert list(node.stream("count", 2)) == [0, 1]
    assert len(node.connections) == 1


def test_nobody_there_any_more_is_told_at_once_and_dialed_again_after_a_pause(
    listen: Listen, functions: dict[str, object], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine, the first call finds out by itself.
    monkeypatch.setattr("shm_protocol.link.STALE_AFTER_S", math.inf)
    now = [time.monotonic()]
    first = listen(functions).serve_in_background()
    node = connect()
    first.close()
    with pytest.raises(PeerGone):
        node.call("echo", 1)
    monkeypatch.setattr(client, "monotonic", lambda: now[0])
    with pytest.raises(PeerUnavailable, match="nobody listens"):
        node.call("echo", 1)
    listen(functions).serve_in_background()
    with pytest.raises(PeerUnavailable, match=r"^echo: nobody listens .*tried a moment ago"):
        node.call("echo", 1)
    now[0] += BACKOFF_FIRST_S
    assert node.call("echo", 1) == 1


def test_the_back_off_doubles_to_a_second_and_is_shortened_at_random() -> None:
    backoff = Backoff()
    expected = BACKOFF_FIRST_S
    for _ in range(12):
        assert expected / 2 <= backoff.next() <= expected
        expected = min(BACKOFF_MOST_S, expected * 2)
    assert expected == BACKOFF_MOST_S
    backoff.reset()
    assert backoff.next() <= BACKOFF_FIRST_S


def test_a_first_dial_that_fails_is_told_by_connect(path: Path) -> None:
    with pytest.raises(PeerUnavailable):
        shm_protocol.connect(path)


def test_a_call_that_timed_out_is_not_made_again(listen: Listen, connect: Connect, gate: Gate) -> None:
    made: list[int] = []

    def slow() -> None:
        made.append(1)
        gate.hold(None)

    acceptor = listen({"slow": slow}).serve_in_background()
    node = connect()
    with pytest.raises(CallTimeout, match=r"^slow: no answer within 0\.01 s"):
        node.call("slow", timeout=0.01)
    node.close()
    gate.opened.set()
    acceptor.close()
    # Not at all if it was cancelled before it could start.
    assert len(made) <= 1


# Serving.


def test_serve_serves_until_it_is_interrupted_and_dials_again_when_the_peer_goes(path: Path, listen: Listen) -> None:
    program = f"""
import shm_protocol
shm_protocol.serve({str(path)!r}, expose={{"m": {{"echo": lambda x: x}}}})
print("done")
"""
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        for _ in range(2):
            # The worker began to dial before anybody listened.
            acceptor = listen()
            connection = acceptor.accept()
            assert connection.call("m.echo", "hello") == "hello"
            acceptor.close()
        acceptor = listen()
        acceptor.accept()
        worker.send_signal(signal.SIGINT)
        assert worker.communicate(timeout=HANG_S)[0] == "done\n"
        assert worker.returncode == 0
    finally:
        worker.kill()
        worker.wait()


# Closing.


@pytest.mark.usefixtures("acceptor")
def test_after_close_every_method_says_that_it_is_closed(connect: Connect) -> None:
    node = connect()
    node.close()
    node.close()
    for attempt in (lambda: node.call("echo", 1), lambda: node.stream("count", 1), lambda: node.notify("echo", 1)):
        with pytest.raises(ConnectionClosed, match="the client has been closed"):
            attempt()
    assert node.connections == []
    assert "closed" in repr(node)


@pytest.mark.usefixtures("acceptor")
def test_closing_ends_calls_under_way_and_waiting_in_other_threads(connect: Connect, gate: Gate) -> None:
    node = connect(max_connections=1)
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(node.call, "hold", 1)
        gate.wait_for(1)
        waiting = threads.submit(node.call, "echo", 2)
        while not node._waiting:
            time.sleep(0.001)
        node.close()
        for call in (held, waiting):
            with pytest.raises(ConnectionClosed):
                call.result(HANG_S)
        gate.opened.set()


# Forks and the end of the process.


@pytest.mark.usefixtures("acceptor")
def test_a_forked_child_dials_for_itself_and_the_parents_connection_stays(connect: Connect) -> None:
    node = connect()
    assert node.call("echo", "parent") == "parent"
    held = node._connections[0].fileno()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # The parent's descriptor is closed, so the child's first one may have its number.
            inherited_is_closed = not Path(f"/proc/self/fd/{held}").exists()
            no_connections = node.connections == []
            if inherited_is_closed and no_connections and node.call("echo", "child") == "child":
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert node.call("echo", "parent") == "parent"
    assert len(node.connections) == 1


@pytest.mark.usefixtures("acceptor")
def test_the_peer_sees_the_end_of_a_parent_whose_child_lives_on(path: Path, transport: str, acceptor: Acceptor) -> None:
    program = f"""
import os, shm_protocol
node = shm_protocol.connect({str(path)!r}, transport={transport!r})
if os.fork() == 0:
    os.close(1)
    os.read(0, 1)
    os._exit(0)
print(node.call("echo", "up"), flush=True)
os._exit(0)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.read() == "up\n"
        parent.wait(HANG_S)
        # The thread that serves the connection ends although the child, still there, had inherited it.
        acceptor.threads[1].join(HANG_S)
        assert not acceptor.threads[1].is_alive()
    finally:
        parent.communicate("x")


@pytest.mark.usefixtures("acceptor")
@pytest.mark.parametrize(
    "ending",
    [
        "",
        "next(node.stream('count', 9))",
        "threading.Thread(target=node.call, args=('hold', 1), daemon=True).start()",
    ],
    ids=["idle", "in a stream", "in a call of a daemon thread"],
)
def test_a_program_that_never_closes_its_client_ends_at_once_and_silently(
    path: Path, transport: str, ending: str, gate: Gate
) -> None:
    program = f"""
import threading, shm_protocol
node = shm_protocol.connect({str(path)!r}, transport={transport!r})
node.call("echo", 1)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=ROOT,
        check=False,
    )
    gate.opened.set()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_from_the_root_of_the_repository_the_package_is_found_and_not_the_folder() -> None:
    program = "import shm_protocol; print(shm_protocol.connect.__module__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "shm_protocol.client\n"

"""Workers of a user's own that Node calls: programs, threads and event loops, and how they end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, ROOT, Pair

PROGRAM = """
import os, time
import shm_protocol

@shm_protocol.expose
def hold(gate, value):
    open(gate + ".begun", "w").close()
    while not os.path.exists(gate):
        time.sleep(0.005)
    return value

@shm_protocol.expose(name="numbers.count")
def count(to):
    yield from range(to)

shm_protocol.serve()
print("served")
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def mortal(transport: str) -> Iterator[Pair]:
    """A pair for one test, without a worker."""
    with Pair(transport) as pair:
        yield pair


@pytest.fixture
def start(mortal: Pair, tmp_path: Path) -> Iterator[Start]:
    """Starts a program as a worker, and waits until Node knows it."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        before = mortal.count_workers()
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**mortal.environment, "PYTHONPATH": f"{tmp_path}"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        mortal.wait_until(lambda: mortal.count_workers() == before + 1, "the worker is attached")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def attempt(pair: Pair, method: str, *args: Any) -> Any:
    """What Node is given, or told."""
    with pair.connect() as node:
        return node.call("driver.attempt", method, list(args), timeout=HANG_S)


def test_what_is_decorated_is_what_node_may_call(mortal: Pair, start: Start, tmp_path: Path) -> None:
    start(PROGRAM)
    (tmp_path / "open").touch()
    assert attempt(mortal, "hold", str(tmp_path / "open"), "answered") == {"value": "answered"}
    assert attempt(mortal, "count", 3)["error"]["code"] == "UnknownMethod"
    with mortal.connect() as node:
        assert node.call("driver.collect", "numbers.count", [3], 10, 2) == {"items": [0, 1, 2]}


def test_what_is_named_is_imported_and_node_may_call_it(mortal: Pair, start: Start, tmp_path: Path) -> None:
    (tmp_path / "shop_prices.py").write_text("def gross(net): return net * 2\n")
    start("import shm_protocol\nshm_protocol.serve(expose={'prices': 'shop_prices', 'g': 'shop_prices:gross'})")
    assert attempt(mortal, "prices.gross", 3) == {"value": 6}
    assert attempt(mortal, "g", 4) == {"value": 8}


def test_a_call_under_way_at_sigterm_is_answered_and_another_worker_is_called_from_then_on(
    mortal: Pair, start: Start, tmp_path: Path
) -> None:
    leaving, gate = start(PROGRAM), tmp_path / "gate"
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(attempt, mortal, "hold", str(gate), "answered")
        mortal.wait_until(gate.with_name("gate.begun").exists, "the call is under way")
        leaving.terminate()
        gate.touch()
        assert under_way.result(HANG_S) == {"value": "answered"}
    assert leaving.communicate(timeout=HANG_S)[0] == "served\n"
    assert leaving.returncode == 0
    mortal.wait_until(lambda: mortal.count_workers() == 0, "the worker has left")
    start(PROGRAM)
    assert attempt(mortal, "hold", str(gate), "again") == {"value": "again"}


def test_a_worker_dials_again_when_node_has_ended(mortal: Pair, start: Start, tmp_path: Path) -> None:
    worker = start(PROGRAM)
    mortal.restart_node()
    mortal.wait_until(lambda: mortal.count_workers() == 1, "the worker is attached again")
    (tmp_path / "open").touch()
    assert attempt(mortal, "hold", str(tmp_path / "open"), 1) == {"value": 1}
    assert worker.poll() is None


def test_a_worker_in_a_thread_is_stopped_with_its_call_answered(mortal: Pair) -> None:
    begun, opened = threading.Event(), threading.Event()

    def hold(value: Any) -> Any:
        begun.set()
        assert opened.wait(HANG_S)
        return value

    with (
        ThreadPoolExecutor(1) as pool,
        shm_protocol.Worker(mortal.path, transport=mortal.transport, expose={"hold": hold}) as worker,
    ):
        mortal.wait_until(lambda: mortal.count_workers() == 1, "the worker is attached")
        under_way = pool.submit(attempt, mortal, "hold", "answered")
        assert begun.wait(HANG_S)
        worker.stop()
        opened.set()
        assert under_way.result(HANG_S) == {"value": "answered"}
    assert worker.closed
    mortal.wait_until(lambda: mortal.count_workers() == 0, "the worker has left")


def test_a_worker_of_an_event_loop_serves_functions_of_every_kind_and_leaves_with_its_calls_answered(
    mortal: Pair,
) -> None:
    async def body() -> None:
        begun, opened = asyncio.Event(), asyncio.Event()

        async def hold(value: Any) -> Any:
            begun.set()
            await opened.wait()
            return value

        exposed = {"hold": hold, "plain": lambda value: value}
        async with shm_protocol.AsyncWorker(mortal.path, transport=mortal.transport, expose=exposed) as worker:
            assert worker.attached
            assert await asyncio.to_thread(attempt, mortal, "plain", 1) == {"value": 1}
            under_way = asyncio.create_task(asyncio.to_thread(attempt, mortal, "hold", "answered"))
            await begun.wait()
            worker.stop()
            opened.set()
            assert await under_way == {"value": "answered"}

    asyncio.run(asyncio.wait_for(body(), HANG_S))
    mortal.wait_until(lambda: mortal.count_workers() == 0, "the worker has left")

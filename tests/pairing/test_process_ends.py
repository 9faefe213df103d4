"""Many threads on one client, forks after connecting, and processes that end with calls under way."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
from peers import HANG_S, HERE, ROOT, Pair
from services import free_ports


@pytest.mark.parametrize("connections", [1, 8, 64])
def test_64_threads_share_a_client_and_each_gets_its_own_answers(pair: Pair, connections: int) -> None:
    wrong: list[Any] = []
    begin = threading.Barrier(64)

    with pair.connect(max_connections=connections) as node:

        def work(thread: int) -> None:
            begin.wait(HANG_S)
            for number in range(30):
                asked = [thread, number, "x" * (thread * number)]
                try:
                    answer = node.call("functions.echo", asked, timeout=HANG_S)
                except Exception as error:
                    answer = error
                if answer != asked:
                    wrong.append((asked[:2], answer))

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_S)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert 1 <= len(node.connections) <= connections
        assert not any(connection.in_use for connection in node.connections)


def test_an_application_that_connects_before_gunicorn_forks_works_in_every_worker(pair: Pair) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--no-control-socket"]
    command += ["--bind", f"127.0.0.1:{port}", "--pythonpath", str(HERE), "preloaded_app:app"]
    with (pair.directory / "log").open("ab") as log:
        master = subprocess.Popen(command, cwd=ROOT, env=pair.environment, stdout=log, stderr=log)
    seen: set[tuple[int, int]] = set()

    def both_have_answered() -> bool:
        assert master.poll() is None, pair.log()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=HANG_S) as answer:
                connected_by, answered_by, inherited = map(int, answer.read().split())
            assert inherited == 0
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            # Not listening yet.
            return False
        seen.add((connected_by, answered_by))
        return len(seen) == 2

    try:
        pair.wait_until(both_have_answered, "both workers have answered")
        assert {connected_by for connected_by, _ in seen} == {master.pid}
        assert master.pid not in {answered_by for _, answered_by in seen}
    finally:
        master.terminate()
        assert master.wait(HANG_S) == 0


ENDINGS = {"os._exit": "os._exit(7)", "the interpreter's shutdown": "sys.exit(7)"}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=list(ENDINGS))
def test_a_process_that_ends_with_calls_under_way_ends_at_once_and_node_is_told(pair: Pair, ending: str) -> None:
    name = f"{pair.transport} {ending}"
    program = f"""
import os, sys, threading, shm_protocol
node = shm_protocol.connect(name={name!r})
started = threading.Semaphore(0)
def wait_in_a_call():
    waiting = node.stream("functions.hangUntilCancelled", {name!r})
    # Requests are started in the order sent: when this one is answered, Node has started the other.
    waiting._connection.call("functions.echo", 1)
    started.release()
    next(waiting)
for _ in range(4):
    threading.Thread(target=wait_in_a_call, daemon=True).start()
for _ in range(4):
    assert started.acquire(timeout={HANG_S})
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=pair.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    with pair.connect() as node:
        pair.wait_until(
            lambda: node.call("functions.cancelled").count(name) == 4, "Node has aborted all four of its calls"
        )
        left = [connection for connection in node.call("driver.connections") if connection["name"] == name]
        assert left == []


def test_a_worker_that_exits_inside_a_call_fails_that_call_and_no_other(transport: str) -> None:
    program = """
import os, shm_protocol
shm_protocol.serve(expose={"worker": {"leave": lambda: os._exit(7), "pid": os.getpid}})
"""
    with Pair(transport) as pair, pair.connect() as node:
        workers = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=pair.environment) for _ in range(2)]
        pair.workers += workers
        pair.wait_until(lambda: node.call("driver.workers") == 2, "both are attached")
        assert node.call("driver.attempt", "worker.leave", [])["error"]["code"] == "PeerGone"
        pair.wait_until(lambda: node.call("driver.workers") == 1, "one is left")
        # The kernel closes a process's socket before the process can be waited for.
        pair.wait_until(lambda: any(worker.poll() is not None for worker in workers), "the other has ended")
        (left,) = [worker.pid for worker in workers if worker.poll() is None]
        assert node.call("driver.attempt", "worker.pid", [])["value"] == left
        assert sorted(worker.poll() is None for worker in workers) == [False, True]


@pytest.mark.parametrize("how", ["close", "nothing"])
def test_a_child_forked_while_other_threads_are_in_calls_dials_for_itself(pair: Pair, how: str) -> None:
    """A fork copies one thread: what the others held, connections and locks, must not be waited for."""
    # CPython warns of such a fork since 3.12, because other people's locks do not stand it.
    program = f"""
import os, threading, warnings, shm_protocol
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
node = shm_protocol.connect(max_connections=4)
def work():
    while not done.is_set():
        assert node.call("functions.echo", threading.get_ident()) == threading.get_ident()
done = threading.Event()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for number in range(10):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if node.call("functions.echo", number) == number else 2
            if {how!r} == "close":
                node.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for thread in threads:
    thread.join()
node.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=pair.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""A process that may open nothing more: it says so, keeps what it has, and goes on when it may again."""

import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import http_client
import pytest
import shm_protocol
from services import HANG_S, ROOT, Services

DIALER = """
import os, resource, sys
import shm_protocol

path, transport = sys.argv[1:]
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
with shm_protocol.connect(path, transport=transport) as first:
    free = os.dup(0)
    os.close(free)
    # With every number of descriptors that is too small for another connection.
    for left in range(20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, most))
        try:
            with shm_protocol.connect(path, transport=transport) as second:
                print(second.transport, second.call("typescript_utils.slugify", "The Second Connection"))
                break
        except shm_protocol.PeerUnavailable as error:
            print(error)
        print(first.call("typescript_utils.slugify", "The First Connection"))
"""


@contextlib.contextmanager
def descriptors_of(pid: int, at_most: int) -> Iterator[None]:
    """Meanwhile a running process can open nothing whose number would be `at_most` or above."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (at_most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def next_descriptor(pid: int) -> int:
    """The number above all that a process has open."""
    return 1 + max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())


class KeptAlive:
    """A client that has a connection already."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url.removeprefix("http://"), timeout=HANG_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, path: str, text: str) -> object:
        """The body of the answer, which must be a 200, on the same connection as before."""
        body = json.dumps({"text": text})
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        assert (response.status, response.will_close) == (200, False), answer
        return json.loads(answer)


def test_a_worker_without_descriptors_serves_the_clients_it_has_and_lets_others_wait() -> None:
    with Services(workers=1) as services, KeptAlive(services.python_url) as client, ThreadPoolExecutor(1) as other:
        assert client.post("/api/slugify", "Before It") == {"slug": "before-it"}
        (worker,) = services.worker_pids()
        with descriptors_of(worker, at_most=3):
            waiting = other.submit(http_client.post, f"{services.python_url}/api/slugify", {"text": "Other Client"})
            services.wait_until(
                lambda: "Too many open files (EMFILE)" in services.logs("python"), "the worker says what it lacks"
            )
            assert "ulimit -n" in services.logs("python")
            assert client.post("/api/slugify", "Meanwhile") == {"slug": "meanwhile"}
            # TypeScript's calls come by the connection that there is.
            assert http_client.post(f"{services.node_url}/api/predict", {"text": "good"}).status == 200
        answer = waiting.result(HANG_S)
        assert (answer.status, answer.json()) == (200, {"slug": "other-client"})
        assert services.worker_pids() == [worker]


def test_a_node_without_descriptors_serves_the_clients_it_has_and_takes_others_when_it_can() -> None:
    with Services(workers=1) as services, contextlib.ExitStack() as stack:
        client = stack.enter_context(KeptAlive(services.node_url))
        client.post("/api/predict", "good")
        with descriptors_of(services.node_pid, at_most=next_descriptor(services.node_pid) + 3):
            # More than there are descriptors: those that it cannot take it closes.
            address = ("127.0.0.1", int(services.node_url.rpartition(":")[2]))
            for _ in range(20):
                stack.enter_context(socket.create_connection(address, HANG_S))
            with pytest.raises((OSError, HTTPException)):
                http_client.get(f"{services.node_url}/api/stats")
            client.post("/api/predict", "bad")
            with pytest.raises(shm_protocol.PeerUnavailable):
                shm_protocol.connect(services.directory / "run" / "node.sock", timeout=HANG_S)
            assert http_client.post(f"{services.python_url}/api/slugify", {"text": "Hello"}).json() == {"slug": "hello"}
        assert http_client.get(f"{services.node_url}/api/stats").status == 200
        with shm_protocol.connect(services.directory / "run" / "node.sock") as node:
            assert node.call("typescript_utils.slugify", "A b") == "a-b"


def test_a_node_that_has_too_few_descriptors_for_a_connection_refuses_it_with_the_reason() -> None:
    with Services(sides=["node"]) as services:
        node, told = services.node_pid, list[str]()
        path = services.directory / "run" / "node.sock"
        with shm_protocol.connect(path, transport="shm") as first:
            # With every number that is too small, from the one that does not even suffice for the socket.
            for left in range(20):
                with descriptors_of(node, at_most=next_descriptor(node) + left):
                    try:
                        shm_protocol.connect(path, transport="shm").close()
                        break
                    except shm_protocol.PeerUnavailable as error:
                        told.append(str(error))
                    assert first.call("typescript_utils.slugify", "A b") == "a-b"
        assert any("no file descriptors left (EMFILE): raise `ulimit -n`" in reason for reason in told), told


@pytest.mark.parametrize("transport", ["shm", "socket", "auto"])
def test_a_python_program_without_descriptors_is_told_and_its_connections_go_on(transport: str) -> None:
    with Services(sides=["node"]) as services:
        done = subprocess.run(
            [sys.executable, "-c", DIALER, str(services.directory / "run" / "node.sock"), transport],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        assert done.returncode == 0, done.stderr
        *lines, last = done.stdout.splitlines()
        assert last == f"{'socket' if transport == 'socket' else 'shm'} the-second-connection"
        told, answers = lines[::2], lines[1::2]
        assert len(told) >= (1 if transport == "socket" else 3)
        assert all("no file descriptors left (EMFILE)" in line and "ulimit -n" in line for line in told), told
        assert set(answers) == {"the-first-connection"}

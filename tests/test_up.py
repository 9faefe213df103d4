"""What `make up` runs: both sides in the foreground, from the first line to the last process."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import http_client
import pytest
import services

ROOT = Path(__file__).resolve().parent.parent
HANG_GUARD_S = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds; the test fails when it never does."""
    deadline = time.monotonic() + HANG_GUARD_S
    while not condition():
        assert time.monotonic() < deadline, f"still not after {HANG_GUARD_S:.0f} s: {what}"
        time.sleep(0.02)


class Up:
    """One run of the runner, with ports and a directory of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.node_port, self.python_port = services.free_ports(2)
        self.node_url, self.python_url = (f"http://127.0.0.1:{port}" for port in (self.node_port, self.python_port))
        self.environment = {
            **os.environ,
            "SHM_POLYGLOT_DIR": str(directory),
            "SHM_POLYGLOT_NODE_PORT": str(self.node_port),
            "SHM_POLYGLOT_PYTHON_PORT": str(self.python_port),
            "WEB_CONCURRENCY": "2",
            # The type check is another test's, and takes seconds.
            "TS_NODE_TRANSPILE_ONLY": "true",
            **environment,
        }
        self._log = os.memfd_create("log")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "python_side.up"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            text=True,
        )
        return self.process

    def start_and_wait(self) -> subprocess.Popen[str]:
        """Starts it and waits for its greeting, which comes when both sides are healthy."""
        process = self.start()
        until(lambda: "Ctrl-C ends both." in self.output() or process.poll() is not None, "the greeting")
        assert process.poll() is None, self.output()
        return process

    def exit_code(self) -> int:
        """Waits for the runner to end."""
        assert self.process is not None
        return self.process.wait(HANG_GUARD_S)

    def output(self) -> str:
        """What the runner has printed so far."""
        return os.pread(self._log, 1 << 20, 0).decode()

    def processes(self) -> list[int]:
        """Every live process of this run, the runner included: those with its directory in their environment."""
        mark = f"SHM_POLYGLOT_DIR={self.directory}".encode()
        return [pid for pid in services.pids() if mark in services.read(pid, "environ").split(b"\0")]

    def child(self, part: bytes) -> int:
        """The runner's own child whose command has that part."""
        assert self.process is not None
        [child] = [pid for pid in services.children(self.process.pid) if part in services.read(pid, "cmdline")]
        return child

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.exit_code()
        os.close(self._log)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for the socket, with a path short enough for one."""
    with tempfile.TemporaryDirectory(prefix="shm-polyglot-test-") as path:
        yield Path(path)


@pytest.fixture
def up(directory: Path) -> Iterator[Up]:
    run = Up(directory)
    yield run
    run.stop()
    for pid in run.processes():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_sides_serve_until_a_signal_ends_them_and_leave_nothing(up: Up, number: signal.Signals) -> None:
    before = services.shared_memory_names()
    process = up.start_and_wait()
    assert http_client.post(f"{up.node_url}/api/predict", {"text": "I love this"}).status == 200
    assert http_client.post(f"{up.python_url}/api/slugify", {"text": "Hello, World"}).json() == {"slug": "hello-world"}
    process.send_signal(number)
    assert up.exit_code() == 0, up.output()
    assert up.processes() == []
    assert list(up.directory.iterdir()) == []
    # Other tests run at the same time: their names come and go, one of ours would stay.
    new = services.shared_memory_names() - before
    until(lambda: not new & services.shared_memory_names(), f"gone: {new}")


@pytest.mark.parametrize("side", ["NODE", "PYTHON"])
def test_a_taken_port_is_named_with_who_has_it_and_what_to_set(up: Up, side: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.environment[f"SHM_POLYGLOT_{side}_PORT"] = str(port)
        up.start()
        assert up.exit_code() == 1
    assert f"port {port} is taken by process {os.getpid()}" in up.output()
    assert f"SHM_POLYGLOT_{side}_PORT={port + 1} make up" in up.output()
    assert " | " not in up.output(), "a side was started"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SHM_POLYGLOT_NODE_PORT", "http"), ("SHM_POLYGLOT_PYTHON_PORT", "70000"), ("WEB_CONCURRENCY", "0")],
)
def test_a_setting_that_cannot_be_meant_is_named(up: Up, variable: str, value: str) -> None:
    up.environment[variable] = value
    up.start()
    assert up.exit_code() == 1
    assert f"up: {variable}={value!r}: must be a whole number from 1 to " in up.output()
    assert "Traceback" not in up.output()


def test_one_port_for_both_sides_is_refused(up: Up) -> None:
    up.environment["SHM_POLYGLOT_NODE_PORT"] = str(up.python_port)
    up.start()
    assert up.exit_code() == 1
    assert f"are both {up.python_port}" in up.output()


@pytest.mark.parametrize(("side", "command"), [("node", b"node_side/server.ts"), ("python", b"gunicorn")])
def test_when_one_side_is_killed_the_other_ends_and_the_reason_is_told(up: Up, side: str, command: bytes) -> None:
    up.start_and_wait()
    os.kill(up.child(command), signal.SIGKILL)
    assert up.exit_code() == 1
    assert f"up: {side} was killed by SIGKILL" in up.output()
    assert up.processes() == []


def test_a_side_that_cannot_start_is_told_with_its_last_line(up: Up, directory: Path) -> None:
    up.start_and_wait()
    # The same directory: Node's socket in it is in use.
    second = Up(directory)
    try:
        second.start()
        assert second.exit_code() == 1
        [reason] = [line for line in second.output().splitlines() if line.startswith("up: ")]
        assert reason.startswith("up: node ended with exit code 1: ")
        assert str(directory) in reason
    finally:
        second.stop()
    assert http_client.get(f"{up.node_url}/health").status == 200


def test_a_killed_runner_takes_both_sides_with_it(up: Up) -> None:
    process = up.start_and_wait()
    assert len(up.processes()) > 3, "the runner, Node, gunicorn's master and its workers"
    process.kill()
    up.exit_code()
    until(lambda: not up.processes(), f"no process is left: {up.processes()}")


def test_a_socket_left_by_a_killed_run_does_not_keep_the_next_from_starting(up: Up, directory: Path) -> None:
    directory.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "node.sock"))
    assert (directory / "node.sock").is_socket()
    up.start_and_wait()
    assert http_client.get(f"{up.python_url}/health").status == 200


def test_output_of_each_side_carries_its_name(up: Up) -> None:
    up.start_and_wait()
    names = {line.partition("|")[0].strip() for line in up.output().splitlines() if " | " in line}
    assert names == {"node", "python"}


def test_a_second_signal_kills_a_side_that_does_not_end(up: Up) -> None:
    process = up.start_and_wait()
    os.kill(up.child(b"node_side/server.ts"), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    until(lambda: "Shutting down: Master" in up.output(), "Python has ended, Node's turn")
    process.send_signal(signal.SIGINT)
    assert up.exit_code() == 0, up.output()
    assert "has not ended" not in up.output()
    assert up.processes() == []

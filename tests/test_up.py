"""What `make up` runs: both sides in the foreground, from the first line to the last process. test_run.py has what it
shares with every project's run.
"""

import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import http_client
import pytest
import services
from running import Supervised, until

ROOT = Path(__file__).resolve().parent.parent


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
        self._run: Supervised | None = None

    def start(self) -> Supervised:
        self._run = Supervised([sys.executable, "-m", "python_side.up"], ROOT, self.environment, "SHM_POLYGLOT_DIR")
        return self._run

    def start_and_wait(self) -> Supervised:
        """Starts it and waits for its greeting, which comes when both sides are healthy."""
        run = self.start()
        run.wait_for("Ctrl-C ends both.")
        return run

    def discard(self) -> None:
        if self._run is not None:
            self._run.discard()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for the socket, with a path short enough for one."""
    with tempfile.TemporaryDirectory(prefix="shm-polyglot-test-") as path:
        yield Path(path)


@pytest.fixture
def up(directory: Path) -> Iterator[Up]:
    made = Up(directory)
    yield made
    made.discard()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_sides_serve_until_a_signal_ends_them_and_leave_nothing(up: Up, number: signal.Signals) -> None:
    run = up.start_and_wait()
    assert http_client.post(f"{up.node_url}/api/predict", {"text": "I love this"}).status == 200
    assert http_client.post(f"{up.python_url}/api/slugify", {"text": "Hello, World"}).json() == {"slug": "hello-world"}
    # Those of other tests come and go.
    segments = {
        name for pid in run.processes() for name in services.SEGMENT.findall(services.read(pid, "maps").decode())
    }
    assert segments
    run.process.send_signal(number)
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []
    assert list(up.directory.iterdir()) == []
    assert not segments & services.shared_memory_names()


def test_beside_a_pair_that_runs_all_that_a_second_one_needs_is_named(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as node, socket.create_server(("127.0.0.1", 0)) as python:
        for side, taken in (("NODE", node), ("PYTHON", python)):
            up.environment[f"SHM_POLYGLOT_{side}_PORT"] = str(taken.getsockname()[1])
        run = up.start()
        assert run.exit_code() == 1
    last = run.output().strip().splitlines()[-1]
    assert re.fullmatch(
        rf" *SHM_POLYGLOT_NODE_PORT=\d+ SHM_POLYGLOT_PYTHON_PORT=\d+ SHM_POLYGLOT_DIR={up.directory}-2 make up", last
    )


@pytest.mark.parametrize("side", ["NODE", "PYTHON"])
def test_a_host_that_cannot_be_listened_on_is_named_with_its_variable(up: Up, side: str) -> None:
    up.environment[f"SHM_POLYGLOT_{side}_HOST"] = "192.0.2.1"
    run = up.start()
    assert run.exit_code() == 1
    assert "192.0.2.1 port" in run.output()
    assert f"see SHM_POLYGLOT_{side}_HOST and SHM_POLYGLOT_{side}_PORT" in run.output()


@pytest.mark.parametrize("side", ["NODE", "PYTHON"])
def test_a_taken_port_is_named_with_who_has_it_and_what_to_set(up: Up, side: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.environment[f"SHM_POLYGLOT_{side}_PORT"] = str(port)
        run = up.start()
        assert run.exit_code() == 1
    assert f"port {port} is taken by process {os.getpid()}" in run.output()
    found = re.search(rf"SHM_POLYGLOT_{side}_PORT=(\d+) make up", run.output())
    assert found
    assert int(found[1]) not in {port, up.node_port, up.python_port}
    assert " | " not in run.output(), "a side was started"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SHM_POLYGLOT_NODE_PORT", "http", "an integer from 1 to 65535"),
        ("SHM_POLYGLOT_PYTHON_PORT", "70000", "an integer from 1 to 65535"),
        ("WEB_CONCURRENCY", "0", "an integer from 1 to 256"),
        ("SHM_POLYGLOT_RING_BYTES", "5000", "a power of two from 4096 to 268435456"),
        ("SHM_POLYGLOT_DIR", "run", "an absolute path"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_before_anything_is_started(
    up: Up, variable: str, value: str, allowed: str
) -> None:
    up.environment[variable] = value
    run = up.start()
    assert run.exit_code() == 1
    assert f'up: {variable}="{value}": must be {allowed}' in run.output()
    assert " | " not in run.output(), "a side was started"
    assert "Traceback" not in run.output()


def test_one_port_for_both_sides_is_refused(up: Up) -> None:
    up.environment["SHM_POLYGLOT_NODE_PORT"] = str(up.python_port)
    run = up.start()
    assert run.exit_code() == 1
    assert f"are both {up.python_port}" in run.output()


@pytest.mark.parametrize(("side", "command"), [("node", "node_side/server.ts"), ("python", "gunicorn")])
def test_a_side_that_is_killed_is_brought_back_and_the_other_answers_meanwhile(up: Up, side: str, command: str) -> None:
    run = up.start_and_wait()
    other = f"{up.python_url}/hello" if side == "node" else f"{up.node_url}/api/stats"
    os.kill(run.child(command), signal.SIGKILL)
    run.wait_for(f"up     \\| {side} was killed by SIGKILL; it is started again in ")
    assert http_client.get(other).status == 200
    run.wait_for(f"up     \\| {side} is back")
    text = {"text": "I love this"}
    until(lambda: http_client.post(f"{up.node_url}/api/predict", text).status == 200, run.output)
    run.process.terminate()
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def test_the_reason_of_a_side_that_cannot_start_is_told_once(up: Up, directory: Path) -> None:
    directory.chmod(0o755)
    run = up.start()
    assert run.exit_code() == 1
    assert run.output().strip().splitlines()[-1] == "up: node ended with exit code 1 before it was ready"
    assert run.output().count(f"{directory} has mode 0755") == 1


def test_a_directory_in_which_another_listens_is_told_with_who_it_is(up: Up, directory: Path) -> None:
    first = up.start_and_wait()
    second = Up(directory)
    try:
        run = second.start()
        assert run.exit_code() == 1
        node = first.child("node_side/server.ts")
        assert f"up: process {node} (" in run.output()
        assert f"listens at {directory}/node.sock already" in run.output()
        assert " | " not in run.output(), "a side was started"
    finally:
        # Its mark is that of the first as well.
        assert run.process.poll() is not None
    assert http_client.get(f"{up.node_url}/health").status == 200


def test_a_killed_runner_takes_both_sides_with_it(up: Up) -> None:
    run = up.start_and_wait()
    assert len(run.processes()) > 3, "the runner, Node, gunicorn's master and its workers"
    run.process.kill()
    until(lambda: not run.processes(), lambda: f"no process is left: {run.processes()}")


def test_a_socket_left_by_a_killed_run_does_not_keep_the_next_from_starting(up: Up, directory: Path) -> None:
    directory.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "node.sock"))
    assert (directory / "node.sock").is_socket()
    up.start_and_wait()
    assert http_client.get(f"{up.python_url}/health").status == 200


def test_output_of_each_side_carries_its_name(up: Up) -> None:
    run = up.start_and_wait()
    names = {line.partition("|")[0].strip() for line in run.output().splitlines() if " | " in line}
    assert names == {"node", "python"}

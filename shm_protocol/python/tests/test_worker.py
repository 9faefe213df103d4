"""A worker: serves until it is stopped, from wherever that is, and answers what it had been called for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from acceptor import Acceptor
from shm_protocol import ConfigError, PeerGone, RemoteError, Worker
from shm_protocol.connection import Connection
from shm_protocol.wake import Wake
from tagged import SHM_PROTOCOL

HANG_S = 200.0
ROOT = SHM_PROTOCOL.parent

Listen = Callable[..., Acceptor]


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Gate:
    """A function that is under way until the test lets it go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Event()

    def hold(self, value: Any) -> Any:
        self.begun.set()
        assert self.opened.wait(HANG_S)
        return value


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


class Peer:
    """Makes a call in a thread of its own, as Node would, and goes on serving."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.outcomes: list[Any] = []
        self._thread: threading.Thread | None = None

    def call(self, *calls: tuple[Any, ...]) -> None:
        """Make these calls one after the other, then serve until the connection ends."""
        self._thread = threading.Thread(target=self._run, args=(calls,))
        self._thread.start()

    def join(self) -> list[Any]:
        """What came of the calls."""
        assert self._thread is not None
        self._thread.join(HANG_S)
        assert not self._thread.is_alive()
        return self.outcomes

    def _run(self, calls: tuple[tuple[Any, ...], ...]) -> None:
        self.connection.owner = threading.get_ident()
        for call in calls:
            try:
                self.outcomes.append(self.connection.call(*call, timeout=HANG_S))
            except Exception as error:
                self.outcomes.append(error)
        try:
            self.connection.serve()
        except shm_protocol.BridgeError as error:
            self.outcomes.append(type(error))


def test_a_worker_serves_in_a_thread_of_its_own_and_leaves_at_the_end(
    path: Path, transport: str, listen: Listen
) -> None:
    acceptor = listen()
    worker = Worker(path, transport=transport, expose={"echo": lambda value: value})
    assert not worker.attached
    with worker as entered:
        assert entered is worker
        peer = Peer(acceptor.accept())
        peer.call(("echo", 1), ("echo", 2))
        while len(peer.outcomes) < 2:
            threading.Event().wait(0.001)
        assert (worker.attached, worker.closed) == (True, False)
    assert (worker.attached, worker.closed) == (False, True)
    assert peer.join() == [1, 2, PeerGone]
    assert peer.connection._session.peer_leaves


def test_a_call_under_way_when_a_worker_is_stopped_is_answered(
    path: Path, transport: str, listen: Listen, gate: Gate
) -> None:
    acceptor = listen()
    worker = Worker(path, transport=transport, expose={"hold": gate.hold}).start()
    peer = Peer(acceptor.accept())
    peer.call(("hold", "answered"))
    assert gate.begun.wait(HANG_S)
    worker.stop()
    gate.opened.set()
    worker.close()
    assert worker.closed
    assert peer.join() == ["answered", PeerGone]


def test_an_idle_worker_is_stopped_from_another_thread(path: Path, transport: str, listen: Listen) -> None:
    acceptor = listen()
    worker = Worker(path, transport=transport, expose={"echo": lambda value: value})

    def stop_once_attached() -> None:
        Peer(acceptor.accept()).call()
        worker.stop()

    stopping = threading.Thread(target=stop_once_attached)
    stopping.start()
    worker.serve()
    stopping.join(HANG_S)
    assert worker.closed


def test_a_function_may_stop_the_worker_that_serves_it(path: Path, transport: str, listen: Listen) -> None:
    acceptor = listen()

    def last(value: Any) -> Any:
        worker.stop()
        worker.close()
        return value

    worker = Worker(path, transport=transport, expose={"last": last}).start()
    peer = Peer(acceptor.accept())
    peer.call(("last", "word"))
    assert peer.join() == ["word", PeerGone]
    worker.close()


def test_a_worker_that_waits_for_somebody_to_listen_is_stopped(path: Path) -> None:
    with Worker(path, expose={"echo": lambda value: value}) as worker:
        assert not worker.attached
    assert worker.closed


def test_a_worker_dials_again_when_its_peer_has_gone(path: Path, transport: str, listen: Listen) -> None:
    with Worker(path, transport=transport, expose={"echo": lambda value: value}):
        for value in range(2):
            # It began to dial before anybody listened.
            acceptor = listen()
            assert acceptor.accept().call("echo", value) == value
            acceptor.close()


def test_a_function_that_does_not_return_is_given_up_and_its_caller_told(
    path: Path, transport: str, listen: Listen, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_protocol.worker.GRACE_S", 0.01)
    acceptor = listen()
    worker = Worker(path, transport=transport, expose={"hold": gate.hold}, leave_timeout=0.01).start()
    peer = Peer(acceptor.accept())
    peer.call(("hold", "never"))
    assert gate.begun.wait(HANG_S)
    worker.close()
    assert not worker.closed
    [error, _] = peer.join()
    assert isinstance(error, PeerGone)
    gate.opened.set()
    worker.close()


def test_a_stream_that_nobody_reads_holds_a_worker_no_longer_than_its_leave_timeout(
    path: Path, transport: str, listen: Listen
) -> None:
    acceptor = listen()
    worker = Worker(path, transport=transport, expose={"count": lambda: iter(range(100))}, leave_timeout=0.05).start()
    connection = acceptor.accept()
    stream = connection.stream("count", credit=1)
    assert next(stream) == 0
    reading = Peer(connection)
    worker.stop()
    reading.call()
    worker.close()
    assert worker.closed
    reading.join()


def test_what_ends_a_workers_own_thread_is_raised_when_it_is_closed(
    path: Path, transport: str, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    acceptor = listen()

    def leave_the_program() -> None:
        raise SystemExit(3)

    worker = Worker(path, transport=transport, expose={"exit": leave_the_program}).start()
    with acceptor.accept() as connection, pytest.raises(RemoteError, match="SystemExit: 3"):
        connection.call("exit")
    with pytest.raises(SystemExit, match="3"):
        worker.close()
    assert "ends: SystemExit: 3" in caplog.text
    worker.close()


def test_a_worker_begins_once(path: Path) -> None:
    worker = Worker(path, expose={"echo": lambda value: value})
    with worker:
        with pytest.raises(RuntimeError, match="it serves already"):
            worker.start()
        with pytest.raises(RuntimeError, match="it serves already"):
            worker.serve()
    with pytest.raises(RuntimeError, match="it has stopped; make another"):
        worker.serve()


def test_a_worker_that_was_stopped_before_it_began_serves_nobody(path: Path, listen: Listen) -> None:
    acceptor = listen().serve_in_background()
    stopped = Worker(path, expose={"echo": lambda value: value})
    stopped.stop()
    stopped.serve()
    closed = Worker(path, expose={"echo": lambda value: value})
    closed.close()
    with pytest.raises(RuntimeError, match="it has stopped"):
        closed.serve()
    assert acceptor.hellos == []


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"leave_timeout": 0}, ConfigError, r"^leave_timeout=0: must be a number of seconds greater than 0"),
        ({"leave_timeout": None}, TypeError, r"^leave_timeout=None: must be a number of seconds greater than 0"),
        ({"serve_unrelated": 1}, TypeError, r"^serve_unrelated=1: must be True or False"),
        ({"name": ""}, ConfigError, r"^name='': must have 1 to 128 characters"),
        ({"timeout": -1}, ConfigError, r"^timeout=-1: must be"),
        ({"transport": "tcp"}, ConfigError, r"^transport="),
        ({"expose": 5}, TypeError, r"^expose=5: must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_dialed(
    path: Path, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    given = {"expose": {"echo": len}, **options}
    for begin in (Worker, shm_protocol.serve):
        with pytest.raises(kind, match=said):
            begin(path, **given)


PROGRAM = """
import os, signal, sys, time
import shm_protocol

def hold(path, value):
    open(path + ".begun", "w").close()
    while not os.path.exists(path):
        time.sleep(0.005)
    return value

def forked():
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stderr = open(os.devnull, "w")

path, transport, leave_timeout = sys.argv[1:]
expose = {"hold": hold, "forked": forked}
shm_protocol.serve(path, transport=transport, expose=expose, leave_timeout=float(leave_timeout))
print("done")
"""


class Program:
    """A program that calls serve()."""

    def __init__(self, path: Path, transport: str, leave_timeout: float = HANG_S, program: str = PROGRAM) -> None:
        self.gate = path.parent / "gate"
        command = [sys.executable, "-c", program, str(path), transport, str(leave_timeout)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def wait_until_begun(self) -> None:
        while not self.gate.with_name("gate.begun").exists():
            threading.Event().wait(0.005)

    def outcome(self) -> tuple[str, int]:
        output, _ = self.process.communicate(timeout=HANG_S)
        return output, self.process.returncode

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Program]


@pytest.fixture
def start(path: Path, transport: str) -> Iterator[Start]:
    programs: list[Program] = []

    def start(**options: Any) -> Program:
        programs.append(Program(path, transport, **options))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


def test_sigterm_during_a_call_lets_it_be_answered_and_then_serve_returns(start: Start, listen: Listen) -> None:
    acceptor, program = listen(), start()
    peer = Peer(acceptor.accept())
    peer.call(("hold", str(program.gate), "answered"))
    program.wait_until_begun()
    program.process.terminate()
    program.gate.touch()
    assert program.outcome() == ("done\n", 0)
    assert peer.join() == ["answered", PeerGone]


def test_sigterm_ends_a_worker_that_is_idle_and_one_that_has_nobody_to_dial(start: Start, listen: Listen) -> None:
    acceptor, program = listen(), start()
    peer = Peer(acceptor.accept())
    peer.call()
    program.process.terminate()
    assert program.outcome() == ("done\n", 0)
    peer.join()
    acceptor.close()
    # It dials nobody, and tells that once it does.
    alone = start(
        program="import shm_protocol.log, logging, sys\n"
        "class Told(logging.Handler):\n"
        "    def emit(self, record): print('told', flush=True)\n"
        "logging.getLogger('shm_protocol').addHandler(Told())\n" + PROGRAM
    )
    assert alone.process.stdout is not None
    assert alone.process.stdout.readline() == "told\n"
    alone.process.terminate()
    assert alone.outcome() == ("done\n", 0)


def test_a_second_sigterm_ends_the_process_at_once(start: Start, listen: Listen) -> None:
    acceptor, program = listen(), start()
    peer = Peer(acceptor.accept())
    peer.call(("hold", str(program.gate), "never"))
    program.wait_until_begun()
    # The same signal twice at once would be one.
    while program.process.poll() is None:
        program.process.terminate()
        threading.Event().wait(0.01)
    assert program.outcome() == ("", -signal.SIGTERM)
    [error, *_] = peer.join()
    assert isinstance(error, PeerGone)


def test_a_function_that_does_not_return_after_sigterm_ends_with_the_process(start: Start, listen: Listen) -> None:
    acceptor, program = listen(), start(leave_timeout=0.01)
    peer = Peer(acceptor.accept())
    peer.call(("hold", str(program.gate), "never"))
    program.wait_until_begun()
    program.process.terminate()
    assert program.outcome() == ("", -signal.SIGTERM)
    peer.join()


def test_a_handler_of_the_programs_own_for_sigterm_is_left_alone(start: Start, listen: Listen) -> None:
    own = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    acceptor, program = listen(), start(program=own + PROGRAM)
    acceptor.accept()
    program.process.terminate()
    assert program.outcome() == ("", 7)


def test_after_serve_sigterm_does_again_what_it_did_before(path: Path) -> None:
    program = f"""
import logging, shm_protocol, signal

class Interrupting(logging.Handler):
    def emit(self, record):
        signal.raise_signal(signal.SIGINT)

logging.getLogger("shm_protocol").addHandler(Interrupting(logging.WARNING))
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
try:
    shm_protocol.serve({str(path)!r}, expose={{"echo": len}}, transport="tcp")
except shm_protocol.ConfigError:
    pass
shm_protocol.serve({str(path)!r}, expose={{"echo": len}})
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=HANG_S)


def test_a_child_that_a_function_forks_ends_when_it_comes_back_and_the_worker_goes_on(
    start: Start, listen: Listen
) -> None:
    acceptor = listen()
    start()
    connection = acceptor.accept()
    # The child came up from serve() with an error, and did not dial.
    assert connection.call("forked", timeout=HANG_S) == 1
    assert connection.call("forked", timeout=HANG_S) == 1
    assert len(acceptor.hellos) == 1


def test_a_worker_made_before_a_fork_serves_in_the_child(path: Path, transport: str, listen: Listen) -> None:
    program = """if True:
        import os, sys
        import shm_protocol

        worker = shm_protocol.Worker(sys.argv[1], transport=sys.argv[2], expose={"pid": os.getpid})
        if os.fork() == 0:
            worker.serve()
            os._exit(0)
        worker.close()
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
        """
    acceptor = listen()
    with subprocess.Popen([sys.executable, "-c", program, str(path), transport]) as parent:
        try:
            connection = acceptor.accept()
            child = connection.call("pid", timeout=HANG_S)
            assert child != parent.pid
            acceptor.close()
            os.kill(child, signal.SIGKILL)
            assert parent.wait(HANG_S) == -signal.SIGKILL % 256
        finally:
            parent.kill()


def test_a_wake_that_is_closed_may_still_be_set() -> None:
    wake = Wake()
    wake.close()
    wake.set()
    assert wake.is_set


def test_a_wake_is_readable_from_when_it_is_set() -> None:
    wake = Wake()
    assert not wake.is_set
    # More often than a socket takes bytes.
    for _ in range(3000):
        wake.set()
    wake.wait(HANG_S)
    with socket.socket(fileno=os.dup(wake.fileno())) as reader:
        assert reader.recv(1) == b"\0"
    wake.close()

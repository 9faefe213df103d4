"""Runs the real pair for a test: gunicorn with the Flask app, Node with the TypeScript server.

    with Services(workers=4, transport="socket") as services:
        answer = http_client.get(f"{services.python_url}/health")

Or, for a module of tests that share the running pairs:

    services = every_pair

Each pair has a directory, ports and a process group of its own, so tests may run side by side. `stop` ends both as an
operator would, with SIGTERM, and fails the test if a process or a name in /dev/shm is left. Every wait has an end.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import http_client
import pytest
import shm_protocol
from shm_protocol import counters

ROOT: Final = Path(__file__).resolve().parent.parent
GUNICORN: Final = (sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py")
KEPT_TYPESCRIPT: Final = str(ROOT / "tests" / "kept_typescript.js")
"""For `node -r`: TypeScript runs, and the compiler is not loaded each time."""
NODE: Final = ("node", "-r", KEPT_TYPESCRIPT, "-r", "@shm-polyglot/protocol/register", "node_side/server.ts")
SHARED_MEMORY: Final = Path("/dev/shm")

HANG_S: Final = 200.0
"""Guards against waiting for ever; nothing should ever take so long, however slow the machine."""

_kept_ports: Final[list[socket.socket]] = []
"""The sockets of `free_ports`."""

SEGMENT: Final = re.compile(r"/dev/shm/(shm-polyglot-[0-9a-f]{32})")

Side = Literal["python", "node"]


class Services:
    """A pair of servers.

    workers: gunicorn's worker processes. transport: SHM_POLYGLOT_TRANSPORT of both sides. sides: which of the two to
    start; the other can be started later with start_python or start_node. env: more environment for both.
    gunicorn_args: more of gunicorn's command line. gunicorn: another command for the Python side, in which {port}
    stands for its port. attaches: whether that one's workers attach to Node.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        transport: str = "auto",
        sides: Sequence[Side] = ("node", "python"),
        env: Mapping[str, str] | None = None,
        gunicorn_args: Sequence[str] = (),
        gunicorn: Sequence[str] = GUNICORN,
        attaches: bool = True,
    ) -> None:
        self.workers = workers
        self.directory = Path(tempfile.mkdtemp(prefix="shmp-"))
        self.bridge_directory = self.directory / "run"
        self._sides = sides
        self._attaches = attaches
        self._processes: dict[Side, subprocess.Popen[bytes]] = {}
        self._log_offset = 0
        self._segments: set[str] = set()
        python_port, node_port = free_ports(2)
        self._gunicorn = [part.format(port=python_port) for part in (*gunicorn, *gunicorn_args)]
        self.python_url = f"http://127.0.0.1:{python_port}"
        self.node_url = f"http://127.0.0.1:{node_port}"
        self._env = {
            **os.environ,
            "SHM_POLYGLOT_DIR": str(self.bridge_directory),
            "SHM_POLYGLOT_TRANSPORT": transport,
            "SHM_POLYGLOT_PYTHON_PORT": str(python_port),
            "SHM_POLYGLOT_NODE_PORT": str(node_port),
            "WEB_CONCURRENCY": str(workers),
            # `make lint` checks the types; here it would only cost a second at each start.
            **(env or {}),
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            print(self.logs())
            self.discard()

    def start(self) -> None:
        """Starts the sides asked for and waits until they serve, and until every worker is attached to Node."""
        if "node" in self._sides:
            self.start_node()
        if "python" in self._sides:
            self.start_python()
        if len(self._processes) == 2 and self._attaches:
            self.wait_attached()

    def start_python(self) -> None:
        """Starts gunicorn and waits until it answers."""
        self._start("python", self._gunicorn)
        self._wait_for_answer("python", f"{self.python_url}/stats")

    def start_node(self) -> None:
        """Starts Node and waits until it answers."""
        self._start("node", NODE)
        self._wait_for_answer("node", f"{self.node_url}/api/stats")

    def wait_attached(self, count: int | None = None) -> None:
        """Waits until `count` workers (all, if left out) have attached to Node since a side was last started."""
        expected = self.workers if count is None else count
        self.wait_until(
            lambda: self.logs("python")[self._log_offset :].count("attached to Node over") >= expected,
            f"{expected} workers attached",
        )
        self._note_segments()

    def wait_replaced(self, pids: Collection[int]) -> None:
        """Waits until none of these workers lives and there are as many workers as there should be."""

        def replaced() -> bool:
            living = self.worker_pids()
            return len(living) == self.workers and not set(living) & set(pids)

        self.wait_until(replaced, f"the workers {pids} are replaced")

    def stop(self) -> None:
        """Ends both sides with SIGTERM, and checks that both ended well and that nothing is left behind."""
        codes = {side: self.stop_side(side) for side in tuple(self._processes)}
        assert not any(codes.values()), f"exit codes {codes}\n{self.logs()}"
        self.check_nothing_left()
        shutil.rmtree(self.directory)

    def wait_for_end(self, side: Side) -> int:
        """Waits for the end of a main process that a test has ended itself, and gives its exit code. What it leaves
        behind stays."""
        return self._processes.pop(side).wait(HANG_S)

    def discard(self) -> None:
        """Kills what runs and forgets it; for a start that failed."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(HANG_S)
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop_side(self, side: Side, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends one side's main process a signal, waits for its end, and gives its exit code."""
        process = self._processes[side]
        self._note_segments()
        with contextlib.suppress(ProcessLookupError):
            # A process that a test has stopped cannot end.
            os.killpg(process.pid, signal.SIGCONT)
        process.send_signal(how)
        try:
            code = process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{side} does not end after {how.name}\n{self.logs()}") from None
        finally:
            self._processes.pop(side)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return code

    def check_nothing_left(self) -> None:
        """Fails if a process of this pair lives, or a segment that it mapped has a name."""
        self.wait_until(lambda: not self._living(), "no process of the pair is left")
        names = self._segments & shared_memory_names()
        assert not names, f"left in {SHARED_MEMORY}: {names}"

    def calls_under_way(self) -> int:
        """Calls of Node's that its workers have not answered."""
        with shm_protocol.connect(self.bridge_directory / "node.sock") as asking:
            return sum(one.outstanding for one in counters.parse(asking.call(counters.METHOD)) if one.role == "worker")

    @property
    def python_pid(self) -> int:
        """The process id of gunicorn's arbiter."""
        return self._processes["python"].pid

    @property
    def node_pid(self) -> int:
        """The process id of Node."""
        return self._processes["node"].pid

    def worker_pids(self) -> list[int]:
        """The process ids of gunicorn's workers, oldest first."""
        return children(self.python_pid)

    def logs(self, side: Side | None = None) -> str:
        """What one side, or both, have written to stdout and stderr so far."""
        if side is None:
            return "".join(f"--- {name}\n{self.logs(name)}" for name in ("node", "python"))
        path = self._log_path(side)
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for a condition; fails with `what` and the logs if it does not come true, or if a side ends."""
        end = time.monotonic() + HANG_S
        while not condition():
            for side, process in self._processes.items():
                assert process.poll() is None, f"{side} ended with {process.returncode}\n{self.logs()}"
            assert time.monotonic() < end, f"never true: {what}\n{self.logs()}"
            time.sleep(0.02)

    def _start(self, side: Side, command: Sequence[str]) -> None:
        self._log_offset = len(self.logs("python"))
        with self._log_path(side).open("ab") as log:
            self._processes[side] = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _log_path(self, side: Side) -> Path:
        return self.directory / f"{side}.log"

    def _wait_for_answer(self, side: Side, url: str) -> None:
        def answers() -> bool:
            try:
                return http_client.get(url).status == 200
            except OSError:
                return False

        self.wait_until(answers, f"{side} answers at {url}")

    def _note_segments(self) -> None:
        """Remembers which segments this pair maps: the names that must be gone at the end. Other tests have theirs."""
        for pid in self._living():
            self._segments.update(SEGMENT.findall(read(pid, "maps").decode(errors="replace")))

    def _living(self) -> list[int]:
        """The processes that were started with this pair's directory in their environment, whoever started them."""
        mark = f"SHM_POLYGLOT_DIR={self.bridge_directory}".encode()
        return [pid for pid in pids() if mark in read(pid, "environ").split(b"\0")]


@pytest.fixture(
    scope="module", params=[("shm", 1), ("shm", 4), ("socket", 1), ("socket", 4)], ids="{0[0]}-{0[1]}".format
)
def every_pair(request: pytest.FixtureRequest) -> Iterator[Services]:
    """Both servers, over each transport, with one gunicorn worker and with four. Shared by the tests of a module, which
    must leave it as they found it; a test that does not starts a pair of its own."""
    transport, workers = request.param
    with Services(transport=transport, workers=workers) as running:
        yield running


def shared_memory_names() -> set[str]:
    """The names of this project's segments in /dev/shm."""
    return {path.name for path in SHARED_MEMORY.glob("shm-polyglot-*")}


def freeze(pid: int) -> None:
    """Stop a process: all of its threads, one of which may run on for a moment after the signal and answer a call."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + HANG_S
    while not all(_is_stopped(thread) for thread in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, f"the process {pid} has not stopped"
        time.sleep(0.001)


def _is_stopped(thread: Path) -> bool:
    try:
        return thread.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended meanwhile


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on, and that the system gives to nobody else while this process lives.

    Each stays bound here with SO_REUSEADDR, without listening: a server, which sets that too, can listen on it; nobody
    who binds any port or connects from any gets it.
    """
    sockets = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sockets.append(sock)
    _kept_ports.extend(sockets)
    return [sock.getsockname()[1] for sock in sockets]


@contextlib.contextmanager
def resting_process(descriptors: Sequence[int] = ()) -> Iterator[int]:
    """A process that does nothing, and has inherited these descriptors; its id.

    What it holds stays as it is: in a process of the tests something of another test may be collected at any moment.
    """
    program = "print('rests', flush=True); input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"rests\n"
        yield process.pid
        process.communicate(b"\n", timeout=HANG_S)


def children(parent: int) -> list[int]:
    """The child processes of a process, oldest first."""
    return [pid for pid in sorted(pids()) if parent_of(pid) == parent]


def parent_of(pid: int) -> int | None:
    """The parent of a process; None if it has gone or is a zombie."""
    # The name of the command, in parentheses, may contain anything.
    _, _, fields = read(pid, "stat").rpartition(b") ")
    state, parent = (fields.split()[:2]) if fields else (b"Z", b"0")
    return None if state == b"Z" else int(parent)


def pids() -> Iterator[int]:
    """Every process of the machine."""
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def read(pid: int, name: str) -> bytes:
    """A file of /proc/<pid>; empty if the process has gone or belongs to somebody else."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""

"""The programs of one moment of the matrix: Node and Python workers, two processes of the library's or a gunicorn with
three, and, where the moment has them, a Python caller and HTTP clients.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from services import HANG_S, KEPT_TYPESCRIPT, children, free_ports

from . import leftovers
from .matrix import Lanes
from .questions import BUFFER_BYTES, RING_BYTES, TIMEOUT_S, TIMEOUT_VARIABLE

ROOT: Final = Path(__file__).resolve().parent.parent.parent
HERE: Final = Path(__file__).resolve().parent
NODE: Final = ("node", "-r", KEPT_TYPESCRIPT, str(HERE / "node_program.ts"))
CALLER: Final = (sys.executable, "-m", "tests.chaos.caller_program")
WORKER: Final = (sys.executable, "-m", "tests.chaos.worker_program")
HTTP_CLIENTS: Final = (sys.executable, "-m", "tests.chaos.http_program")
GUNICORN: Final = (
    *(sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py"),
    *("--worker-class", "tests.chaos.gunicorn_worker.ChaosWorker", "tests.chaos.gunicorn_worker:app"),
)
WORKERS: Final = 2
GUNICORN_WORKERS: Final = 3

BACK: Final = "back"
"""What a lane says of its first right answer, and of the first after a failure."""


class Stuck(Exception):
    """What must come true has not; the message says what, with the end of the programs' logs."""


class Event(NamedTuple):
    """What a lane has met. what: BACK, or the code of the error. Times are of CLOCK_MONOTONIC, in seconds."""

    lane: int
    what: str
    began: float
    at: float
    detail: str


class Program:
    """One of them, and what its journal has told since it was started.

    verified: right answers of each lane. longest: the seconds that each lane has waited for one, see journal.py.
    latest: the last event of each lane. attached: how many workers Node has, and since when. ready_at: when it said
    that it was ready, or the last of its workers did. ready_pids: who has said it.
    """

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.verified: list[int] = []
        self.longest: list[float] = []
        self.latest: dict[int, Event] = {}
        self._events: deque[Event] = deque()
        self._wrong: deque[str] = deque()
        self.attached = (0, 0.0)
        self.ready_at: float | None = None
        self.ready_pids: set[int] = set()
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                # Ctrl-C is for the matrix, which then ends its programs.
                start_new_session=True,
            )
        # A SEGV is meant here, and its core of no use.
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))
        self._reader = threading.Thread(target=self._read, name=f"journal of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """Its process id, and those of its workers."""
        return [self.pid, *children(self.pid)]

    @property
    def has_ended(self) -> bool:
        """Whether it has, for whatever reason."""
        return self._process.poll() is not None

    def wait(self) -> int:
        """Waits for its end and that of its workers, and gives its exit code. Its journal is complete then. Raises
        Stuck.
        """
        try:
            code = self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            raise Stuck(f"{self.name} does not end") from None
        self._reader.join(HANG_S)
        if self._reader.is_alive():
            raise Stuck(f"a worker of {self.name} does not end, which has ended itself")
        return code

    def end(self) -> None:
        """Kills it and its workers, stopped or not."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def new_events(self) -> list[Event]:
        """What its lanes have met since the last time."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def new_wrong(self) -> list[str]:
        """The wrong answers since the last time."""
        return [f"{self.name}: {self._wrong.popleft()}" for _ in range(len(self._wrong))]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                # Cut off by a kill: what it would have told is lost.
                if line.endswith(b"\n"):
                    self._take(json.loads(line))

    def _take(self, news: dict[str, Any]) -> None:
        if "ready" in news:
            self.ready_at = news["ready"]
            self.ready_pids.add(news.get("pid", self.pid))
            return
        events = [Event(*event) for event in news["events"]]
        self._events.extend(events)
        self.latest.update((event.lane, event) for event in events)
        self._wrong.extend(news["wrong"])
        if "attached" in news:
            self.attached = (news["attached"], news["at"])
        self.verified = news["verified"]
        self.longest = news["longest"]


def freeze(pid: int) -> None:
    """Stops a process, and waits until it stands still or has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        while leftovers.state(pid) not in ("T", "Z", "X", ""):
            time.sleep(0.0005)


class Programs:
    """All of them, under load from the beginning. In a directory of their own, which goes with them.

    under_gunicorn: whether the workers are those of a gunicorn. node_limit: the largest message that Node takes.
    timeout_s: the deadline of every question, in seconds.
    """

    def __init__(
        self,
        lanes: Lanes,
        *,
        under_gunicorn: bool = False,
        node_limit: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="shmp-chaos-"))
        self.bridge_directory = self.directory / "run"
        self.ended_verified = 0
        self.lanes = lanes
        self.under_gunicorn = under_gunicorn
        self.timeout_s = timeout_s
        self.workers = GUNICORN_WORKERS if under_gunicorn else WORKERS
        self._port = str(free_ports(1)[0])
        self._log = self.directory / "log"
        self._environment = {
            **os.environ,
            "SHM_POLYGLOT_DIR": str(self.bridge_directory),
            "SHM_POLYGLOT_TRANSPORT": "shm",
            "SHM_POLYGLOT_RING_BYTES": str(RING_BYTES),
            "SHM_POLYGLOT_BUFFER_BYTES": str(BUFFER_BYTES if under_gunicorn else 0),
            "SHM_POLYGLOT_PYTHON_PORT": self._port,
            "WEB_CONCURRENCY": str(self.workers),
            TIMEOUT_VARIABLE: str(timeout_s),
        }
        self._node_limit = {} if node_limit is None else {"SHM_POLYGLOT_MAX_MESSAGE": str(node_limit)}
        self._running: dict[str, Program] = {}

    def __enter__(self) -> Self:
        try:
            for name in self._names():
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> list[Program]:
        """Those that run."""
        return list(self._running.values())

    def named(self, name: str) -> Program:
        """The one that is called so: "node", "worker 0", "worker 1", "gunicorn", "caller" or "http"."""
        return self._running[name]

    @property
    def verified(self) -> int:
        """Right answers to all of them so far, those to programs that have ended included."""
        return self.ended_verified + sum(sum(program.verified) for program in self.running)

    def start(self, name: str) -> Program:
        """Starts one, again or for the first time, and waits until it is ready."""
        if name == "node":
            command = (*NODE, *self.lanes.node)
        elif name == "caller":
            command = (*CALLER, *self.lanes.caller)
        elif name == "gunicorn":
            command = GUNICORN
        elif name == "http":
            command = (*HTTP_CLIENTS, self._port, *self.lanes.http)
        else:
            command = (*WORKER, name, self.lanes.worker)
        environment = {**self._environment, **(self._node_limit if name == "node" else {})}
        program = Program(name, command, environment, self._log)
        self._running[name] = program
        processes = self.workers if name == "gunicorn" else 1
        self.wait_until(lambda: len(program.ready_pids) == processes, f"{name} is ready")
        return program

    def end(self, programs: Sequence[Program]) -> None:
        """Kills them for good, and removes the names of segments that they have just made: no fault of theirs."""
        names: set[str] = set()
        for program in programs:
            for pid in [] if program.has_ended else program.pids:
                freeze(pid)
                names |= leftovers.segments(pid)
        for program in programs:
            program.end()
            self.forget(program.name)
        leftovers.remove(names)

    def forget(self, name: str) -> None:
        """Knows one no more, which has ended, until it is started again."""
        self.ended_verified += sum(self._running.pop(name).verified)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something. Raises Stuck if it does not come true, or if a program has ended."""
        end = time.monotonic() + HANG_S
        while not condition():
            for program in self.running:
                if program.has_ended:
                    program.wait()
                    raise Stuck(f"{program.name} has ended while this was waited for: {what}{self._log_end()}")
            if time.monotonic() > end:
                raise Stuck(f"never true: {what}{self._log_end()}")
            time.sleep(0.005)

    def close(self) -> None:
        """Kills what runs, and removes the directory."""
        self.end(self.running)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _names(self) -> list[str]:
        workers = ["gunicorn"] if self.under_gunicorn else [f"worker {number}" for number in range(WORKERS)]
        return ["node", *workers, *(["caller"] if self.lanes.caller else []), *(["http"] if self.lanes.http else [])]

    def _log_end(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "".join(f"\n    {line}" for line in lines[-15:])

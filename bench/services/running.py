"""A service while it runs: its processes in a private directory, from their start to the end of every one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from bench.address import keep_port
from bench.installed import ROOT
from bench.processor_time import children_of, family, processor_ns
from bench.services.client import UNANSWERED, ask
from bench.services.endpoints import OK, Endpoint
from bench.services.table import Program, Service
from bench.trial import end_session

START_GUARD_S: Final = 100.0
ATTEMPT_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.002
"""Between two attempts to get an answer, and so the precision of a start's time."""
LOG_LINES: Final = 12
LOG_BYTES: Final = 10_000


class ServiceFailed(Exception):
    """A service crashed, hung or answered wrongly. The message says how, and shows what it printed."""


class Running:
    """A service with so many workers, from the beginning of the block to its end. It does not wait to be ready."""

    def __init__(self, service: Service, workers: int = 1) -> None:
        self.service = service
        self.started = 0.0
        """When its first process was started, by time.monotonic()."""
        self._workers = workers
        self._ports: dict[Program, int] = {}
        self._processes: dict[Program, subprocess.Popen[bytes]] = {}
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Raises OSError where a program cannot be run."""
        try:
            self._directory = self._files.enter_context(tempfile.TemporaryDirectory(prefix="shm-polyglot-bench-"))
            self._log = self._files.enter_context(tempfile.TemporaryFile(dir=self._directory))
            for program in self.service.programs:
                self._ports[program] = self._files.enter_context(keep_port()).getsockname()[1]
            self.started = time.monotonic()
            for program in self.service.programs:
                self._start(program)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def url(self, program: Program) -> str:
        """Where a program serves."""
        return f"http://127.0.0.1:{self._ports[program]}"

    @property
    def main_pids(self) -> list[int]:
        """The process that was started for each program."""
        return [process.pid for process in self._processes.values()]

    def pids(self) -> list[int]:
        """Every process of the service: those, and all that they have made."""
        return [pid for main in self.main_pids for pid in family(main)]

    def processor_ns(self) -> int:
        """Nanoseconds that all of them have been on a processor."""
        return processor_ns(self.main_pids)

    def death(self) -> str:
        """How a program of it has ended, with the last that was printed; empty while all run."""
        for program, process in self._processes.items():
            code = process.poll()
            if code is not None:
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return f"{self.service.name_of(program)} ended with {how}\n{self._last_lines()}"
        return ""

    def await_answer(self, program: Program, endpoint: Endpoint) -> None:
        """Ask again and again until there is an answer that is no error.

        Raises ServiceFailed when that takes START_GUARD_S, and when the answer is wrong.
        """
        last = "it was not asked"

        def is_answered() -> bool:
            nonlocal last
            try:
                answer = ask(self.url(program), endpoint, ATTEMPT_TIMEOUT_S)
            except UNANSWERED as error:
                last = f"{type(error).__name__}: {error}"
                return False
            last = endpoint.difference(answer)
            if last and answer.status == OK:
                raise ServiceFailed(f"{self.service.name_of(program)}: {last}")
            return not last

        self._await(is_answered, lambda: f"{endpoint} of {self.service.name_of(program)} gets no right answer: {last}")

    def await_ready(self) -> None:
        """Wait until each program answers what it is loaded with, and what crosses. Raises ServiceFailed."""
        for program in self.service.programs:
            self.await_answer(program, program.alive)
            if program.crossing is not None:
                self.await_answer(program, program.crossing)

    def replace_worker(self, program: Program) -> None:
        """End one worker and wait for the next to answer what crosses. Raises ServiceFailed.

        A master replaces its worker itself. A program that has none is started again at once, as whatever looks after
        it would.
        """
        process = self._processes[program]
        workers = children_of(process.pid) if program.forks else [process.pid]
        if not workers:
            raise ServiceFailed(f"{self.service.name_of(program)} has no worker\n{self._last_lines()}")
        worker = workers[0]
        os.kill(worker, signal.SIGTERM)
        if program.forks:
            self._await(lambda: not _lives(worker), lambda: f"worker {worker} does not end after SIGTERM")
        else:
            try:
                process.wait(START_GUARD_S)
            except subprocess.TimeoutExpired as hung:
                raise ServiceFailed(f"{self.service.name_of(program)} does not end after SIGTERM") from hung
            self._start(program)
        # Whatever answers now is not the old one.
        self.await_answer(program, program.crossing or program.alive)

    def _await(self, condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
        end = time.monotonic() + START_GUARD_S
        while not condition():
            if death := self.death():
                raise ServiceFailed(death)
            if time.monotonic() > end:
                raise ServiceFailed(f"{otherwise()} after {START_GUARD_S:.0f} s\n{self._last_lines()}")
            time.sleep(POLL_S)

    def _start(self, program: Program) -> None:
        places = {"port": str(self._ports[program]), "workers": str(self._workers)}
        self._processes[program] = subprocess.Popen(
            [part.format_map(places) for part in program.command],
            cwd=ROOT,
            env={
                **os.environ,
                "SHM_POLYGLOT_DIR": self._directory,
                **{name: value.format_map(places) for name, value in program.environment.items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # Ctrl-C is for the bench, which then ends them; and what they leave behind is found by its group.
            start_new_session=True,
        )

    def _last_lines(self) -> str:
        # The processes write at the file's end, wherever this reads.
        printed = os.pread(self._log.fileno(), LOG_BYTES, max(0, os.fstat(self._log.fileno()).st_size - LOG_BYTES))
        return "\n".join(printed.decode(errors="replace").strip().splitlines()[-LOG_LINES:])

    def _end(self) -> None:
        try:
            for process in reversed(self._processes.values()):
                end_session(process)
        except BaseException:
            # A second Ctrl-C: no time to be polite.
            for process in self._processes.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            raise
        finally:
            self._files.close()


def _lives(pid: int) -> bool:
    """False for a process that has gone, or has ended and waits for its parent to notice."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not stat[stat.rindex(")") + 2 :].startswith("Z")

"""Runs the two programs of the pairing tests, each pair in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import shm_protocol
from services import KEPT_TYPESCRIPT

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HANG_S = 200.0


class Pair:
    """A Node process that listens, and any number of Python workers attached to it.

    transport: of both sides. environment: more settings for both. max_message: Node's, in bytes. programs: Node's and
    the workers'.
    """

    def __init__(
        self,
        transport: str,
        environment: dict[str, str] | None = None,
        max_message: int = 0,
        programs: tuple[str, str] = ("node_peer.ts", "python_peer.py"),
    ) -> None:
        self.programs = programs
        self.transport = transport
        self.directory = Path(tempfile.mkdtemp(prefix="shmp-"))
        self.path = self.directory / "run" / "node.sock"
        self.environment = {
            **os.environ,
            "SHM_POLYGLOT_DIR": str(self.path.parent),
            "SHM_POLYGLOT_TRANSPORT": transport,
            **(environment or {}),
        }
        self.max_message = max_message
        self.workers: list[subprocess.Popen[bytes]] = []
        self.node = self._start_node()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.log())
        self.close()

    def connect(self, **options: Any) -> shm_protocol.Client:
        """A client of the Node process."""
        options.setdefault("transport", self.transport)
        return shm_protocol.connect(self.path, **options)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start a Python worker and wait until Node knows it."""
        before = self.count_workers()
        command = [sys.executable, str(HERE / self.programs[1]), f"worker {len(self.workers)}"]
        with self._log() as log:
            worker = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=log)
        self.workers.append(worker)
        self.wait_until(lambda: self.count_workers() == before + 1, "the worker is attached")
        return worker

    def count_workers(self) -> int:
        """How many workers Node knows."""
        with self.connect() as client:
            count: int = client.call("driver.workers")
            return count

    def restart_node(self) -> None:
        """Kill Node and start another in its place."""
        self.node.kill()
        self.node.wait(HANG_S)
        self.node = self._start_node()

    def log(self) -> str:
        """What both sides wrote."""
        return (self.directory / "log").read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Fails with `what` and the log if the condition does not come true."""
        end = time.monotonic() + HANG_S
        while not condition():
            assert time.monotonic() < end, f"never true: {what}\n{self.log()}"
            time.sleep(0.01)

    def close(self) -> None:
        """End everything."""
        for process in (*self.workers, self.node):
            # One that a test has stopped cannot end.
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in (*self.workers, self.node):
            try:
                process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        shutil.rmtree(self.directory)

    def _start_node(self) -> subprocess.Popen[bytes]:
        command = ["node", "-r", KEPT_TYPESCRIPT, str(HERE / self.programs[0]), str(self.max_message)]
        with self._log() as log:
            node = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=log)
        assert node.stdout is not None
        with node.stdout:
            assert node.stdout.readline() == b"ready\n", self.log()
        return node

    def _log(self) -> BinaryIO:
        return (self.directory / "log").open("ab")

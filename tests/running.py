"""Runs a command that supervises two sides, for tests: what it prints, its processes, its end."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import services

HANG_S: Final = 200.0
"""Guards against waiting for ever."""


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits until the condition holds; the test fails when it never does."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"still not after {HANG_S:.0f} s: {what()}"
        time.sleep(0.02)


class Supervised:
    """One run. mark: a variable of the environment with a value that no other test's processes have. on_terminal: its
    output is a terminal's, on which keys can be pressed.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        mark: str,
        *,
        on_terminal: bool = False,
    ) -> None:
        self._mark = f"{mark}={environment[mark]}".encode()
        self._log = os.memfd_create("log")
        self._terminal: int | None = None
        self._seen = b""
        output, inherited = self._log, self._log
        if on_terminal:
            output, inherited = pty.openpty()
            os.set_blocking(output, False)
            self._terminal = output
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=inherited if on_terminal else subprocess.DEVNULL,
            stdout=inherited,
            stderr=inherited,
            start_new_session=True,
            preexec_fn=_take_terminal if on_terminal else None,
        )
        if on_terminal:
            os.close(inherited)

    def output(self) -> str:
        """What has been printed so far, on both streams."""
        if self._terminal is None:
            return os.pread(self._log, 1 << 22, 0).decode()
        with suppress(OSError):
            while data := os.read(self._terminal, 1 << 16):
                self._seen += data
        return self._seen.decode()

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """Waits until the pattern has been printed so many times, and gives its last first group, if it has one."""

        def found() -> list[str]:
            return re.findall(pattern, self.output(), re.MULTILINE)

        until(lambda: len(found()) >= count or self.process.poll() is not None, lambda: f"{pattern}\n{self.output()}")
        assert len(found()) >= count, f"it ended without {pattern}\n{self.output()}"
        return found()[-1]

    def press(self, key: str) -> None:
        """A key on its terminal."""
        assert self._terminal is not None
        os.write(self._terminal, key.encode())

    def exit_code(self) -> int:
        """Waits for its end."""
        until(lambda: bool(self.output()) and self.process.poll() is not None, lambda: f"its end\n{self.output()}")
        return self.process.wait()

    def processes(self) -> list[int]:
        """Every live process of this run, the command included."""
        found = (pid for pid in services.pids() if self._mark in services.read(pid, "environ").split(b"\0"))
        return [pid for pid in found if services.parent_of(pid) is not None]

    def child(self, part: str) -> int:
        """The command's own child that was started with that word, or part of it."""
        [child] = [pid for pid in services.children(self.process.pid) if part.encode() in services.read(pid, "cmdline")]
        return child

    def discard(self) -> None:
        """Ends whatever is left of it."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._log)
        if self._terminal is not None:
            os.close(self._terminal)


def _take_terminal() -> None:
    """In the child: its stdin becomes the terminal whose keys send signals."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

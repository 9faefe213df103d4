"""One of the programs that are run side by side: from its start to the end of all that it has started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import ports, process_groups
from .ports import Address
from .side_output import Lines

READ_BYTES: Final = 1 << 16
READY_FD: Final = "{ready_fd}"
"""In a command: stands for the descriptor on which the program writes a byte once it is ready."""


@dataclass(frozen=True)
class Program:
    """What to run.

    name: as its lines are marked. command: its words; READY_FD may be one of them. folder: where it runs.
    is_ready: asks whether it serves; None: it tells on READY_FD. unready: what is the matter while it does not, e.g.
    "it does not listen". tells_urls: whether the ports that it opens are to be told.
    """

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] | None
    unready: str
    tells_urls: bool = True


class CannotStart(Exception):
    """The program could not be started; the message says why."""


class Side:
    """One run of a program. Its session is its own, so that Ctrl-C does not reach it."""

    def __init__(self, program: Program, lines: Lines, selector: selectors.BaseSelector) -> None:
        """Start it. Raises CannotStart."""
        self._program = program
        self._lines = lines
        self._selector = selector
        self._has_told = False
        output, inherited_output = os.pipe()
        ready, inherited_ready = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # what the user of the command has named
                [word.replace(READY_FD, str(inherited_ready)) for word in program.command],
                cwd=program.folder,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=inherited_output,
                stderr=inherited_output,
                pass_fds=[inherited_ready] if program.is_ready is None else [],
                start_new_session=True,
                preexec_fn=process_groups.die_with(os.getpid()),  # noqa: PLW1509  # there is one thread
            )
        except OSError as error:
            os.close(output)
            os.close(ready)
            raise CannotStart(f"{program.name} cannot be started: {error}") from None
        finally:
            os.close(inherited_output)
            os.close(inherited_ready)
        self._open = {output: self._read_output, ready: self._read_ready}
        for descriptor, read in self._open.items():
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ, read)

    @property
    def pid(self) -> int:
        """Of the program, and of its process group."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it serves."""
        return self._has_told if self._program.is_ready is None else self._program.is_ready()

    def addresses(self) -> list[Address]:
        """Where it listens, or what it has started does."""
        return ports.of_processes(process_groups.members(self.pid))

    def has_ended(self) -> bool:
        """Whether the program has ended. It is left unreaped, so that nobody else gets its number."""
        return self._process.returncode is not None or (
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def exit_code(self) -> int:
        """Of the program, which has ended; the negative number of the signal that killed it."""
        if self._process.returncode is not None:
            return self._process.returncode
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def is_gone(self) -> bool:
        """Whether all that it has started has ended as well."""
        return self.has_ended() and not process_groups.members(self.pid)

    def terminate(self) -> None:
        """Ask the program to end, and once it has, what it has left behind."""
        if self.has_ended():
            process_groups.send(self.pid, signal.SIGTERM)
        else:
            os.kill(self.pid, signal.SIGTERM)

    def finish(self) -> None:
        """Kill whatever of it still runs, and pass on its last lines."""
        if self._process.returncode is None:
            process_groups.send(self.pid, signal.SIGKILL)
            self._process.wait()
        for descriptor, read in tuple(self._open.items()):
            while descriptor in self._open and read(descriptor):
                pass
            self._close(descriptor)
        self._lines.finish()

    def _read_output(self, descriptor: int) -> bool:
        """Pass on what there is of its output, as much as fits: others are to have their turn. False: nothing more."""
        data = self._read(descriptor)
        self._lines.add(data)
        return bool(data)

    def _read_ready(self, descriptor: int) -> bool:
        data = self._read(descriptor)
        self._has_told = self._has_told or bool(data)
        return bool(data)

    def _read(self, descriptor: int) -> bytes:
        with suppress(BlockingIOError):
            data = os.read(descriptor, READ_BYTES)
            if not data:
                self._close(descriptor)
            return data
        return b""

    def _close(self, descriptor: int) -> None:
        if self._open.pop(descriptor, None):
            self._selector.unregister(descriptor)
            os.close(descriptor)


def how_it_ended(name: str, code: int) -> str:
    """For example: `node ended with exit code 1`."""
    if code >= 0:
        return f"{name} ended with exit code {code}"
    try:
        return f"{name} was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"{name} was killed by signal {-code}"

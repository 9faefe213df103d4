"""A program and all that it has started: a session of its own, which is ended whole, and ends with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


def die_with(parent: int) -> Callable[[], None]:
    """What a child calls before it becomes its program, so that it gets SIGTERM when the process `parent` dies of
    anything, SIGKILL included.
    """
    prctl = ctypes.CDLL(None).prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # The parent died before the line above.
            os._exit(1)

    return in_child


def members(group: int) -> list[int]:
    """The processes of a group that live; those that have ended, and wait for their parent to see it, do not count."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # The name of the command, in parentheses, may contain anything. A process may end meanwhile.
        with suppress(OSError):
            state, _, its_group = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(int(folder.name))
    return found


def send(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of a group; one that is gone has been told enough."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)

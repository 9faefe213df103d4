"""How long processes have been on a processor, and everything they made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CPUCLOCK_SCHED: Final = 2
"""clock_getcpuclockid(3), which Python has not, gives ~pid << 3 with this in the lower bits."""
NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
CHILDREN_USER: Final = 13
CHILDREN_SYSTEM: Final = 14
"""Places of cutime and cstime after the name in /proc/PID/stat, proc_pid_stat(5)."""


def processor_ns(pids: Iterable[int]) -> int:
    """Nanoseconds on a processor of these processes and of their descendants, with every thread they have had.

    Children that have ended count to a tick (10 ms). A process that has ended itself counts nothing.
    """
    return sum(_own(member) + _reaped(member) for pid in pids for member in family(pid))


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    return [pid, *(member for child in children_of(pid) for member in family(child))]


def _own(pid: int) -> int:
    try:
        return time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        # It has ended since it was found.
        return 0


def _reaped(pid: int) -> int:
    """Of its children that have ended and been waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[CHILDREN_USER]) + int(fields[CHILDREN_SYSTEM])) * NS_PER_TICK


def children_of(pid: int) -> list[int]:
    """Its child processes, of whichever of its threads, oldest first; none of a process that has gone."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, children.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            # A thread that ended between two of these lines.
            continue
    return sorted(found)

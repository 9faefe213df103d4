"""What a crash may leave behind: names in /dev/shm, descriptors and mappings of the survivors, stray processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from services import SEGMENT, SHARED_MEMORY, parent_of, pids, read
from shm_protocol.buffers import MAX_KNOWN
from shm_protocol.pool import MAX_FREE

SETTLE_S: Final = 60.0
"""How long what is on its way out may take. A guard: it is waited for, not measured."""

MEMORY: Final = "/memfd:shm-polyglot"
"""What the descriptor of memory for large buffers leads to."""

STALE_AFTER_S: Final = 60.0
"""PROTOCOL.md section 2: from then on, whoever dials removes the name that a process killed in its handshake left."""


class Held(NamedTuple):
    """What one process has open."""

    descriptors: int
    segments: int

    def exceeds(self, other: Held) -> bool:
        """Whether there is more of anything."""
        return self.descriptors > other.descriptors or self.segments > other.segments

    def at_most(self, other: Held) -> Held:
        """The smaller number of each."""
        return Held(min(self.descriptors, other.descriptors), min(self.segments, other.segments))

    def at_least(self, other: Held) -> Held:
        """The larger number of each."""
        return Held(max(self.descriptors, other.descriptors), max(self.segments, other.segments))


def held(pid: int) -> Held:
    """What a process has open now, but for the memory for large buffers that it keeps, has lent or has been lent."""
    maps = read(pid, "maps").decode(errors="replace")
    descriptors = links(pid)
    connections = len(SEGMENT.findall(maps))
    memories = min(sum(link.startswith(MEMORY) for link in descriptors), MAX_FREE + 2 * MAX_KNOWN * connections)
    return Held(len(descriptors) - memories, connections)


def segments(pid: int) -> set[str]:
    """The names of the segments that a process has mapped or open, whether they still have them or not."""
    return set(SEGMENT.findall(" ".join([read(pid, "maps").decode(errors="replace"), *links(pid)])))


def named(names: Iterable[str]) -> set[str]:
    """Those that still have a name."""
    return {name for name in names if (SHARED_MEMORY / name).exists()}


def age(names: Iterable[str]) -> None:
    """Makes names look old enough to be removed by whoever dials next."""
    old = time.time() - 2 * STALE_AFTER_S
    for name in names:
        with suppress(FileNotFoundError):
            os.utime(SHARED_MEMORY / name, (old, old))


def remove(names: Iterable[str]) -> None:
    """Removes names that are still there."""
    for name in names:
        (SHARED_MEMORY / name).unlink(missing_ok=True)


def processes_of(directory: Path) -> list[int]:
    """The processes that were started with this SHM_POLYGLOT_DIR, whoever started them."""
    mark = f"SHM_POLYGLOT_DIR={directory}".encode()
    return [pid for pid in pids() if mark in read(pid, "environ").split(b"\0")]


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return parent_of(pid) is not None


def state(pid: int) -> str:
    """The letter of a process's state, as in ps: T if it has been stopped; empty if there is none."""
    # The name of the command, in parentheses, may contain anything.
    _, _, fields = read(pid, "stat").rpartition(b") ")
    return fields[:1].decode()


def settles(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + SETTLE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def links(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    # The process may end, and close descriptors, meanwhile.
    with suppress(FileNotFoundError, ProcessLookupError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(path.readlink()))
    return found

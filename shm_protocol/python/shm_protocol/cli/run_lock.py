"""One `shm-polyglot run` with a Node side for each directory: the kernel lets go of the lock, whatever ends the run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class IsRun(Exception):
    """Another run has the directory. pid: its process, None where that is of another container."""

    def __init__(self, pid: int | None) -> None:
        super().__init__()
        self.pid = pid


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Have this directory, which is made where it is missing, to oneself. Raises IsRun, and OSError."""
    descriptor = _locked(directory)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int:
    while True:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that has ended meanwhile may have removed it.
            if directory.exists() and os.path.samestat(directory.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            holder = _holder(os.fstat(descriptor).st_ino)
            os.close(descriptor)
            raise IsRun(holder) from None
        os.close(descriptor)


def _holder(inode: int) -> int | None:
    """The process that has the lock, as /proc/locks tells it: `1: FLOCK  ADVISORY  WRITE 17 00:1f:13364 0 EOF`."""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        # Who waits for a lock has an arrow in its line.
        if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == inode and int(words[4]) > 0:
            return int(words[4])
    return None

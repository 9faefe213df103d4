"""The names of segments that processes killed during their handshake have left (PROTOCOL.md section 2)."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .. import handshake

logger: Final = logging.getLogger("shm_protocol")

SHM_DIRECTORY: Final = Path("/dev/shm")  # noqa: S108  # where Linux keeps POSIX shared memory
STALE_AFTER_S: Final = 60.0
"""A handshake takes at most 5 s; a segment that has kept its name for this long, and that nobody holds, was left."""


def hold(fd: int) -> None:
    """Mark the segment as being in a handshake, until its file is closed, which the kernel does at the latest."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Somebody looks at it at this very moment; it is too young to be removed anyway.
        logger.debug("the new segment could not be locked", exc_info=True)


def sweep(directory: Path = SHM_DIRECTORY) -> None:
    """Remove those of this user. Whatever is in the way is logged and left alone: it keeps nobody from dialing."""
    try:
        for entry, status in stale(directory):
            if status.st_uid == os.geteuid():
                entry.unlink(missing_ok=True)
                logger.info("removed the stale segment %s", entry)
    except OSError as error:
        logger.warning("stale segments in %s cannot be removed: %s", directory, error)


def stale(directory: Path = SHM_DIRECTORY) -> Iterator[tuple[Path, os.stat_result]]:
    """The names that were left in `directory`, of any user's. Raises OSError where they cannot be looked for."""
    now = None
    for name in os.listdir(directory):  # noqa: PTH208  # unlike iterdir() it says what is wrong before the first entry
        if handshake.SEGMENT_NAME.fullmatch(f"/{name}") is None:
            continue
        entry = directory / name
        now = _clock_of(directory) if now is None else now
        try:
            status = entry.lstat()
            # A directory, say, is none of ours, whatever it is called.
            if stat.S_ISREG(status.st_mode) and now - status.st_mtime > STALE_AFTER_S and not _is_held(entry):
                yield entry, status
        except FileNotFoundError:
            continue  # its handshake has just ended, or somebody else was quicker


def _clock_of(directory: Path) -> float:
    """Now, as the file system tells it: the clock that stamped the segments too, whatever this process takes for the
    time.
    """
    # A file without a name.
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)


def _is_held(entry: Path) -> bool:
    """Whether its dialer is in the handshake."""
    try:
        fd = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return False  # another user's, which only doctor looks at
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False

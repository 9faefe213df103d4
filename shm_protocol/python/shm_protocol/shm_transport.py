"""Shared memory for a connection: made, offered by name, and without a name again (PROTOCOL.md section 2).

The compiled Channel is the transport itself; this file gets it its segment.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import posix_ipc

from . import handshake, shortages
from .config import Settings
from .errors import PeerUnavailable

if TYPE_CHECKING:
    from ._binding import Channel

logger: Final = logging.getLogger("shm_protocol")

SHM_DIRECTORY: Final = Path("/dev/shm")  # noqa: S108  # where Linux keeps POSIX shared memory
STALE_AFTER_S: Final = 60.0
"""PROTOCOL.md section 2: a name this old was left by a process that was killed during its handshake."""

BUILD_HINT: Final = "build it with `make` or `pip install .` (a C compiler is needed), or use transport='socket'"


def why_unavailable() -> str | None:
    """None where the compiled binding can be imported, else the reason and what to do."""
    try:
        from . import _binding  # noqa: F401
    except ImportError as error:
        return f"the native binding cannot be imported ({error}); {BUILD_HINT}"
    return None


@contextmanager
def offered_channel(connected: socket.socket, settings: Settings) -> Iterator[tuple[str, Channel]]:
    """A new segment's name and the dialer's side of it, for the time of the handshake.

    At the end the name is removed, whoever was faster. If the handshake failed, the channel is closed too.
    Raises PeerUnavailable where the memory cannot be had.
    """
    from . import _binding

    size = _binding.segment_bytes(settings.ring_bytes)
    name = f"/shm-polyglot-{secrets.token_hex(16)}"
    try:
        memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    except (OSError, posix_ipc.Error) as error:
        raise PeerUnavailable(
            f"shared memory cannot be made in {SHM_DIRECTORY}: {shortages.describe(error)}"
        ) from error
    try:
        try:
            _reserve(memory.fd, size)
            channel = _binding.Channel(
                memory.fd,
                connected.fileno(),
                ring_capacity=settings.ring_bytes,
                max_message=settings.max_message,
                spin_us=-1 if settings.spin_us is None else settings.spin_us,
            )
        finally:
            memory.close_fd()
        try:
            yield name, channel
        except BaseException:
            channel.close()
            raise
    finally:
        _unlink(name)


def sweep_stale_names(directory: Path = SHM_DIRECTORY) -> None:
    """Remove the names of segments that this user's killed processes left."""
    now = time.time()
    for entry in directory.glob("shm-polyglot-*"):
        if handshake.SEGMENT_NAME.fullmatch(f"/{entry.name}") is None:
            continue
        # Another process may remove it between any two steps.
        with suppress(FileNotFoundError):
            status = entry.lstat()
            if status.st_uid == os.geteuid() and now - status.st_mtime > STALE_AFTER_S:
                entry.unlink()
                logger.info("removed the stale segment %s", entry)


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise PeerUnavailable(f"{size} bytes of {SHM_DIRECTORY} cannot be reserved: {error}") from error
        status = os.statvfs(SHM_DIRECTORY)
        raise PeerUnavailable(
            f"{SHM_DIRECTORY} is full (ENOSPC): a connection takes {size} bytes, "
            f"{status.f_bavail * status.f_frsize} of {status.f_blocks * status.f_frsize} are free. "
            "Make it larger (docker run --shm-size=256m, or the size of "
            "the tmpfs volume), or set SHM_POLYGLOT_RING_BYTES lower"
        ) from error


def _unlink(name: str) -> None:
    # The acceptor unlinks it too: that it is gone is the normal case.
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_shared_memory(name)

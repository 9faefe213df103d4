"""Shared memory for a connection: made, offered by name, and without a name again (PROTOCOL.md section 2).

The compiled Channel is the transport itself; this file gets it its segment.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config import Settings
from . import segment_names, shortages, stale_segments
from .stale_segments import SHM_DIRECTORY

if TYPE_CHECKING:
    from .._binding import Channel

CHECKOUT: Final = Path(__file__).resolve().parents[4]
"""The folder of the project, where this package has not been installed out of it."""


class MemoryUnavailable(Exception):
    """No segment can be had here; the message says why and what to do. `by_descriptors`: for want of file descriptors,
    which the socket transport needs as well.
    """

    def __init__(self, message: str, *, by_descriptors: bool = False) -> None:
        super().__init__(message)
        self.by_descriptors = by_descriptors


def how_to_build() -> str:
    """The command that builds the compiled parts of this package, in backticks, and what else can be done."""
    if not (CHECKOUT / "setup.py").is_file() or not (CHECKOUT / "Makefile").is_file():
        command = f"{sys.executable} -m pip install --force-reinstall --no-deps --no-cache-dir shm-polyglot"
    elif Path(sys.prefix) == CHECKOUT / ".venv":
        command = f"make -C {shlex.quote(str(CHECKOUT))} setup"
    else:
        command = f"{sys.executable} -m pip install --editable {shlex.quote(str(CHECKOUT))}"
    return f"build it with `{command}` (a C compiler is needed), or use transport='socket'"


def why_unavailable() -> str | None:
    """None where the compiled binding can be imported, else the reason and what to do."""
    try:
        from .. import _binding  # noqa: F401
    except ImportError as error:
        return f"the native binding cannot be imported ({error}); {how_to_build()}"
    return None


@contextmanager
def offered_channel(connected: socket.socket, settings: Settings) -> Iterator[tuple[str, Channel]]:
    """A new segment's name and the dialer's side of it, for the time of the handshake.

    At the end the name is removed, whoever was faster. If the handshake failed, the channel is closed too.
    Raises MemoryUnavailable.
    """
    from .. import _binding

    size = _binding.segment_bytes(settings.ring_bytes)
    name = f"/shm-polyglot-{secrets.token_hex(16)}"
    segment = _create(name)
    try:
        # Until the handshake has ended the file stays open: that is what holds it.
        stale_segments.hold(segment)
        _reserve(segment, size)
        try:
            channel = _binding.Channel(
                segment,
                connected.fileno(),
                ring_capacity=settings.ring_bytes,
                max_message=settings.max_message,
                spin_us=-1 if settings.spin_us is None else settings.spin_us,
            )
        except (OSError, MemoryError) as error:
            raise _unavailable(f"the segment of {size} bytes cannot be mapped", error) from error
        try:
            yield name, channel
        except BaseException:
            channel.close()
            raise
    finally:
        os.close(segment)
        # The acceptor unlinks it too: that it is gone is the normal case.
        segment_names.unlink(name)


def _create(name: str) -> int:
    try:
        return segment_names.create(name)
    except segment_names.ERRORS as error:
        raise _unavailable(f"shared memory cannot be made in {SHM_DIRECTORY}", _reason_of(error)) from error


def _reason_of(error: Exception) -> Exception:
    """posix_ipc keeps some errnos to itself: those of a missing directory or descriptor show here."""
    try:
        os.close(os.open(SHM_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as reason:
        return reason
    return error


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise _unavailable(f"{size} bytes of {SHM_DIRECTORY} cannot be reserved", error) from error
        status = os.statvfs(SHM_DIRECTORY)
        raise MemoryUnavailable(
            f"{SHM_DIRECTORY} is full (ENOSPC): a connection takes {size} bytes, "
            f"{status.f_bavail * status.f_frsize} of {status.f_blocks * status.f_frsize} are free. "
            "Make it larger (docker run --shm-size=256m, or the size of "
            "the tmpfs volume), or set SHM_POLYGLOT_RING_BYTES lower"
        ) from error


def _unavailable(what: str, error: Exception) -> MemoryUnavailable:
    by_descriptors = shortages.is_of_descriptors(error)
    return MemoryUnavailable(f"{what}: {shortages.describe(error)}", by_descriptors=by_descriptors)

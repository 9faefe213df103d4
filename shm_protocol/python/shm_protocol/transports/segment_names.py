"""Segments by their names: made, and the name removed. By posix_ipc where it is installed, else by the binding's own
shm_open: posix_ipc has no wheels for the newest Pythons, and nobody is to need a compiler for it.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["ERRORS", "MODE", "create", "described", "unlink"]

MODE: Final = 0o600
"""Of a segment: its user's alone."""

ERRORS: tuple[type[Exception], ...]
"""What create() raises: posix_ipc tells some errors in its own way."""

try:
    import posix_ipc
except ImportError:
    has_posix_ipc = False
    ERRORS = (OSError,)
else:
    has_posix_ipc = True
    ERRORS = (OSError, posix_ipc.Error)


def described() -> str:
    """Which of the two it is, e.g. "posix_ipc 1.3.2"."""
    return f"posix_ipc {posix_ipc.VERSION}" if has_posix_ipc else "the binding's own shm_open"


def create(name: str) -> int:
    """A new segment, of no bytes: its descriptor, which is the caller's to close. Raises ERRORS."""
    if has_posix_ipc:
        fd: int = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=MODE).fd
        return fd
    from .. import _binding

    return _binding.open_segment(os.fsencode(name), MODE)


def unlink(name: str) -> None:
    """Remove the name, if it is still there. Raises OSError."""
    if has_posix_ipc:
        try:
            posix_ipc.unlink_shared_memory(name)
        except posix_ipc.ExistentialError:
            pass
        return
    from .. import _binding

    try:
        _binding.unlink_segment(os.fsencode(name))
    except FileNotFoundError:
        pass

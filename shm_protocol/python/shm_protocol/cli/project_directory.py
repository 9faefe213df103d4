"""The directory that `shm-polyglot run` gives a project: so two projects of one user do not meet, nor a project that is
run and one that is started by hand.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..config import SOCKET_NAME, ConfigError, check_directory
from ..project import directory_of


def make(directory: Path) -> None:
    """Make it, or see that it is this user's alone. Raises OSError."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    check_directory(directory)


def remove(directory: Path) -> None:
    """Remove it if nothing is in it but the socket of a Node that was killed: another's run of the same project may go
    on.
    """
    path = directory / SOCKET_NAME
    with suppress(OSError):
        if path.is_socket() and not _is_listened_to(path):
            # Of one that begins to listen just now Node notices, and makes it again.
            path.unlink()
        directory.rmdir()


def _is_listened_to(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed:
        dialed.setblocking(False)
        try:
            dialed.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def environment_in(project: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a command that is run in the folder of a project: where nothing else is set and `run` runs
    there, its directory.
    """
    try:
        directory = directory_of(project, environment)
    except ConfigError:
        return dict(environment)
    if environment.get("SHM_POLYGLOT_DIR") or not (directory / SOCKET_NAME).exists():
        return dict(environment)
    return {**environment, "SHM_POLYGLOT_DIR": str(directory)}

"""The directory that `shm-polyglot run` gives a project: so two projects of one user do not meet, nor a project that is
run and one that is started by hand.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..config import MAX_SOCKET_PATH_BYTES, SOCKET_NAME, ConfigError, check_directory

NAME_CHARACTERS: Final = 20
"""So much of the folder's own name is in the directory's, for people; the rest tells folders of one name apart."""


def of(project: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of the project in this folder: under $XDG_RUNTIME_DIR where a socket's path fits in there, else
    under /tmp. It need not exist. Raises ConfigError where the project's folder is gone.
    """
    try:
        project = project.resolve()
    except FileNotFoundError:
        raise ConfigError("the current folder has been removed: change to one that is there") from None
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", project.name)[:NAME_CHARACTERS]
    mark = f"{name}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:8]}"
    runtime = Path(environment.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and runtime.is_dir():
        directory = runtime / f"shm-polyglot-{mark}"
        if len(os.fsencode(directory / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return directory
    return Path(f"/tmp/shm-polyglot-{os.getuid()}-{mark}")  # noqa: S108  # private: made with mode 0700 and checked


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
        directory = of(project, environment)
    except ConfigError:
        return dict(environment)
    if environment.get("SHM_POLYGLOT_DIR") or not (directory / SOCKET_NAME).exists():
        return dict(environment)
    return {**environment, "SHM_POLYGLOT_DIR": str(directory)}

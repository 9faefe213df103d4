"""The folder of the project that a process belongs to. It is told to the peer for people: nothing is decided by it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .config import MAX_SOCKET_PATH_BYTES, SOCKET_NAME, ConfigError

MAX_PROJECT_CHARACTERS: Final = 256

NAME_CHARACTERS: Final = 20
"""So much of the folder's own name is in the directory's, for people; the rest tells folders of one name apart."""

_MANIFESTS: Final = ("package.json", "pyproject.toml")
_CUT: Final = "…"


def project_folder(environment: Mapping[str, str] = os.environ) -> str | None:
    """The nearest folder with a `package.json` or a `pyproject.toml`, from the working folder up to below the home
    folder; the working folder where there is none. None where that has been removed. Of a long one the end is told.
    """
    # Not by Path: see dialing.default_name.
    try:
        working = os.getcwd()  # noqa: PTH109
    except OSError:
        return None
    # A folder's name may be bytes that are no text.
    told = os.fsencode(_nearest(working, environment.get("HOME"))).decode(errors="replace")
    return told if len(told) <= MAX_PROJECT_CHARACTERS else _CUT + told[1 - MAX_PROJECT_CHARACTERS :]


def _nearest(working: str, home: str | None) -> str:
    folder = working
    while folder != home:
        if any(os.access(f"{folder}/{name}", os.F_OK) for name in _MANIFESTS):
            return folder
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            break
        folder = above
    return working


def shown(told: str) -> str:
    """A project, or a name, that somebody else has told: in quotes, and printable in any terminal."""
    quoted = json.dumps(told, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in quoted)


def are_two(own: str | None, theirs: str | None) -> bool:
    """Whether two folders are of different projects, as far as it shows: neither holds the other, as a repository does
    its packages.
    """
    if own is None or theirs is None or own.startswith(_CUT) or theirs.startswith(_CUT):
        return False
    ours, others = f"{own.rstrip('/')}/", f"{theirs.rstrip('/')}/"
    return not (ours.startswith(others) or others.startswith(ours))


def whose(own: str | None, theirs: str | None, path: os.PathLike[str]) -> str:
    """What to add where the process that listens at `path` has not got something; "" where it is of this project."""
    if own is None or theirs is None or not are_two(own, theirs):
        return ""
    return (
        f"; the Node side that listens at {os.fspath(path)} is of the project {shown(theirs)}, this process of "
        f"{shown(own)}: if it is not the one that is meant, set SHM_POLYGLOT_DIR to another directory for this "
        "project, on both sides"
    )


def directory_of(project: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory that `shm-polyglot run` gives the project in this folder: under $XDG_RUNTIME_DIR where a socket's
    path fits in there, else under /tmp. It need not exist. Raises ConfigError where the project's folder is gone.
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


def where_run(path: Path) -> str:
    """What to add where nobody listens at `path`, but `shm-polyglot run` has a Node side in this folder; else ""."""
    try:
        directory = directory_of(Path())
    except (ConfigError, OSError):
        return ""
    if directory == path.parent or not os.access(directory / SOCKET_NAME, os.F_OK):
        return ""
    return f"; `shm-polyglot run` has this folder's at another place: set SHM_POLYGLOT_DIR={directory}"

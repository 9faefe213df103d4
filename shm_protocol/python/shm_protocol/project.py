"""The folder of the project that a process belongs to. It is told to the peer for people: nothing is decided by it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final

MAX_PROJECT_CHARACTERS: Final = 256

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

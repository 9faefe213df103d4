"""Which Node that listens runs a TypeScript file: it says what files stand behind what it exposes."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from . import config
from .client import Client, connect
from .errors import PeerUnavailable, UnknownMethod
from .project import are_two, directory_of, project_folder

_SOURCES: Final = "shm_polyglot.sources"
_TIMEOUT_S: Final = 5.0
_CONNECTIONS: Final = 64
"""Calls at once, each from a thread of its own."""


class Served(NamedTuple):
    """Its functions are called by `client` as `key.function`."""

    client: Client
    key: str


def find_served(file: Path) -> Served | None:
    """Who runs that file: the Node side of this gunicorn worker, or else the one that listens in $SHM_POLYGLOT_DIR, or
    in the directory of this project. None where nobody listens, or that exposes something else.
    """
    client = _client()
    if client is None:
        return None
    try:
        sources: list[dict[str, Any]] = client.call(_SOURCES, timeout=_TIMEOUT_S)
    except (PeerUnavailable, UnknownMethod):
        return None
    within = _in_project(file, client)
    for source in sources:
        if source["file"] == str(file) or (within is not None and source["project"] == within):
            return Served(client, source["key"])
    return None


def _in_project(file: Path, client: Client) -> str | None:
    """The file from this project's folder: that of another project is another file, whatever it is called."""
    own = project_folder()
    theirs = next((connection.peer.project for connection in client.connections), None)
    if own is None or are_two(own, theirs):
        return None
    folder = os.path.realpath(own)
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else None


class _Own:
    """A client of the Node that listens at a path, for this process."""

    client: ClassVar[Client | None] = None
    path: ClassVar[Path | None] = None
    connecting: ClassVar[threading.Lock] = threading.Lock()


def _client() -> Client | None:
    # Nothing is imported for it: a worker has been.
    gunicorn = sys.modules.get("shm_protocol.gunicorn.worker_client")
    of_worker: Client | None = None if gunicorn is None else gunicorn.bridge_here()
    if of_worker is not None:
        return of_worker
    path = next((path for path in _places() if os.access(path, os.F_OK)), None)
    if path is None:
        return None
    with _Own.connecting:
        if _Own.client is None or _Own.path != path:
            try:
                _Own.client = connect(path, max_connections=_CONNECTIONS)
            except PeerUnavailable:
                # Left by one that was killed.
                return None
            _Own.path = path
        return _Own.client


def _places() -> list[Path]:
    if os.environ.get("SHM_POLYGLOT_DIR"):
        return [config.directory() / config.SOCKET_NAME]
    folder = project_folder()
    folders = [] if folder is None else [directory_of(Path(folder))]
    return [place / config.SOCKET_NAME for place in (*folders, config.default_directory())]


@atexit.register
def _close() -> None:
    if _Own.client is not None:
        _Own.client.close()


def _after_fork_in_child() -> None:
    _Own.connecting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)

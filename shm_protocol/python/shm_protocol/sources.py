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


_COMPILED: Final = {".js": ".ts", ".mjs": ".mts", ".cjs": ".cts"}


class Served(NamedTuple):
    """Its functions are called by `client` as `key.function`. options: of each call."""

    client: Client
    key: str
    options: dict[str, Any]


def use(client: Client, timeout: float | None) -> None:
    """See typescript.call_by."""
    _Given.client, _Given.options = client, {"timeout": timeout}


def find_served(file: Path) -> Served | None:
    """Who runs that file: the Node side of this gunicorn worker, or else the one that listens in $SHM_POLYGLOT_DIR, or
    in the directory of this project. None where nobody listens, or that exposes something else. Raises PeerUnavailable
    instead where call_by() has said that there is no other place.
    """
    client, options = _client()
    if client is None:
        return None
    is_only = _Given.client is not None
    try:
        sources: list[dict[str, Any]] = client.call(_SOURCES, timeout=_TIMEOUT_S)
    except (PeerUnavailable, UnknownMethod):
        if is_only:
            raise
        return None
    within = _in_project(file, client)
    for source in sources:
        if source["file"] == str(file) or (within is not None and _source_of(source["project"]) == within):
            return Served(client, source["key"], options)
    if is_only:
        raise PeerUnavailable(f"{file}: the Node at {client.path} does not expose it")
    return None


def _source_of(file: str | None) -> str | None:
    """What TypeScript has made this JavaScript of, as far as its place tells: a container may have that alone."""
    if file is None:
        return None
    base, suffix = os.path.splitext(file)  # noqa: PTH122
    return base + _COMPILED.get(suffix, suffix)


def _in_project(file: Path, client: Client) -> str | None:
    """The file from this project's folder: that of another project is another file, whatever it is called."""
    own = project_folder()
    theirs = next((connection.peer.project for connection in client.connections), None)
    if own is None or are_two(own, theirs):
        return None
    folder = os.path.realpath(own)
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else None


class _Given:
    """By call_by()."""

    client: ClassVar[Client | None] = None
    options: ClassVar[dict[str, Any]] = {}


class _Own:
    """A client of the Node that listens at a path, for this process."""

    client: ClassVar[Client | None] = None
    path: ClassVar[Path | None] = None
    connecting: ClassVar[threading.Lock] = threading.Lock()


def _client() -> tuple[Client | None, dict[str, Any]]:
    """Who calls, and with what options."""
    # Nothing is imported for it: a worker has been.
    gunicorn = sys.modules.get("shm_protocol.gunicorn.worker_client")
    of_worker: Client | None = None if gunicorn is None else gunicorn.bridge_here()
    if of_worker is not None:
        return of_worker, {}
    if _Given.client is not None:
        return _Given.client, _Given.options
    return _own(), {}


def _own() -> Client | None:
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

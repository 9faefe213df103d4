"""The way from this process to TypeScript, whatever server runs the app.

Under BridgeWorker it is the worker's own connection. Under any other server (`flask run`, plain `gunicorn`) it is a
pool of connections, made at the first call; TypeScript cannot call such a process.
"""

import threading
from typing import Any, Final, Protocol

import shm_protocol

from python_side import settings

SETTINGS: Final = settings.load()


class Node(Protocol):
    """What can call TypeScript: the worker's connection or the pool."""

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        """Calls an exposed TypeScript function and waits at most `timeout` seconds. Raises BridgeError."""


class _Process:
    """What this process has opened."""

    node: Node | None = None
    opening: Final = threading.Lock()


def use(node: Node) -> None:
    """Makes `node` the way to TypeScript for this process."""
    _Process.node = node


def get_node() -> Node:
    """The way to TypeScript. Raises PeerUnavailable when it must be opened and nobody listens."""
    if _Process.node is None:
        with _Process.opening:
            if _Process.node is None:
                _Process.node = shm_protocol.connect(name="flask")
    return _Process.node


def call(method: str, *args: Any, timeout: float = SETTINGS.call_timeout) -> Any:
    """Calls an exposed TypeScript function. Raises BridgeError."""
    return get_node().call(method, *args, timeout=timeout)

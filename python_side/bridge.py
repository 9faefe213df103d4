"""The way from this process to TypeScript, whatever server runs the app.

Under BridgeWorker it is the worker's own client (gunicorn_conf.py). Elsewhere it is one of this process, by which
TypeScript cannot call it, but for calls back while a call waits. What is imported from TypeScript takes the same way.
"""

from typing import Any, Final, Protocol

import shm_protocol
import shm_protocol.typescript

from python_side import settings

SETTINGS: Final = settings.load()

DIAL_TIMEOUT_S: Final = 2.0


class Node(Protocol):
    """What can call TypeScript."""

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        """Calls an exposed TypeScript function and waits at most `timeout` seconds. Raises BridgeError."""


_OWN: Final = shm_protocol.connect(name="flask", timeout=DIAL_TIMEOUT_S, lazy=True)


class _Process:
    """What this process calls TypeScript with."""

    node: Node = _OWN


def call_imported() -> None:
    """Has what is imported from TypeScript called by this process's own client, where it is no worker with another: a
    service whose Node is not there says so, and starts none.
    """
    shm_protocol.typescript.call_by(_OWN, timeout=SETTINGS.call_timeout)


def use(node: Node) -> None:
    """Makes `node` the way to TypeScript for this process."""
    _Process.node = node


def get_node() -> Node:
    """The way to TypeScript."""
    return _Process.node


def call(method: str, *args: Any, timeout: float = SETTINGS.call_timeout) -> Any:
    """Calls an exposed TypeScript function. Raises BridgeError."""
    return _Process.node.call(method, *args, timeout=timeout)

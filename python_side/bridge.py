"""The way from this process to TypeScript, whatever server runs the app.

Under BridgeWorker it is the worker's own client (gunicorn_conf.py). Elsewhere it is one of this process, by which
TypeScript cannot call it, but for calls back while a call waits.
"""

from typing import Any, Final, Protocol

import shm_protocol

from python_side import settings

SETTINGS: Final = settings.load()

DIAL_TIMEOUT_S: Final = 2.0


class Node(Protocol):
    """What can call TypeScript."""

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        """Calls an exposed TypeScript function and waits at most `timeout` seconds. Raises BridgeError."""


class _Process:
    """What this process calls TypeScript with."""

    node: Node = shm_protocol.connect(name="flask", timeout=DIAL_TIMEOUT_S, lazy=True)


def use(node: Node) -> None:
    """Makes `node` the way to TypeScript for this process."""
    _Process.node = node


def get_node() -> Node:
    """The way to TypeScript."""
    return _Process.node


def call(method: str, *args: Any, timeout: float = SETTINGS.call_timeout) -> Any:
    """Calls an exposed TypeScript function. Raises BridgeError."""
    return _Process.node.call(method, *args, timeout=timeout)

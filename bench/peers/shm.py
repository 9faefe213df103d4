"""The bridge, through its public API."""

from __future__ import annotations

from collections.abc import Callable

import shm_protocol

from bench.address import socket_path
from bench.workload import FUNCTIONS


class Caller:
    """A client of the Node process."""

    def __init__(self, address: str) -> None:
        self._node = shm_protocol.connect(socket_path(address))

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        return self._node.call(f"workload.{function}", argument)

    def stop(self) -> None:
        """See interface.py."""
        self._node.close()


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py. The caller listens here: this side dials until it is there."""
    ready()
    shm_protocol.serve(socket_path(address), expose={"workload": FUNCTIONS})

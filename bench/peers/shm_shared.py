"""The bridge, handed an array that is in shared memory already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shm_protocol

from bench.peers import shm


class Caller(shm.Caller):
    """A client of the Node process."""

    _given: object = None
    _shared: Any = None

    def call(self, function: str, argument: object) -> object:
        """See interface.py. The first call with an argument copies it there."""
        if self._given is not argument:
            given: Any = argument
            self._shared = shm_protocol.empty(given.shape, given.dtype)
            self._shared[...] = given
            self._given = argument
        return super().call(function, self._shared)


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    shm.serve(address, ready)

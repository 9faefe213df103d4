"""What the Python half of a peer offers; interface.ts says the same for the TypeScript half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Caller(Protocol):
    """A connection to the callee, ready to be timed."""

    def call(self, value: object) -> object:
        """Have the callee run `echo(value)`; give its answer."""

    def close(self) -> None:
        """End the connection."""


class PythonHalf(Protocol):
    """A module in this folder."""

    def connect(self, address: str) -> Caller:
        """Connect to the callee that meets us in the directory `address`."""

    def serve(self, address: str, ready: Callable[[], None]) -> None:
        """Answer `echo` until ended by a signal; call `ready` once a caller may connect."""

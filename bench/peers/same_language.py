"""Floor: the function called directly, Python to Python. No other process, no other language."""

from __future__ import annotations

from bench.workload import FUNCTIONS


class Caller:
    """The functions themselves."""

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        return FUNCTIONS[function](argument)

    def stop(self) -> None:
        """See interface.py. There is nothing to end."""


def start(address: str) -> Caller:  # noqa: ARG001  # there is nowhere to go
    """See interface.py."""
    return Caller()

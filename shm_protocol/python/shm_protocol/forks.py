"""After a fork the child lets go of what belongs to its parent (PROTOCOL.md knows one process per side of a
connection).

The child closes its copies of descriptors and mappings. It never shuts a socket down and never unlinks: both would
reach the parent.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """Something that must not be used by a forked child."""

    def after_fork_in_child(self) -> None:
        """Let go, touching nothing that the parent shares."""


_alive: WeakSet[ForkAware] = WeakSet()


def register(thing: ForkAware) -> None:
    """Call `thing.after_fork_in_child()` in every child forked while it lives."""
    _alive.add(thing)


def _after_fork_in_child() -> None:
    for thing in list(_alive):
        thing.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)

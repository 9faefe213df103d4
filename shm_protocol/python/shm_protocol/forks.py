"""After a fork the child lets go of what belongs to its parent (PROTOCOL.md knows one process per side of a
connection).

The child closes its copies of descriptors and mappings. It never shuts a socket down and never unlinks: both would
reach the parent.

A child that comes back from the function or handler that forked it is a copy of the server with one thread: it would
answer a client a second time, run the server's loop, whose poller it shares with its parent, and dial Node as one more
worker.
"""

from __future__ import annotations

import os
import sys
from typing import Final, Protocol
from weakref import WeakSet

from .log import logger

FAILED: Final = 1


class ForkAware(Protocol):
    """Something that must not be used by a forked child."""

    def after_fork_in_child(self) -> None:
        """Let go, touching nothing that the parent shares."""


_alive: WeakSet[ForkAware] = WeakSet()


def register(thing: ForkAware) -> None:
    """Call `thing.after_fork_in_child()` in every child forked while it lives."""
    _alive.add(thing)


class Owner:
    """The process that made it."""

    def __init__(self) -> None:
        self._pid: Final = os.getpid()

    def end_others(self) -> None:
        """Ends this process if it is another one, a forked child, with the exit code of the SystemExit on its way, if
        any. Children of `multiprocessing`, for example, have ended themselves before.
        """
        if os.getpid() == self._pid:
            return
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            code = error.code
            os._exit(code & 0xFF if isinstance(code, int) else FAILED if code else 0)
        logger.error("a child that was forked in a request came back from it, and is ended", exc_info=error)
        os._exit(FAILED)


def _after_fork_in_child() -> None:
    for thing in list(_alive):
        thing.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)

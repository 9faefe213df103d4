"""Counters of the whole service: exact across gunicorn's workers, and across their restarts and crashes.

The counts lie in anonymous memory that the gunicorn master maps before it forks, so every worker shares it. Each live
worker writes to a slot of its own, so no lock is needed between processes and a worker killed at any point leaves a
true count behind; the service's count is the sum of all slots. A slot is handed on when its worker has ended, but
never set to zero: the next worker goes on counting from there.

Only a server that assigns the slots (gunicorn_conf.py) counts for all its workers. Under `flask run`, or `gunicorn`
without that file, each process counts for itself.
"""

import enum
import mmap
import os
import threading
import time
from typing import Final

SLOTS: Final = 1024
"""Workers that may live at once. A reload has twice the usual number for a moment."""

CELL_BYTES: Final = 8


class Counter(enum.IntEnum):
    """What is counted; the value is the cell in a slot."""

    REQUESTS = 0
    PREDICTIONS = 1


class Counters:
    """The counters of one service. `add` and `total` are for workers, the rest for the server that forks them."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.started_at: Final = time.monotonic()
        self._slots = slots
        self._free = list(range(slots - 1, 0, -1))
        self._slot_of_worker: dict[int, int] = {}
        self._slot_of_next_child: int | None = None
        self._map_memory()
        # Slot 0 belongs to the process that made the counters.
        self._use_slot(0)

    def add(self, counter: Counter, amount: int = 1) -> None:
        """Adds to a counter of the service."""
        # `+=` on a cell is a load and a store: threads of one process must not come in between.
        with self._thread_lock:
            self._cells[self._base + counter] += amount

    def total(self, counter: Counter) -> int:
        """The service's count so far, over all its workers, dead or alive."""
        return sum(self._cells[cell] for cell in range(counter, len(self._cells), len(Counter)))

    def assign_slot(self, worker: int) -> None:
        """Gives the worker that is about to be forked a slot of its own. `worker` is any number that names it.

        Raises RuntimeError when there are more live workers than slots.
        """
        if not self._free:
            raise RuntimeError(f"no counter slot for another worker: {self._slots - 1} are alive")
        self._slot_of_next_child = self._slot_of_worker[worker] = self._free.pop()

    def release_slot(self, worker: int) -> None:
        """Takes back the slot of a worker that has ended; it keeps its counts."""
        self._free.append(self._slot_of_worker.pop(worker))

    def after_fork_in_parent(self) -> None:
        """Forgets the slot of the child just forked, so that no other child can take it for its own."""
        self._slot_of_next_child = None

    def after_fork_in_child(self) -> None:
        """Takes the slot assigned to this child. A child without one is no worker: it gets memory of its own."""
        if self._slot_of_next_child is None:
            self._map_memory()
            self._use_slot(0)
        else:
            self._use_slot(self._slot_of_next_child)
            self._slot_of_next_child = None

    def _map_memory(self) -> None:
        # Aligned 8-byte cells: a reader in another process sees the old count or the new one, never half of each.
        self._cells = memoryview(mmap.mmap(-1, self._slots * len(Counter) * CELL_BYTES)).cast("Q")

    def _use_slot(self, slot: int) -> None:
        self._base = slot * len(Counter)
        # A new lock: another thread may have held the old one when this process was forked.
        self._thread_lock = threading.Lock()


service: Final = Counters()
"""The counters of this service."""

os.register_at_fork(
    after_in_parent=service.after_fork_in_parent,
    after_in_child=service.after_fork_in_child,
)

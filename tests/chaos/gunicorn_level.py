"""Strikes at the level of gunicorn: as at that of the library, but its workers are forked, replaced and drained.

What nobody may meet is the point of most of these cells: a worker, or all of them one after another, that is told to
end, and a master that goes away in whatever manner, fail no call of Node's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

from . import leftovers
from .leftovers import Held
from .matrix import GUNICORN_LANES, Cell
from .programs import Program, Programs
from .questions import TIMEOUT_S
from .report import Figures
from .striker import Striker, when_stopped

NOTHING: Final[frozenset[str]] = frozenset()
LOST: Final = frozenset({"PeerGone"})
AWAY: Final = frozenset({"PeerUnavailable"})
NO_SERVER: Final = frozenset({"refused", "cut off"})
"""A connection may be in the listener's queue when it is closed."""

SAMPLE_S: Final = 0.3


def strikes(cells: Sequence[Cell], timeout_s: float = TIMEOUT_S) -> Iterator[tuple[Cell, Figures]]:
    """Strikes once for each of the cells, which have one moment, and gives what came of it. Raises Stuck."""
    programs = Programs(GUNICORN_LANES[cells[0].moment], under_gunicorn=True, timeout_s=timeout_s)
    return GunicornStriker.strikes(programs, cells)


class GunicornStriker(Striker):
    """The workers are one program's, which replaces them. TERM to a worker is one to each in turn."""

    def _victims(self, cell: Cell) -> list[int]:
        node = self._programs.named("node").pid
        master, *workers = self._programs.named("gunicorn").pids
        if cell.victim == "worker":
            return workers if cell.how == "TERM" else [random.choice(workers)]
        # The master first: it must not replace the workers.
        return {"node": [node], "master": [master], "all": [master, node, *workers]}[cell.victim]

    def _hit(self, cell: Cell, victims: Sequence[int], figures: Figures) -> tuple[float, float]:
        if cell.victim != "worker" or cell.how != "TERM":
            return super()._hit(cell, victims, figures)
        times = [super(GunicornStriker, self)._hit(cell, [victim], figures) for victim in victims]
        return times[0][0], times[-1][1]

    def _recover(self, cell: Cell, victims: Sequence[int], figures: Figures) -> float:
        if cell.victim == "worker":
            return self._wait_replaced(victims)
        names = {"node": ["node"], "master": ["gunicorn"], "all": ["node", "gunicorn"]}[cell.victim]
        if cell.how == "TERM" and "gunicorn" in names:
            code = self._programs.named("gunicorn").wait()
            if code != 0:
                figures.broken.append(f"{cell.name}: gunicorn, told to end, ended with {code}")
        return self._restart(names, figures)

    def _wait_replaced(self, victims: Sequence[int]) -> float:
        """Waits until there are as many workers again and, where they stay, all of them attached."""
        programs = self._programs
        gunicorn = programs.named("gunicorn")

        def replaced() -> bool:
            workers = gunicorn.pids[1:]
            return (
                len(workers) == programs.workers
                and not set(workers) & set(victims)
                and set(workers) <= gunicorn.ready_pids
                and (not self._is_settled or programs.named("node").attached[0] == programs.workers)
            )

        programs.wait_until(replaced, "another worker has taken the place of the one that has ended")
        return gunicorn.ready_at or 0.0

    def _allowed(self, cell: Cell, program: Program) -> frozenset[str]:
        name, victim, how = program.name, cell.victim, cell.how
        if how == "STOP":
            return NOTHING if victim == "master" else when_stopped(cell.moment)
        if victim == "node":
            return AWAY if name == "node" else LOST | AWAY
        if victim == "all":
            return LOST | AWAY | NO_SERVER
        if name == "caller":
            return NOTHING
        if victim == "master":
            # The workers see that it has gone, and end as if they had been told to.
            return AWAY if name == "node" else NO_SERVER
        if how == "TERM":
            return NOTHING
        # The others take over: only what the victim was doing is lost.
        return LOST if name == "node" else frozenset({"cut off"})

    def _is_death(self, cell: Cell) -> bool:
        return cell.how in ("KILL", "SEGV") and cell.victim != "master"

    def _doomed(self, cell: Cell, victims: Sequence[int]) -> set[int]:
        doomed = super()._doomed(cell, victims)
        master, *workers = self._programs.named("gunicorn").pids
        return doomed | set(workers) if master in doomed else doomed

    def _is_spared(self, cell: Cell, program: Program, victims: Sequence[int]) -> bool:
        # What HTTP clients tell of is what a worker has met.
        return cell.victim not in ("worker", "all") if program.name == "http" else program.pid not in victims

    def _note_held(self) -> None:
        super()._note_held()
        if not self._programs.lanes.http:
            return
        # The least, of those that HTTP clients connect to and disconnect from.
        workers = self._programs.named("gunicorn").pids[1:]
        least: dict[int, Held] = {}
        end = time.monotonic() + SAMPLE_S
        while time.monotonic() < end:
            for pid in workers:
                held = leftovers.held(pid)
                least[pid] = held.at_most(least.get(pid, held))
            time.sleep(0.01)
        self._most_held.update(least)

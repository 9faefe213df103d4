"""Strikes at the level of the library: the programs use it directly, and each waits for the other in many ways."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from .matrix import LANES, Cell
from .programs import Program, Programs
from .questions import TIMEOUT_S
from .report import Figures
from .striker import Striker, when_stopped


def strikes(cells: Sequence[Cell], timeout_s: float = TIMEOUT_S) -> Iterator[tuple[Cell, Figures]]:
    """Strikes once for each of the cells, which have one moment, and gives what came of it. Raises Stuck."""
    return LibraryStriker.strikes(Programs(LANES[cells[0].moment], timeout_s=timeout_s), cells)


class LibraryStriker(Striker):
    """Each worker is a program of its own, and dies of every signal."""

    def _victims(self, cell: Cell) -> list[int]:
        node = self._programs.named("node").pid
        workers = [program.pid for program in self._programs.running if program.name.startswith("worker ")]
        if cell.victim == "worker":
            return [random.choice(workers)]
        return [node] if cell.victim == "node" else [node, *workers]

    def _recover(self, cell: Cell, victims: Sequence[int], figures: Figures) -> float:
        return self._restart([program.name for program in self._programs.running if program.pid in victims], figures)

    def _allowed(self, cell: Cell, program: Program) -> frozenset[str]:
        if cell.how == "STOP":
            return when_stopped(cell.moment)
        return frozenset({"PeerGone", "PeerUnavailable"})

    def _is_death(self, cell: Cell) -> bool:
        return cell.how != "STOP"

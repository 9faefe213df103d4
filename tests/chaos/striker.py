"""Strikes Node, workers and those who call them, and looks what came of it. How the workers run is for a subclass."""

from __future__ import annotations

import operator
import os
import random
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from . import leftovers
from .leftovers import Held
from .matrix import Cell, Moment
from .programs import BACK, Event, Program, Programs, Stuck, freeze
from .report import Figures

LOAD_S: Final = 0.3
"""How long the programs are under load before each strike, at least."""

SPREAD_S: Final = 0.05
"""The strike comes at random within this time: between any two steps of the victim."""

LONGER_S: Final = 0.5
"""How much longer than a question's deadline one is stopped."""

AWAY_S: Final = 1.0
"""How long a dead victim stays away, at most."""

FREEZE_TRIES: Final = 2000
FREEZE_AGAIN_S: Final = 0.01

EARLY_S: Final = 0.002
"""A deadline is kept in milliseconds; a CallTimeout this much before it is in time."""


class Striker(ABC):
    """Strikes the programs of one moment, again and again."""

    @classmethod
    def strikes(cls, programs: Programs, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Figures]]:
        """Strikes once for each of the cells, which have one moment, and gives what came of it. Raises Stuck."""
        moment = cells[0].moment
        with programs:
            striker = cls(programs, moment)
            for cell in cells:
                yield cell, striker.strike(cell)
            last = striker.end()
        last.left += [f"{moment}: process {pid} is left" for pid in leftovers.processes_of(programs.bridge_directory)]
        yield cells[-1], last

    def __init__(self, programs: Programs, moment: Moment) -> None:
        self._programs = programs
        self._moment = moment
        self._is_settled = moment != "handshake"  # connections stay as they are, so they can be counted
        self._segments: set[str] = set()
        self._most_held: dict[int, Held] = {}
        self._verified = 0
        # Until the workers had attached, Node's lanes found nobody.
        self._wait_for_load(time.monotonic())
        for program in programs.running:
            program.new_events()

    def strike(self, cell: Cell) -> Figures:
        """One strike, from load to load. Raises Stuck if the programs do not recover."""
        programs = self._programs
        self._wait_for_load(time.monotonic())
        figures = Figures(strikes=1)
        for program in programs.running:
            for event in program.new_events():
                if event.what != BACK:
                    figures.broken.append(f"{cell.name}: {program.name}, before the strike: {_described(event)}")
        victims = self._victims(cell)
        before = set(self._pids())
        spared = before - self._doomed(cell, victims)
        if self._is_settled:
            self._note_held()

        time.sleep(random.uniform(0, SPREAD_S))
        struck, returned = self._hit(cell, victims, figures)
        self._wait_for_load(returned)

        for program in programs.running:
            self._judge(cell, program, self._is_spared(cell, program, victims), struck, returned, figures)
        if self._is_settled:
            attached, at = programs.named("node").attached
            assert attached == programs.workers
            if at > returned:
                figures.back.append(at - returned)
            self._check_held(cell, before, figures)
        self._check_names(cell, figures)
        self._check_processes(cell, spared, figures)
        figures.verified = programs.verified - self._verified
        self._verified = programs.verified
        return figures

    def end(self) -> Figures:
        """Ends the programs around Node, and looks whether Node has let go of all of them."""
        figures = Figures()
        node = self._programs.named("node")
        self._programs.end([program for program in self._programs.running if program is not node])
        if not leftovers.settles(lambda: leftovers.held(node.pid).segments == 0):
            figures.left.append(
                f"{self._moment}: node still maps {leftovers.held(node.pid).segments} segments of nobody"
            )
        figures.verified = self._programs.verified - self._verified
        return figures

    # What is different where the workers are run differently.

    @abstractmethod
    def _victims(self, cell: Cell) -> list[int]:
        """The processes that the cell is about, in the order in which they are struck."""

    @abstractmethod
    def _recover(self, cell: Cell, victims: Sequence[int], figures: Figures) -> float:
        """Waits for the end of the victims, and for those in their place. When the last of these was ready."""

    @abstractmethod
    def _allowed(self, cell: Cell, program: Program) -> frozenset[str]:
        """The errors that a program may meet."""

    @abstractmethod
    def _is_death(self, cell: Cell) -> bool:
        """Whether the victims die where they stand, with a handshake half made."""

    def _doomed(self, cell: Cell, victims: Sequence[int]) -> set[int]:
        """The processes that end."""
        return set() if cell.how == "STOP" else set(victims)

    def _is_spared(self, cell: Cell, program: Program, victims: Sequence[int]) -> bool:
        """Whether what a program tells is what somebody has met who was not struck."""
        return program.pid not in victims

    # The strike.

    def _hit(self, cell: Cell, victims: Sequence[int], figures: Figures) -> tuple[float, float]:
        """When the victims were struck, and when the last of them had returned."""
        if cell.how == "STOP":
            self._note_segments()
            struck = time.monotonic()
            _signal(victims, signal.SIGSTOP)
            time.sleep(self._programs.timeout_s + LONGER_S)
            _signal(victims, signal.SIGCONT)
            return struck, time.monotonic()
        frozen: set[int] = set() if self._is_settled else self._doomed(cell, victims)
        if frozen:
            self._freeze(frozen, hunts=cell.how != "SEGV")
        self._note_segments()
        struck = time.monotonic()
        _signal(victims, signal.Signals[f"SIG{cell.how}"])
        _signal(frozen, signal.SIGCONT)
        return struck, self._recover(cell, victims, figures)

    def _restart(self, names: Sequence[str], figures: Figures) -> float:
        """Waits for the end of programs, and starts them again some time later. When the last of them was ready."""
        for name in names:
            program = self._programs.named(name)
            program.wait()
            figures.wrong += program.new_wrong()
            self._programs.forget(name)
        time.sleep(random.uniform(0, AWAY_S))
        return max(self._programs.start(name).ready_at or 0.0 for name in names)

    def _freeze(self, victims: set[int], *, hunts: bool) -> None:
        """Stops them, so that the names that they have just made can be noted. hunts: when there is one, between the
        making of the segment and its mapping by the acceptor; otherwise at any time.
        """
        for _ in range(FREEZE_TRIES):
            for victim in victims:
                freeze(victim)
            # Node makes none of its own.
            makers = victims - {self._programs.named("node").pid} or self._pids()
            if not hunts or any(leftovers.named(leftovers.segments(maker)) for maker in makers):
                return
            _signal(victims, signal.SIGCONT)
            time.sleep(random.uniform(0, FREEZE_AGAIN_S))
        raise Stuck(f"none of {len(victims)} victims was caught in a handshake, of which they make many")

    def _wait_for_load(self, since: float) -> None:
        """Waits until every lane of every program works, and some time under load has passed."""
        programs = self._programs

        def works() -> bool:
            for program in programs.running:
                latest = list(program.latest.values())
                if len(latest) < self._lanes_of(program) or any(event.what != BACK for event in latest):
                    return False
            return not self._is_settled or programs.named("node").attached[0] == programs.workers

        programs.wait_until(works, "every lane works, and every worker is attached")
        marks = {program.pid: program.verified for program in programs.running}
        end = max(since, time.monotonic()) + LOAD_S
        programs.wait_until(
            lambda: (
                time.monotonic() > end
                and works()
                and all(all(map(operator.gt, program.verified, marks[program.pid])) for program in programs.running)
            ),
            "every lane goes on",
        )

    def _lanes_of(self, program: Program) -> int:
        lanes = self._programs.lanes
        if program.name.startswith("worker "):
            return int(lanes.worker != "serve")
        return len({"node": lanes.node, "caller": lanes.caller, "http": lanes.http}.get(program.name, ()))

    def _judge(
        self, cell: Cell, program: Program, is_spared: bool, struck: float, returned: float, figures: Figures
    ) -> None:
        """Counts what a program has met since the strike, and tells what it should not have met."""
        allowed = self._allowed(cell, program)
        for event in program.new_events():
            if event.what == BACK:
                # Where others have taken over, it was back before the victim was.
                if event.at > returned:
                    figures.back.append(event.at - returned)
                continue
            figures.failures[event.what] += 1
            if event.what not in allowed:
                figures.broken.append(f"{cell.name}: {program.name} met {_described(event)}")
            elif is_spared and event.what == "PeerGone":
                figures.gone.append(event.at - max(struck, event.began))
            elif is_spared and event.what == "CallTimeout":
                late = event.at - event.began - self._programs.timeout_s
                figures.late.append(max(0.0, late))
                if late < -EARLY_S:
                    figures.broken.append(f"{cell.name}: {program.name} gave up {-late:.3f} s before the deadline")
        figures.wrong += [f"{cell.name}: {text}" for text in program.new_wrong()]

    def _pids(self) -> list[int]:
        """Every process there is, but the HTTP clients: they hold nothing of the bridge."""
        return [pid for program in self._programs.running if program.name != "http" for pid in program.pids]

    def _note_held(self) -> None:
        for pid in self._pids():
            # Not the least: a lane that pauses may have no connection of its own now, and get it again later.
            held = leftovers.held(pid)
            self._most_held[pid] = held.at_least(self._most_held.get(pid, held))

    def _check_held(self, cell: Cell, before: set[int], figures: Figures) -> None:
        """Those that were there before hold no more than ever before a strike."""
        for pid in before & set(self._pids()):
            most = self._most_held[pid]
            if not leftovers.settles(lambda: not leftovers.held(pid).exceeds(most)):  # noqa: B023
                figures.left.append(f"{cell.name}: process {pid} held {most}, now {leftovers.held(pid)}")

    def _check_processes(self, cell: Cell, spared: set[int], figures: Figures) -> None:
        """Those that were spared live, and there is nobody else."""
        for pid in spared - set(self._pids()):
            figures.broken.append(f"{cell.name}: process {pid} has ended, and was not struck")

        def strays() -> set[int]:
            known = {pid for program in self._programs.running for pid in program.pids}
            return set(leftovers.processes_of(self._programs.bridge_directory)) - known

        if not leftovers.settles(lambda: not strays()):
            figures.left.append(f"{cell.name}: processes {sorted(strays())} are left")

    def _note_segments(self) -> None:
        for pid in self._pids():
            self._segments |= leftovers.segments(pid)

    def _check_names(self, cell: Cell, figures: Figures) -> None:
        """No segment has a name, but those of victims that died in the handshake, which the next to dial removes."""
        may_be_left = not self._is_settled and self._is_death(cell) and cell.victim != "node"
        stale = leftovers.named(self._segments) if may_be_left else set()
        leftovers.age(stale)
        leftovers.settles(lambda: not leftovers.named(self._segments))
        left = leftovers.named(self._segments)
        figures.left += [f"{cell.name}: {name} is left in /dev/shm" for name in left]
        figures.swept += len(stale - left)
        leftovers.remove(left)
        self._segments.clear()


def when_stopped(moment: Moment) -> frozenset[str]:
    """What those who wait for one that is stopped may meet.

    A lane that has to dial meanwhile is told after the time-out of the handshake; its call was not made.
    """
    dials = moment in ("idle", "ring-full", "handshake")
    return frozenset({"CallTimeout", "PeerUnavailable"} if dials else {"CallTimeout"})


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        # One that is told to end may end others.
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _described(event: Event) -> str:
    return f"{event.what} after {event.at - event.began:.3f} s: {event.detail}"

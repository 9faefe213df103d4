"""Strikes at the level of the library: the programs use it directly, and each waits for the other in many ways."""

from __future__ import annotations

import operator
import random
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final

from . import leftovers
from .leftovers import Held
from .matrix import LANES, Cell, How, Moment
from .programs import BACK, WORKERS, Event, Program, Programs, Stuck
from .questions import TIMEOUT_S
from .report import Figures

LOAD_S: Final = 0.3
"""How long the programs are under load before each strike, at least."""

SPREAD_S: Final = 0.05
"""The strike comes at random within this time: between any two steps of the victim."""

STOPPED_S: Final = TIMEOUT_S + 0.5
AWAY_S: Final = 1.0
"""How long a dead victim stays away, at most."""

FREEZE_TRIES: Final = 2000
FREEZE_AGAIN_S: Final = 0.01

EARLY_S: Final = 0.002
"""A deadline is kept in milliseconds; a CallTimeout this much before it is in time."""


def strikes(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Figures]]:
    """Strikes once for each of the cells, which have one moment, and gives what came of it. Raises Stuck."""
    moment = cells[0].moment
    with Programs(LANES[moment]) as programs:
        striker = Striker(programs, moment)
        for cell in cells:
            yield cell, striker.strike(cell)
        last = striker.end()
    last.left += [f"{moment}: process {pid} is left" for pid in leftovers.processes_of(programs.bridge_directory)]
    yield cells[-1], last


class Striker:
    """Strikes the programs of one moment, again and again."""

    def __init__(self, programs: Programs, moment: Moment) -> None:
        self._programs = programs
        self._moment = moment
        self._is_settled = moment != "handshake"  # connections stay as they are, so they can be counted
        self._segments: set[str] = set()
        self._most_held: dict[int, Held] = {}
        self._verified = 0
        self._hunts = False
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
        names = self._victims(cell)
        victims = [programs.named(name) for name in names]
        survivors = [program for program in programs.running if program not in victims]
        for program in survivors:
            # Not the least: a lane that pauses may have no connection of its own now, and get it again later.
            held = leftovers.held(program.pid)
            self._most_held[program.pid] = held.at_least(self._most_held.get(program.pid, held))

        time.sleep(random.uniform(0, SPREAD_S))
        struck, returned = self._hit(cell.how, names, victims, figures)
        self._wait_for_load(returned)

        for program in programs.running:
            self._judge(cell, program, program in survivors, struck, returned, figures)
        if self._is_settled:
            attached, at = programs.named("node").attached
            assert attached == WORKERS
            if at > returned:
                figures.back.append(at - returned)
            self._check_held(cell, survivors, figures)
        self._check_names(cell, figures)
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

    def _victims(self, cell: Cell) -> list[str]:
        workers = [f"worker {number}" for number in range(WORKERS)]
        if cell.victim == "worker":
            return [random.choice(workers)]
        return ["node"] if cell.victim == "node" else ["node", *workers]

    def _hit(self, how: How, names: list[str], victims: list[Program], figures: Figures) -> tuple[float, float]:
        """When the victims were struck, and when the last of them had returned."""
        if how == "STOP":
            self._note_segments()
            struck = time.monotonic()
            for victim in victims:
                victim.send(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            for victim in victims:
                victim.send(signal.SIGCONT)
            return struck, time.monotonic()
        if not self._is_settled:
            self._freeze(victims)
        self._note_segments()
        struck = time.monotonic()
        for victim in victims:
            victim.send(signal.Signals[f"SIG{how}"])
            if not self._is_settled:
                victim.send(signal.SIGCONT)
        for victim in victims:
            victim.wait()
            figures.wrong += victim.new_wrong()
            self._programs.forget(victim.name)
        time.sleep(random.uniform(0, AWAY_S))
        returned = 0.0
        for name in names:
            returned = self._programs.start(name).ready_at or returned
        return struck, returned

    def _freeze(self, victims: list[Program]) -> None:
        """Stops them, so that the names that they have just made can be noted. Every other time it is when there is
        one: between the making of the segment and its mapping by the acceptor.
        """
        self._hunts = not self._hunts
        for _ in range(FREEZE_TRIES):
            for victim in victims:
                victim.freeze()
            # Node makes none of its own.
            makers = [victim for victim in victims if victim.name != "node"] or self._programs.running
            if not self._hunts or any(leftovers.named(leftovers.segments(maker.pid)) for maker in makers):
                return
            for victim in victims:
                victim.send(signal.SIGCONT)
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
            return not self._is_settled or programs.named("node").attached[0] == WORKERS

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
        return {"node": len(lanes.node), "caller": len(lanes.caller)}.get(program.name, int(lanes.worker != "serve"))

    def _judge(
        self, cell: Cell, program: Program, is_survivor: bool, struck: float, returned: float, figures: Figures
    ) -> None:
        """Counts what a program has met since the strike, and tells what it should not have met."""
        allowed = _allowed(cell)
        for event in program.new_events():
            if event.what == BACK:
                # Where others have taken over, it was back before the victim was.
                if event.at > returned:
                    figures.back.append(event.at - returned)
                continue
            figures.failures[event.what] += 1
            if event.what not in allowed:
                figures.broken.append(f"{cell.name}: {program.name} met {_described(event)}")
            elif is_survivor and event.what == "PeerGone":
                figures.gone.append(event.at - max(struck, event.began))
            elif is_survivor and event.what == "CallTimeout":
                late = event.at - event.began - TIMEOUT_S
                figures.late.append(max(0.0, late))
                if late < -EARLY_S:
                    figures.broken.append(f"{cell.name}: {program.name} gave up {-late:.3f} s before the deadline")
        figures.wrong += [f"{cell.name}: {text}" for text in program.new_wrong()]

    def _check_held(self, cell: Cell, survivors: list[Program], figures: Figures) -> None:
        for program in survivors:
            pid, most = program.pid, self._most_held[program.pid]
            if not leftovers.settles(lambda: not leftovers.held(pid).exceeds(most)):  # noqa: B023
                figures.left.append(f"{cell.name}: {program.name} held {most}, now {leftovers.held(pid)}")

    def _note_segments(self) -> None:
        for program in self._programs.running:
            self._segments |= leftovers.segments(program.pid)

    def _check_names(self, cell: Cell, figures: Figures) -> None:
        """No segment has a name, but those of victims that died in the handshake, which the next to dial removes."""
        may_be_left = not self._is_settled and cell.how != "STOP" and cell.victim != "node"
        stale = leftovers.named(self._segments) if may_be_left else set()
        leftovers.age(stale)
        leftovers.settles(lambda: not leftovers.named(self._segments))
        left = leftovers.named(self._segments)
        figures.left += [f"{cell.name}: {name} is left in /dev/shm" for name in left]
        figures.swept += len(stale - left)
        leftovers.remove(left)
        self._segments.clear()


def _allowed(cell: Cell) -> frozenset[str]:
    """The errors that those who wait for a victim, or call it while it is away, may meet."""
    if cell.how == "STOP":
        # A lane that has to dial meanwhile is told after the time-out of the handshake; its call was not made.
        dials = cell.moment in ("idle", "ring-full", "handshake")
        return frozenset({"CallTimeout", "PeerUnavailable"} if dials else {"CallTimeout"})
    return frozenset({"PeerGone", "PeerUnavailable"})


def _described(event: Event) -> str:
    return f"{event.what} after {event.at - event.began:.3f} s: {event.detail}"

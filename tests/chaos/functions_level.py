"""The level of users' functions: no process is struck; what it exposes misbehaves, and nobody else may notice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from . import leftovers
from .leftovers import Held
from .matrix import Cell, Lanes
from .misbehaviour import TINY, WAYS
from .programs import BACK, Program, Programs, Stuck
from .questions import TIMEOUT_S
from .report import Figures

LOAD_S: Final = 3.0
"""How long functions misbehave in each strike."""

OTHERS: Final = ["answer"] * 2
MISBEHAVING: Final = 2
"""How many ask the functions that misbehave, all the time."""


def strikes(cells: Sequence[Cell], timeout_s: float = TIMEOUT_S) -> Iterator[tuple[Cell, Figures]]:
    """Once for each of the cells, and gives what came of it."""
    for cell in cells:
        yield cell, strike(cell, timeout_s)


def lanes(cell: Cell) -> Lanes:
    """Everybody asks everybody, and some ask the victim's functions that misbehave."""
    asks = [cell.how] * MISBEHAVING
    return Lanes(
        node=[*OTHERS, *(asks if cell.victim == "worker" else [])],
        caller=[*OTHERS, *(asks if cell.victim == "node" else [])],
        http=OTHERS,
    )


def strike(cell: Cell, timeout_s: float) -> Figures:
    """Programs of its own, from their start to their end: one that ends before is a fault of the strike's only."""
    figures = Figures(strikes=1)
    limit = TINY if cell.victim == "worker" and cell.how == "overflows" else None
    programs = Programs(lanes(cell), under_gunicorn=True, node_limit=limit, timeout_s=timeout_s)
    try:
        with programs:
            _load(cell, programs, figures)
    except Stuck as stuck:
        figures.broken.append(f"{cell.name}: {stuck}")
    figures.left += [f"{cell.name}: process {pid} is left" for pid in leftovers.processes_of(programs.bridge_directory)]
    return figures


def _load(cell: Cell, programs: Programs, figures: Figures) -> None:
    def works() -> bool:
        return programs.named("node").attached[0] == programs.workers and all(
            len(program.verified) == len(_shapes(programs, program)) and all(program.verified)
            for program in programs.running
        )

    programs.wait_until(works, "every lane has had an answer, and every worker is attached")
    pids = _pids(programs)
    before = {pid: leftovers.held(pid) for pid in pids}
    for program in programs.running:
        for event in program.new_events():
            # Node asks before the workers are there.
            if event.what not in (BACK, "PeerUnavailable"):
                figures.broken.append(f"{cell.name}: {program.name} met {event.what}: {event.detail}")
    marks = {program.name: program.verified for program in programs.running}
    end = time.monotonic() + LOAD_S
    programs.wait_until(lambda: time.monotonic() > end and _goes_on(programs, marks), "every lane goes on")

    for program in programs.running:
        _judge(cell, program, _shapes(programs, program), figures)
    figures.verified = programs.verified
    if set(_pids(programs)) != set(pids):
        figures.broken.append(f"{cell.name}: processes {sorted(set(pids) - set(_pids(programs)))} have ended")
    # Those who ask come and go with their connections; what is left at rest is a leak.
    askers = [program for program in programs.running if program.name in ("caller", "http")]
    if programs.named("node").attached[0] == programs.workers:
        programs.end(askers)
        _check_held(cell, [pid for pid in pids if pid in before and leftovers.lives(pid)], before, figures)


def _judge(cell: Cell, program: Program, shapes: Sequence[str], figures: Figures) -> None:
    """What a program has met: neither those who ask what misbehaves nor the others may meet a failure."""
    for event in program.new_events():
        if event.what != BACK:
            figures.failures[event.what] += 1
            who = f"{program.name}, {shapes[event.lane]}"
            waited = event.at - event.began
            figures.broken.append(f"{cell.name}: {who}: {event.what} after {waited:.3f} s: {event.detail}")
    figures.wrong += [f"{cell.name}: {text}" for text in program.new_wrong()]
    figures.waited += [
        longest for shape, longest in zip(shapes, program.longest, strict=True) if shape not in WAYS and longest > 0
    ]


def _check_held(cell: Cell, pids: Sequence[int], before: dict[int, Held], figures: Figures) -> None:
    for pid in pids:
        if not leftovers.settles(lambda: not leftovers.held(pid).exceeds(before[pid])):  # noqa: B023
            figures.left.append(f"{cell.name}: process {pid} held {before[pid]}, now {leftovers.held(pid)}")


def _goes_on(programs: Programs, marks: dict[str, list[int]]) -> bool:
    return all(
        now > then
        for program in programs.running
        for now, then in zip(program.verified, marks[program.name], strict=True)
    )


def _shapes(programs: Programs, program: Program) -> Sequence[str]:
    lanes = programs.lanes
    return {"node": lanes.node, "caller": lanes.caller, "http": lanes.http}.get(program.name, ())


def _pids(programs: Programs) -> list[int]:
    return [pid for name in ("node", "gunicorn") for pid in programs.named(name).pids]

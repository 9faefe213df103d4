"""The level of HTTP clients that misbehave: at either server of the showcase, while others ask both and may not notice.

Each server has one process: nobody can take over from one that is held.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from services import Services

from . import leftovers
from .http_load import HttpLoad
from .http_misbehaviour import HttpMisbehaviour
from .matrix import Cell
from .programs import BACK
from .report import Figures
from .service import may_hold

CALL_TIMEOUT_S: Final = 5.0
LOAD_S: Final = 3.0
"""How long clients misbehave in each strike."""


def strikes(cells: Sequence[Cell], timeout_s: float = CALL_TIMEOUT_S) -> Iterator[tuple[Cell, Figures]]:
    """Once for each of the cells, and gives what came of it. Raises AssertionError if the service does not end well."""
    env = {"SHM_POLYGLOT_CALL_TIMEOUT": str(timeout_s), "SHM_POLYGLOT_REQUEST_TIMEOUT": str(2 * timeout_s)}
    with (
        Services(workers=1, env=env) as services,
        HttpLoad(python_url=services.python_url, node_url=services.node_url) as load,
    ):
        verified = 0
        for cell in cells:
            figures = _strike(cell, services, load)
            figures.verified += load.verified - verified
            verified = load.verified
            yield cell, figures


def _strike(cell: Cell, services: Services, load: HttpLoad) -> Figures:
    figures = Figures(strikes=1)
    _wait_for_answers(services, load, time.monotonic())
    processes = _processes(services)
    before = {pid: leftovers.held(pid) for pid in processes}
    load.new_events()
    load.longest = 0.0
    url = services.node_url if cell.victim == "node" else services.python_url
    with HttpMisbehaviour(url, cell.how) as clients:
        time.sleep(LOAD_S)
    _wait_for_answers(services, load, time.monotonic())

    figures.verified = clients.answered
    figures.waited.append(load.longest)
    figures.broken += [f"{cell.name}: {fault}" for fault in clients.faults]
    for event in load.new_events():
        if event.what != BACK:
            figures.failures[event.what] += 1
            waited = event.at - event.began
            figures.broken.append(f"{cell.name}: another met {event.what} after {waited:.3f} s: {event.detail}")
    figures.wrong += [f"{cell.name}: {text}" for text in load.wrong]
    load.wrong.clear()
    if _processes(services) != processes:
        figures.broken.append(f"{cell.name}: processes {sorted(set(processes) - set(_processes(services)))} have ended")
    for pid in set(processes) & set(_processes(services)):
        most = may_hold(services, pid, before[pid])
        if not leftovers.settles(lambda: not leftovers.held(pid).exceeds(most)):  # noqa: B023
            figures.left.append(f"{cell.name}: process {pid} held {before[pid]}, now {leftovers.held(pid)}")
    return figures


def _wait_for_answers(services: Services, load: HttpLoad, since: float) -> None:
    """Every one of the others has had a right answer to what it has asked since then."""

    def works() -> bool:
        latest = list(load.latest.values())
        return len(latest) == load.lanes and all(event.what == BACK and event.began > since for event in latest)

    services.wait_until(works, "every one of the others is answered")


def _processes(services: Services) -> list[int]:
    return [services.node_pid, services.python_pid, *services.worker_pids()]

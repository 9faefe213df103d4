"""Strikes at the level of the service: the showcase itself, gunicorn with several workers and Node, over HTTP."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from services import Services, Side

from . import leftovers
from .http_load import HttpLoad
from .leftovers import Held
from .matrix import Cell, How, Victim
from .programs import BACK
from .report import Figures

WORKERS: Final = 3
CONNECTIONS_EACH: Final = 1 + 4
"""Of a worker: to be called on, and one for each thread that runs handlers (python_side/gunicorn_conf.py)."""

CALL_TIMEOUT_S: Final = 1.0
LONGER_S: Final = 0.5
"""How much longer than a call's deadline one is stopped."""

LOAD_S: Final = 0.3
SPREAD_S: Final = 0.05

NODE_AWAY: Final = frozenset(
    {"node refused", "node cut off", "python PeerGone", "python PeerUnavailable", "node PeerUnavailable"}
)
"""The last: Node is back, and the workers are not attached yet."""
PYTHON_AWAY: Final = frozenset({"python refused", "python cut off", "node PeerGone", "node PeerUnavailable"})
DRAINED: Final = frozenset({"python refused", "python cut off", "node PeerUnavailable"})
"""gunicorn is told to end, or its workers have lost it: none of TypeScript's calls is lost."""
TIMEOUTS: Final = frozenset({"python CallTimeout", "node CallTimeout"})

ALLOWED: Final[dict[tuple[Victim, How], frozenset[str]]] = {
    ("node", "KILL"): NODE_AWAY,
    ("node", "SEGV"): NODE_AWAY,
    ("node", "TERM"): NODE_AWAY,
    ("node", "STOP"): TIMEOUTS,
    # The others take over: only what the victim was doing is lost. When it is told to end, nothing is.
    ("worker", "KILL"): frozenset({"python cut off", "node PeerGone"}),
    ("worker", "SEGV"): frozenset({"python cut off", "node PeerGone"}),
    ("worker", "TERM"): frozenset(),
    ("worker", "STOP"): TIMEOUTS,
    ("master", "KILL"): DRAINED,
    ("master", "SEGV"): DRAINED,
    ("master", "TERM"): DRAINED,
    ("master", "STOP"): frozenset(),
    ("all", "KILL"): NODE_AWAY | PYTHON_AWAY,
    ("all", "SEGV"): NODE_AWAY | PYTHON_AWAY,
    ("all", "TERM"): NODE_AWAY | PYTHON_AWAY,
    ("all", "STOP"): TIMEOUTS,
}
"""What HTTP clients may meet. Never a status of 500, and never a wrong answer."""


def strikes(cells: Sequence[Cell], timeout_s: float = CALL_TIMEOUT_S) -> Iterator[tuple[Cell, Figures]]:
    """Strikes once for each of the cells, and gives what came of it.

    Raises AssertionError, with the logs of both sides, if the service does not recover or does not end well.
    """
    services = Services(workers=WORKERS, env={"SHM_POLYGLOT_CALL_TIMEOUT": str(timeout_s)})
    try:
        services.start()
        with HttpLoad(python_url=services.python_url, node_url=services.node_url) as load:
            striker = Striker(services, load, timeout_s)
            for cell in cells:
                yield cell, striker.strike(cell)
        services.stop()
    finally:
        services.discard()
        # It knows those that it has started last; a failed strike may leave others.
        for pid in leftovers.processes_of(services.directory / "run"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Striker:
    """Strikes a running service, again and again."""

    def __init__(self, services: Services, load: HttpLoad, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._services = services
        self._load = load
        self._verified = 0

    def strike(self, cell: Cell) -> Figures:
        """One strike, from load to load. TERM to a worker is one to each in turn: a rolling restart."""
        figures = Figures(strikes=1)
        self._wait_for_load(time.monotonic())
        before = self._held_when_quiet()
        for event in self._load.new_events():
            if event.what != BACK:
                figures.broken.append(f"{cell.name}: before the strike: {event.what}: {event.detail}")

        time.sleep(random.uniform(0, SPREAD_S))
        segments = self._segments()
        struck, returned = self._hit(cell)
        self._wait_for_load(returned)

        allowed = ALLOWED[cell.victim, cell.how]
        for event in self._load.new_events():
            if event.what == BACK:
                if event.at > returned:
                    figures.back.append(event.at - returned)
                continue
            figures.failures[event.what] += 1
            if event.what not in allowed:
                figures.broken.append(f"{cell.name}: {event.what} after {event.at - event.began:.3f} s: {event.detail}")
            elif event.what.endswith(" PeerGone") and cell.how in ("KILL", "SEGV"):
                figures.gone.append(event.at - max(struck, event.began))
        self._check_left(cell, before, segments, figures)
        figures.wrong += self._load.wrong
        self._load.wrong.clear()
        figures.verified = self._load.verified - self._verified
        self._verified = self._load.verified
        return figures

    def _hit(self, cell: Cell) -> tuple[float, float]:
        """When the victims were struck, and when the last of them had returned."""
        services = self._services
        number = signal.Signals[f"SIG{cell.how}"]
        victims = self._victims(cell.victim)
        if cell.how == "STOP":
            struck = time.monotonic()
            _signal(victims, number)
            time.sleep(self._timeout_s + LONGER_S)
            _signal(victims, signal.SIGCONT)
            return struck, time.monotonic()
        if cell.victim == "worker":
            struck = time.monotonic()
            for victim in victims if cell.how != "TERM" else services.worker_pids():
                attached = self._attached()
                _signal([victim], number)
                services.wait_until(lambda: self._attached() > attached, "another worker is attached")  # noqa: B023
                services.wait_replaced([victim])
            return struck, time.monotonic()
        sides: dict[Victim, Sequence[Side]] = {"node": ["node"], "master": ["python"], "all": ["node", "python"]}
        workers = services.worker_pids() if cell.victim != "node" else []
        struck = time.monotonic()
        _signal(victims, number)
        for side in sides[cell.victim]:
            code = services.wait_for_end(side)
            assert code == (0 if cell.how == "TERM" else -number), f"{side} ended with {code}\n{services.logs()}"
        assert leftovers.settles(lambda: not any(map(leftovers.lives, workers))), f"workers left\n{services.logs()}"
        for side in sides[cell.victim]:
            (services.start_node if side == "node" else services.start_python)()
        returned = time.monotonic()
        services.wait_attached()
        return struck, returned

    def _victims(self, victim: Victim) -> list[int]:
        services = self._services
        if victim == "node":
            return [services.node_pid]
        if victim == "worker":
            return [random.choice(services.worker_pids())]
        if victim == "master":
            return [services.python_pid]
        # The master first: it must not replace the workers.
        return [services.python_pid, services.node_pid, *services.worker_pids()]

    def _wait_for_load(self, since: float) -> None:
        """Waits until every lane has had a right answer to a question asked after `since`, for a while."""
        load = self._load

        def works() -> bool:
            latest = list(load.latest.values())
            return len(latest) == load.lanes and all(event.what == BACK and event.began > since for event in latest)

        self._services.wait_until(works, "every lane works")
        end = time.monotonic() + LOAD_S
        self._services.wait_until(lambda: time.monotonic() > end and works(), "every lane goes on")

    def _attached(self) -> int:
        return self._services.logs("python").count("attached to Node over")

    def _held_when_quiet(self) -> dict[int, Held]:
        """What each process holds while no request is under way. Requests go on afterwards."""
        self._load.pause()
        try:
            self._services.wait_until(lambda: self._load.is_quiet, "no request is under way")
            return {pid: _least_held(pid) for pid in self._processes()}
        finally:
            self._load.resume()

    def _check_left(self, cell: Cell, before: dict[int, Held], segments: set[str], figures: Figures) -> None:
        """Those that lived before and live now hold no more than then; nothing has a name; there is nobody else."""
        after = self._held_when_quiet()
        figures.left += [
            f"{cell.name}: process {pid} held {before[pid]}, now {held}: {sorted(leftovers.links(pid))}"
            for pid, held in after.items()
            if pid in before and held.exceeds(may_hold(self._services, pid, before[pid]))
        ]
        figures.left += [f"{cell.name}: {name} is left in /dev/shm" for name in leftovers.named(segments)]
        directory = self._services.directory / "run"
        if not leftovers.settles(lambda: set(leftovers.processes_of(directory)) == set(self._processes())):
            strays = set(leftovers.processes_of(directory)) - set(self._processes())
            figures.left.append(f"{cell.name}: processes {sorted(strays)} are left")

    def _processes(self) -> list[int]:
        services = self._services
        return [services.node_pid, services.python_pid, *services.worker_pids()]

    def _segments(self) -> set[str]:
        return set().union(*map(leftovers.segments, self._processes()))


def may_hold(services: Services, pid: int, before: Held) -> Held:
    """A worker dials for its handlers as many connections as were under way at once, and keeps them."""
    workers = {services.python_pid: 0, services.node_pid: services.workers}.get(pid, 1)
    more = max(0, workers * CONNECTIONS_EACH - before.segments)
    # The socket, and the second one for large buffers; Node's stream and its channel have one each of the first.
    descriptors = 3 * more if pid == services.node_pid else 2 * more
    return Held(before.descriptors + descriptors, before.segments + more)


def _least_held(pid: int) -> Held:
    """What a process holds when the connections that clients have closed are closed here too."""
    least = leftovers.held(pid)
    end = time.monotonic() + LOAD_S
    while time.monotonic() < end:
        time.sleep(0.02)
        now = leftovers.held(pid)
        least = now if least.exceeds(now) else least
    return least


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        if number == signal.SIGSEGV:
            # It is meant, and its core of no use.
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        os.kill(pid, number)

"""How long whole services take to answer: from the start of their processes, and when one worker is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bench.services.rows import Row, failures_of
from bench.services.running import Running
from bench.services.table import SERVICES, Program, Service
from bench.statistics import median_interval

MS_PER_S: Final = 1000

What = Literal["first HTTP answer", "first cross-language answer", "restart of one worker"]
HTTP: Final = "first HTTP answer"
CROSSING: Final = "first cross-language answer"
RESTART: Final = "restart of one worker"

BY_MASTER: Final = "From the SIGTERM to the worker; gunicorn's master starts the next."
BY_BENCH: Final = "From the SIGTERM to the process; the bench starts it again when it has ended."


@dataclass
class StartRow(Row):
    """One time of one service, over all rounds."""

    service: str
    what: What
    note: str = ""
    ms_rounds: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As results.json has it."""
        ms, ms_ci = median_interval(self.ms_rounds) if self.ms_rounds else (None, None)
        return {
            "service": self.service,
            "what": self.what,
            "ms": ms,
            "ms_ci": ms_ci,
            "ms_rounds": self.ms_rounds,
            "note": self.note,
            **self.outcome(measured=bool(self.ms_rounds)),
        }


Rows = dict[tuple[Program, What], StartRow]


class Starts:
    """All starts of a run."""

    def __init__(self, services: Sequence[Service] = SERVICES) -> None:
        self._rows = {service: _rows_of(service) for service in services}

    def seconds(self, number: int) -> float:
        """How long the round of that number, from 0, takes, roughly."""
        # Once as a whole, and once for each program whose worker is replaced.
        starts = {service: 1 + sum(what == RESTART for _, what in rows) for service, rows in self._rows.items()}
        return sum(count * service.start_s for service, count in starts.items() if self._wants(service, number))

    def round(self, number: int, began: Callable[[str], None]) -> None:
        """Start and end each service in turn. `began` is told which."""
        for service, rows in self._rows.items():
            if self._wants(service, number):
                began(service.name)
                with failures_of(rows.values()):
                    service.prepare()
                    _trial(service, rows)

    def to_json(self) -> list[dict[str, Any]]:
        """The rows of results.json."""
        return [row.to_json() for rows in self._rows.values() for row in rows.values()]

    def _wants(self, service: Service, number: int) -> bool:
        return number < service.most_rounds and all(row.wanted for row in self._rows[service].values())


def _rows_of(service: Service) -> Rows:
    missing = service.missing()
    rows: Rows = {}
    for program in service.programs:
        restart_note = BY_MASTER if program.forks else BY_BENCH
        notes: dict[What, str] = {HTTP: service.note}
        if program.crossing is not None:
            notes |= {CROSSING: service.note, RESTART: f"{service.note} {restart_note}"}
        for what, note in notes.items():
            rows[program, what] = StartRow(service.name_of(program), what, note, skipped=missing)
    return rows


def _trial(service: Service, rows: Rows) -> None:
    # In this order: when the block is left early, the threads give up because the processes have gone.
    with ThreadPoolExecutor(len(service.programs)) as pool, Running(service) as running:

        def first_answers(program: Program) -> dict[What, float]:
            running.await_answer(program, program.alive)
            times: dict[What, float] = {HTTP: time.monotonic() - running.started}
            if program.crossing is not None:
                running.await_answer(program, program.crossing)
                times[CROSSING] = time.monotonic() - running.started
            return times

        for program, times in zip(service.programs, pool.map(first_answers, service.programs), strict=True):
            for what, seconds in times.items():
                rows[program, what].ms_rounds.append(seconds * MS_PER_S)
        for program in service.programs:
            if program.crossing is not None:
                began = time.monotonic()
                running.replace_worker(program)
                rows[program, RESTART].ms_rounds.append((time.monotonic() - began) * MS_PER_S)

"""What whole services weigh: the proportional set size of every process, idle and after 10,000 requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from bench.services.http_rows import CONNECTIONS
from bench.services.load import Generator, Load
from bench.services.rows import Row, failures_of
from bench.services.running import Running, ServiceFailed
from bench.services.table import SERVICES, Program, Service
from bench.statistics import median_interval

REQUESTS: Final = 10_000
LONGEST_S: Final = 120.0
"""For the requests of one program."""
QUIET_SHARE: Final = 0.05
"""Of a core: a service that uses less has nothing left to load or to collect."""
QUIET_S: Final = 0.25
LONGEST_SETTLING_S: Final = 10.0
KIB_PER_MIB: Final = 1024
REQUESTS_S: Final = 7.0
"""What the requests and the settling take, roughly: for the time left."""

State = Literal["idle", "after 10,000 requests"]
IDLE: Final = "idle"
LOADED: Final = "after 10,000 requests"
SHARED: Final = "Pages shared with processes of others, such as the bench's own Python, count in part."


@dataclass
class MemoryRow(Row):
    """One service with so many workers in one state, over all rounds."""

    service: str
    workers: int
    state: State
    note: str
    mib_rounds: list[float] = field(default_factory=list)
    processes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As results.json has it."""
        mib, mib_ci = median_interval(self.mib_rounds) if self.mib_rounds else (None, None)
        return {
            "service": self.service,
            "workers": self.workers,
            "state": self.state,
            "pss_mib": mib,
            "pss_mib_ci": mib_ci,
            "processes": self.processes,
            "note": self.note,
            **self.outcome(measured=bool(self.mib_rounds)),
        }


@dataclass
class Weighing:
    """One service with so many workers."""

    service: Service
    workers: int
    rows: dict[State, MemoryRow]

    def is_wanted(self, number: int) -> bool:
        """Whether it is to be done in the round of that number, from 0."""
        return number < self.service.most_rounds and all(row.wanted for row in self.rows.values())

    def run(self) -> None:
        """Start it, weigh it, have it answer the requests, weigh it again. Raises what is wrong with it."""
        self.service.prepare()
        with Running(self.service, self.workers) as running:
            running.await_ready()
            self._weigh(running, IDLE)
            _send_requests(running)
            self._weigh(running, LOADED)

    def _weigh(self, running: Running, state: State) -> None:
        _settle(running)
        pids = running.pids()
        row = self.rows[state]
        row.mib_rounds.append(pss_mib(pids))
        row.processes = len(pids)


class Memory:
    """All weighings of a run."""

    def __init__(self, services: Sequence[Service] = SERVICES, most_workers: int = 4) -> None:
        """Each service with each number of workers that it has, up to `most_workers`."""
        self._weighings = [
            Weighing(service, workers, _rows_of(service, workers))
            for service in services
            for workers in service.workers
            if workers <= most_workers
        ]

    def seconds(self, number: int) -> float:
        """How long the round of that number, from 0, takes, roughly."""
        return sum(one.service.start_s + REQUESTS_S for one in self._weighings if one.is_wanted(number))

    def round(self, number: int, began: Callable[[str], None]) -> None:
        """Weigh each service in turn. `began` is told which."""
        for weighing in self._weighings:
            if weighing.is_wanted(number):
                began(f"{weighing.service.name}, workers: {weighing.workers}")
                with failures_of(weighing.rows.values()):
                    weighing.run()

    def to_json(self) -> list[dict[str, Any]]:
        """The rows of results.json."""
        return [row.to_json() for weighing in self._weighings for row in weighing.rows.values()]


def _rows_of(service: Service, workers: int) -> dict[State, MemoryRow]:
    note = f"{service.note} {SHARED}"
    states: tuple[State, ...] = (IDLE, LOADED)
    return {state: MemoryRow(service.name, workers, state, note, skipped=service.missing()) for state in states}


def pss_mib(pids: Iterable[int]) -> float:
    """The memory of these processes, MiB: a page that several have mapped counts in equal parts to each of them.

    Raises OSError for a process that has gone.
    """
    return sum(_pss_kib(pid) for pid in pids) / KIB_PER_MIB


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


def _send_requests(running: Running) -> None:
    """10,000, in equal parts to each program. Raises ServiceFailed where not all are answered rightly."""
    programs = running.service.programs
    # Ended before the weighing: the generator is a Node too, and would share the pages of its program.
    with Generator() as generator:
        for program in programs:
            _send_to(generator, running, program, REQUESTS // len(programs))


def _send_to(generator: Generator, running: Running, program: Program, count: int) -> None:
    endpoint = program.crossing or program.endpoints[1]
    loaded = generator.run(running.url(program), endpoint, Load("closed", CONNECTIONS, LONGEST_S, most=count))
    right = len(loaded.times_ns) - loaded.wrong
    if right != count:
        reason = running.death() or loaded.first_error or f"that is all it did in {LONGEST_S:.0f} s"
        raise ServiceFailed(f"{right} of {count} {endpoint} are answered rightly: {reason}")


def _settle(running: Running) -> None:
    """Wait until every worker is loaded, and garbage collected: until next to no processor time is used."""
    end = time.monotonic() + LONGEST_SETTLING_S
    quiet = False
    while not quiet and time.monotonic() < end:
        before, began = running.processor_ns(), time.monotonic_ns()
        time.sleep(QUIET_S)
        quiet = running.processor_ns() - before < QUIET_SHARE * (time.monotonic_ns() - began)

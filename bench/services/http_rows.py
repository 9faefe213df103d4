"""Requests a second and latencies of whole services: each of their endpoints under each load, round after round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.services.client import UNANSWERED, ask
from bench.services.endpoints import Endpoint
from bench.services.load import Generator, Load, Loaded
from bench.services.rows import Row, failures_of
from bench.services.running import Running
from bench.services.table import SERVICES, WARM_UP_REQUESTS, Service
from bench.statistics import Interval, Percentiles, median_interval, percentiles

CONNECTIONS: Final = 16
LONGEST_WARM_UP_S: Final = 3.0
SECONDS: Final = 0.3
KEEPS_UP: Final = 0.95
"""A service that answers less than this share of the rate has a queue that grows as long as the load lasts."""
LOAD_S: Final = 0.1
"""What a load takes besides its seconds, roughly: for the time left."""
NS_PER_US: Final = 1000


@dataclass(frozen=True)
class Round:
    """One load of one row."""

    percentiles: Percentiles
    requests_per_s: float
    cpu_us_per_request: float | None


@dataclass
class HttpRow(Row):
    """One service, endpoint and load, over all rounds."""

    service: str
    endpoint: Endpoint
    load: Load
    service_note: str = ""
    rounds: list[Round] = field(default_factory=list)
    requests: int = 0
    errors: int = 0
    first_error: str = ""
    agrees: bool | None = None

    def add(self, loaded: Loaded, cpu_ns: int | None) -> None:
        """What one more round gave."""
        answered = len(loaded.times_ns)
        self.requests += answered + loaded.errors - loaded.wrong
        self.errors += loaded.errors
        self.first_error = self.first_error or loaded.first_error
        self.agrees = self.agrees is not False and loaded.wrong == 0
        if answered == loaded.wrong or loaded.hung:
            self.failed = loaded.first_error
        if answered > 0:
            cpu_us = None if cpu_ns is None else cpu_ns / answered / NS_PER_US
            self.rounds.append(Round(percentiles(loaded.times_ns), answered / loaded.elapsed_s, cpu_us))

    @property
    def note(self) -> str:
        """What a reader has to know to read the row fairly."""
        rate, achieved = self.load.rate_per_s, self._over_rounds(lambda one: one.requests_per_s)[0]
        notes = [self.service_note, self.first_error]
        if rate is not None and achieved is not None and achieved < KEEPS_UP * rate:
            notes.append("It does not keep up with this rate: the times grow as long as the load lasts.")
        return " ".join(filter(None, notes))

    def to_json(self) -> dict[str, Any]:
        """As results.json has it."""
        p50, p50_ci = self._over_rounds(lambda one: one.percentiles.p50)
        achieved, achieved_ci = self._over_rounds(lambda one: one.requests_per_s)
        return {
            "service": self.service,
            "endpoint": str(self.endpoint),
            "load": self.load.kind,
            "connections": self.load.connections,
            "rate_per_s": self.load.rate_per_s,
            "rounds": len(self.rounds),
            "requests": self.requests,
            "requests_per_s": achieved,
            "requests_per_s_ci": achieved_ci,
            "p50_us": p50,
            "p50_us_ci": p50_ci,
            "p95_us": self._over_rounds(lambda one: one.percentiles.p95)[0],
            "p99_us": self._over_rounds(lambda one: one.percentiles.p99)[0],
            "p999_us": self._over_rounds(lambda one: one.percentiles.p999)[0],
            "cpu_us_per_request": self._over_rounds(lambda one: one.cpu_us_per_request)[0],
            "errors": self.errors,
            "agrees": self.agrees,
            "note": self.note,
            **self.outcome(measured=bool(self.rounds)),
        }

    def _over_rounds(self, value: Callable[[Round], float | None]) -> tuple[float | None, Interval | None]:
        values = [one for one in map(value, self.rounds) if one is not None]
        return median_interval(values) if values else (None, None)


@dataclass(frozen=True)
class Target:
    """A server, for as long as it is there."""

    url: str
    processor_ns: Callable[[], int] | None = None
    """What its processes have used; None where they are not the bench's."""
    death: Callable[[], str] = lambda: ""
    """How it has ended, if it has."""
    warm_up_requests: int = WARM_UP_REQUESTS
    """Untimed, before the first load of each endpoint in each round."""


@dataclass
class Server:
    """What is measured of one server: of a service's program, or of what answers at a URL."""

    name: str
    rows: list[HttpRow]

    @classmethod
    def of(cls, name: str, endpoints: Sequence[Endpoint], seconds: float, note: str = "") -> Server:
        """With a row for each endpoint and load."""
        rows = []
        for endpoint in endpoints:
            loads = [Load("closed", CONNECTIONS, seconds)]
            loads += [Load("rate", CONNECTIONS, seconds, rate) for rate in endpoint.rates_per_s]
            rows += [HttpRow(name, endpoint, load, note) for load in loads]
        return cls(name, rows)

    @property
    def seconds(self) -> float:
        """How long a round takes, roughly."""
        return sum(row.load.seconds + LOAD_S for row in self.rows if row.wanted)

    def measure(self, generator: Generator, target: Target) -> None:
        """One round: each endpoint is asked once, warmed up, and put under each load. Raises LoadFailed."""
        warm_up = Load("closed", CONNECTIONS, LONGEST_WARM_UP_S, most=target.warm_up_requests)
        for endpoint in dict.fromkeys(row.endpoint for row in self.rows):
            rows = [row for row in self.rows if row.endpoint is endpoint and row.wanted]
            if rows and _is_right(endpoint, rows, target):
                generator.run(target.url, endpoint, warm_up)
                for row in rows:
                    _load(generator, row, target)

    def skip(self, reason: str) -> None:
        """Leave one row, which says why there are no others."""
        del self.rows[1:]
        self.rows[0].skipped = reason


def _is_right(endpoint: Endpoint, rows: Sequence[HttpRow], target: Target) -> bool:
    """Whether the endpoint is there and answers rightly; if not, its rows say so."""
    try:
        answer = ask(target.url, endpoint)
    except UNANSWERED as error:
        death = target.death()
        for row in rows:
            if death:
                row.missed = f"the service had ended before: {death}"
            else:
                row.failed = f"{endpoint} gets no answer: {error}"
        return False
    difference = endpoint.difference(answer)
    for row in rows:
        if not endpoint.is_served(answer):
            row.skipped = f"the service has no {endpoint}: status {answer.status}"
        elif difference:
            row.failed, row.agrees = difference, False
    return not difference


def _load(generator: Generator, row: HttpRow, target: Target) -> None:
    if death := target.death():
        row.missed = f"the service had ended before: {death}"
        return
    before = target.processor_ns() if target.processor_ns else 0
    loaded = generator.run(target.url, row.endpoint, row.load)
    # The times of processes that have ended are gone with them.
    death = target.death()
    row.add(loaded, target.processor_ns() - before if target.processor_ns and not death else None)
    row.failed = death or row.failed


class Http:
    """All loads of a run, for services that are started afresh in each round."""

    def __init__(self, services: Sequence[Service] = SERVICES, seconds: float = SECONDS) -> None:
        """Each load lasts `seconds`."""
        self._servers = {
            service: [
                Server.of(service.name_of(program), program.endpoints, seconds, service.note)
                for program in service.programs
            ]
            for service in services
        }
        for service, servers in self._servers.items():
            if reason := service.missing():
                for server in servers:
                    server.skip(reason)

    def seconds(self, number: int) -> float:
        """How long the round of that number, from 0, takes, roughly."""
        return sum(
            service.start_s + sum(server.seconds for server in servers)
            for service, servers in self._servers.items()
            if number < service.most_rounds and not service.missing()
        )

    def round(self, number: int, began: Callable[[str], None]) -> None:
        """Start and load each service in turn. `began` is told which."""
        with Generator() as generator:
            for service, servers in self._servers.items():
                rows = [row for server in servers for row in server.rows]
                if number < service.most_rounds and any(row.wanted for row in rows):
                    began(service.name)
                    with failures_of(rows):
                        _start_and_load(generator, service, servers)

    def to_json(self) -> list[dict[str, Any]]:
        """The rows of results.json."""
        return [row.to_json() for servers in self._servers.values() for server in servers for row in server.rows]


def _start_and_load(generator: Generator, service: Service, servers: Sequence[Server]) -> None:
    service.prepare()
    with Running(service) as running:
        running.await_ready()
        for server, program in zip(servers, service.programs, strict=True):
            url, warm_up = running.url(program), service.warm_up_requests
            server.measure(generator, Target(url, running.processor_ns, running.death, warm_up))

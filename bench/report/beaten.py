"""Where somebody else beats the bridge: every such row, and why it is so.

The reasons explain; they measure nothing. One is printed once, above the rows that were measured to beat the bridge for
that reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.cases import DIRECTIONS
from bench.report.standing import place
from bench.report.tables import Cell, Table, case_of
from bench.report.view import OURS, Memory, find, http_rows, is_ours, memory_rows, start_rows
from bench.report.words import count, listing, number, times
from bench.results import CallRow, JsonInterval, Results

Measure = Literal["latency", "throughput", "processor time"]

FRAGMENT: Final = 64 * 1024
"""A quarter of each ring, where nothing else is set: a larger message goes through in fragments of that size."""

ALWAYS_POLLS: Final = "both always poll"
"""Who waits so is never woken."""


@dataclass(frozen=True)
class Cause:
    """Why the bridge loses, in words that hold for every row of that kind."""

    name: str
    why: str


LARGE: Final = Cause(
    "Large messages",
    "A message larger than a quarter of the ring goes through in fragments, each copied in and out, and one larger "
    "than what is left of the ring waits for the other side in between.",
)
ASLEEP: Final = Cause(
    "After idleness",
    "Both sides of the bridge sleep by then: waking the other takes a byte on a socket, as a call over a socket or a "
    "pipe does, and the ring's work comes on top.",
)
FIRST_CALL: Final = Cause(
    "The first call",
    "Nothing has run yet that a call needs: who has less to load, to compile and to set up before the first answer is "
    "quicker.",
)
BLOCKS: Final = Cause(
    "Blocking at once",
    "It sleeps in the kernel instead of polling first. That saves processor time, and where the answer takes longer "
    "than the bridge polls, or the other side needs the core that polling takes, it saves latency as well.",
)
POLLS: Final = Cause(
    "Polling without end",
    "Nobody ever has to be woken. In exchange each side keeps a core busy even when nobody calls; the bridge gives the "
    "cores back after a while.",
)
ONE_PROCESS: Final = Cause(
    "Both languages in one process",
    "No other core has to notice the call, nobody polls or is woken, and a value need not become bytes. In exchange, "
    "what crashes, fills or blocks the one language does so to the other.",
)
ONE_LANGUAGE: Final = Cause("One language", "Both ends are Python: no value has to become one of another language.")
LESS_WORK: Final = Cause(
    "Floors",
    "A floor does less than a call between two languages has to: a plain call within one language, or C that encodes "
    "nothing.",
)
CAUSES: Final = (LARGE, ASLEEP, FIRST_CALL, BLOCKS, POLLS, ONE_PROCESS, ONE_LANGUAGE, LESS_WORK)
"""As they are printed: first what another design would spare the bridge, last what it cannot have."""
UNEXPLAINED: Final = "No reason is known to this report: a profile would have to say."
"""Of a service."""
BY_KIND: Final[Mapping[str, Cause]] = {"in-process": ONE_PROCESS, "reference": ONE_LANGUAGE, "floor": LESS_WORK}


@dataclass(frozen=True)
class Beat:
    """A row that beats the bridge."""

    row: CallRow
    measure: Measure
    ratio: float
    """To the bridge; below 1 is better for latency and processor time, above 1 for throughput."""

    @property
    def cause(self) -> Cause:
        """Why it does."""
        row = self.row
        if row["kind"] in BY_KIND:
            return BY_KIND[row["kind"]]
        polls = row["waits"] == ALWAYS_POLLS
        if row["kind"] == "out-of-process" and self.measure == "latency":
            if row["workload"] == "first-call":
                return FIRST_CALL
            if row["payload_bytes"] > FRAGMENT:
                return LARGE
            if row["workload"].startswith("after-") and not polls:
                return ASLEEP
        return POLLS if polls else BLOCKS


def clear_of(low_of: JsonInterval, high_of: JsonInterval) -> bool:
    """Whether the first interval lies above the second; with none known, nothing contradicts it."""
    return low_of is None or high_of is None or low_of[0] > high_of[1]


def beats(results: Results) -> list[Beat]:
    """Every row that beats the bridge's own in the same case and direction."""
    found = []
    for row in results["rows"]:
        if row["peer"] == OURS or row["p50_us"] is None:
            continue
        ours = find(results["rows"], OURS, row["direction"], row["workload"], row["payload_bytes"], row["outstanding"])
        if ours is None:
            continue
        if place(row) == "quicker":
            found.append(Beat(row, "latency", row["ratio_to_shm"] or 0.0))
        if row["workload"] == "outstanding" and row["calls_per_s"] and ours["calls_per_s"]:
            rate = row["calls_per_s"] / ours["calls_per_s"]
            if rate > 1 and clear_of(row["calls_per_s_ci"], ours["calls_per_s_ci"]):
                found.append(Beat(row, "throughput", rate))
        if row["workload"] == "predict" and row["cpu_us_per_call"] is not None and ours["cpu_us_per_call"]:
            cost = row["cpu_us_per_call"] / ours["cpu_us_per_call"]
            if cost < 1:
                found.append(Beat(row, "processor time", cost))
    return found


@dataclass(frozen=True)
class Loss:
    """What beats the bridge for one reason: the reason, and the rows that it holds for."""

    name: str
    why: str
    rows: int
    """How many measurements the table's lines are made of."""
    table: Table


def losses(results: Results) -> list[Loss]:
    """Every kind of loss of this run: to other peers, then to other services."""
    found = beats(results)
    of_cause = {cause: [beat for beat in found if beat.cause == cause] for cause in CAUSES}
    to_peers = [
        Loss(cause.name, cause.why, len(here), _peers_table(cause.name, here))
        for cause, here in of_cause.items()
        if here
    ]
    return to_peers + _to_services(results)


def _peers_table(name: str, found: Sequence[Beat]) -> Table:
    """A line for each peer and measure: where, and by how much."""
    grouped: dict[tuple[str, Measure], list[Beat]] = {}
    for beat in found:
        grouped.setdefault((beat.row["peer"], beat.measure), []).append(beat)
    rows = []
    for (peer, measure), group in grouped.items():
        where = []
        for direction in DIRECTIONS:
            here = [f"{case_of(b.row)} {times(b.ratio)}" for b in group if b.row["direction"] == direction]
            where += [f"{direction}: {', '.join(here)}"] if here else []
        rows.append([Cell(peer, kind=group[0].row["kind"]), Cell(measure), Cell("\n".join(where))])
    return Table(name, ("peer", "in", "where, against shm"), rows)


@dataclass(frozen=True)
class Reading:
    """What one service was measured to do."""

    service: str
    case: str
    """Readings of the same case may be compared."""
    value: float
    unit: str
    interval: JsonInterval
    note: str
    more_is_better: bool = False

    def beats(self, other: Reading) -> bool:
        """Whether it is the better one, by more than the intervals leave open."""
        if self.case != other.case:
            return False
        better, worse = (self, other) if self.more_is_better else (other, self)
        return better.value > worse.value and clear_of(better.interval, worse.interval)


def _readings(results: Results) -> Iterator[Reading]:
    for http in http_rows(results):
        case = f"{http['endpoint']}, {http['connections']} connections"
        if http["load"] == "closed" and http["requests_per_s"] is not None:
            rate, ci = http["requests_per_s"], http["requests_per_s_ci"]
            yield Reading(http["service"], f"throughput of {case}", rate, "/s", ci, http["note"], more_is_better=True)
        elif http["load"] == "rate" and http["p50_us"] is not None:
            case = f"p50 of {case}, {number(http['rate_per_s'])}/s due"
            yield Reading(http["service"], case, http["p50_us"], " µs", http["p50_us_ci"], http["note"])
    for start in start_rows(results):
        if start["ms"] is not None:
            yield Reading(start["service"], start["what"], start["ms"], " ms", start["ms_ci"], start["note"])
    for memory in memory_rows(results):
        if memory["pss_mib"] is not None:
            case = f"memory {memory['state']}, with {count(memory['workers'], 'worker')}"
            yield Reading(memory["service"], case, memory["pss_mib"], " MiB", memory["pss_mib_ci"], memory["note"])


def _to_services(results: Results) -> list[Loss]:
    """What beats this project's service, by whose it is."""
    processes = fewest_processes(memory_rows(results))
    readings = list(_readings(results))
    found: dict[str, list[tuple[Reading, Reading]]] = {}
    for other in readings:
        for ours in readings:
            if is_ours(ours.service) and not is_ours(other.service) and other.beats(ours):
                found.setdefault(other.service, []).append((other, ours))
    # What is said of a service may say more where memory is compared, and never less.
    return [
        Loss(
            f"{service}, a whole service",
            max((_why(processes, other, ours) for other, ours in pairs), key=len) or UNEXPLAINED,
            len(pairs),
            _service_table(f"{service}, a whole service", pairs),
        )
        for service, pairs in found.items()
    ]


def _service_table(service: str, pairs: Sequence[tuple[Reading, Reading]]) -> Table:
    rows = [
        [
            Cell(other.case),
            Cell(f"{number(other.value)}{other.unit}", other.value, number=True),
            Cell(f"{number(ours.value)}{ours.unit}", ours.value, number=True, note=ours.service),
        ]
        for other, ours in pairs
    ]
    return Table(service, ("in", "it", "this project's"), rows)


def fewest_processes(rows: Iterable[Memory]) -> dict[str, int]:
    """How many processes each service has at its smallest."""
    fewest: dict[str, int] = {}
    for row in rows:
        if row["pss_mib"] is not None:
            fewest[row["service"]] = min(fewest.get(row["service"], row["processes"]), row["processes"])
    return fewest


def _why(processes: Mapping[str, int], other: Reading, ours: Reading) -> str:
    theirs, own = processes.get(other.service), processes.get(ours.service)
    said = [other.note] if other.note else []
    if theirs is not None and own is not None and theirs < own:
        said.append(f"It runs {count(theirs, 'process', 'processes')} with the fewest workers, {ours.service} {own}.")
    return " ".join(said)


def summary(results: Results) -> str:
    """Who beats the bridge in latency, in one sentence; empty where there was nobody to compare with."""
    if not any(row["ratio_to_shm"] is not None for row in results["rows"] if row["peer"] != OURS):
        return ""
    quicker = [beat.row["peer"] for beat in beats(results) if beat.measure == "latency" and beat.row["kind"] != "floor"]
    names = list(dict.fromkeys(quicker))
    if not names:
        return "No peer but the floors has a p50 below that of shm in any case of this run."
    return f"In at least one case of this run these have a p50 below that of shm: {listing(names)}."

"""Where somebody else beats the bridge: every such row, and why it is so.

The reasons explain; they measure nothing. One is printed only beside a row that was measured to beat the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bench.cases import DIRECTIONS
from bench.report.standing import place
from bench.report.tables import Cell, Table, case_of
from bench.report.view import KINDS, OURS, Memory, find, http_rows, is_ours, memory_rows, start_rows
from bench.report.words import count, listing, number, times
from bench.results import CallRow, JsonInterval, Results

Measure = Literal["latency", "throughput", "processor time"]

FRAGMENT: Final = 64 * 1024
"""A quarter of each ring, where nothing else is set: a larger message goes through in fragments of that size."""

BY_PEER: Final[Mapping[str, str]] = {
    "shm-busy": "The same bridge, told to poll without end: it never pays for waking the other side, and keeps a core "
    "busy on each side even when nobody calls. The default gives the cores back after a while.",
    "shm-spin0": "The same bridge, told never to poll: the time and the core that the default spends on polling before "
    "it parks are saved where the answer does not come within that time, or where the other side needs the core.",
    "shm-socket": "The same bridge without the ring: the kernel carries the bytes and wakes the reader. Nothing polls, "
    "which saves processor time, and saves latency where polling takes the core that the other side needs.",
    "uds-msgpack": "A bare socket, with both ends blocked in the kernel: no processor time is spent on polling, and a "
    "call carries no deadline, no trace, and cannot be called back into.",
    "uds-msgpack-busy": "A bare socket that both ends poll without end: nobody is ever woken, and each side keeps a "
    "core busy even when nobody calls.",
    "iceoryx2-py-py": "Both ends are Python and poll without end: there is no second language and nobody to wake.",
    "mp-pipe-py-py": "Both ends are Python: there is no second language, and both block in the kernel, which costs no "
    "processor time.",
    "mini-racer": "The engine runs in the caller's process, on a thread of its own.",
    "same-language": "It is an ordinary function call: no other language, no other process, nothing to encode.",
    "c-ring": "It is two programs in C that poll a shared cache line: no interpreter, nothing to encode. What lies "
    "between it and the bridge is the cost of the two languages.",
    "eventfd": "It is two programs in C that wake each other through the kernel: no interpreter, nothing to encode.",
    "memcpy": "It only copies the bytes.",
}
BY_KIND: Final[Mapping[str, str]] = {
    "bridge": "The same bridge with another setting.",
    "out-of-process": "Its ends block in the kernel, which spends no processor time on polling.",
    "in-process": "The other language runs in the caller's own process: no other core has to notice the call, and a "
    "value need not become bytes. In exchange, what crashes, fills or blocks the one does so to the other.",
    "reference": "There is no second language.",
    "floor": "It does less than a call between two languages has to.",
}
LARGE: Final = (
    "A message larger than a quarter of the ring goes through in fragments, each copied in and out, and one larger "
    "than what is left of the ring waits for the other side in between."
)
POLLING: Final = (
    "The bridge polls for a while on both sides before it parks, because waking costs more time than polling; that "
    "is paid in processor time."
)


def reason(row: CallRow, measure: Measure) -> str:
    """Why a peer may beat the bridge in this row."""
    said = [BY_PEER.get(row["peer"], BY_KIND[row["kind"]])]
    if measure == "processor time" and row["cores"] < 2 and row["kind"] != "bridge":
        said.append(POLLING)
    if row["payload_bytes"] > FRAGMENT and row["kind"] == "out-of-process":
        said.append(LARGE)
    return " ".join(said)


@dataclass(frozen=True)
class Beat:
    """A row that beats the bridge."""

    row: CallRow
    measure: Measure
    ratio: float
    """To the bridge; below 1 is better for latency and processor time, above 1 for throughput."""


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


def peers_table(results: Results) -> Table | None:
    """The peers that beat the bridge: where, by how much, and why."""
    grouped: dict[tuple[str, Measure], list[Beat]] = {}
    for beat in beats(results):
        grouped.setdefault((beat.row["peer"], beat.measure), []).append(beat)
    if not grouped:
        return None
    in_order = sorted(grouped.values(), key=lambda group: KINDS.index(group[0].row["kind"]))
    rows = []
    for group in in_order:
        first = group[0]
        where = []
        for direction in DIRECTIONS:
            here = [f"{case_of(b.row)} {times(b.ratio)}" for b in group if b.row["direction"] == direction]
            where += [f"{direction}: {', '.join(here)}"] if here else []
        reasons = dict.fromkeys(reason(beat.row, beat.measure) for beat in group)
        longest = max(reasons, key=len)
        rows.append(
            [
                Cell(first.row["peer"], kind=first.row["kind"]),
                Cell(first.measure),
                Cell("\n".join(where)),
                Cell(longest),
            ]
        )
    title = "Peers that beat shm, and where; below 1× is better for latency and processor time, above 1× for throughput"
    return Table(title, ("peer", "in", "where, against shm", "why"), rows)


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


def services_table(results: Results) -> Table | None:
    """The services that beat this project's: where, and by how much."""
    processes = fewest_processes(memory_rows(results))
    readings = list(_readings(results))
    rows = [
        [
            Cell(other.service),
            Cell(ours.service),
            Cell(ours.case),
            Cell(f"{number(other.value)}{other.unit}", other.value, number=True),
            Cell(f"{number(ours.value)}{ours.unit}", ours.value, number=True),
            Cell(_why(processes, other, ours)),
        ]
        for other in readings
        for ours in readings
        if is_ours(ours.service) and not is_ours(other.service) and other.beats(ours)
    ]
    headings = ("service", "beats", "in", "it", "this project's", "why")
    return Table("Services that beat this project's", headings, rows) if rows else None


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
    return " ".join(said) or "No reason is known to this report: a profile would have to say."


def summary(results: Results) -> str:
    """Who beats the bridge in latency, in one sentence."""
    if not any(row["ratio_to_shm"] is not None for row in results["rows"] if row["peer"] != OURS):
        return "No other peer was measured beside shm in this run."
    quicker = [beat.row["peer"] for beat in beats(results) if beat.measure == "latency" and beat.row["kind"] != "floor"]
    names = list(dict.fromkeys(quicker))
    if not names:
        return "No peer but the floors has a p50 below that of shm in any case of this run."
    return f"In at least one case of this run these have a p50 below that of shm: {listing(names)}."

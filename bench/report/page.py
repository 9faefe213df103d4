"""The sections of the page, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from bench.cases import DIRECTIONS
from bench.report import beaten, drawings, tables
from bench.report.arguments import Argument, answered, unanswered
from bench.report.beaten import Loss
from bench.report.drawings import Drawing
from bench.report.published import PUBLISHED
from bench.report.standing import headline
from bench.report.svg import printable
from bench.report.tables import Cell, Table
from bench.report.view import LANGUAGES, calls, http_rows, memory_rows, predict_rows, start_rows
from bench.report.words import NOTHING, count, listing, number
from bench.results import CallRow, Goal, Results

NOT_MEASURED: Final = "Not measured in this run:"

NO_BREAK: Final = "\N{NO-BREAK SPACE}"

OPEN_CHARTS: Final = 6
"""How many are open to the eye at most: those of the sections that come first, both directions."""

MOST_CASES: Final = 3
"""Named one by one; more are counted."""

WORKLOADS: Final = {
    "predict": "predict: classify one short text",
    "first-call": "first-call: the first predict of a new connection, nothing warmed up",
    "echo": "echo: a text comes back as it is",
    "bytes": "bytes: bytes come back as they are",
    "string": "string: a text comes back as it is, by size",
    "array": "array: an array of float64 comes back as it is, by size",
    "batch": "batch: classify many short texts in one call",
    "format": "format: a number as JavaScript's Intl writes it",
    "segment": "segment: Japanese text cut into words by JavaScript's Intl",
    "outstanding": "outstanding: several predict calls under way at once",
    "after-10ms": "after-10ms: a predict after 10 ms in which nothing was called",
    "after-1s": "after-1s: a predict after a second in which nothing was called",
    "busy-neighbour": "busy-neighbour: predict while another program wants the callee's core",
}

HOW: Final = (
    (
        "Every trial has fresh processes. The rounds are interleaved, every peer once and then every peer again, so "
        "that what the machine does meanwhile happens to all. Untimed calls come first, except in the first-call rows."
    ),
    (
        "Every answer is compared with the right one. Every call is in the histogram, the slowest too. Percentiles are "
        "those of a round, by HdrHistogram; printed is their median over the rounds, with a bootstrap 95 % interval."
    ),
    (
        "The time of a call includes what reading the clock costs, which stands below. Processor time is the kernel's "
        "count for every process of both sides."
    ),
)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    id: str
    heading: str
    lead: Sequence[str] = ()
    """What is shown here, whatever the figures are."""
    said: Sequence[str] = ()
    """What this run says to it, in sentences."""
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    """Open to the eye."""
    folded: Sequence[Table] = ()
    """Opened by a click."""
    arguments: Sequence[Argument] = ()
    losses: Sequence[Loss] = ()
    is_folded: bool = False
    """Whether all under the heading is opened by a click, however short the page is."""

    @property
    def is_empty(self) -> bool:
        """Whether this run has nothing for it."""
        return not (self.said or self.drawings or self.tables or self.folded or self.arguments or self.losses)

    @property
    def contents(self) -> str:
        """What a click opens."""
        amounts = {
            "chart": len(self.drawings),
            "table": len(self.tables) + len(self.folded),
            "answer": len(self.arguments),
        }
        return listing([count(amount, name) for name, amount in amounts.items() if amount])


def sections(results: Results) -> list[Section]:
    """Those that this run has something for; those with the charts that are too many are folded."""
    found, charts = [], 0
    for section in _all(results):
        charts += len(section.drawings)
        too_many = bool(section.drawings) and charts > OPEN_CHARTS
        if not section.is_empty:
            found.append(replace(section, is_folded=section.is_folded or too_many))
    return found


def absent(results: Results) -> str:
    """What this run has nothing for, in one sentence; empty where there is nothing to say."""
    names = [section.heading for section in _all(results) if section.is_empty]
    if not names:
        return ""
    return f"{NOT_MEASURED} {'; '.join(_in_a_sentence(name) for name in names)}. `make bench` measures all."


def _in_a_sentence(heading: str) -> str:
    return f"{heading[0].lower()}{heading[1:]}"


def _all(results: Results) -> list[Section]:
    return [
        _goals(results),
        _latency(results),
        _both(results, "payload", "Latency against payload", drawings.payload, "Echo of a text, there and back."),
        _both(
            results,
            "idle",
            "After idleness, and with a busy neighbour",
            drawings.idleness,
            "A side that has parked has to be woken: that is the cost that a loop of calls never shows. Warm: one call "
            "straight after the other. Busy core: another program wants the core of the callee.",
        ),
        _beaten(results),
        _both(
            results,
            "throughput",
            "Throughput against calls outstanding",
            drawings.throughput,
            "From Python a thread and a connection for each outstanding call, from TypeScript all on one connection. "
            "Peers that make one call at a time are in the table only.",
        ),
        _both(
            results,
            "cpu",
            "Processor time against latency",
            drawings.cpu,
            "Who polls buys latency with processor time. Processor time is that of both sides together.",
        ),
        _both(
            results,
            "cold",
            "The first call",
            drawings.cold,
            "Connecting, loading and compiling on demand are in the first call of a fresh pair of processes.",
        ),
        _http(results),
        _memory(results),
        _rows(results),
        _arguments(results),
        _published(),
        *_unmeasured(results),
        _conditions(results),
    ]


def summary(results: Results) -> list[str]:
    """The answer, and what spoils it if anything does."""
    said = headline(results)
    if not results["meta"]["complete"]:
        said.append("This run was interrupted: some rounds or rows are missing.")
    return said


def _goals(results: Results) -> Section:
    lead = "Set before anything was measured, for ratios of rows of this run; the 95 % interval stands with each."
    rows = [
        [Cell(goal["figure"]), Cell(goal["asked"].replace(" ", NO_BREAK)), *_measured(goal)]
        for goal in results["figures"]
    ]
    table = Table("The goals", ("ratio", "goal", "measured", "reached"), rows)
    return Section("goals", "The goals", [lead], tables=[table] if rows else [])


def _measured(goal: Goal) -> list[Cell]:
    reached = {True: f"✓{NO_BREAK}reached", False: f"✗{NO_BREAK}NOT reached", None: "not measured"}[goal["reached"]]
    return [tables.figure(goal["measured"], goal["measured_ci"]), Cell(reached, strong=True)]


def _latency(results: Results) -> Section:
    drawn = [d for direction in DIRECTIONS if (d := drawings.latency(results, direction)) is not None]
    lead = (
        "The predict call, one after the other. The hill is the distribution of all calls of all rounds, its height "
        "the square root of their share; the percentiles are medians over the rounds. Floors in C have no direction "
        "and stand in both charts."
    )
    return Section("latency", "Latency of a call", [lead], drawings=drawn)


def _rows(results: Results) -> Section:
    lead = (
        "A ratio is taken within each round, then the median; its interval is a bootstrap over the rounds. "
        "Compare like with like: who polls keeps a core busy for as long as the call lasts, and more."
    )
    folded = []
    for direction in DIRECTIONS:
        predict = predict_rows(results, direction)
        if predict:
            folded.append(tables.call_table(f"{LANGUAGES[direction]}, {WORKLOADS['predict']}", predict))
        for case in _cases(results, direction):
            rows = [row for row in calls(results, direction, case[0]) if _case(row) == case]
            name = WORKLOADS.get(case[0], case[0])
            folded.append(tables.call_table(f"{LANGUAGES[direction]}, {tables.case_of(rows[0])} ({name})", rows))
    return Section("rows", "Every row", [lead], folded=folded, is_folded=True)


def _case(row: CallRow) -> tuple[str, int, int]:
    return row["workload"], row["payload_bytes"], row["outstanding"]


def _cases(results: Results, direction: str) -> list[tuple[str, int, int]]:
    known = [row for row in results["rows"] if row["direction"] == direction and row["p50_us"] is not None]
    cases = dict.fromkeys(_case(row) for row in known if row["workload"] != "predict")
    order = list(WORKLOADS)
    return sorted(cases, key=lambda case: (order.index(case[0]) if case[0] in order else len(order), *case[1:]))


def _both(results: Results, id_: str, heading: str, draw: drawings.OfDirection, lead: str) -> Section:
    drawn = [d for direction in DIRECTIONS if (d := draw(results, direction)) is not None]
    return Section(id_, heading, [lead], drawings=drawn)


def _http(results: Results) -> Section:
    throughput = drawings.http_throughput(results)
    drawn = [throughput] if throughput else []
    lead = (
        "Whole services that answer the same requests. At a fixed rate, requests are due whether or not earlier ones "
        "are answered, and each one's time counts from when it was due: a service that stalls cannot hide it."
    )
    drawn += drawings.http_latency(results)
    return Section("http", "Whole services over HTTP", [lead], drawings=drawn)


def _memory(results: Results) -> Section:
    drawn = [d for d in (drawings.memory(results), drawings.starts(results)) if d is not None]
    lead = (
        "Memory is the proportional set size of every process of a service: a page that several share counts once "
        "between them. A start counts from starting the processes to the answer."
    )
    idle = results["idle_cpu_percent"]
    used = f"Connected and idle, gunicorn with one worker and Node use {number(idle)} % of a core together."
    said = [used] if idle is not None else []
    return Section("memory", "Memory and cold start", [lead], said, drawn)


def _beaten(results: Results) -> Section:
    said = beaten.summary(results)
    lead = (
        "Below 1× is better for latency and processor time, above 1× for throughput. Each reason stands above the rows "
        "that it holds for; it explains, and was not measured."
    )
    found = beaten.losses(results)
    return Section(
        "beaten",
        "What beats this bridge, and why",
        [lead] if found else [],
        [said] if said else [],
        losses=found,
    )


def _arguments(results: Results) -> Section:
    lead = "What is said against running a second language as a process of its own, and what this run measured."
    given, missing = answered(results), unanswered(results)
    rest = [f"{NOT_MEASURED} {'; '.join(_in_a_sentence(name) for name in missing)}."] if given and missing else []
    heading = "Six arguments against child processes"
    return Section("arguments", heading, [lead], rest, arguments=given, is_folded=True)


def _unmeasured(results: Results) -> list[Section]:
    rows = []
    for state in ("failed", "skipped"):
        for (name, reason), cases in _reasons(results, state).items():
            rows.append([Cell(name), Cell(state, strong=state == "failed"), Cell(_where(cases)), Cell(reason)])
    lead = (
        "A peer that is not installed is skipped. One that crashed, hung or answered wrongly has failed; what was "
        "measured before that stays in its row."
    )
    table = Table("What was skipped, and what failed", ("peer or service", "", "where", "why, and what to do"), rows)
    return [Section("unmeasured", "Skipped and failed", [lead], tables=[table])] if rows else []


def _reasons(results: Results, state: Literal["failed", "skipped"]) -> dict[tuple[str, str], list[str]]:
    """Where each peer or service failed, or was skipped, by its name and the reason."""
    said: list[tuple[str, str, str | None]] = [
        *((row["peer"], f"{row['direction']} {tables.case_of(row)}", row[state]) for row in results["rows"]),
        *((http["service"], http["endpoint"], http[state]) for http in http_rows(results)),
        *((start["service"], start["what"], start[state]) for start in start_rows(results)),
        *((m["service"], f"memory, {count(m['workers'], 'worker')}", m[state]) for m in memory_rows(results)),
    ]
    found: dict[tuple[str, str], list[str]] = {}
    for name, case, reason in said:
        if reason:
            found.setdefault((name, printable(reason)), []).append(case)
    return found


def _where(cases: Sequence[str]) -> str:
    """The cases in a few words."""
    unique = list(dict.fromkeys(cases))
    directions = [direction for direction in DIRECTIONS if any(case.startswith(direction) for case in unique)]
    if len(unique) > MOST_CASES and directions:
        return f"{listing(directions)}, {count(len(unique), 'case')}"
    return listing(unique, MOST_CASES)


def _published() -> Section:
    label = PUBLISHED["label"]
    lead = (
        f"{label[0].upper()}{label[1:]}: from the {PUBLISHED['source']}. Nobody here has run it; the dotted lines in "
        "the charts above are these figures."
    )
    rows = [
        [Cell(line["what"]), Cell(line["in_process"]), Cell(line["others"] or NOTHING)] for line in PUBLISHED["figures"]
    ]
    headings = ("what", f"in-process build ({label})", f"what it says of others ({label})")
    claims = f"What it claims for itself: {'; '.join(PUBLISHED['claims'])}."
    return Section(
        "published",
        "Published figures of the in-process showcase",
        [lead, claims],
        tables=[Table("Published figures", headings, rows)],
        is_folded=True,
    )


def _conditions(results: Results) -> Section:
    meta = results["meta"]
    state = " (with changes that are not committed)" if meta["dirty"] else ""
    about = {
        "processor": meta["cpu"],
        "cores": str(meta["cores"]),
        "kernel": meta["kernel"],
        "governor": meta["governor"],
        "load average": f"{meta['load_before']:.2f} before, {meta['load_after']:.2f} after",
        "host": meta["host"],
        "commit": f"{meta['commit']}{state}",
        "command": meta["command"],
        "started": meta["started"],
        "finished": f"{meta['finished']}, after {number(meta['seconds'])} s",
        "complete": "yes" if meta["complete"] else "no: interrupted",
        "rounds": str(meta["rounds"]),
        "warm-up": meta["warmup"],
        "pinning": meta["pinning"],
        **{f"reading the clock twice, {name}": f"{number(us)} µs" for name, us in meta["clock_us"].items()},
    }
    machine = Table("What was measured on", ("", ""), [[Cell(name), Cell(value)] for name, value in about.items()])
    versions = Table("Versions", ("", ""), [[Cell(name), Cell(version)] for name, version in meta["versions"].items()])
    repeat = (
        f"To repeat it, after `make bench-setup` has installed the peers: `{meta['command']}`. "
        "`python -m bench diff A B` compares two results."
    )
    nothing = [] if _unmeasured(results) else ["Nothing was skipped, and nothing failed."]
    said = [*HOW, *nothing, repeat]
    return Section("conditions", "How it was measured, and on what", said=said, folded=[machine, versions])

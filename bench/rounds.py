"""Rounds of trials: every peer once, then every peer again; and the rows that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.cases import Case, Direction
from bench.peers import Peer
from bench.pinning import Cores
from bench.results import CallRow
from bench.statistics import Distribution, Percentiles, median_interval, percentiles, ratios
from bench.trial import WARMUP_S, Outcome, Trial

NS_PER_US: Final = 1000
START_S: Final = 1.2
"""What fresh processes take to start and end, roughly: for the time left."""
REFERENCE: Final = "shm"
"""The peer that ratios are taken to: this bridge, as it comes."""


@dataclass(frozen=True)
class Round:
    """One trial of one row."""

    percentiles: Percentiles
    calls_per_s: float
    cpu_us_per_call: float


@dataclass
class Row:
    """One peer, direction and case, over all rounds."""

    peer: Peer
    direction: Direction
    case: Case
    rounds: list[Round | None] = field(default_factory=list)
    """None: a round that gave nothing, for the row had failed before or failed in it."""
    calls: int = 0
    errors: int = 0
    failed: str = ""
    skipped: str = ""
    note: str = ""
    distribution: Distribution = field(default_factory=Distribution)

    def add(self, outcome: Outcome, note: str) -> None:
        """What one more round gave."""
        self.note = " ".join(text for text in (self.peer.note, note) if text)
        self.failed = self.failed or outcome.failed
        self.errors += outcome.errors
        count = len(outcome.times_ns)
        if count == 0:
            self.rounds.append(None)
            return
        self.calls += count
        self.distribution.add(outcome.times_ns)
        figures = percentiles(outcome.times_ns)
        self.rounds.append(Round(figures, count / outcome.elapsed_s, outcome.cpu_ns / count / NS_PER_US))

    @property
    def p50s(self) -> list[float | None]:
        """Of each round, microseconds."""
        return [done.percentiles.p50 if done else None for done in self.rounds]

    def to_json(self, reference: Row | None) -> CallRow:
        """As results.json has it. `reference`: the row that the ratio is taken to."""
        done = [one for one in self.rounds if one]

        def over_rounds(value: Callable[[Round], float]) -> tuple[float | None, tuple[float, float] | None]:
            return median_interval([value(one) for one in done]) if done else (None, None)

        p50, p50_ci = over_rounds(lambda one: one.percentiles.p50)
        rate, rate_ci = over_rounds(lambda one: one.calls_per_s)
        quotients = ratios(self.p50s, reference.p50s) if reference else []
        ratio, ratio_ci = median_interval(quotients) if quotients else (None, None)
        return {
            "peer": self.peer.name,
            "kind": self.peer.kind,
            "direction": self.direction,
            "workload": self.case.workload,
            "payload_bytes": self.case.payload_bytes,
            "outstanding": self.case.outstanding,
            "waits": self.peer.waits,
            "cores": self.peer.cores,
            "note": self.note,
            "rounds": len(done),
            "calls": self.calls,
            "p50_us": p50,
            "p50_us_ci": p50_ci,
            "p95_us": over_rounds(lambda one: one.percentiles.p95)[0],
            "p99_us": over_rounds(lambda one: one.percentiles.p99)[0],
            "p999_us": over_rounds(lambda one: one.percentiles.p999)[0],
            "calls_per_s": rate,
            "calls_per_s_ci": rate_ci,
            "cpu_us_per_call": over_rounds(lambda one: one.cpu_us_per_call)[0],
            "errors": self.errors,
            "skipped": self.skipped or None,
            "failed": self.failed or None,
            "ratio_to_shm": ratio,
            "ratio_to_shm_ci": ratio_ci,
            "p50_us_rounds": self.p50s,
            "histogram": self.distribution.bars(),
        }


@dataclass
class Entry:
    """One peer in one direction: what a trial is of."""

    peer: Peer
    direction: Direction
    rows: list[Row]

    @property
    def seconds(self) -> float:
        """How long a trial takes, roughly."""
        cases = [row.case for row in self.rows if not row.skipped]
        return START_S + self.peer.warmup_s + sum(case.expected_s + WARMUP_S for case in cases)

    @property
    def label(self) -> str:
        """For the progress bar."""
        return self.peer.name if self.peer.kind in ("floor", "reference") else f"{self.peer.name} {self.direction}"


@dataclass
class Calls:
    """All trials of a run."""

    entries: list[Entry]
    clock_us: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, peers: Sequence[Peer], quick_workloads: Sequence[str] = ()) -> Calls:
        """The rows to measure; a peer that is not installed has one in each direction, which says how to install it."""
        entries = []
        for peer in peers:
            missing = peer.missing()
            for direction in peer.directions:
                cases = [
                    case for case in peer.cases(direction) if not quick_workloads or case.workload in quick_workloads
                ]
                rows = [Row(peer, direction, case) for case in cases]
                if missing:
                    rows = [row for row in rows if row.case.workload == "predict"] or rows[:1]
                    for row in rows:
                        row.skipped = missing
                        row.note = peer.note
                if rows:
                    entries.append(Entry(peer, direction, rows))
        return cls(entries)

    def measured(self) -> list[Entry]:
        """Those that are not skipped."""
        return [entry for entry in self.entries if not entry.rows[0].skipped]

    def seconds(self, rounds: int) -> float:
        """How long all of it takes, roughly."""
        return sum(min(rounds, entry.peer.most_rounds) * entry.seconds for entry in self.measured())

    def measure(self, rounds: int, cores: Cores, began: Callable[[str], None], ended: Callable[[float], None]) -> None:
        """One trial of each, then the next round. A row that has failed is left out of further rounds.

        `began` is told what is measured, `ended` how many seconds of the estimate are done. What was measured until a
        KeyboardInterrupt stays.
        """
        for number in range(rounds):
            for entry in self.measured():
                if number < entry.peer.most_rounds:
                    began(entry.label)
                    self._trial(entry, number, cores)
                    ended(entry.seconds)

    def _trial(self, entry: Entry, number: int, cores: Cores) -> None:
        rows = {row.case: row for row in entry.rows if not row.failed}
        trial = Trial(entry.peer, entry.direction, cores)
        trial.run(list(rows), lambda case, outcome: rows[case].add(outcome, trial.note))
        if trial.clock_us and entry.peer.kind != "in-process":
            self.clock_us[entry.peer.callers[entry.direction]] = trial.clock_us
        elif trial.clock_us:
            self.clock_us[f"{entry.peer.name} {entry.direction}"] = trial.clock_us
        for row in entry.rows:
            # A round that gave it nothing: the ratios of the rounds must not slip.
            if len(row.rounds) == number:
                row.rounds.append(None)

    def to_json(self) -> list[CallRow]:
        """The rows of results.json."""
        rows = list(self._rows())
        references = {(row.direction, row.case): row for row in rows if row.peer.name == REFERENCE}
        return [row.to_json(references.get((row.direction, row.case))) for row in rows]

    def _rows(self) -> Iterator[Row]:
        for entry in self.entries:
            yield from entry.rows

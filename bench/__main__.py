"""`python -m bench`: round trips of the bridge, beside the floors and its rivals, from one run."""

from __future__ import annotations

import argparse
import array
import fnmatch
import statistics
import sys
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench import idle, machine, percentiles, trial
from bench.peers import DIRECTIONS, PEERS, Direction, Peer

WARMUP_SHARE = 5
IDLE_S = 10.0
PIPE_COLUMNS = 120


@dataclass
class Row:
    """One peer in one direction, over all rounds."""

    peer: Peer
    direction: Direction
    rounds: list[percentiles.Percentiles] = field(default_factory=list)
    failure: str = ""

    @property
    def p50(self) -> float:
        """Median over the rounds of each round's median, microseconds."""
        return statistics.median(r.p50 for r in self.rounds)

    @property
    def p95(self) -> float:
        """As p50, of the 95th percentiles."""
        return statistics.median(r.p95 for r in self.rounds)

    @property
    def p99(self) -> float:
        """As p50, of the 99th percentiles."""
        return statistics.median(r.p99 for r in self.rounds)


def ratio(row: Row, other: Row) -> float:
    """How many times as long as `other` a call of `row` takes: taken within each round, then the median.

    After Ctrl-C one of them may have a round more, which is left out.
    """
    return statistics.median(a.p50 / b.p50 for a, b in zip(row.rounds, other.rounds, strict=False))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--list", action="store_true", help="print the peers and exit")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="peers whose name matches, e.g. 'shm*'")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="trials of each row, interleaved (default 5)"
    )
    parser.add_argument("--no-idle", action="store_true", help="do not measure what an idle pair costs (35 s)")
    parser.add_argument("--no-pin", action="store_true", help="leave it to the scheduler which core each side runs on")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}: it must be at least 1")
    return options


def rows_for(pattern: str) -> list[Row]:
    """A row for each peer whose name matches, and each of its directions."""
    chosen = [peer for peer in PEERS if fnmatch.fnmatch(peer.name, pattern)]
    return [Row(peer, direction) for peer in chosen for direction in (DIRECTIONS[:1] if peer.floor else DIRECTIONS)]


def measure(rows: list[Row], rounds: int, cores: trial.Cores, console: Console) -> None:
    """Fill in the rows: one trial of each, then the next round. A row that fails is left out of further rounds."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(rows))
        for _ in range(rounds):
            for row in rows:
                progress.update(
                    task, description=f"{row.peer.name} {'' if row.peer.floor else row.direction}".ljust(24)
                )
                if not row.failure:
                    try:
                        samples: array.array[int] = trial.run(
                            row.peer, row.direction, row.peer.calls, row.peer.calls // WARMUP_SHARE, cores
                        )
                        row.rounds.append(percentiles.of(samples))
                    except trial.TrialFailed as failed:
                        row.failure = str(failed)
                progress.advance(task)


def table(rows: list[Row]) -> Table:
    """Microseconds a round trip, and each row against both floors and against the bridge in the same direction."""
    by_name = {(row.peer.name, row.direction): row for row in rows if row.rounds and not row.failure}
    ring, eventfd = by_name.get(("c-ring", DIRECTIONS[0])), by_name.get(("eventfd", DIRECTIONS[0]))
    result = Table(title="Round trip of echo('Hello, World'), microseconds")
    for heading in ("peer", "direction", "waiting"):
        result.add_column(heading, no_wrap=True)
    for heading in ("p50", "p95", "p99", "x c-ring", "x eventfd", "x shm"):
        result.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        direction = "C to C" if row.peer.floor else row.direction
        if row.failure or not row.rounds:
            result.add_row(row.peer.name, direction, "[red]failed[/red]" if row.failure else "not measured")
            continue
        shm = None if row.peer.floor else by_name.get(("shm", row.direction))
        result.add_row(
            row.peer.name,
            direction,
            row.peer.waits,
            *(f"{value:.2f}" for value in (row.p50, row.p95, row.p99)),
            *(f"{ratio(row, other):.2f}" if other else "" for other in (ring, eventfd, shm)),
        )
    return result


def main() -> int:
    """Measure and print. Exit code 0; 1 if a peer failed; 130 after Ctrl-C, with what was measured."""
    options = parse(sys.argv[1:])
    # A table squeezed into a pipe's assumed 80 columns cannot be read.
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)
    if options.list:
        for peer in PEERS:
            console.print(f"{peer.name:16}{peer.waits}")
        return 0
    rows = rows_for(options.only)
    if not rows:
        console.print(f"no peer matches {options.only!r}; `python -m bench --list` names them", style="red")
        return 2
    interrupted = False
    cores = trial.ANY_CORES if options.no_pin else trial.two_cores()
    try:
        console.print(machine.describe())
        measure(rows, options.rounds, cores, console)
    except KeyboardInterrupt:
        interrupted = True
    console.print(table(rows))
    where = (
        "nothing is pinned" if cores == trial.ANY_CORES else f"caller on core {cores.caller}, callee on {cores.callee}"
    )
    console.print(f"Medians over {options.rounds} rounds, fresh processes each, interleaved; {where}.")
    if interrupted:
        return 130
    if not options.no_idle:
        console.print(f"Idle, Node and gunicorn with one worker: {idle.measure(IDLE_S):.2f} % of a core together.")
    for row in rows:
        if row.failure:
            console.print(f"{row.peer.name} {row.direction}: {row.failure}", style="red", markup=False)
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

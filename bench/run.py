"""A run: what is measured in which order, how far it is, and what is kept of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import machine, results
from bench.goals import goals
from bench.peers import DEFAULT_WARMUP_S, Peer
from bench.pinning import Cores
from bench.results import Results
from bench.rounds import Calls
from bench.trial import WARMUP_S

DEFAULT_ROUNDS: Final = 10
QUICK_ROUNDS: Final = 4
QUICK_WORKLOADS: Final = ("first-call", "predict", "batch")

WARMUP: Final = (
    f"untimed calls for {DEFAULT_WARMUP_S:g} s after a process's first call (longer for a peer whose note says so), "
    f"and for {WARMUP_S * 1000:g} ms before each further case; none before `first-call`"
)


@dataclass(frozen=True)
class Plan:
    """What to measure, and where to keep it."""

    peers: Sequence[Peer]
    rounds: int
    """Of calls."""
    service_rounds: int
    """Of whole services."""
    quick: bool
    services: bool
    cores: Cores
    folder: Path


@dataclass
class Services:
    """What was measured of whole services."""

    http: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    idle_cpu_percent: float | None = None


def run(plan: Plan, console: Console) -> int:
    """Measure, print, and keep. Exit code 0; 1 if a peer failed; 130 after Ctrl-C, with what was measured."""
    started, began = datetime.now(UTC), time.monotonic()
    load_before = machine.load()
    calls, services = Calls.of(plan.peers, QUICK_WORKLOADS if plan.quick else ()), Services()
    interrupted = False
    try:
        console.print(machine.describe(), soft_wrap=True)
        _measure(plan, calls, services, console)
    except KeyboardInterrupt:
        interrupted = True
        console.print("interrupted: what was measured is kept", style="yellow")
    rows = calls.to_json()
    found: Results = {
        "meta": {
            "schema": results.SCHEMA_VERSION,
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "complete": not interrupted,
            "command": machine.command(),
            "commit": machine.commit(),
            "dirty": machine.dirty(),
            "host": platform.node(),
            "cpu": machine.cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": f"Linux {platform.release()}",
            "governor": machine.governor(),
            "load_before": load_before,
            "load_after": machine.load(),
            "versions": machine.versions(),
            "rounds": plan.rounds,
            "warmup": WARMUP,
            "pinning": str(plan.cores),
            "clock_us": calls.clock_us,
        },
        "rows": rows,
        "http": services.http,
        "starts": services.starts,
        "memory": services.memory,
        "idle_cpu_percent": services.idle_cpu_percent,
        "figures": goals(rows),
    }
    return _keep_and_print(found, plan.folder, console, interrupted)


def _measure(plan: Plan, calls: Calls, services: Services, console: Console) -> None:
    from bench import services as whole

    steps: list[tuple[str, float, Callable[[Callable[[str], None]], None]]] = []
    if plan.services:
        steps = whole.steps(plan.service_rounds, services)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=600) as progress:
        total = calls.seconds(plan.rounds) + sum(seconds for _, seconds, _ in steps)
        task = progress.add_task("", total=total)

        def began(label: str) -> None:
            progress.update(task, description=label.ljust(32)[:32])

        calls.measure(plan.rounds, plan.cores, began, lambda seconds: progress.advance(task, seconds))
        for name, seconds, measure in steps:
            began(name)
            measure(began)
            progress.advance(task, seconds)


def _keep_and_print(found: Results, folder: Path, console: Console, interrupted: bool) -> int:
    from bench.report import write_report
    from bench.table import table

    file = results.write(found, folder)
    console.print(table(found, console.width))
    page = write_report(found, folder)
    console.print(f"{file}\n{page}", soft_wrap=True)
    if interrupted:
        return 130
    everything: list[dict[str, Any]] = [*found["http"], *found["starts"], *found["memory"]]
    failed = any(row["failed"] for row in found["rows"]) or any(row["failed"] for row in everything)
    wrong = any(row["errors"] for row in found["rows"]) or any(row["errors"] for row in found["http"])
    return 1 if failed or wrong else 0

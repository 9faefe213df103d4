"""One run of a fuzzer: started, listened to, stopped in time."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz import corpora
from fuzz.engines import BUILD, ROOT
from fuzz.targets import Target

STOP_SECONDS: Final = 20
SAID_LINES: Final = 60

_EXECUTIONS: Final = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
_PROGRESS: Final = re.compile(r"^#(\d+)\s", re.MULTILINE)
_COVERAGE: Final = re.compile(r"\bcov: (\d+)")
_TROUBLE: Final = re.compile(r"ERROR: |Uncaught |^uncaught: |: not so: |runtime error: ")
_RATE: Final = re.compile(r"^stat::average_exec_per_sec:\s+(\d+)|exec/s: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What came of it. `finding` is None, or the input that broke something; it may be missing if the fuzzer died."""

    executions: int
    per_second: int
    coverage: int
    failed: bool
    finding: Path | None
    interrupted: bool
    said: str


def fuzz(target: Target, options: Sequence[str]) -> Outcome:
    """Fuzz from the kept inputs on, and from those that earlier runs on this machine have found."""
    kept = BUILD / target.name / "kept"
    for folder in (target.inputs, target.findings):
        folder.mkdir(parents=True, exist_ok=True)
    corpora.unpack(corpora.read(target.corpus), kept)
    before = set(target.findings.iterdir())
    log = BUILD / target.name / "log"
    code, interrupted = execute(target, [target.inputs, kept], ["-print_final_stats=1", *options], log)
    said = log.read_text(errors="replace")
    new = sorted(set(target.findings.iterdir()) - before)
    return Outcome(
        executions=_last(_EXECUTIONS, said) or _last(_PROGRESS, said),
        per_second=_last(_RATE, said),
        coverage=_last(_COVERAGE, said),
        failed=bool(new) or (code != 0 and not interrupted),
        finding=new[0] if new else None,
        interrupted=interrupted,
        said=_report_in(said.splitlines()),
    )


def execute(target: Target, folders: Sequence[Path], options: Sequence[str], log: Path) -> tuple[int, bool]:
    """Run the fuzzer to its end: its exit code, and whether Ctrl-C ended it."""
    environment = {**os.environ, **target.environment()}
    # libFuzzer refuses to start where it could not keep a finding.
    target.findings.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # In a session of its own: it gets Ctrl-C from here, once.
        child = subprocess.Popen(
            target.command(folders, *options),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return child.wait(), False
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            try:
                return child.wait(STOP_SECONDS), True
            except subprocess.TimeoutExpired:
                return 0, True
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def count(totals: Path, name: str, executions: int) -> int:
    """Add to what `totals` says of this name, and give the sum. Others may do the same at the same time."""
    totals.parent.mkdir(parents=True, exist_ok=True)
    with totals.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        sums: dict[str, int] = json.loads(file.read() or "{}")
        sums[name] = sums.get(name, 0) + executions
        file.truncate(0)
        file.write(json.dumps(sums, indent=2) + "\n")
        # Before the lock is let go of.
        file.flush()
    return sums[name]


def _report_in(lines: Sequence[str]) -> str:
    """From where the trouble begins, or else the end."""
    first = next((number for number, line in enumerate(lines) if _TROUBLE.search(line)), len(lines) - SAID_LINES)
    return "\n".join(lines[max(first, 0) :][:SAID_LINES])


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = 0
    for match in pattern.finditer(text):
        found = int(next(group for group in match.groups() if group is not None))
    return found

"""One trial: fresh processes, one peer, one direction; the time of each call."""

from __future__ import annotations

import array
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Direction, Peer

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "bench" / "build"
CORE = ROOT / "shm_protocol" / "core"
TS_NODE = ("node", "-r", "ts-node/register/transpile-only")
HANG_GUARD_S = 120.0
END_GUARD_S = 10.0


class TrialFailed(Exception):
    """A peer crashed, hung or answered wrongly. The message says which and shows what it printed."""


def build_floor(module: str) -> Path:
    """Compile `peers/<module>.c` unless that is done already; give the executable."""
    source = ROOT / "bench" / "peers" / f"{module}.c"
    inputs = [source, source.with_name("floor.h"), CORE / "ring.c", CORE / "ring.h", CORE / "layout.h"]
    program = BUILD / module
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in inputs):
        BUILD.mkdir(exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        compiler = os.environ.get("CC", "cc")
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{CORE}"]
        subprocess.run([compiler, *flags, str(source), str(CORE / "ring.c"), "-o", str(partial)], check=True)
        partial.rename(program)
    return program


def _python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"bench.{script}", *arguments]


def _node(script: str, *arguments: str) -> list[str]:
    return [*TS_NODE, str(ROOT / "bench" / f"{script}.ts"), *arguments]


@dataclass(frozen=True)
class Cores:
    """Where the two processes run; -1: wherever the scheduler puts them."""

    caller: int = -1
    callee: int = -1


ANY_CORES = Cores()


def two_cores() -> Cores:
    """A core for each side, or any where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[1]) if len(cores) > 1 else ANY_CORES


def pinned(command: list[str], core: int) -> list[str]:
    """The command, kept on one core."""
    return command if core < 0 else ["taskset", "--cpu-list", str(core), *command]


def _measure(command: list[str], environment: dict[str, str]) -> array.array[int]:
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, timeout=HANG_GUARD_S, check=False
        )
    except subprocess.TimeoutExpired as hung:
        raise TrialFailed(f"no result within {HANG_GUARD_S:.0f} s: {' '.join(command)}") from hung
    if done.returncode != 0:
        raise TrialFailed(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    samples = array.array("I")
    samples.frombytes(done.stdout)
    return samples


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; make it, if it does not."""
    process.terminate()
    try:
        process.wait(END_GUARD_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(peer: Peer, direction: Direction, calls: int, warmup: int, cores: Cores = ANY_CORES) -> array.array[int]:
    """Time `calls` calls after `warmup` untimed ones; nanoseconds each.

    Raises TrialFailed.
    """
    counts = (str(calls), str(warmup))
    environment = {**os.environ, **peer.environment, "TS_NODE_PROJECT": str(ROOT / "bench" / "tsconfig.json")}
    if peer.floor:
        return _measure([str(build_floor(peer.module)), *counts, str(cores.caller), str(cores.callee)], environment)
    callee_command, caller_command = (_node, _python) if direction == "py->ts" else (_python, _node)
    with tempfile.TemporaryDirectory(prefix="shm-polyglot-bench-") as address:
        environment["SHM_POLYGLOT_DIR"] = address
        callee = subprocess.Popen(
            pinned(callee_command("callee", peer.module, address), cores.callee),
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert callee.stdout is not None
        try:
            if callee.stdout.readline() != b"ready\n":
                raise TrialFailed(f"{peer.name}: the callee ended before it was ready; its message stands above")
            return _measure(pinned(caller_command("caller", peer.module, address, *counts), cores.caller), environment)
        finally:
            end(callee)
            callee.stdout.close()

"""One trial: fresh processes, one peer, one direction, a list of cases; the time of each call."""

from __future__ import annotations

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from bench.cases import Case, Direction
from bench.floors import program_of
from bench.installed import ROOT
from bench.peers import Host, Peer
from bench.pinning import ANY_CORES, CALLEE_CORE, Cores, pinned
from bench.processor_time import processor_ns

TS_NODE: Final = ("node", "-r", "ts-node/register/transpile-only")
CONTROL_FD: Final = "BENCH_CONTROL_FD"
"""Environment variable: the file descriptor at which a caller finds its orders."""

START_GUARD_S: Final = 120.0
CASE_GUARD_S: Final = 30.0
"""On top of the time that a case is given."""
END_GUARD_S: Final = 10.0

WARMUP_S: Final = 0.03
FURTHER_WARMUP_SHARE: Final = 20
"""A peer that takes long to warm up gets one part in so many of that time before each further case."""
MOST_WARMUP_CALLS: Final = 1_000_000
FLOOR_WARMUP_SHARE: Final = 5
"""A program in C makes one in so many of its calls untimed first."""
LOG_LINES: Final = 12


class TrialFailed(Exception):
    """A peer crashed, hung or answered wrongly. The message says which and shows what it printed."""


@dataclass(frozen=True)
class Outcome:
    """What one trial of one case gave; `failed` says why there is nothing, or less than there should be."""

    times_ns: array.array[float] = field(default_factory=lambda: array.array("d"))
    elapsed_s: float = 0.0
    cpu_ns: int = 0
    """Of all processes together, while the calls were made."""
    errors: int = 0
    failed: str = ""


@dataclass(frozen=True)
class Order:
    """What a caller is told to do, as one line of JSON."""

    case: Case
    calls: int
    seconds: float
    warmup_calls: int
    warmup_seconds: float
    times: str
    """The file for the times: native doubles, nanoseconds."""


@dataclass
class Trial:
    """A peer's two processes in one direction, for as many cases as they live."""

    peer: Peer
    direction: Direction
    cores: Cores = ANY_CORES
    clock_us: float = 0.0
    note: str = ""

    def run(self, cases: Sequence[Case], report: Callable[[Case, Outcome], None]) -> None:
        """Measure the cases, and report each. After one that ends or hangs its processes, go on with fresh ones.

        Never raises for what a peer does.
        """
        if self.peer.in_c:
            for case in cases:
                report(case, self._run_program(case))
            return
        left = list(cases)
        while left:
            started = False
            try:
                with self._processes() as processes:
                    started = True
                    while left:
                        outcome = processes.measure(left[0])
                        report(left.pop(0), outcome)
            except TrialFailed as failed:
                # Where all is measured, what went wrong is their end, and that is said with the last case.
                blamed = left[:1] if started and left else [*left] or [*cases[-1:]]
                del left[: len(blamed)]
                for case in blamed:
                    report(case, Outcome(failed=str(failed)))

    def _run_program(self, case: Case) -> Outcome:
        """A floor in C is a program of its own, which does all of it."""
        counts = (str(case.calls), str(case.calls // FLOOR_WARMUP_SHARE))
        where = (str(self.cores.caller), str(self.cores.callee))
        try:
            command = [str(program_of(self.peer.module)), *counts, *where, str(case.payload_bytes)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=START_GUARD_S, check=False)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            return Outcome(failed=str(error))
        if done.returncode != 0:
            return Outcome(failed=f"exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
        times, cpu_ns = array.array("d"), array.array("Q")
        times.frombytes(done.stdout[: -cpu_ns.itemsize])
        cpu_ns.frombytes(done.stdout[-cpu_ns.itemsize :])
        return Outcome(times, sum(times) / 1e9, cpu_ns[0])

    @contextlib.contextmanager
    def _processes(self) -> Iterator[_Processes]:
        address = tempfile.mkdtemp(prefix="shm-polyglot-bench-")
        try:
            with _Processes(self, Path(address)) as processes:
                yield processes
        finally:
            shutil.rmtree(address)


class _Processes:
    """The callee, if there is a process of that kind, and the caller, ready for orders."""

    def __init__(self, trial: Trial, address: Path) -> None:
        self._trial = trial
        self._address = address
        self._log = (address / "log").open("w+b")
        self._children: list[subprocess.Popen[bytes]] = []
        self._control: socket.socket | None = None
        self._lines: IO[str] | None = None
        self._warm = False

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._leave()
        finally:
            self._end()

    def measure(self, case: Case) -> Outcome:
        """Have the caller measure one case. Raises TrialFailed when it ends, hangs or does not understand."""
        times = self._address / "times"
        # The time is what ends it; so many calls are not made within it.
        warm = MOST_WARMUP_CALLS if case.warmup else 0
        # A pause before each untimed call would only cost time.
        warm = min(warm, 1) if case.pause_s else warm
        order = Order(case, case.calls, case.seconds, warm, self._warmup_s(case), str(times))
        guard_s = order.warmup_seconds + case.seconds + CASE_GUARD_S
        with _busy(self._trial.cores.callee) if case.neighbour else contextlib.nullcontext():
            answer = self._ask(json.dumps(asdict(order)), guard_s, ("warm",))
            if "failed" in answer:
                return Outcome(failed=answer["failed"])
            pids = [child.pid for child in self._children]
            before = processor_ns(pids)
            answer = self._ask("go", case.seconds + CASE_GUARD_S, ("done",))
            cpu_ns = processor_ns(pids) - before
        if "failed" in answer:
            return Outcome(failed=answer["failed"])
        answer = self._ask("report", CASE_GUARD_S, ())
        samples = array.array("d")
        samples.frombytes(times.read_bytes())
        elapsed_ns = answer["elapsed_ns"] - (answer["checking_ns"] if case.outstanding == 1 else 0)
        cpu_ns = max(0, cpu_ns - int(answer["checking_cpu_ns"]))
        return Outcome(samples, elapsed_ns / 1e9, cpu_ns, answer["errors"], answer["first_error"])

    def _warmup_s(self, case: Case) -> float:
        """The first case that may warm up does so for all; the others only for what is new in them."""
        if not case.warmup or self._warm:
            return max(WARMUP_S, self._trial.peer.warmup_s / FURTHER_WARMUP_SHARE)
        self._warm = True
        return self._trial.peer.warmup_s

    def _start(self) -> None:
        peer, direction, cores = self._trial.peer, self._trial.direction, self._trial.cores
        environment = {
            **os.environ,
            **peer.environment,
            "TS_NODE_PROJECT": str(ROOT / "bench" / "tsconfig.json"),
            "SHM_POLYGLOT_DIR": str(self._address),
            "BENCH_DIRECTION": direction,
            "BENCH_PYTHON": sys.executable,
            CALLEE_CORE: str(cores.callee),
        }
        callee = peer.callees.get(direction)
        if callee is not None:
            command = pinned(_command(callee, "callee", peer, str(self._address)), cores.callee)
            process = self._spawn(command, environment, stdout=subprocess.PIPE)
            self._await_ready(process)
        caller = _command(peer.callers[direction], "caller", peer, str(self._address))
        if peer.kind != "in-process":
            caller = pinned(caller, cores.caller)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._spawn(caller, {**environment, CONTROL_FD: str(theirs.fileno())}, theirs)
        self._lines = self._control.makefile("rw")
        self._trial.note = self._read(START_GUARD_S, ())["note"]

    def _spawn(
        self,
        command: list[str],
        environment: dict[str, str],
        hand_over: socket.socket | None = None,
        stdout: Any = None,
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            # So that nothing is left when the bench itself is killed.
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout or self._log,
            stderr=self._log,
            pass_fds=(hand_over.fileno(),) if hand_over else (),
            # What the caller makes itself is ended with it, whatever becomes of it.
            start_new_session=True,
        )
        self._children.append(process)
        return process

    def _await_ready(self, callee: subprocess.Popen[bytes]) -> None:
        assert callee.stdout is not None
        with _time_out(callee, START_GUARD_S):
            line = callee.stdout.readline()
        if line != b"ready\n":
            raise TrialFailed(self._what_happened(f"the callee said {line!r}, not that it is ready"))

    def _ask(self, line: str, guard_s: float, words: tuple[str, ...]) -> dict[str, Any]:
        assert self._lines is not None
        try:
            self._lines.write(line + "\n")
            self._lines.flush()
        except OSError as error:
            raise TrialFailed(self._what_happened(f"the caller has ended: {error}")) from error
        return self._read(guard_s, words)

    def _read(self, guard_s: float, words: tuple[str, ...]) -> dict[str, Any]:
        """The caller's next line: one of the words, or JSON."""
        assert self._control is not None
        assert self._lines is not None
        self._control.settimeout(guard_s)
        try:
            line = self._lines.readline().strip()
        except TimeoutError as error:
            raise TrialFailed(self._what_happened(f"no answer within {guard_s:.0f} s: it hangs")) from error
        except OSError as error:
            raise TrialFailed(self._what_happened(str(error))) from error
        if line in words:
            return {}
        if not line:
            raise TrialFailed(self._what_happened("the caller ended"))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _leave(self) -> None:
        """Let the caller end by itself: that it can is a part of what is tried."""
        assert self._control is not None
        # Last, when what reads the clock is compiled.
        self._trial.clock_us = self._ask(json.dumps({"clock": True}), CASE_GUARD_S, ())["clock_us"]
        self._control.shutdown(socket.SHUT_WR)
        caller = self._children[-1]
        try:
            code = caller.wait(END_GUARD_S)
        except subprocess.TimeoutExpired as hung:
            message = self._what_happened(f"the caller has not ended {hung.timeout:.0f} s after its last call")
            raise TrialFailed(message) from hung
        if code != 0:
            raise TrialFailed(self._what_happened("the caller did not end well"))

    def _what_happened(self, what: str) -> str:
        """With the exit codes, and the last that the processes printed."""
        codes = []
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(0.5)
                codes.append(signal.Signals(-code).name if code < 0 else f"exit code {code}")
        self._log.seek(0)
        printed = self._log.read().decode(errors="replace").strip().splitlines()[-LOG_LINES:]
        return "\n".join([", ".join([what, *codes]), *printed])

    def _end(self) -> None:
        for stream in (self._lines, self._control):
            if stream is not None:
                with contextlib.suppress(OSError):  # A line half written to a caller that is gone.
                    stream.close()
        for child in reversed(self._children):
            end_session(child)
            if child.stdout is not None:
                child.stdout.close()
        self._log.close()


def _command(host: Host, script: str, peer: Peer, address: str) -> list[str]:
    if host == "python":
        return [sys.executable, "-m", f"bench.{script}", f"{peer.package}.{peer.module}", address]
    return [*TS_NODE, str(ROOT / "bench" / f"{script}.ts"), peer.module, address]


@contextlib.contextmanager
def _busy(core: int) -> Iterator[None]:
    """Another program that wants that core, all of it."""
    program = "while True: pass"
    process = subprocess.Popen(pinned([sys.executable, "-c", program], core), start_new_session=True)
    try:
        yield
    finally:
        end_session(process)


@contextlib.contextmanager
def _time_out(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kill the process if the block takes longer, so that what waits for its output goes on."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that leads a session to end; make it, if it does not, and all that it has left in its session."""
    process.terminate()
    try:
        process.wait(END_GUARD_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

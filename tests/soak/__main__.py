"""Runs gunicorn and Node under full load and tells whether any process comes to hold more and more.

    python -m tests.soak [--minutes 10] [--workers 2]

It prints as it goes, and then for each process what it held at rest before the load and after it, and the slope of its
memory meanwhile. Ctrl-C ends the load early and prints what there is. Exit code 1 for a leak or a wrong answer, 130
after Ctrl-C if there was neither.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from services import HANG_S, ROOT, Services, shared_memory_names

from .holdings import Holdings, holdings, shared_memory_used
from .trend import Trend, trend

SAMPLES: Final = 300
"""How many are taken in a run, if it is long enough for one every second."""
SHOW_EVERY_S: Final = 10.0
WARM_UP_SHARE: Final = 0.2
LONGEST_WARM_UP_S: Final = 120.0
"""Modules are loaded and heaps find their size in the first minutes. That is no leak, and is not measured."""
SETTLING_S: Final = 3.0
"""How long closed connections may take to be let go of on both sides."""
SMALL_HEAP: Final = "--max-semi-space-size=1 --max-old-space-size=64"
"""Node lets its heap grow for many minutes before it looks for garbage; kept small, it finds its size in the first."""
MEMORY_LIMIT_MIB: Final = 24.0
MAPPINGS_LIMIT: Final = 120.0


class Loader:
    """The program that asks (load.py)."""

    def __init__(self, services: Services) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.soak.load",
                services.python_url.removeprefix("http://"),
                services.node_url.removeprefix("http://"),
                str(services.directory / "run" / "node.sock"),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.done: Mapping[str, Any] = {"counts": {}, "errors": 0, "first_errors": []}
        """What it said last: see load.py."""
        self._rests = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def go(self) -> None:
        """Has it begin to ask."""
        self._tell("go")

    def rest(self) -> None:
        """Has it end all its connections, and waits for that."""
        self._rests.clear()
        self._tell("rest")
        if not self._rests.wait(HANG_S):
            raise SystemExit(f"soak: the load does not come to rest within {HANG_S:.0f} s")

    def _tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.done = json.loads(line)
            if self.done["resting"]:
                self._rests.set()


@dataclass
class Watched:
    """One process, from before the load to after it."""

    name: str
    pid: int
    before: Holdings
    after: Holdings
    times: list[float] = field(default_factory=list)
    samples: list[Holdings] = field(default_factory=list)

    def trend_of(self, what: str) -> Trend | None:
        """The trend of one of the figures."""
        return trend(self.times, [getattr(sample, what) for sample in self.samples])

    def leaks(self, memory_limit: float) -> list[str]:
        """What it has come to hold more of, each as a sentence."""
        found = [
            f"{self.name} holds {after} {what} at rest after the load, {before} before it"
            for what in ("descriptors", "segments")
            if (after := getattr(self.after, what)) > (before := getattr(self.before, what))
        ]
        for what, limit, unit in (("mappings", MAPPINGS_LIMIT, "mappings"), ("rss", memory_limit, "MiB of memory")):
            slope = self.trend_of(what)
            if slope is not None and slope.low > limit:
                found.append(f"{self.name} gains at least {slope.low:.0f} {unit} an hour; {limit:.0f} may be")
        return found


def watch(loader: Loader, watched: list[Watched], seconds: float) -> bool:
    """Takes the samples while the load goes on. False: ended early, by Ctrl-C."""
    began = time.monotonic()
    every = max(1.0, seconds / SAMPLES)
    shown = 0.0
    try:
        while (now := time.monotonic() - began) < seconds:
            for process in watched:
                process.samples.append(holdings(process.pid))
                process.times.append(time.monotonic() - began)
            if now >= shown:
                shown = now + SHOW_EVERY_S
                print(_progress(now, seconds, loader, watched), flush=True)
            time.sleep(every)
    except KeyboardInterrupt:
        print("soak: interrupted; this is what there is:", flush=True)
        return False
    return True


def run(minutes: float, workers: int, memory_limit: float) -> int:
    """The whole of it; the exit code."""
    names, used = shared_memory_names(), shared_memory_used()
    with Services(workers=workers, env={"NODE_OPTIONS": SMALL_HEAP}) as services, Loader(services) as loader:
        pids = {"node": services.node_pid, "gunicorn master": services.python_pid, "load": loader.pid}
        pids |= {f"gunicorn worker {number}": pid for number, pid in enumerate(services.worker_pids(), 1)}
        warm_up = min(LONGEST_WARM_UP_S, WARM_UP_SHARE * minutes * 60)
        about = f"soak: {minutes:g} minutes, {workers} workers, after a warm-up of {warm_up:.0f} s"
        finished = _load_for(loader, warm_up, about)
        before = {name: holdings(pid) for name, pid in pids.items()}
        allocated = loader.done.get("allocated")
        watched = [Watched(name, pid, before[name], before[name]) for name, pid in pids.items()]
        if finished:
            loader.go()
            finished = watch(loader, watched, minutes * 60)
            loader.rest()
            time.sleep(SETTLING_S)
        for process in watched:
            process.after = holdings(process.pid)
        problems = [leak for process in watched for leak in process.leaks(memory_limit)]
        if loader.done["errors"]:
            problems.append(f"{loader.done['errors']} questions got no right answer: {loader.done['first_errors']}")
        if services.worker_pids() != [pid for name, pid in pids.items() if name.startswith("gunicorn worker")]:
            problems.append("a worker has ended during the load; the log says why:\n" + services.logs("python")[-2000:])
    left = shared_memory_names() - names
    _report(watched, loader.done, memory_limit)
    print(f"load, at rest: {allocated} bytes allocated before, {loader.done.get('allocated')} after")
    print(f"\n/dev/shm: {used:.1f} MiB used before, {shared_memory_used():.1f} MiB after, by all programs; ", end="")
    print(f"{len(left)} new names of segments")
    print("\n".join(f"LEAK OR ERROR: {problem}" for problem in problems) or "no leak, no error")
    return 1 if problems else 0 if finished else 130


def _load_for(loader: Loader, seconds: float, about: str) -> bool:
    """Load without a look, then rest. False: ended early, by Ctrl-C, which may come once `about` is told."""
    loader.go()
    try:
        print(about, flush=True)
        time.sleep(seconds)
        finished = True
    except KeyboardInterrupt:
        finished = False
    loader.rest()
    time.sleep(SETTLING_S)
    return finished


def _progress(now: float, seconds: float, loader: Loader, watched: list[Watched]) -> str:
    clock = f"{int(now) // 60:3}:{int(now) % 60:02} of {int(seconds) // 60}:{int(seconds) % 60:02}"
    calls, errors = sum(loader.done["counts"].values()), loader.done["errors"]
    held = ", ".join(
        f"{process.name} {process.samples[-1].descriptors} fd {process.samples[-1].rss:.0f} MiB" for process in watched
    )
    return f"{clock}  {calls} answers, {errors} errors; {held}; /dev/shm {shared_memory_used():.1f} MiB"


def _report(watched: list[Watched], done: Mapping[str, Any], memory_limit: float) -> None:
    print("\nanswers, each checked: " + ", ".join(f"{count} {kind}" for kind, count in sorted(done["counts"].items())))
    print(f"errors: {done['errors']}\n")
    print(
        f"{'process':18} {'descriptors':>12} {'segments':>9} {'mappings':>10}   memory: RSS now, slope an hour [95 %]"
    )
    for process in watched:
        before, after = process.before, process.after
        rss, pss = process.trend_of("rss"), process.trend_of("pss")
        held = f"{before.descriptors:5} > {after.descriptors:<4} {before.segments:4} > {after.segments:<2} "
        held += f"{before.mappings:4} > {after.mappings:<4}"
        print(f"{process.name:18} {held}   {after.rss:6.1f} MiB, RSS {_show(rss)}, PSS {_show(pss)}")
    print(f"\n(before > after, at rest; a slope is a leak when its interval is above {memory_limit:g} MiB an hour)")


def _show(slope: Trend | None) -> str:
    return "too few samples" if slope is None else f"{slope.per_hour:+.1f} [{slope.low:+.1f}, {slope.high:+.1f}]"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to sample under load (default: 10)")
    parser.add_argument("--workers", type=int, default=2, help="gunicorn's workers (default: 2)")
    parser.add_argument(
        "--mib-per-hour",
        type=float,
        default=MEMORY_LIMIT_MIB,
        help=f"a slope of memory whose interval is above this is a leak (default: {MEMORY_LIMIT_MIB:g})",
    )
    arguments = parser.parse_args()
    if not arguments.minutes > 0 or arguments.workers < 1:
        parser.error("--minutes must be above 0, --workers at least 1")
    # However it is ended, its children end first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(arguments.minutes, arguments.workers, arguments.mib_per_hour)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

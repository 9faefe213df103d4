"""What a connected but idle pair costs: processor time of the whole showcase while nobody calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.address import free_port
from bench.trial import ROOT, TS_NODE, TrialFailed, end

START_GUARD_S = 60.0
SETTLE_S = 25.0
"""V8 collects its garbage once more some seconds after its last work, which is no part of idling."""
POLL_S = 0.1
NS_PER_S = 1e9


def _processor_ns(pid: int) -> int:
    """Time on a processor of every thread of `pid` and of its children, by the scheduler's own count."""
    total = sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(_processor_ns(int(child)) for child in children)


def _await_healthy(url: str) -> None:
    deadline = time.monotonic() + START_GUARD_S
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > deadline:
                raise TrialFailed(f"{url} is not healthy after {START_GUARD_S:.0f} s: {error}") from error
            time.sleep(POLL_S)


def measure(seconds: float) -> float:
    """Per cent of one core that Node and gunicorn with one worker use together while idle.

    Raises TrialFailed if they do not come up.
    """
    python_port, node_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="shm-polyglot-bench-") as directory:
        environment = {
            **os.environ,
            "SHM_POLYGLOT_DIR": directory,
            "SHM_POLYGLOT_PYTHON_PORT": str(python_port),
            "SHM_POLYGLOT_NODE_PORT": str(node_port),
            "WEB_CONCURRENCY": "1",
            "TS_NODE_PROJECT": str(ROOT / "node_side" / "tsconfig.json"),
        }
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py", "python_side.app:app"]
        log = Path(directory) / "log"
        with log.open("wb") as output:
            processes = [
                subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
                for command in ([*TS_NODE, "node_side/server.ts"], gunicorn)
            ]
            try:
                _await_healthy(f"http://127.0.0.1:{node_port}/health")
                _await_healthy(f"http://127.0.0.1:{python_port}/health")
                time.sleep(SETTLE_S)
                before, began = sum(_processor_ns(process.pid) for process in processes), time.monotonic_ns()
                time.sleep(seconds)
                used = sum(_processor_ns(process.pid) for process in processes) - before
                return 100.0 * used / (time.monotonic_ns() - began)
            finally:
                for process in reversed(processes):
                    end(process)

"""What a figure was measured on: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def describe() -> str:
    """One paragraph: processor, kernel, versions, load, date, commit."""
    load = os.getloadavg()[0]
    return (
        f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, load {load:.1f}; "
        f"CPython {platform.python_version()}, Node {_output('node', '--version')}; "
        f"{datetime.now(UTC).date().isoformat()}, commit {_output('git', 'rev-parse', '--short', 'HEAD')}"
    )

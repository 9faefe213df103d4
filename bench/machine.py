"""What a figure was measured on: a figure without it says nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.installed import ROOT

PYTHON_PACKAGES: Final = (
    "msgpack", "flask", "gunicorn", "pyzmq", "grpcio", "iceoryx2", "javascript", "pythonmonkey", "stpyv8", "mini-racer",
)  # fmt: skip
NODE_PACKAGES: Final = (
    "msgpackr", "zeromq", "@grpc/grpc-js", "pythonia", "pyodide", "node-calls-python", "pymport",
)  # fmt: skip
GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
UNKNOWN: Final = "unknown"


def cpu() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def governor() -> str:
    """Of the processor's frequency; `unknown` where the kernel does not say, as in most virtual machines."""
    return GOVERNOR.read_text().strip() if GOVERNOR.exists() else UNKNOWN


def load() -> float:
    """Load average of the last minute."""
    return os.getloadavg()[0]


def commit() -> str:
    """What is checked out."""
    return _output("git", "rev-parse", "--short", "HEAD")


def dirty() -> bool:
    """Whether what is measured is not what the commit holds."""
    return bool(_output("git", "status", "--porcelain", "--untracked-files=no", missing=""))


def command() -> str:
    """What the user typed, so that it can be typed again."""
    return shlex.join(["python", "-m", "bench", *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Of the languages, the compiler, and those packages of the peers that are installed."""
    found = {
        "CPython": platform.python_version(),
        "Node": _output("node", "--version").removeprefix("v"),
        "cc": _output(os.environ.get("CC", "cc"), "--version").partition("\n")[0],
    }
    for name in PYTHON_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in NODE_PACKAGES:
        for place in ("node_modules", "bench/peers/node_modules"):
            manifest = ROOT / place / name / "package.json"
            if manifest.exists():
                found[name] = json.loads(manifest.read_text())["version"]
    return found


def describe() -> str:
    """One line to print before measuring."""
    return (
        f"{cpu()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, governor {governor()}, "
        f"load {load():.1f}; CPython {platform.python_version()}, Node {_output('node', '--version')}; "
        f"commit {commit()}"
    )


def _output(*command: str, missing: str = UNKNOWN) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return missing
    return done.stdout.strip() or missing

"""What has to be compiled before a service can start: again only when a source has changed."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import Final

from bench.installed import ROOT

BUILD: Final = ROOT / "bench" / "build"
ESBUILD: Final = ROOT / "bench" / "peers" / "node_modules" / ".bin" / "esbuild"

FOR_NODE: Final = ("--platform=node", "--packages=external", "--external:../peers/node_modules/*")
FOR_ANY_ENGINE: Final = ("--format=iife", "--global-name=embedded", "--target=es2020")


class BuildFailed(Exception):
    """A source does not compile. The message holds what the compiler says."""


def node_side() -> None:
    """node_side/dist, as node_side/Dockerfile builds and runs it. Raises BuildFailed."""
    command = ("npm", "run", "--silent", "build", "--workspace", "node_side")
    _build(*command, output=ROOT / "node_side" / "dist" / "node_side" / "server.js", sources=_showcase())


def bare_node() -> None:
    """The server that is the floor. Raises BuildFailed."""
    _bundle("services/bare_node.ts", FOR_NODE)


def node_with_pyodide() -> None:
    """The in-process build of Node's side. Raises BuildFailed."""
    _bundle("inprocess/node_with_pyodide.ts", FOR_NODE)


def embedded() -> None:
    """What Python's side calls in the JavaScript engine inside it. Raises BuildFailed."""
    _bundle("inprocess/embedded.ts", FOR_ANY_ENGINE)


def _bundle(source: str, options: tuple[str, ...]) -> None:
    """A source in bench/ becomes one file of its name in bench/build/."""
    entry = ROOT / "bench" / source
    output = BUILD / f"{entry.stem}.js"
    command = (str(ESBUILD), str(entry), "--bundle", "--log-level=warning", f"--outfile={output}", *options)
    _build(*command, output=output, sources=[entry, ROOT / "bench" / "workload.ts", *_showcase()])


def _showcase() -> list[Path]:
    folder = ROOT / "node_side"
    sources = [*folder.glob("*.ts"), *folder.glob("routes/*.ts"), *(ROOT / "python_side").glob("*.d.py.ts")]
    return [*sources, folder / "tsconfig.json", folder / "package.json", ROOT / "tsconfig.base.json"]


def _build(*command: str, output: Path, sources: list[Path]) -> None:
    BUILD.mkdir(exist_ok=True)
    # tsc leaves the time of an output that would not change.
    stamp = BUILD / f"{output.stem}.built"
    # Two runs at once must not start what the other is just writing.
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(source.stat().st_mtime for source in sources)
        if output.exists() and stamp.exists() and stamp.stat().st_mtime > newest:
            return
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            printed = f"{done.stdout}{done.stderr}"
            raise BuildFailed(f"{' '.join(command)} failed with exit code {done.returncode}:\n{printed}")
        stamp.touch()

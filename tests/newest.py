"""The libraries' tests and the pairing on the newest Python and Node that can be had: `make test-newest`.

`make test` runs on the machine's own, in CI the oldest that are promised. The newest come from where the tests of a
release have them, pinned by hash: CPython from Maven, Node from npm. Where one cannot be had, this fails and says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from release.headers import CPYTHONS, CPython, interpreter
from release.running import Failed, Missing, run

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build"
TOOLS: Final = ROOT / "release" / "tests" / "tools"
LOCK: Final = ROOT / "requirements-dev.lock"
PYTHON_TESTS: Final = ("shm_protocol/python/tests", "tests/pairing", "tests/test_imports_of_python.py")
LEFT_OUT: Final = (
    "shm_protocol/python/tests/test_naming.py",
    "tests/pairing/test_routing.py",
    "tests/pairing/test_top.py",
)
"""A fifth of the time, for what is the same on every version: which worker has what, and how a terminal is drawn."""


def environment_of(cpython: CPython, build: Path) -> Path:
    """The interpreter of a virtual environment with what the tests need, and the library compiled for it."""
    made_of = hashlib.sha256(f"{cpython.sha256}{LOCK.read_text()}".encode()).hexdigest()
    folder = build / "newest" / f"{cpython.tag}-{made_of[:16]}"
    python = folder / "venv" / "bin" / "python"
    stamp = folder / ".packages"
    if not stamp.exists():
        unpacked = interpreter(cpython, build / "release" / "downloads", folder)
        run([unpacked, "-m", "venv", "--clear", folder / "venv"], cwd=ROOT)
        run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK], cwd=ROOT)
        stamp.touch()
    library = ["--no-build-isolation", "--no-deps", "--editable", "."]
    required = {"SHM_POLYGLOT_EXTENSIONS": "required"}
    run([python, "-m", "pip", "install", "--quiet", *library], cwd=ROOT, environment=required)
    return python


def newest_node() -> Path:
    """The binary, as release/tests/tools/package.json has it."""
    tools = json.loads((TOOLS / "package.json").read_text())["devDependencies"]
    majors = [int(name.removeprefix("node-")) for name in tools if name.startswith("node-")]
    node = TOOLS / "node_modules" / f"node-{max(majors)}" / "bin" / "node"
    if not node.exists():
        raise Missing(f"{node} is missing: `make test-newest` installs it from npm, for x86-64")
    return node


def main(build: Path = BUILD) -> int:
    """Give the exit code; `build` has what was downloaded before, and what was made of it."""
    cpython = CPYTHONS[-1]
    try:
        python = environment_of(cpython, build)
        node = newest_node()
        versions = [run([python, "--version"], cwd=ROOT), run([node, "--version"], cwd=ROOT)]
    except (Failed, Missing) as error:
        needed = f"CPython {cpython.release} and the newest Node"
        print(f"newest: nothing was tested, for {needed} cannot be had here:\n{error}", file=sys.stderr)
        return 1
    print(f"newest: {versions[0].strip()}, Node {versions[1].strip()}", flush=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(node.parent), str(python.parent), os.environ["PATH"])),
        # This CPython finds its libpython beside itself, where there is no /proc only if it is told where that is.
        "LD_ORIGIN_PATH": str(python.resolve().parent),
    }
    cores = len(os.sched_getaffinity(0))
    commands: list[list[str | Path]] = [
        [python, "-m", "pytest", f"--numprocesses={cores}", *(f"--ignore={path}" for path in LEFT_OUT), *PYTHON_TESTS],
        ["npm", "run", "--silent", "test", "--workspace", "@shm-polyglot/protocol"],
    ]
    # All of them, also where one has failed.
    return max([exit_code(command, environment) for command in commands])


def exit_code(command: list[str | Path], environment: Mapping[str, str]) -> int:
    """Run it to its end, with its output for all to see."""
    return int(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0)


if __name__ == "__main__":
    sys.exit(main())

"""The libraries' tests and the pairing on the newest Python and Node that can be had: `make test-newest`.

`make test` runs on the machine's own, in CI the oldest that are promised. The newest come from where the tests of a
release have them, pinned by hash: CPython from Maven, Node from npm. Where one cannot be had, this fails and says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from release.headers import CPYTHONS, CPython, interpreter
from release.running import Failed, Missing, run

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build"
TOOLS: Final = ROOT / "release" / "tests" / "tools"
LOCK: Final = ROOT / "requirements-dev.lock"
LIBRARY: Final = ROOT / "shm_protocol" / "node"
PYTHON_TESTS: Final = (
    "shm_protocol/python/tests",
    "tests/pairing",
    "tests/test_imports_of_python.py",
    "tests/test_carried_descriptions.py",
)
LEFT_OUT: Final = (
    "shm_protocol/python/tests/test_naming.py",
    "tests/pairing/test_reference_leaks.py",
    "tests/pairing/test_routing.py",
    "tests/pairing/test_top.py",
)
"""What is the same on every version, and takes long: leaks, which worker has what, and how a terminal is drawn."""
NODE_TESTS_LEFT_OUT: Final = ("declarations.test.js",)
"""A third of the time: compilers read the declarations, whatever Node runs them."""


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
        # What is tried with each Node has the machine's, and not the newest twice.
        "MACHINE_NODE": shutil.which("node") or "",
        "PATH": os.pathsep.join((str(node.parent), str(python.parent), os.environ["PATH"])),
        # This CPython finds its libpython beside itself, where there is no /proc only if it is told where that is.
        "LD_ORIGIN_PATH": str(python.resolve().parent),
    }
    # Tests wait, too, as the Makefile says.
    workers = len(os.sched_getaffinity(0)) + 1
    left_out = [f"--ignore={path}" for path in LEFT_OUT]
    # All of them, also where one has failed.
    codes = [
        exit_code([python, "-m", "pytest", f"--numprocesses={workers}", *left_out, *PYTHON_TESTS], ROOT, environment),
        exit_code(["npm", "run", "--silent", "build:test"], LIBRARY, environment),
    ]
    built = (LIBRARY / "build" / "test" / "test").glob("*.test.js")
    node_tests = sorted(file for file in built if file.name not in NODE_TESTS_LEFT_OUT)
    codes.append(exit_code([node, "--test", "--test-concurrency=4", *node_tests], LIBRARY, environment))
    return max(codes)


def exit_code(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> int:
    """Run it to its end, with its output for all to see."""
    return int(subprocess.run(command, cwd=folder, env=environment, check=False).returncode != 0)


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-setup`: installs what the bench compares the bridge with, as far as it can be installed here.

Exit code 0, also where some peers cannot be had: the bench lists them as skipped. 1 where the bench itself is left
without something.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Final

from bench.floors import BUILD, program_of
from bench.installed import ROOT
from bench.peers import PEERS

PEERS_FOLDER: Final = ROOT / "bench" / "peers"
BUNDLE: Final = BUILD / "workload.js"
LOCK: Final = ROOT / "requirements-bench.lock"
PYTHON_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "grpcio": ("grpcio",),
    "iceoryx2": ("iceoryx2",),
    "javascript": ("javascript",),
    "mini-racer": ("mini-racer",),
    "pythonmonkey": ("pythonmonkey", "pminit"),
    "pyzmq": ("pyzmq",),
    "stpyv8": ("stpyv8",),
}
"""Each with what in the lock file nobody else needs and may not install: PythonMonkey's helper runs npm."""


class SetupFailed(Exception):
    """A step did not succeed."""


def run(*command: str) -> None:
    """Run it where the user sees what it says. Raises SetupFailed."""
    print("$", " ".join(command), flush=True)
    try:
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
    except FileNotFoundError as error:
        raise SetupFailed(f"{command[0]} is not installed") from error
    if code != 0:
        raise SetupFailed(f"exit code {code}: {' '.join(command)}")


def python_packages() -> None:
    """Those of the lock file; where one of them does not install, each by itself, with what they share."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r")
    try:
        run(*pip, str(LOCK))
        return
    except SetupFailed as failed:
        print(f"{failed}; now one by one", file=sys.stderr)
    for name in PYTHON_PACKAGES:
        with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
            lock.write(lock_of(name, LOCK.read_text()))
            lock.flush()
            try:
                run(*pip, lock.name)
            except SetupFailed as failed:
                print(f"{name}: {failed}", file=sys.stderr)


def lock_of(name: str, lock: str) -> str:
    """The lock file without what only the others need."""
    others = {block for other, blocks in PYTHON_PACKAGES.items() if other != name for block in blocks}
    blocks = re.split(r"^(?=[\w-]+==)", lock, flags=re.MULTILINE)
    return "".join(block for block in blocks if block.partition("==")[0] not in others)


def bundle() -> None:
    """workload.ts as one plain script, for the JavaScript engines that are no Node."""
    esbuild = PEERS_FOLDER / "node_modules" / ".bin" / "esbuild"
    options = ("--bundle", "--format=iife", "--global-name=workload", "--target=es2020", "--log-level=warning")
    run(str(esbuild), str(ROOT / "bench" / "workload.ts"), *options, f"--outfile={BUNDLE}")


def floors() -> None:
    """Compile them, so that the first run does not."""
    for module in sorted({peer.module for peer in PEERS if peer.in_c}):
        try:
            program_of(module)
        except subprocess.CalledProcessError as error:
            raise SetupFailed(f"peers/{module}.c does not compile") from error


def native_peers() -> None:
    """node-calls-python and pymport, against this Python."""
    run(sys.executable, "-m", "bench.native_peers")


def graalvm() -> None:
    """The JVM's languages, from Maven."""
    run(sys.executable, "-m", "bench.graalvm_setup")


NEEDED: Final[tuple[Callable[[], None], ...]] = (bundle, floors)
WHERE_POSSIBLE: Final[tuple[Callable[[], None], ...]] = (python_packages, native_peers, graalvm)


def main() -> int:
    """Take every step, and say at the end what is there and what is not."""
    failures = 0
    for step in (*NEEDED, *WHERE_POSSIBLE):
        try:
            step()
        except SetupFailed as failed:
            print(f"bench-setup: {step.__name__}: {failed}", file=sys.stderr, flush=True)
            failures += step in NEEDED
    importlib.invalidate_caches()  # Or the packages that pip has just installed would not be seen.
    for peer in PEERS:
        print(f"{peer.name:20}{peer.missing() or 'installed'}")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    sys.exit(main())

"""Each example, copied to an empty folder, does there what its README says, and prints what its README promises.

With SHM_POLYGLOT_DIST, a folder with both packages, each is installed as its README says too. Without, those
that need little take what `make` has installed for all of them together; the others are left to `make test-examples`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import example_readme
import pytest
from example_readme import Command
from running import HANG_S, Supervised
from services import ROOT

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(readme.parent for side in ("node", "python") for readme in (EXAMPLES / side).glob("*/README.md"))
DIST = os.environ.get("SHM_POLYGLOT_DIST")
HEAVY = {"node/etl_pandas", "node/next", "node/numpy_sklearn"}
"""What they need takes longer to install, or to build, than everything else together."""
WRITTEN = ("__pycache__", "node_modules", ".venv", ".next", "celery_files")
"""What is left in an example that somebody has run where it is."""
SETTINGS = ("SHM_POLYGLOT_", "NO_COLOR", "PYTHONPATH", "WEB_CONCURRENCY", "VIRTUAL_ENV")
ANY_PORT = {"PORT": "0", "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:0", "UVICORN_PORT": "0"}


def name_of(folder: Path) -> str:
    return str(folder.relative_to(EXAMPLES))


class Copy:
    """An example in a folder of its own, and what runs there."""

    def __init__(self, example: Path, folder: Path, runtime: Path) -> None:
        self.folder = folder / example.name
        shutil.copytree(example, self.folder, ignore=shutil.ignore_patterns(*WRITTEN))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        self.environment = {**kept, **ANY_PORT, "XDG_RUNTIME_DIR": str(runtime), "DIST": DIST or ""}
        if DIST is None:
            assert (EXAMPLES / "node_modules" / ".packages").exists(), "first: make examples/node_modules/.packages"
            (self.folder / ".venv").symlink_to(ROOT / ".venv")
            (self.folder / "node_modules").symlink_to(EXAMPLES / "node_modules")
            # Node looks there next.
            (folder / "node_modules" / "@shm-polyglot").mkdir(parents=True)
            (folder / "node_modules" / "@shm-polyglot" / "protocol").symlink_to(ROOT / "shm_protocol" / "node")
        self._running: list[Supervised] = []
        self._ports: dict[str, str] = {}

    def run(self, command: Command) -> None:
        """What whoever reads the README does with this command. Asserts that it prints what it is to print."""
        words = ["bash", "-c", command.with_ports(self._ports)]
        if command.goes_on:
            running = Supervised(words, self.folder, self.environment, "XDG_RUNTIME_DIR")
            self._running.append(running)
            for pattern, port in command.promised_lines():
                found = running.wait_for(f"^{pattern}$")
                if port is not None:
                    self._ports[port] = found
            return
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        others = "".join(f"\n--- a command that goes on ---\n{running.output()}" for running in self._running)
        said = f"{command.words}\n{done.stdout}\n--- stderr ---\n{done.stderr}{others}"
        assert done.returncode == 0, said
        assert re.fullmatch(command.promised_output(), done.stdout), said

    def interrupt(self) -> None:
        """Ctrl-C in each terminal, the newest first. Asserts that it ends what runs there."""
        for running in reversed(self._running):
            # Ended already, it has failed: a command that goes on does so until Ctrl-C.
            assert running.process.poll() is None, running.output()
            os.killpg(running.process.pid, signal.SIGINT)
            running.process.wait(HANG_S)
        for running in self._running:
            assert running.processes() == [], running.output()

    def discard(self) -> None:
        for running in self._running:
            running.discard()


def pins_of(example: Path) -> dict[str, str]:
    """What an example's requirements.txt pins: version by name, without extras."""
    lines = (example / "requirements.txt").read_text().splitlines()
    return {re.sub(r"\[.*", "", name): version for name, version in (line.split("==") for line in lines)}


def npm_pins_of(folder: Path) -> dict[str, str]:
    package = json.loads((folder / "package.json").read_text())
    return {**package.get("dependencies", {}), **package.get("devDependencies", {})}


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Stands for $XDG_RUNTIME_DIR: short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shmp-") as path:
        yield Path(path)


@pytest.mark.parametrize(
    "example", [folder for folder in FOLDERS if DIST is not None or name_of(folder) not in HEAVY], ids=name_of
)
def test_an_example_does_what_its_readme_says(example: Path, tmp_path: Path, runtime: Path) -> None:
    copy = Copy(example, tmp_path, runtime)
    try:
        for command in example_readme.read(example / "README.md"):
            if DIST is not None or not command.installs:
                copy.run(command)
        copy.interrupt()
    finally:
        copy.discard()


@pytest.mark.parametrize("example", FOLDERS, ids=name_of)
def test_an_example_pins_what_the_tests_run_it_with(example: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = defaultdict(set, {"shm-polyglot": {project["version"]}})
    # Of some there is a version for each of several Pythons.
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE):
        locked[name.lower().replace("_", "-")].add(version)
    # What only a heavy one needs is nowhere else.
    heavy = name_of(example) in HEAVY
    for name, version in pins_of(example).items():
        assert version in locked[name] or (not locked[name] and heavy), f"{name}=={version}"
    npm_locked = {**npm_pins_of(ROOT), **npm_pins_of(EXAMPLES)}
    for name, version in npm_pins_of(example).items():
        assert version == npm_locked.get(name) or (name not in npm_locked and heavy), f"{name}@{version}"


def test_every_folder_of_the_examples_has_a_readme_and_is_listed_in_the_readme_of_all() -> None:
    listed = set(re.findall(r"\]\(((?:python|node)/\w+)/README\.md\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {name_of(folder) for folder in FOLDERS}
    folders = {file.parent for side in ("node", "python") for file in (EXAMPLES / side).glob("*/package.json")}
    assert folders == set(FOLDERS)

"""What users have: an environment of Python's, a project of npm's, each in an empty folder, and no compiler."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
MAKING_S: Final = 1800.0
HANG_S: Final = 600.0
"""Installing asks the registries; nothing should ever take so long."""

# What pip, npm and the programs of the tests run; `ldconfig` and the like of the system are not among it.
PROGRAMS: Final = ("sh", "env", "node", "npm", "npx", "uname", "sed", "dirname", "basename", "readlink")
COMPILERS: Final = ("cc", "gcc", "clang", "c99", "tcc", "zig", "g++", "c++", "make")


@dataclass(frozen=True, slots=True)
class Released:
    """folder: what `python -m release` has left."""

    folder: Path

    @property
    def tarball(self) -> Path:
        """The npm package."""
        [found] = self.folder.glob("*.tgz")
        return found

    @property
    def sdist(self) -> Path:
        """The source distribution."""
        [found] = self.folder.glob("*.tar.gz")
        return found

    @property
    def wheels(self) -> list[Path]:
        """All of them."""
        return sorted(self.folder.glob("*.whl"))


def make_quickly(out: Path, work: Path, *arguments: str) -> None:
    """Make a release that has one wheel."""
    command = [sys.executable, "-m", "release", "--quick", "--out", str(out), "--work", str(work), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MAKING_S, check=False)
    assert done.returncode == 0, done.stderr


def path_without_compiler(folder: Path, node: Path | None = None) -> str:
    """A PATH for a folder that it fills: programs that users have, and none that compiles."""
    folder.mkdir(parents=True)
    for name in PROGRAMS:
        found = node if name == "node" and node is not None else shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(Path(found).resolve())
    assert not [name for name in COMPILERS if shutil.which(name, path=str(folder))]
    return str(folder)


class Folder:
    """An empty folder of a user's, and the environment that his programs run in."""

    def __init__(self, folder: Path, node: Path | None = None) -> None:
        self.folder = folder
        folder.mkdir()
        own = ("CC", "CXX", "VIRTUAL_ENV", "PYTHONPATH", "NODE_PATH", "SHM_POLYGLOT_DIST", "MAKEFLAGS")
        self.environment = {name: value for name, value in os.environ.items() if name not in own}
        self.environment["PATH"] = path_without_compiler(folder.parent / f"{folder.name}-bin", node)

    def write(self, name: str, text: str) -> Path:
        """A file of the user's."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def run(self, *command: str | Path, fails: bool = False, environment: Mapping[str, str] | None = None) -> str:
        """Run a program to its end, and give all that it printed; `fails`: it is to fail."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{command}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout


class PythonProject(Folder):
    """A virtual environment in a folder of its own."""

    def __init__(self, folder: Path, python: Path | str = sys.executable) -> None:
        super().__init__(folder)
        # Of the interpreter itself, not of the environment that the tests run in.
        interpreter = Path(python).resolve()
        self.run(interpreter, "-m", "venv", "venv")
        self.python = folder / "venv" / "bin" / "python"

    def install(self, *packages: str | Path) -> str:
        """Pip's own words."""
        return self.run(self.python, "-m", "pip", "install", "--no-cache-dir", *packages)


class NodeProject(Folder):
    """A project of npm's."""

    def __init__(self, folder: Path, node: Path | None = None) -> None:
        super().__init__(folder, node)
        self.write("package.json", '{"name": "app", "private": true}\n')

    def install(self, *packages: str | Path) -> str:
        """As users do who let no package run scripts, and as npm 12 does by itself."""
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        return self.run("npm", "install", *quiet, *packages)

    @property
    def library(self) -> Path:
        """Where npm has put it."""
        return self.folder / "node_modules" / "@shm-polyglot" / "protocol"


ESM: Final = """\
import { listen } from "@shm-polyglot/protocol";

const bridge = await listen({
  expose: {
    greetings: { hello: async (name) => `Hello, ${await bridge.call("text.shout", [name])}` },
  },
});
console.log("ready");
process.on("SIGTERM", () => { void bridge.close(); });
"""

COMMONJS: Final = """\
const { listen } = require("@shm-polyglot/protocol");

void (async () => {
  const bridge = await listen({
    expose: {
      greetings: { hello: async (name) => `Hello, ${await bridge.call("text.shout", [name])}` },
    },
  });
  console.log("ready");
  process.on("SIGTERM", () => { void bridge.close(); });
})();
"""

PYTHON: Final = """\
import shm_protocol


def shout(text):
    return text.upper()


with shm_protocol.connect(expose={"text": {"shout": shout}}) as node:
    print(node.transport, node.call("greetings.hello", "Python"))
"""

OVER_SHM: Final = "shm Hello, PYTHON\n"
OVER_SOCKET: Final = "socket Hello, PYTHON\n"


@contextmanager
def serving(project: NodeProject, *command: str | Path, transport: str) -> Iterator[dict[str, str]]:
    """A program of the project that listens, until it is told to end; gives the variables that both sides need."""
    # Not beside the test: a socket's path must be short.
    directory = tempfile.mkdtemp(prefix="shm-")
    variables = {"SHM_POLYGLOT_DIR": directory, "SHM_POLYGLOT_TRANSPORT": transport}
    with (project.folder / "stderr").open("wb") as errors:
        listener = subprocess.Popen(
            command,
            cwd=project.folder,
            env={**project.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert listener.stdout is not None
        first = listener.stdout.readline()
        assert first == "ready\n", first + (project.folder / "stderr").read_text()
        yield variables
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(HANG_S) == 0, (project.folder / "stderr").read_text()
    finally:
        listener.kill()
        listener.wait()
        if listener.stdout is not None:
            listener.stdout.close()
        shutil.rmtree(directory)


def call_both_ways(python: PythonProject, node: NodeProject, *command: str | Path, transport: str = "shm") -> str:
    """Python calls Node, which calls Python while it answers. What Python has printed."""
    program = python.write("client.py", PYTHON)
    with serving(node, *command, transport=transport) as variables:
        return python.run(python.python, program, environment=variables)

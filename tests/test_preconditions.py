"""What `make` says on a machine that lacks something: shm_protocol/preconditions.sh, on machines made of a PATH."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from services import HANG_S

SCRIPT = Path(__file__).resolve().parent.parent / "shm_protocol" / "preconditions.sh"
UTILITIES = ("sh", "cat", "dirname", "id", "mkdir", "uname")
REAL_PYTHON = Path(sys.executable).resolve()


class Machine:
    """A machine that has only what is put on it."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "made" / "toolchain"
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in UTILITIES:
            self.install(name)
        self.script("apt-get", "exit 1")

    def install(self, name: str, target: Path | None = None) -> None:
        """Puts the program on it that the real machine has under that name, or `target`."""
        found = target or shutil.which(name)
        assert found, f"the tests need {name}"
        (self._bin / name).symlink_to(found)

    def script(self, name: str, body: str) -> None:
        """Puts a shell script on it."""
        file = self._bin / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)

    def python(self, name: str, before: str = "") -> None:
        """Puts the real Python on it, with `before` run ahead of the code that it is given in `-E -S -c CODE`."""
        self.script(name, f'[ "$1 $2 $3" = "-E -S -c" ] || exit 2\nexec {REAL_PYTHON} -E -S -c "{before}\n$4"')

    def remove(self, name: str) -> None:
        (self._bin / name).unlink()

    def check(self, python: str = "python3") -> subprocess.CompletedProcess[str]:
        command = ["sh", str(SCRIPT), python, str(self.record)]
        environment = {"PATH": str(self._bin)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with everything."""
    machine = Machine(tmp_path)
    machine.python("python3")
    for name in ("node", "npm"):
        machine.install(name)
    # A link would not do: the compiler finds its own parts beside the real one.
    machine.script("cc", f'PATH="$PATH:/usr/bin:/bin" exec {shutil.which("cc")} "$@"')
    return machine


def test_a_machine_with_everything_passes_without_a_word(machine: Machine) -> None:
    result = machine.check()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.record.read_text().startswith("ok ")


def test_the_record_is_rewritten_only_when_the_python_changes(machine: Machine) -> None:
    machine.check()
    machine.record.chmod(0o444)
    first = machine.record.stat().st_mtime_ns
    machine.check()
    assert machine.record.stat().st_mtime_ns == first
    machine.record.chmod(0o644)
    machine.python("other", "import sys; sys.executable = '/other'")
    machine.check("other")
    assert machine.record.read_text().endswith(" /other\n")


@pytest.mark.parametrize(
    ("before", "complaint", "remedy"),
    [
        (
            "import sys; sys.version_info = (3, 10, 12)",
            "Python 3.11 or newer (python3 is 3.10.12)",
            "apt-get install python3",
        ),
        ("import importlib.util as u; u.find_spec = lambda name: None", "the venv module of python3", "-venv"),
        ("import sysconfig; sysconfig.get_path = lambda name: '/none'", "the C headers of python3 (Python.h)", "-dev"),
    ],
)
def test_an_unfit_python_is_named_with_what_is_wrong(
    machine: Machine, before: str, complaint: str, remedy: str
) -> None:
    machine.python("python3", before)
    result = machine.check()
    assert result.returncode == 1
    assert complaint in result.stderr
    assert remedy in result.stderr
    assert not machine.record.exists()


def test_a_newer_python_beside_an_old_one_is_proposed(machine: Machine) -> None:
    machine.python("python3", "import sys; sys.version_info = (3, 9, 2)")
    machine.python("python3.12")
    assert "make PYTHON=python3.12" in machine.check().stderr


def test_an_old_node_is_named_with_its_version(machine: Machine) -> None:
    machine.remove("node")
    machine.script("node", "echo 18.19.0")
    result = machine.check()
    assert result.returncode == 1
    assert "Node.js 20 or newer (node is 18.19.0)" in result.stderr


def test_a_compiler_without_headers_does_not_pass(machine: Machine) -> None:
    machine.script("cc", "exit 1")
    result = machine.check()
    assert result.returncode == 1
    assert "apt-get install build-essential" in result.stderr


def test_everything_missing_is_named_at_once(machine: Machine) -> None:
    for name in ("python3", "node", "npm", "cc"):
        machine.remove(name)
    result = machine.check()
    assert result.returncode == 1
    for complaint in ("python3 does not run", "node does not run", "(cc)"):
        assert complaint in result.stderr

"""Where msgpack or posix_ipc is missing: a virtual environment that has only one of them, or neither."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import msgpack
import posix_ipc
import pytest
import shm_protocol

HANG_S = 60.0
AS_MODULE = ("-m", "shm_protocol")
AS_SCRIPT = (str(Path(sysconfig.get_path("scripts")) / "shm-polyglot"),)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment that has nothing but this project's package."""
    venv.create(tmp_path / "venv", symlinks=True)
    interpreter = tmp_path / "venv" / "bin" / "python"
    (packages_of(interpreter) / "shm_protocol").symlink_to(Path(shm_protocol.__file__).parent)
    return interpreter


def packages_of(python: Path) -> Path:
    """Where its packages are."""
    [packages] = python.parents[1].glob("lib/python*/site-packages")
    return packages


def install(python: Path, package: str) -> None:
    """Give it msgpack or posix_ipc."""
    packages = packages_of(python)
    file = {"msgpack": msgpack, "posix_ipc": posix_ipc}[package].__file__
    assert file is not None
    if Path(file).name == "__init__.py":
        shutil.copytree(Path(file).parent, packages / package)
    else:
        shutil.copy(file, packages)


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with what it has itself."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments],
        env=environment,
        cwd=python.parents[2],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


@pytest.mark.parametrize("command", [AS_MODULE, AS_SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize(("there", "missing"), [("", "msgpack"), ("posix_ipc", "msgpack"), ("msgpack", "posix_ipc")])
def test_the_command_says_in_one_line_what_is_missing_and_how_to_get_it(
    python: Path, command: tuple[str, ...], there: str, missing: str
) -> None:
    if there:
        install(python, there)
    done = run(python, *command, "doctor", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"shm-polyglot needs msgpack and posix_ipc (No module named '{missing}'): "
        f"{python} -m pip install msgpack posix_ipc\n"
    )


def test_a_program_that_imports_the_package_gets_an_error_that_it_can_catch(python: Path, tmp_path: Path) -> None:
    package = tmp_path / "program"
    package.mkdir()
    (package / "__init__.py").write_text(
        "try:\n    import shm_protocol\nexcept ImportError as error:\n    print(error.name, error)\n"
    )
    (package / "__main__.py").touch()
    # As a module, too: shm_protocol must not take it for its own command.
    for arguments in (("-c", "import program"), ("-m", "program")):
        done = run(python, *arguments)
        assert done.stdout.startswith("msgpack shm-polyglot needs msgpack and posix_ipc"), done.stderr


def test_with_both_the_command_runs(python: Path) -> None:
    for package in ("msgpack", "posix_ipc"):
        install(python, package)
    for command in (AS_MODULE, AS_SCRIPT):
        done = run(python, *command, "doctor", "--help")
        assert (done.returncode, done.stderr) == (0, "")

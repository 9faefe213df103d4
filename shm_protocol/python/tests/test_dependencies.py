"""Where packages are missing: a virtual environment that has nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import shm_protocol
from shm_protocol.gunicorn import LEAST
from tagged import SHM_PROTOCOL

HANG_S = 200.0
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


def test_without_any_other_package_the_command_runs_and_names_what_makes_segments(python: Path) -> None:
    for command in (AS_MODULE, AS_SCRIPT):
        done = run(python, *command, "doctor", "--json")
        report = json.loads(done.stdout)
        details = {finding["check"]: finding["detail"] for finding in report["findings"]}
        assert details["python-binding"].endswith("segments are made by the binding's own shm_open"), done.stderr


def test_posix_ipc_is_installed_where_it_has_wheels_and_makes_the_segments_there(python: Path) -> None:
    found = importlib.util.find_spec("posix_ipc")
    # As pyproject.toml says.
    has_wheels = sys.version_info < (3, 14) and platform.machine() in ("x86_64", "aarch64")
    assert (found is not None) == has_wheels
    if found is not None and found.origin is not None:
        shutil.copy(found.origin, packages_of(python))
    done = run(python, "-c", "from shm_protocol.transports import segment_names; print(segment_names.described())")
    assert done.stdout.startswith("posix_ipc 1." if has_wheels else "the binding's own shm_open"), done.stderr


@pytest.mark.parametrize(
    ("extra", "package", "what"), [("gunicorn", "gunicorn", "gunicorn"), ("flask", "flask", "Flask")]
)
def test_without_an_extra_everything_else_works_and_what_needs_it_says_what_to_install(
    python: Path, extra: str, package: str, what: str
) -> None:
    program = (
        f"import shm_protocol\ntry:\n    import shm_protocol.{extra}\n"
        "except ImportError as error:\n    print(error.name, error, sep='\\n')\n"
    )
    done = run(python, "-c", program)
    assert (done.stderr, done.stdout) == (
        "",
        (
            f"{package}\nshm_protocol.{extra} needs {what} (No module named '{package}'): "
            f"{python} -m pip install 'shm-polyglot[{extra}]'\n"
        ),
    )


def test_an_old_gunicorn_is_told_with_its_version(python: Path) -> None:
    old = packages_of(python) / "gunicorn"
    old.mkdir()
    (old / "__init__.py").write_text("version_info = (26, 2, 0)\n__version__ = '26.2.0'\n")
    done = run(python, "-c", "import shm_protocol.gunicorn")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: shm_protocol.gunicorn needs gunicorn 27 or newer (this is 26.2.0): "
        f"{python} -m pip install 'shm-polyglot[gunicorn]'"
    )
    assert f'gunicorn = ["gunicorn>={LEAST}"]' in (SHM_PROTOCOL.parent / "pyproject.toml").read_text()


def test_the_package_imports_no_gunicorn_and_no_web_framework() -> None:
    program = "import sys, shm_protocol\nprint(sorted({'gunicorn', 'flask', 'werkzeug'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert done.stdout == "[]\n"

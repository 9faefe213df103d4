"""What doctor advises where something was not built mends it: its commands are run, in a copy of the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from services import ROOT

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", "node_modules", "results", "__pycache__", "tests")
FOR_BUILDING = ("pip", "setuptools", "setuptools-*", "Cython", "cython.py", "_distutils_hack", "posix_ipc*")
HANG_S = 600
pytestmark = pytest.mark.timeout(2 * HANG_S)
"""A compiler is at work, beside whatever else."""


class Checkout:
    """A copy of the tree. Its environments hold links to what this one's do, so that nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
        self.python = folder / ".venv" / "bin" / "python"
        venv.create(folder / ".venv", symlinks=True)
        [packages] = (folder / ".venv").glob("lib/python*/site-packages")
        for pattern in FOR_BUILDING:
            for package in Path(sysconfig.get_path("purelib")).glob(pattern):
                (packages / package.name).symlink_to(package)
        (packages / "shm_polyglot.pth").write_text(str(folder / "shm_protocol" / "python"))
        modules = folder / "node_modules"
        modules.mkdir()
        for package in (ROOT / "node_modules").iterdir():
            if package.name not in ("@shm-polyglot", ".packages"):
                (modules / package.name).symlink_to(package)
        (modules / "@shm-polyglot").mkdir()
        (modules / "@shm-polyglot" / "protocol").symlink_to(folder / "shm_protocol" / "node")
        self.run(f"make .make/toolchain PYTHON={sys.executable}")
        for stamp in (".venv/.packages", "node_modules/.packages", ".venv/.binding", "shm_protocol/node/dist/.built"):
            (folder / stamp).touch()

    def run(self, command: str, folder: Path | None = None) -> str:
        """A command line as a user would type it; what it printed."""
        outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        environment = {**outer, "PYTHON": sys.executable, "VIRTUAL_ENV": "", "PYTHONDONTWRITEBYTECODE": "1"}
        # What is asked is that it is built, which takes a fraction of the time where nothing is made fast.
        environment["CFLAGS"] = "-O0 -U_FORTIFY_SOURCE"
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=folder or self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def finding(self, check: str) -> dict[str, str]:
        """What doctor says of that check."""
        command = [str(self.python), "-m", "shm_protocol", "doctor", "--json", "--path", "/tmp/nobody/node.sock"]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, text=True, timeout=HANG_S, check=False)
        [finding] = [one for one in json.loads(done.stdout)["findings"] if one["check"] == check]
        return dict(finding)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "tree")
    # Nothing is missing yet, and nothing is to be done.
    assert made.run(f"make --no-print-directory PYTHON={sys.executable} setup") == ""
    for check in ("python-binding", "node-side"):
        assert made.finding(check)["status"] == "ok"
    return made


def test_the_advice_for_a_binding_that_is_missing_builds_it(checkout: Checkout) -> None:
    for built in (checkout.folder / "shm_protocol/python/shm_protocol").glob("_binding.*.so"):
        built.unlink()
    finding = checkout.finding("python-binding")
    assert finding["status"] == "warning"
    [command] = re.findall(r"`(.+?)`", finding["fix"])
    checkout.run(command)
    assert checkout.finding("python-binding")["status"] == "ok"


@pytest.mark.parametrize("removed", ["build/shm_protocol.node", "dist"])
def test_the_advice_for_a_typescript_library_that_is_not_built_builds_it(checkout: Checkout, removed: str) -> None:
    path = checkout.folder / "shm_protocol" / "node" / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    finding = checkout.finding("node-side")
    assert finding["status"] in ("warning", "failed")
    [(command, folder)] = re.findall(r'run "([^"]+)" in ([^\s,]+)', finding["detail"] + " " + finding["fix"])
    checkout.run(command, Path(folder))
    assert checkout.finding("node-side")["status"] == "ok"

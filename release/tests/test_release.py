"""How a release is made: the same bytes twice, from the source that pip would compile, and with an exit code."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from consumers import ROOT, NodeProject, Released, make_quickly
from full import needs_all, within_an_hour

from release import wheels
from release.headers import CPYTHONS
from release.platforms import PLATFORMS
from release.sdist import normalise


def release(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "release", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_listed_is_a_wheel_a_python_and_platform_and_one_of_the_stable_abi() -> None:
    done = release("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert sum(line.startswith("npm ") for line in lines) == len(PLATFORMS)
    assert sum(line.startswith("wheel ") for line in lines) == len(PLATFORMS) * (len(CPYTHONS) + 1)
    assert "wheel  cp314-cp314-musllinux_1_2_aarch64" in lines


def test_bad_usage_and_a_missing_tool_are_exit_code_2_and_name_it(tmp_path: Path) -> None:
    assert release("--no-such-option").returncode == 2
    # git, which the source is taken by, is the first that is asked for.
    done = release("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), PATH=str(tmp_path))
    assert (done.returncode, "error: git was not found" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", ["out/thesis.odt", "out"])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path: Path, kept: str) -> None:
    file = tmp_path / kept
    file.parent.mkdir(exist_ok=True)
    file.write_text("years of work")
    done = release("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), PATH=str(tmp_path))
    assert done.returncode == 2
    assert f"error: --out {tmp_path / 'out'}: {file.name} is not of a release" in done.stderr
    assert file.read_text() == "years of work"


def test_the_compiled_modules_are_those_of_setup_py() -> None:
    text = (ROOT / "setup.py").read_text()
    found = re.findall(r'compiled\("(\w+)"(?:, \(([^)]*)\))?\)', text)
    assert {name: tuple(re.findall(r"\w+", parts)) for name, parts in found} == wheels.MODULES


@pytest.mark.parametrize("module", wheels.MODULES)
def test_a_compiled_module_uses_nothing_that_the_stable_abi_has_not(module: str) -> None:
    file = ROOT / "shm_protocol" / "python" / "shm_protocol" / f"{module}.c"
    includes = [sysconfig.get_path("include"), ROOT / "shm_protocol" / "core"]
    strict = ["-std=c11", "-fsyntax-only", "-Werror=implicit-function-declaration"]
    command: list[str | Path] = ["cc", *strict, *wheels.limited_api(), *(f"-I{folder}" for folder in includes), file]
    subprocess.run(command, check=True, timeout=120)


def test_an_archive_that_is_packed_again_is_sorted_and_nobodys(tmp_path: Path) -> None:
    made = []
    for number, names in enumerate((("b", "a"), ("a", "b"))):
        with tarfile.open(tmp_path / f"{number}.tar.gz", "w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid, member.uname = 1, 1000 + number, number, f"user{number}"
                archive.addfile(member, io.BytesIO(name.encode()))
        normalise(tmp_path / f"{number}.tar.gz", tmp_path / f"normal{number}.tar.gz", 1234)
        made.append((tmp_path / f"normal{number}.tar.gz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "normal0.tar.gz") as archive:
        assert [(member.name, member.mtime, member.uid) for member in archive] == [("a", 1234, 0), ("b", 1234, 0)]


@within_an_hour
def test_the_tarball_installs_no_script_and_has_what_builds_it(released: Released) -> None:
    with tarfile.open(released.tarball) as archive:
        names = archive.getnames()
        manifest = archive.extractfile("package/package.json")
        assert manifest is not None
        text = manifest.read().decode()
    assert '"scripts"' not in text
    assert '"devDependencies"' not in text
    for name in ("build.mjs", "src/binding.c", "core/ring.c", "core/layout.h", "dist/index.d.ts", "LICENSE"):
        assert f"package/{name}" in names


def test_a_checkout_that_is_not_built_says_so_and_what_to_run(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    names = subprocess.run(
        ["git", "ls-files", "-z", "shm_protocol/node"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    project = NodeProject(tmp_path / "project")
    project.install("../checkout/shm_protocol/node")
    for program in ('require("@shm-polyglot/protocol")', 'await import("@shm-polyglot/protocol")'):
        kind = "module" if "import" in program else "commonjs"
        said = project.run("node", f"--input-type={kind}", "-e", program, fails=True)
        assert f'in {checkout}/shm_protocol/node is a checkout that is not built: run "make setup"' in said


@needs_all
@within_an_hour
def test_the_same_commit_makes_the_same_bytes_in_another_folder(released: Released, tmp_path: Path) -> None:
    make_quickly(tmp_path / "again", tmp_path / "another-folder", "--no-checks")
    again = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (tmp_path / "again").iterdir()}
    assert len(again) == 3
    for name, digest in again.items():
        assert hashlib.sha256((released.folder / name).read_bytes()).hexdigest() == digest, name

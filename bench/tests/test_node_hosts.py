"""The rivals whose host is Node: CPython in WebAssembly, and CPython embedded by a package that must be built."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest
from required import require

from bench import native_peers
from bench.cases import DIRECTIONS, Direction, echo
from bench.peers import PEERS, Peer
from bench.pinning import ANY_CORES
from bench.trial import Outcome, Trial

ENGINES: Final = ("pyodide", *native_peers.PYTHON_VERSION_IN)
FEW_CALLS: Final = 3
MANY_CALLS: Final = 20_000
"""More than there are references to None in a Python before 3.12, which counts them."""
ENOUGH_S: Final = 60


def engine(name: str) -> Peer:
    """The peer of that name, if it is installed and built."""
    peer = next(peer for peer in PEERS if peer.name == name)
    require(peer.missing())
    return peer


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ENGINES)
def test_every_call_is_answered_rightly_and_the_process_ends_by_itself(name: str, direction: Direction) -> None:
    cases = [
        dataclasses.replace(case, calls=FEW_CALLS, seconds=ENOUGH_S, warmup=False, neighbour=False)
        for case in engine(name).cases(direction)
    ]
    found: list[Outcome] = []
    Trial(engine(name), direction, ANY_CORES).run(cases, lambda _, outcome: found.append(outcome))
    assert [outcome.failed for outcome in found] == [""] * len(cases)
    assert [outcome.errors for outcome in found] == [0] * len(cases)
    assert [len(outcome.times_ns) for outcome in found] == [FEW_CALLS] * len(cases)
    assert all(min(outcome.times_ns) > 0 for outcome in found)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ENGINES)
def test_null_may_cross_many_times(name: str, direction: Direction) -> None:
    case = dataclasses.replace(echo(0), calls=MANY_CALLS, seconds=ENOUGH_S)
    found: list[Outcome] = []
    Trial(engine(name), direction, ANY_CORES).run([case], lambda _, outcome: found.append(outcome))
    assert found[0].failed == ""
    assert found[0].errors == 0
    assert len(found[0].times_ns) == MANY_CALLS


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of npm packages of our own, for native_peers to build."""
    built = tmp_path / "node_modules" / ".native-python"
    monkeypatch.setattr(native_peers, "PEERS", tmp_path)
    monkeypatch.setattr(native_peers, "BUILT", built)
    monkeypatch.setattr(native_peers, "TOOLS", built / "bin")
    return tmp_path / "node_modules"


def add_package(packages: Path, name: str, install: str, javascript: str = "") -> None:
    """A package that is built by that command."""
    (packages / name).mkdir(parents=True)
    manifest = {"name": name, "version": "1.0.0", "main": "index.js", "scripts": {"install": install}}
    (packages / name / "package.json").write_text(json.dumps(manifest))
    (packages / name / "index.js").write_text(javascript)


def pymport_of(version: str) -> str:
    """What is asked of pymport, and its answer."""
    return f"exports.pymport = () => ({{ get: () => {json.dumps(version)} }});"


def test_a_package_that_does_not_compile_is_reported_with_what_the_compiler_said(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says = "echo 'main.cc: no such thing'; echo 'gyp ERR! stack Error'; printf 'said by %s' npm; exit 3"
    add_package(packages, "pymport", says)
    assert native_peers.main() == 1
    printed = capsys.readouterr().out
    assert "pymport: could not be built: npm rebuild pymport" in printed
    assert "main.cc: no such thing" in printed
    assert "said by npm" not in printed
    assert "node-calls-python: could not be built: not installed" in printed


def test_a_package_that_is_built_for_another_python_is_not_taken_for_built(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_package(packages, "pymport", "true", pymport_of("2.7"))
    assert native_peers.main() == 1
    assert f"pymport: could not be built: it runs Python 2.7, not {sys.version}" in capsys.readouterr().out


def test_a_package_is_built_once_for_a_python_and_again_for_another(
    packages: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_package(packages, "pymport", "echo built >> builds", pymport_of(sys.version))
    builds = packages / "pymport" / "builds"
    assert [native_peers.main(), native_peers.main()] == [0, 0]
    assert builds.read_text() == "built\n"
    assert "pymport: built already" in capsys.readouterr().out
    monkeypatch.setattr(sys, "version", "3.99.0 of another day")
    (packages / "pymport" / "index.js").write_text(pymport_of("3.99.0 of another day"))
    assert native_peers.main() == 0
    assert builds.read_text() == "built\nbuilt\n"


def test_the_build_finds_this_python_and_not_the_one_on_the_path(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("python3", "python3-config"):
        (other / name).write_text("#!/bin/sh\necho another Python\n")
        (other / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    ask = "python3-config --includes > includes && python3 -c 'import sys; print(sys.version)' > version"
    add_package(packages, "pymport", ask, pymport_of(sys.version))
    assert native_peers.main() == 0
    assert (packages / "pymport" / "version").read_text().strip() == sys.version
    assert sysconfig.get_path("include") in (packages / "pymport" / "includes").read_text()

"""The release is installed as users do: in empty folders, without a compiler, and without scripts of packages."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from consumers import (
    COMMONJS,
    ESM,
    OVER_SHM,
    OVER_SOCKET,
    NodeProject,
    PythonProject,
    Released,
    call_both_ways,
)
from full import within_an_hour

from release import wheels

pytestmark = within_an_hour


def own_wheel(released: Released) -> Path:
    """What pip takes on this Python."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    [found] = [wheel for wheel in released.wheels if f"{tag}-{tag}-manylinux" in wheel.name and "x86_64" in wheel.name]
    return found


@pytest.fixture(scope="module")
def python(released: Released, tmp_path_factory: pytest.TempPathFactory) -> PythonProject:
    project = PythonProject(tmp_path_factory.mktemp("wheel") / "project")
    project.install(own_wheel(released))
    return project


@pytest.fixture(scope="module")
def node(released: Released, tmp_path_factory: pytest.TempPathFactory) -> NodeProject:
    project = NodeProject(tmp_path_factory.mktemp("tarball") / "project")
    project.install(released.tarball)
    return project


@pytest.mark.parametrize(("name", "program"), [("server.mjs", ESM), ("server.cjs", COMMONJS)])
def test_a_wheel_and_a_tarball_share_memory_and_call_both_ways(
    python: PythonProject, node: NodeProject, name: str, program: str
) -> None:
    node.write(name, program)
    assert call_both_ways(python, node, "node", name) == OVER_SHM


def test_an_installed_wheel_has_every_compiled_module_and_the_command(python: PythonProject) -> None:
    names = ", ".join(wheels.MODULES)
    python.run(python.python, "-c", f"from shm_protocol import {names}")
    assert "--help" in python.run(python.folder / "venv" / "bin" / "shm-polyglot", "--help")


def test_without_a_prebuilt_addon_the_socket_transport_is_used_and_the_remedy_that_is_told_mends_it(
    python: PythonProject, released: Released, tmp_path: Path
) -> None:
    node = NodeProject(tmp_path / "project")
    node.install(released.tarball)
    node.write("server.mjs", ESM)
    shutil.rmtree(node.library / "prebuilds")
    assert call_both_ways(python, node, "node", "server.mjs", transport="auto").endswith(OVER_SOCKET)
    told = (node.folder / "stderr").read_text()
    remedy = re.search(r'there is no native addon for linux-.*: run \\"(node build\.mjs)\\" in ([^,]+), which', told)
    assert remedy, told
    compiler = {"PATH": f"{node.environment['PATH']}:/usr/bin:/bin"}
    assert "built build/shm_protocol.node" in node.run(
        "sh", "-c", f"cd '{remedy[2]}' && {remedy[1]}", environment=compiler
    )
    assert call_both_ways(python, node, "node", "server.mjs") == OVER_SHM


def test_shm_without_an_addon_is_refused_with_the_remedy(released: Released, tmp_path: Path) -> None:
    node = NodeProject(tmp_path / "project")
    node.install(released.tarball)
    shutil.rmtree(node.library / "prebuilds")
    program = 'import { listen } from "@shm-polyglot/protocol"; await listen({ transport: "shm", path: "./s" });'
    said = node.run("node", "--input-type=module", "-e", program, fails=True)
    assert f'run "node build.mjs" in {node.library}, which needs a C compiler' in said


def test_the_source_distribution_without_a_compiler_installs_pure_python_and_says_what_was_lost(
    node: NodeProject, released: Released, tmp_path: Path
) -> None:
    python = PythonProject(tmp_path / "project")
    said = python.install("--verbose", released.sdist)
    assert said.count("shm-polyglot is installed WITHOUT its compiled part") == 1
    node.write("server.mjs", ESM)
    answer = call_both_ways(python, node, "node", "server.mjs", transport="auto")
    # Once, when it dials: pip shows nothing of what a build says.
    warning, *rest = answer.splitlines()
    assert "the socket transport is used, which is slower: the native binding cannot be imported" in warning
    assert "\n".join([*rest, ""]) == OVER_SOCKET
    assert not list(python.folder.glob("venv/lib/python*/site-packages/shm_protocol/*.so"))


def test_the_source_distribution_with_a_compiler_builds_all_of_it(
    node: NodeProject, released: Released, tmp_path: Path
) -> None:
    python = PythonProject(tmp_path / "project")
    python.environment["PATH"] += ":/usr/bin:/bin"
    python.environment["SHM_POLYGLOT_EXTENSIONS"] = "required"
    python.install(released.sdist)
    node.write("server.mjs", ESM)
    assert call_both_ways(python, node, "node", "server.mjs") == OVER_SHM


def test_what_is_required_and_cannot_be_compiled_is_an_error(released: Released, tmp_path: Path) -> None:
    python = PythonProject(tmp_path / "project")
    install = (python.python, "-m", "pip", "install", "--no-cache-dir", released.sdist)
    said = python.run(*install, fails=True, environment={"SHM_POLYGLOT_EXTENSIONS": "required"})
    assert "WITHOUT its compiled part" not in said
    said = python.run(*install, fails=True, environment={"SHM_POLYGLOT_EXTENSIONS": "perhaps"})
    assert "SHM_POLYGLOT_EXTENSIONS is 'perhaps', not one of auto, required, none" in said

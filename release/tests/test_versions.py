"""A release works on every CPython and Node that it is for; beside test_install.py, which has those of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from consumers import COMMONJS, ESM, OVER_SHM, NodeProject, PythonProject, Released, call_both_ways
from full import NODES, PYTHONS, needs_all, node_of, python_of, within_an_hour

pytestmark = [needs_all, within_an_hour]


@pytest.fixture
def node(released: Released, tmp_path: Path) -> NodeProject:
    project = NodeProject(tmp_path / "node")
    project.install(released.tarball)
    project.write("server.mjs", ESM)
    return project


@pytest.mark.parametrize("version", PYTHONS)
def test_pip_takes_the_wheel_of_each_python_and_it_shares_memory(
    version: str, released: Released, node: NodeProject, tmp_path: Path
) -> None:
    python = PythonProject(tmp_path / "python", python_of(version, tmp_path / "unpacked"))
    # By its name, so that pip chooses among all of them.
    said = python.install("--find-links", released.folder, "--only-binary", ":all:", "--pre", "shm-polyglot")
    tag = f"cp{version.replace('.', '')}"
    assert f"shm_polyglot-0.1.0-{tag}-{tag}-manylinux" in said
    assert call_both_ways(python, node, "node", "server.mjs") == OVER_SHM


@pytest.mark.parametrize("version", [PYTHONS[0], PYTHONS[-1]])
def test_the_wheel_of_the_stable_abi_shares_memory_on_the_oldest_python_and_the_newest(
    version: str, released: Released, node: NodeProject, tmp_path: Path
) -> None:
    python = PythonProject(tmp_path / "python", python_of(version, tmp_path / "unpacked"))
    [wheel] = [wheel for wheel in released.wheels if "abi3-manylinux" in wheel.name and "x86_64" in wheel.name]
    python.install(wheel)
    assert call_both_ways(python, node, "node", "server.mjs") == OVER_SHM


def test_where_posix_ipc_has_no_wheel_none_is_asked_for(released: Released, node: NodeProject, tmp_path: Path) -> None:
    python = PythonProject(tmp_path / "python", python_of("3.14", tmp_path / "unpacked"))
    python.install("--find-links", released.folder, "--only-binary", ":all:", "shm-polyglot")
    program = "from shm_protocol.transports import segment_names; print(segment_names.described())"
    said = python.run(python.python, "-c", program)
    assert said == "the binding's own shm_open\n"
    assert call_both_ways(python, node, "node", "server.mjs") == OVER_SHM


@pytest.mark.parametrize("name", ["server.mjs", "server.cjs"])
@pytest.mark.parametrize("major", NODES)
def test_the_tarball_shares_memory_on_each_node(major: str, name: str, released: Released, tmp_path: Path) -> None:
    node = NodeProject(tmp_path / "node", node_of(major))
    found = subprocess.run([node_of(major), "--version"], capture_output=True, text=True, check=True).stdout
    assert found.startswith(f"v{major}.")
    node.install(released.tarball)
    node.write(name, ESM if name.endswith(".mjs") else COMMONJS)
    python = PythonProject(tmp_path / "python")
    [wheel] = [wheel for wheel in released.wheels if "cp311-cp311-manylinux" in wheel.name and "x86_64" in wheel.name]
    python.install(wheel)
    assert call_both_ways(python, node, "node", name) == OVER_SHM

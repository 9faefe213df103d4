"""The directory that a project's run has to itself."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import shm_protocol
from shm_protocol.cli import project_directory
from shm_protocol.config import SOCKET_NAME, check_socket_path
from shm_protocol.project import directory_of


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Stands for $XDG_RUNTIME_DIR: short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shmp-") as path:
        yield Path(path)


def test_projects_have_different_directories_and_a_link_to_one_has_its(tmp_path: Path) -> None:
    one, other, link = tmp_path / "a" / "shop", tmp_path / "b" / "shop", tmp_path / "link"
    for folder in (one, other):
        folder.mkdir(parents=True)
    link.symlink_to(one)
    directories = [directory_of(folder, {}) for folder in (one, other, link)]
    assert directories[0] == directories[2] != directories[1]
    assert directories[0].name.startswith(f"shm-polyglot-{os.getuid()}-shop-")


def test_a_socket_s_path_fits_whatever_the_folders_are_called(tmp_path: Path) -> None:
    runtime = tmp_path / ("r" * 100)
    project = tmp_path / ("long and strange \N{SNOWMAN} " * 8)
    for folder in (runtime, project):
        folder.mkdir()
    directory = directory_of(project, {"XDG_RUNTIME_DIR": str(runtime)})
    check_socket_path(directory / SOCKET_NAME)
    assert directory.parent == Path("/tmp")
    assert directory.name.isascii()


def test_where_the_user_has_a_runtime_directory_it_is_in_there(tmp_path: Path, runtime: Path) -> None:
    assert directory_of(tmp_path, {"XDG_RUNTIME_DIR": str(runtime)}).parent == runtime


def test_it_is_private_and_one_that_is_not_is_refused(tmp_path: Path) -> None:
    project_directory.make(tmp_path / "made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    project_directory.make(tmp_path / "made")
    (tmp_path / "made").chmod(0o755)
    with pytest.raises(PermissionError, match="others may enter"):
        project_directory.make(tmp_path / "made")


def test_it_is_removed_only_where_nothing_is_left_in_it(tmp_path: Path) -> None:
    directory = tmp_path / "made"
    project_directory.make(directory)
    (directory / SOCKET_NAME).touch()
    project_directory.remove(directory)
    assert directory.exists()
    (directory / SOCKET_NAME).unlink()
    project_directory.remove(directory)
    assert not directory.exists()


def test_a_killed_node_s_socket_is_removed_with_it_and_one_that_is_listened_to_is_not(runtime: Path) -> None:
    directory = runtime / "made"
    project_directory.make(directory)
    path = directory / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(str(path))
        node.listen()
        project_directory.remove(directory)
        assert path.is_socket()
    project_directory.remove(directory)
    assert not directory.exists()


def test_a_command_in_the_folder_takes_it_only_while_a_run_is_there_and_nothing_else_is_set(
    tmp_path: Path, runtime: Path
) -> None:
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    assert project_directory.environment_in(tmp_path, environment) == environment
    directory = directory_of(tmp_path, environment)
    project_directory.make(directory)
    (directory / SOCKET_NAME).touch()
    assert project_directory.environment_in(tmp_path, environment)["SHM_POLYGLOT_DIR"] == str(directory)
    chosen = {**environment, "SHM_POLYGLOT_DIR": "/chosen"}
    assert project_directory.environment_in(tmp_path, chosen) == chosen


def test_who_dials_beside_a_run_of_the_folder_is_told_its_directory(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    directory = directory_of(tmp_path)
    elsewhere = tmp_path / "node.sock"
    with pytest.raises(shm_protocol.PeerUnavailable, match="have the same SHM_POLYGLOT_DIR$"):
        shm_protocol.connect(elsewhere)
    project_directory.make(directory)
    (directory / SOCKET_NAME).touch()
    with pytest.raises(shm_protocol.PeerUnavailable, match=f"; `shm-polyglot run` .* SHM_POLYGLOT_DIR={directory}$"):
        shm_protocol.connect(elsewhere)

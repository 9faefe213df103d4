"""Segments are made and unlinked by their names in two ways, which a dialer cannot tell apart."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from acceptor import Acceptor
from shm_protocol.transports import segment_names
from shm_protocol.transports.stale_segments import SHM_DIRECTORY

Listen = Callable[..., Acceptor]


# Where posix_ipc is to be: see test_dependencies.py.
@pytest.fixture(params=["posix_ipc", "binding"] if segment_names.has_posix_ipc else ["binding"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "binding":
        monkeypatch.setattr(segment_names, "has_posix_ipc", False)
    chosen: str = request.param
    return chosen


@pytest.fixture
def name() -> str:
    return f"/shm-polyglot-{secrets.token_hex(16)}"


def test_a_segment_is_new_empty_and_its_users_alone_until_it_is_unlinked(way: str, name: str) -> None:
    fd = segment_names.create(name)
    try:
        status = (SHM_DIRECTORY / name[1:]).stat()
        assert (status.st_mode & 0o777, status.st_size, status.st_uid) == (0o600, 0, os.geteuid())
        assert os.fstat(fd).st_ino == status.st_ino
        assert not os.get_inheritable(fd)
        with pytest.raises(segment_names.ERRORS):
            segment_names.create(name)
    finally:
        segment_names.unlink(name)
        os.close(fd)
    assert not (SHM_DIRECTORY / name[1:]).exists()


def test_a_name_that_is_gone_is_unlinked_again_without_a_word(way: str, name: str) -> None:
    segment_names.unlink(name)


def test_the_way_that_is_used_is_told(way: str) -> None:
    assert segment_names.described().startswith({"posix_ipc": "posix_ipc 1.", "binding": "the binding's own"}[way])


def test_the_binding_says_which_name_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_names, "has_posix_ipc", False)
    with pytest.raises(OSError, match="/a/b") as caught:
        segment_names.create("/a/b")
    assert caught.value.errno is not None


def test_calls_go_over_shared_memory_where_posix_ipc_cannot_be_imported(listen: Listen, path: Path) -> None:
    listen({"f": len}).serve_in_background()
    program = (
        "import sys\n"
        "sys.modules['posix_ipc'] = None\n"
        "import shm_protocol\n"
        f"with shm_protocol.connect({str(path)!r}, transport='shm') as node:\n"
        "    print(node.transport, node.call('f', 'abc'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "shm 3\n"

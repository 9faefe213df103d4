"""From a path to a connection: the handshake over a real socket, the memory's name, refusals and strangers."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest
import shm_protocol
from acceptor import Acceptor, read_exactly
from shm_protocol import (
    Busy,
    ConfigError,
    PeerUnavailable,
    ProtocolError,
    VersionMismatch,
    handshake,
    shm_transport,
)
from shm_protocol.handshake import HEADER, Refusal, Welcome
from tagged import SHM_PROTOCOL

Listen = Callable[..., Acceptor]
ROOT = SHM_PROTOCOL.parent


def names() -> set[str]:
    """The names of segments there are now, of whatever process."""
    return {entry.name for entry in Path("/dev/shm").glob("shm-polyglot-*")}


class Stranger:
    """Listens at `path` and answers whatever it is asked with `answer`, or not at all."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        self.received = b""
        self.path = path
        self.answer = answer
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(os.fspath(path))
        self.listening.listen()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        connected, _ = self.listening.accept()
        with connected:
            header = read_exactly(connected, HEADER.size)
            self.received = header + read_exactly(connected, HEADER.unpack(header)[3])
            if self.answer is None:
                # Until the dialer gives up.
                connected.recv(1)
            else:
                connected.sendall(self.answer)

    def close(self) -> None:
        self.thread.join()
        self.listening.close()


@pytest.mark.parametrize("transport", ["shm", "socket", "auto"])
def test_a_dialer_says_who_it_is_and_learns_who_answers(listen: Listen, path: Path, transport: str) -> None:
    acceptor = listen().serve_in_background()
    with shm_protocol.connect(path, transport=transport, name="me", max_message=5000) as client:
        assert client.transport == ("socket" if transport == "socket" else "shm")
        assert [info.peer.name for info in client.connections] == ["acceptor"]
    (hello,) = acceptor.hellos
    assert (hello.role, hello.name, hello.max_message, hello.library) == (
        "client",
        "me",
        5000,
        shm_protocol.__version__,
    )
    assert re.fullmatch(r"python 3\.\d+\.\d+.*", hello.language)


def test_a_worker_says_that_it_is_one(listen: Listen, path: Path) -> None:
    acceptor = listen().serve_in_background()
    with shm_protocol.attach(path, expose={"f": len}) as connection:
        assert connection.role == "worker"
    assert acceptor.hellos[0].role == "worker"


def test_messages_keep_to_the_smaller_limit_of_both_sides(listen: Listen, path: Path) -> None:
    listen({"size": len}, max_message=3000).serve_in_background()
    for transport in ("shm", "socket"):
        with shm_protocol.connect(path, transport=transport, max_message=4000) as client:
            with pytest.raises(shm_protocol.MessageTooLarge, match="max_message is 3000"):
                client.call("size", b"x" * 3500)
            assert client.call("size", b"x" * 2900) == 2900


def test_nobody_listening_is_told_at_once_with_the_path_and_what_to_do(path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=f"nobody listens at {path} .*start the Node side"):
        shm_protocol.connect(path)
    with pytest.raises(PeerUnavailable, match="nobody listens"):
        shm_protocol.connect(path.parent / "no" / "node.sock")
    path.touch()
    with pytest.raises(PeerUnavailable, match="nobody listens"):
        shm_protocol.connect(path)


def test_a_directory_that_others_may_enter_is_refused(listen: Listen, path: Path) -> None:
    listen()
    path.parent.chmod(0o755)
    with pytest.raises(PeerUnavailable, match="others may enter; chmod 700"):
        shm_protocol.connect(path)


def test_a_socket_that_others_may_connect_to_is_refused(listen: Listen, path: Path) -> None:
    listen()
    path.chmod(0o666)
    with pytest.raises(PeerUnavailable, match=f"mode 0666: others may connect; chmod 600 {path}"):
        shm_protocol.connect(path)


NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user as well")

LISTEN_AS_NOBODY = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o600)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
# SO_PEERCRED tells who listens, as of now.
listening.listen()
print("ready", flush=True)
connected, _ = listening.accept()
print(connected.recv(1), flush=True)
"""


@needs_root
@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_an_acceptor_of_another_user_is_refused_and_told_nothing(path: Path, transport: str) -> None:
    command = [sys.executable, "-c", LISTEN_AS_NOBODY, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(PeerUnavailable, match=f"the user {NOBODY} listens at {path}, not 0; only the same user"):
            shm_protocol.connect(path, transport=transport)
        assert child.stdout.readline() == "b''\n"


@needs_root
def test_a_directory_or_a_socket_of_another_user_is_refused(listen: Listen, path: Path) -> None:
    listen()
    for owned in (path, path.parent):
        os.chown(owned, NOBODY, NOBODY)
        with pytest.raises(PeerUnavailable, match=f"{owned} belongs to the user {NOBODY}, not to 0"):
            shm_protocol.connect(path)
        os.chown(owned, 0, 0)


# Answers to a hello.


def dial_stranger(path: Path, answer: bytes | None, transport: str = "shm", timeout: float = 5.0) -> bytes:
    """Dial something that answers so. Returns what it was sent; the error of the dialer is raised."""
    stranger = Stranger(path, answer)
    try:
        shm_protocol.connect(path, transport=transport, timeout=timeout).close()
    finally:
        stranger.close()
    return stranger.received


GOOD = handshake.encode_answer(Welcome("n", 1000))


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError, "it begins with b'HTTP/1.1 400"),
        (b"\0" * 12, ProtocolError, "no handshake of this protocol"),
        (b"", PeerUnavailable, "closed the connection in the handshake"),
        (GOOD[:5], PeerUnavailable, "closed the connection in the handshake"),
        (GOOD[:-1], PeerUnavailable, "closed the connection in the handshake"),
        (HEADER.pack(b"SHMP", 1, 0, 4097), ProtocolError, "4097 bytes"),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\xc1", ProtocolError, "does not decode"),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\x80", ProtocolError, "status is no str: None"),
        (handshake.encode_answer(Welcome("n", 1), major=2), VersionMismatch, r"protocol 2\.0, this side 1\.0"),
        (handshake.encode_answer(Refusal("VersionMismatch", "I speak 7")), VersionMismatch, "I speak 7"),
        (handshake.encode_answer(Refusal("Busy", "256 connections")), Busy, "256 connections"),
        (handshake.encode_answer(Refusal("ProtocolError", "no")), ProtocolError, "no"),
    ],
    ids=str,
)
def test_whatever_answers_the_error_is_clear_and_nothing_is_left(
    path: Path, transport: str, answer: bytes, error: type[Exception], message: str
) -> None:
    received: list[bytes] = []
    with pytest.raises(error, match=message):
        received.append(dial_stranger(path, answer, transport))


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_an_acceptor_that_says_nothing_is_given_up(path: Path, transport: str) -> None:
    with pytest.raises(PeerUnavailable, match="has not answered the handshake in time"):
        dial_stranger(path, None, transport, timeout=0.05)


@pytest.mark.parametrize("answer", [GOOD, handshake.encode_answer(Refusal("Busy", "m")), b"", b"garbage" * 9, None])
def test_the_name_of_the_memory_is_gone_however_the_handshake_ends(path: Path, answer: bytes | None) -> None:
    stranger = Stranger(path, answer)
    try:
        shm_protocol.connect(path, transport="shm", timeout=0.2).close()
    except shm_protocol.BridgeError:
        pass
    finally:
        stranger.close()
    offered = handshake.decode_hello(stranger.received[HEADER.size :]).segment
    assert offered is not None
    assert offered.removeprefix("/") not in names()


def test_a_version_mismatch_logs_both_versions(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(VersionMismatch):
        dial_stranger(path, handshake.encode_answer(Welcome("n", 1), major=3))
    assert "the peer speaks protocol 3.0, this side 1.0" in caplog.text


# Which transport.


def test_where_the_acceptor_refuses_memory_auto_takes_the_socket_and_says_so(
    listen: Listen, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listen({"f": len}, accepts=("socket",)).serve_in_background()
    with shm_protocol.connect(path) as client:
        assert client.transport == "socket"
        assert client.call("f", "abc") == 3
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the acceptor refuses shared memory (no shm here)" in record.getMessage()


def test_where_the_acceptor_refuses_memory_shm_fails(listen: Listen, path: Path) -> None:
    listen(accepts=("socket",)).serve_in_background()
    with pytest.raises(PeerUnavailable, match="no shm here"):
        shm_protocol.connect(path, transport="shm")


def test_where_the_binding_is_missing_auto_takes_the_socket_and_shm_says_how_to_build_it(
    listen: Listen, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen({"f": len}).serve_in_background()
    monkeypatch.setitem(sys.modules, "shm_protocol._binding", None)
    monkeypatch.delattr(shm_protocol, "_binding")
    with shm_protocol.connect(path) as client:
        assert client.transport == "socket"
        assert client.call("f", "abc") == 3
    assert "the native binding cannot be imported" in caplog.text
    with pytest.raises(PeerUnavailable, match="build it with `make`"):
        shm_protocol.connect(path, transport="shm")


def test_the_library_imports_and_calls_without_the_binding(listen: Listen, path: Path) -> None:
    listen({"f": len}).serve_in_background()
    program = (
        "import sys\n"
        "sys.modules['shm_protocol._binding'] = sys.modules['shm_protocol._plain_values'] = None\n"
        "import shm_protocol\n"
        f"with shm_protocol.connect({str(path)!r}) as node: print(node.transport, node.call('f', 'abc'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "socket 3\n"


# Arguments.


def test_arguments_that_cannot_be_are_refused(path: Path) -> None:
    for options in ({"name": ""}, {"name": "x" * 129}, {"timeout": 0}, {"max_connections": 0}, {"ring_capacity": 5000}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            shm_protocol.connect(path, **options)


# Memory.


def test_a_full_dev_shm_names_the_size_and_the_fix(listen: Listen, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listen()

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = names()
    size = 4096 + 2 * 8192
    with pytest.raises(
        PeerUnavailable, match=f"/dev/shm is full .ENOSPC.: a connection takes {size} bytes.*--shm-size"
    ):
        shm_protocol.connect(path, transport="shm", ring_capacity=8192)
    assert not names() - before


def test_memory_that_cannot_be_made_is_told(listen: Listen, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listen()

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(posix_ipc, "SharedMemory", refuse)
    with pytest.raises(PeerUnavailable, match="shared memory cannot be made in /dev/shm"):
        shm_protocol.connect(path, transport="shm")


def test_old_names_of_killed_processes_are_swept_and_others_are_not(tmp_path: Path) -> None:
    old, new = tmp_path / ("shm-polyglot-" + "a" * 32), tmp_path / ("shm-polyglot-" + "b" * 32)
    others = [tmp_path / name for name in ("shm-polyglot-short", "shm-polyglot-" + "C" * 32, "sem.x")]
    long_ago = time.time() - shm_transport.STALE_AFTER_S - 10
    for entry in (old, new, *others):
        entry.touch()
        if entry is not new:
            os.utime(entry, (long_ago, long_ago))
    shm_transport.sweep_stale_names(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, *others])


def test_names_of_another_user_are_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / ("shm-polyglot-" + "a" * 32)
    old.touch()
    os.utime(old, (0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: old.stat().st_uid + 1)
    shm_transport.sweep_stale_names(tmp_path)
    assert old.exists()

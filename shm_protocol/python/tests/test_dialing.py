"""From a path to a connection: the handshake over a real socket, the memory's name, refusals and strangers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from acceptor import HANG_S, Acceptor, read_exactly
from shm_protocol import (
    Busy,
    ConfigError,
    PeerUnavailable,
    ProtocolError,
    VersionMismatch,
    connect_async,
    dialing,
    handshake,
)
from shm_protocol.handshake import HEADER, Refusal, Welcome
from shm_protocol.transports import segment_names, stale_segments
from tagged import SHM_PROTOCOL

Listen = Callable[..., Acceptor]
ROOT = SHM_PROTOCOL.parent


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where the segments are that this process makes. Those of other processes come and go meanwhile."""
    paths: list[Path] = []
    make = segment_names.create

    def make_and_note(name: str) -> int:
        segment = make(name)
        paths.append(Path(f"/dev/shm{name}"))
        return segment

    monkeypatch.setattr(segment_names, "create", make_and_note)
    return paths


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
            if not header:
                return  # the dialer has given up before it has said anything
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


def test_a_directory_is_told_from_the_socket_in_it(path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=f"^{path.parent} is a directory: the socket in it is {path.parent}/no"):
        shm_protocol.connect(path.parent)


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


def dial_stranger(path: Path, answer: bytes | None, transport: str = "shm", timeout: float = HANG_S) -> bytes:
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
        (b"\0" * 12, ProtocolError, "not a handshake of this protocol"),
        (b"", PeerUnavailable, "closed the connection in the handshake"),
        (GOOD[:5], PeerUnavailable, "closed the connection in the handshake"),
        (GOOD[:-1], PeerUnavailable, "closed the connection in the handshake"),
        (HEADER.pack(b"SHMP", 1, 0, 4097), ProtocolError, "4097 bytes"),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\xc1", ProtocolError, "cannot be decoded"),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\x80", ProtocolError, "status is not a string: None"),
        (handshake.encode_answer(Welcome("n", 1), major=2), VersionMismatch, r"protocol 2\.2, this side 1\.2"),
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
        dial_stranger(path, None, transport, timeout=0.5)


@pytest.mark.parametrize("answer", [GOOD, handshake.encode_answer(Refusal("Busy", "m")), b"", b"garbage" * 9, None])
def test_the_name_of_the_memory_is_gone_however_the_handshake_ends(path: Path, answer: bytes | None) -> None:
    received, timeout = b"", 0.2 if answer is None else 60.0
    # On a busy machine the dialer may give up before it has said anything.
    while not received:
        stranger = Stranger(path, answer)
        try:
            shm_protocol.connect(path, transport="shm", timeout=timeout).close()
        except shm_protocol.BridgeError:
            pass
        finally:
            stranger.close()
        received = stranger.received
        path.unlink()
        timeout *= 2
    offered = handshake.decode_hello(received[HEADER.size :]).segment
    assert offered is not None
    assert not Path(f"/dev/shm{offered}").exists()


def test_a_version_mismatch_logs_both_versions(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(VersionMismatch):
        dial_stranger(path, handshake.encode_answer(Welcome("n", 1), major=3))
    assert "the peer speaks protocol 3.2, this side 1.2" in caplog.text


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
    monkeypatch.setattr(dialing, "_told", set())
    for _ in range(2):
        with shm_protocol.connect(path) as client:
            assert client.transport == "socket"
            assert client.call("f", "abc") == 3
    # Once: it holds for the process, not for a connection.
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the native binding cannot be imported" in record.getMessage()
    with pytest.raises(PeerUnavailable, match="build it with `.* -m pip install|build it with `make -C .* setup`"):
        shm_protocol.connect(path, transport="shm")


def test_the_library_imports_and_calls_without_the_binding(listen: Listen, path: Path) -> None:
    listen({"f": len}).serve_in_background()
    program = (
        "import sys\n"
        "sys.modules['shm_protocol._binding'] = sys.modules['shm_protocol._codec'] = None\n"
        "import shm_protocol\n"
        f"with shm_protocol.connect({str(path)!r}) as node: print(node.transport, node.call('f', 'abc'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "socket 3\n"


# Arguments.


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": ""}, ConfigError),
        ({"name": "x" * 129}, ConfigError),
        ({"name": "\ud800"}, ConfigError),
        ({"name": b"x"}, TypeError),
        ({"timeout": 0}, ConfigError),
        ({"timeout": -1}, ConfigError),
        ({"timeout": math.nan}, ConfigError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"timeout": math.inf}, ConfigError),
        ({"timeout": None}, TypeError),
        ({"timeout": [1]}, TypeError),
        ({"max_connections": 0}, ConfigError),
        ({"max_connections": "4"}, TypeError),
        ({"max_connections": 2.0}, TypeError),
        ({"max_connections": True}, TypeError),
        ({"ring_capacity": 5000}, ConfigError),
    ],
)
def test_arguments_that_cannot_be_are_refused(path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    dials: list[Callable[[], object]] = [lambda: shm_protocol.connect(path, **options)]
    if "max_connections" not in options:
        dials += [
            lambda: shm_protocol.attach(path, expose={}, **options),
            lambda: shm_protocol.serve(path, expose={}, **options),
            lambda: asyncio.run(connect_async(path, **options)),
        ]
    for dial in dials:
        with pytest.raises(error, match=next(iter(options))):
            dial()


def test_a_path_that_is_too_long_is_not_taken_for_nobody_who_listens(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 120) / "node.sock"
    dials: list[Callable[[], object]] = [
        lambda: shm_protocol.connect(long),
        lambda: shm_protocol.attach(long, expose={}),
        lambda: shm_protocol.serve(long, expose={}),
        lambda: asyncio.run(connect_async(long)),
    ]
    for dial in dials:
        with pytest.raises(ConfigError, match=f"has {len(str(long))} bytes and must have at most 107"):
            dial()


def test_a_time_out_of_years_is_one_like_any_other(listen: Listen, path: Path) -> None:
    listen().serve_in_background()
    for timeout in (1e9, 10**9):
        shm_protocol.connect(path, timeout=timeout).close()


def test_a_program_whose_name_is_no_text_has_one_all_the_same(
    listen: Listen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = listen().serve_in_background()
    monkeypatch.setattr(sys, "argv", [os.fsdecode(b"/bin/\xff")])
    shm_protocol.connect(path).close()
    assert acceptor.hellos[0].name == "?"


# A listener whose queue is full.


def full_listener(path: Path) -> tuple[socket.socket, list[socket.socket]]:
    """A listener that has not accepted anybody, and those that fill its queue."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fspath(path))
    path.chmod(0o600)
    listening.listen(1)
    waiting: list[socket.socket] = []
    while True:
        queued = socket.socket(socket.AF_UNIX)
        queued.setblocking(False)
        try:
            queued.connect(os.fspath(path))
        except BlockingIOError:
            queued.close()
            return listening, waiting
        waiting.append(queued)


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_full_queue_is_waited_out(path: Path, transport: str) -> None:
    listening, waiting = full_listener(path)
    served = []

    # It begins only when the dialer has been turned back once.
    turned_back, pause = threading.Event(), time.sleep

    def accept_later() -> None:
        turned_back.wait(60)
        for queued in waiting:
            queued.close()
        for _ in waiting:
            listening.accept()[0].close()
        connected, _ = listening.accept()
        with connected:
            header = handshake.decode_header(read_exactly(connected, HEADER.size))
            served.append(handshake.decode_hello(read_exactly(connected, header.body_bytes)).transport)
            connected.sendall(GOOD)

    def sleep(seconds: float) -> None:
        turned_back.set()
        pause(seconds)

    accepting = threading.Thread(target=accept_later)
    accepting.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", sleep)
        shm_protocol.connect(path, transport=transport, timeout=60).close()
    accepting.join()
    listening.close()
    assert served == [transport]


def test_a_queue_that_stays_full_is_told_as_that(path: Path) -> None:
    listening, waiting = full_listener(path)
    told, timeout = "", 0.1
    with contextlib.ExitStack() as opened:
        for one in (listening, *waiting):
            opened.enter_context(one)
        # On a busy machine the time may be over before the queue is tried.
        while "the deadline of the handshake has passed" in told or not told:
            with pytest.raises(PeerUnavailable) as raised:
                shm_protocol.connect(path, timeout=timeout)
            told = str(raised.value)
            timeout *= 2
    assert "has taken no connection in time: its queue of connections is full" in told


# Memory.


def full(fd: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_dev_shm_names_the_size_and_the_fix(
    listen: Listen, path: Path, monkeypatch: pytest.MonkeyPatch, made: list[Path]
) -> None:
    listen()
    monkeypatch.setattr(os, "posix_fallocate", full)
    size = 4096 + 2 * 8192
    with pytest.raises(
        PeerUnavailable, match=f"/dev/shm is full .ENOSPC.: a connection takes {size} bytes.*--shm-size"
    ):
        shm_protocol.connect(path, transport="shm", ring_capacity=8192)
    assert made
    assert not any(segment.exists() for segment in made)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system"),
        (segment_names.ERRORS[-1]("No permission to make this segment"), "No permission"),
        (MemoryError(), "raise its limit"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_memory_shm_fails_with_the_reason_and_auto_takes_the_socket_and_says_why(
    listen: Listen,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    made: list[Path],
    error: Exception,
    told: str,
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise error

    listen({"f": len}).serve_in_background()
    is_made = isinstance(error, MemoryError)
    if is_made:
        monkeypatch.setattr("shm_protocol._binding.Channel", refuse)
    else:
        monkeypatch.setattr(segment_names, "create", refuse)
    with pytest.raises(PeerUnavailable, match=told):
        shm_protocol.connect(path, transport="shm")
    with shm_protocol.connect(path) as client:
        assert (client.transport, client.call("f", "abc")) == ("socket", 3)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the socket transport is used, which is slower" in record.getMessage()
    assert told in record.getMessage()
    assert bool(made) == is_made
    assert not any(segment.exists() for segment in made)


def test_without_descriptors_auto_fails_as_the_socket_would(
    listen: Listen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    listen()
    monkeypatch.setattr(segment_names, "create", refuse)
    with pytest.raises(PeerUnavailable, match=r"EMFILE.*ulimit -n"):
        shm_protocol.connect(path)


# Names that were left behind.

LONG_AGO = time.time() - stale_segments.STALE_AFTER_S - 10


def make_old(entry: Path) -> None:
    os.utime(entry, (LONG_AGO, LONG_AGO))


def test_old_names_of_killed_processes_are_swept_and_others_are_not(tmp_path: Path) -> None:
    old, new = tmp_path / ("shm-polyglot-" + "a" * 32), tmp_path / ("shm-polyglot-" + "b" * 32)
    others = [tmp_path / name for name in ("shm-polyglot-short", "shm-polyglot-" + "C" * 32, "sem.x")]
    for entry in (old, new, *others):
        entry.touch()
        if entry is not new:
            make_old(entry)
    stale_segments.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, *others])


def test_what_is_no_file_stays_whatever_it_is_called_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory, link, fifo = (tmp_path / ("shm-polyglot-" + digit * 32) for digit in "012")
    directory.mkdir()
    link.symlink_to("/nowhere")
    os.mkfifo(fifo)
    old = tmp_path / ("shm-polyglot-" + "f" * 32)
    old.touch()
    for entry in (directory, fifo, old):
        make_old(entry)
    stale_segments.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [directory, link, fifo]
    assert not caplog.records


def test_an_old_name_that_somebody_holds_stays_until_its_holder_ends(tmp_path: Path) -> None:
    held = tmp_path / ("shm-polyglot-" + "a" * 32)
    with held.open("wb") as file:
        stale_segments.hold(file.fileno())
        make_old(held)
        stale_segments.sweep(tmp_path)
        assert held.exists()
    stale_segments.sweep(tmp_path)
    assert not held.exists()


@pytest.mark.parametrize("hours", [-1000, -1, 1, 1000])
def test_a_clock_that_is_wrong_removes_no_fresh_name_and_keeps_no_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    fresh, old = tmp_path / ("shm-polyglot-" + "a" * 32), tmp_path / ("shm-polyglot-" + "b" * 32)
    for entry in (fresh, old):
        entry.touch()
    make_old(old)
    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)
    stale_segments.sweep(tmp_path)
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_segment_is_held_while_its_handshake_lasts(path: Path) -> None:
    """Also where all clocks have been set forward meanwhile."""
    seen = []

    class Old(Stranger):
        def _run(self) -> None:
            connected, _ = self.listening.accept()
            with connected:
                header = handshake.decode_header(read_exactly(connected, HEADER.size))
                segment = handshake.decode_hello(read_exactly(connected, header.body_bytes)).segment
                entry = Path(f"/dev/shm{segment}")
                make_old(entry)
                stale_segments.sweep()
                seen.append(entry.exists())
                connected.sendall(GOOD)

    stranger = Old(path, None)
    shm_protocol.connect(path, transport="shm").close()
    stranger.close()
    assert seen == [True]


def test_a_missing_directory_is_logged_and_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stale_segments.sweep(tmp_path / "no")
    assert "cannot be removed" in caplog.text


def test_names_of_another_user_are_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / ("shm-polyglot-" + "a" * 32)
    old.touch()
    os.utime(old, (0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: old.stat().st_uid + 1)
    stale_segments.sweep(tmp_path)
    assert old.exists()

"""`shm-polyglot doctor`: each check seen fine and seen failing, with the real thing where it can be had."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import shm_protocol
from acceptor import Acceptor, read_exactly
from doctor_runs import DOCTOR, HANG_S, mounted, run, shm_of
from shm_protocol import config, handshake
from shm_protocol.cli import command_line, doctor, machine, node_installation
from shm_protocol.cli.doctor import Finding, Options
from shm_protocol.config import Settings, TransportChoice
from shm_protocol.handshake import HEADER, Refusal, Welcome
from shm_protocol.transports import stale_segments

Listen = Callable[..., Acceptor]

SEGMENT = 4096 + 2 * 256 * 1024


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("SHM_POLYGLOT_")]:
        monkeypatch.delenv(name)


def examine(path: Path, timeout: float = HANG_S, **environment: str) -> dict[str, Finding]:
    """The findings by the name of their check."""
    _, findings = doctor.examine(Options(path, timeout=timeout, node_project=path.parent), environment)
    assert tuple(finding.check for finding in findings) == doctor.CHECKS
    return {finding.check: finding for finding in findings}


# All of it.


def test_with_a_peer_that_answers_nothing_fails(listen: Listen, path: Path) -> None:
    listen().serve_in_background()
    path.chmod(0o600)
    done = run(path)
    assert done.code == 0
    assert tuple(done.statuses) == doctor.CHECKS
    fine = ("settings", "architecture", "python-binding", "directory", "socket", "listener", "handshake", "versions")
    assert {check: done.statuses[check] for check in fine} == dict.fromkeys(fine, "ok")
    # What is free in /dev/shm is everybody's affair.
    assert done.statuses["sharing"] == done.statuses["shm"] == "ok"
    assert "acceptor (python 3." in done.details["handshake"]
    assert done.errors == ""


def test_a_finding_says_what_to_do_exactly_when_there_is_something_to_do(path: Path) -> None:
    for directory in (path, path.parent / "missing" / "node.sock"):
        for finding in examine(directory).values():
            assert bool(finding.fix) == (finding.status in ("warning", "failed")), finding


def test_checks_that_build_on_one_that_has_failed_are_skipped(path: Path) -> None:
    found = examine(path)
    assert found["socket"].status == "failed"
    for check in ("listener", "handshake", "versions"):
        assert found[check].status == "skipped"


def test_nothing_is_made_and_nothing_is_removed(path: Path) -> None:
    stale = f"shm-polyglot-{'a' * 32}"
    # The listing is made after the run, while its mounts are there.
    listing = ["sh", "-c", '"$@"; code=$?; ls -A /dev/shm >listing; exit $code', "sh"]
    missing = path.parent / "missing" / "node.sock"
    before = [*mounted(shm_of("64m"), f"touch -d '1 hour ago' /dev/shm/{stale}"), *listing]
    assert run(missing, before=before, cwd=path.parent).statuses["stale-segments"] == "warning"
    assert (path.parent / "listing").read_text() == f"{stale}\n"
    assert not missing.parent.exists()


def test_the_segment_of_the_handshake_is_gone_afterwards(listen: Listen, path: Path) -> None:
    acceptor = listen().serve_in_background()
    assert examine(path)["sharing"].status == "ok"
    segment = acceptor.hellos[0].segment
    assert segment is not None
    assert not Path(f"/dev/shm{segment}").exists()


# Settings and the machine.


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SHM_POLYGLOT_TRANSPORT", "carrier pigeon"),
        ("SHM_POLYGLOT_SPIN_US", "-1"),
        ("SHM_POLYGLOT_RING_BYTES", "5000"),
        ("SHM_POLYGLOT_MAX_MESSAGE", "much"),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_the_rest_is_examined_all_the_same(
    listen: Listen, path: Path, variable: str, value: str
) -> None:
    listen().serve_in_background()
    found = examine(path, HANG_S, **{variable: value})
    assert found["settings"].status == "failed"
    assert variable in found["settings"].detail
    assert value in found["settings"].detail
    assert found["handshake"].status == "ok"


def test_the_settings_in_force_are_told(path: Path) -> None:
    found = examine(path, SHM_POLYGLOT_SPIN_US="7", SHM_POLYGLOT_RING_BYTES="8192")["settings"]
    assert found.status == "ok"
    assert "rings of 8192 bytes" in found.detail
    assert "spin budget 7 us" in found.detail


@pytest.mark.parametrize(
    ("system", "architecture", "byte_order", "status"),
    [
        ("linux", "x86_64", "little", "ok"),
        ("linux", "aarch64", "little", "ok"),
        ("linux", "riscv64", "little", "warning"),
        ("linux", "s390x", "big", "failed"),
        ("darwin", "arm64", "little", "failed"),
    ],
)
def test_the_architecture_is_one_that_the_library_is_made_for(
    system: str, architecture: str, byte_order: str, status: str
) -> None:
    found = doctor.check_architecture(system, architecture, byte_order)
    assert found.status == status
    assert architecture in found.detail


def copy_package(folder: Path) -> None:
    """The package as it is installed. What any program that imports it may just be writing is left out."""
    package = Path(shm_protocol.__file__).parent
    shutil.copytree(package, folder / "shm_protocol", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.parametrize(("transport", "status"), [("shm", "failed"), ("auto", "warning"), ("socket", "skipped")])
def test_a_native_binding_that_does_not_load_is_as_bad_as_the_transport_makes_it(
    listen: Listen, path: Path, tmp_path: Path, transport: str, status: str
) -> None:
    listen().serve_in_background()
    copy_package(tmp_path)
    for library in (tmp_path / "shm_protocol").glob("_binding*.so"):
        library.write_bytes(b"for another machine")
    done = run(path, PYTHONPATH=str(tmp_path), SHM_POLYGLOT_TRANSPORT=transport)
    assert done.statuses["python-binding"] == status
    assert done.statuses["handshake"] == "ok"
    assert done.statuses["sharing"] == done.statuses["shm"] == done.statuses["shm-space"] == "skipped"
    if status != "skipped":
        assert "cannot be imported" in done.details["python-binding"]
        assert "C compiler" in done.fixes["python-binding"]


@pytest.mark.parametrize("part", ["_codec", "_direct_calls"])
def test_a_call_path_that_is_not_compiled_is_a_warning(path: Path, tmp_path: Path, part: str) -> None:
    copy_package(tmp_path)
    for library in (tmp_path / "shm_protocol").glob(f"{part}*.so"):
        library.unlink()
    done = run(path, PYTHONPATH=str(tmp_path))
    assert done.statuses["python-binding"] == "warning"
    assert "calls are slower" in done.details["python-binding"]


# Node, where it is on this machine too. The library itself: tests/test_doctor.py.


def node_that(tmp_path: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `node` on the PATH that does this and nothing else."""
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def node_says(**changed: str) -> str:
    """Prints what node_installation's script would."""
    told = {
        "node": "22.1.0",
        "root": "/r",
        "library": handshake.LIBRARY_VERSION,
        "protocol": "1.2",
        "missing": "",
        "binding": "",
    }
    pairs = ", ".join(f'"{key}": "{value}"' for key, value in {**told, **changed}.items())
    return f"echo '{{{pairs}}}'"


@pytest.mark.parametrize(
    ("does", "status", "detail"),
    [
        (node_says(), "ok", "node 22.1.0"),
        (node_says(node="18.20.1"), "failed", "node 18.20.1 is too old"),
        (node_says(root=""), "skipped", "finds no @shm-polyglot/protocol"),
        (node_says(missing="no dist"), "failed", "is not built: no dist"),
        (node_says(protocol="2.0"), "failed", "speaks protocol 2.0, this side 1.2"),
        (node_says(binding="wrong ELF class"), "warning", "wrong ELF class"),
        (node_says(library="0.0.9"), "warning", "0.0.9"),
        ("echo Segmentation fault >&2; exit 139", "warning", "exit code 139: Segmentation fault"),
        ("true", "warning", "exit code 0"),
        ("echo hello", "warning", "said 'hello'"),
        ("echo '[1]'", "warning", "said '[1]'"),
        ("exec sleep 600", "warning", "has not ended within 0.2 s"),
    ],
)
def test_whatever_node_says_there_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, status: str, detail: str
) -> None:
    node_that(tmp_path, does, monkeypatch)
    timeout = 0.2 if "sleep" in does else HANG_S
    found = doctor.check_node_side(Settings(tmp_path / "node.sock"), tmp_path, timeout)
    assert (found.status, detail in found.detail) == (status, True), found


def test_without_node_there_is_nothing_to_say_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_node_side(Settings(tmp_path / "node.sock"), tmp_path).status == "skipped"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    found = doctor.check_node_side(Settings(tmp_path / "node.sock"), tmp_path / "no-such-folder")
    assert found.status == "warning"
    assert "no-such-folder" in found.detail


# Directory and socket.


def test_a_directory_that_others_may_enter_fails_with_the_command_that_mends_it(listen: Listen, path: Path) -> None:
    listen()
    path.parent.chmod(0o750)
    found = examine(path)["directory"]
    assert found.status == "failed"
    assert "0750" in found.detail
    assert f"chmod 700 {path.parent}" in found.fix


def test_a_directory_of_another_user_fails(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    os.chown(path.parent, 12345, 12345)
    found = examine(path)["directory"]
    assert found.status == "failed"
    assert "belongs to the user 12345" in found.detail


def test_a_directory_that_is_a_file_fails(path: Path) -> None:
    path.touch()
    assert "is not a directory; set SHM_POLYGLOT_DIR to another" in examine(path / "node.sock")["directory"].detail
    assert examine(path / "no" / "node.sock")["directory"].status == "failed"


def test_where_the_other_default_directory_has_a_socket_that_is_said(path: Path) -> None:
    node_s = path.parent / "shm-polyglot"
    node_s.mkdir(0o700)
    environment = {"XDG_RUNTIME_DIR": str(path.parent)}
    with Acceptor(node_s / "node.sock"):
        fix = doctor.where_else(config.default_directory({}), environment)
        assert fix == f"set SHM_POLYGLOT_DIR={node_s} on both sides: there is a socket in it"
        assert doctor.where_else(path.parent, environment) == doctor.START_NODE, "what was chosen is no default"
    assert doctor.where_else(config.default_directory({}), environment) == doctor.START_NODE


def test_a_socket_that_others_may_use_is_a_warning(listen: Listen, path: Path) -> None:
    listen().serve_in_background()
    path.chmod(0o666)
    found = examine(path)
    assert found["socket"].status == "warning"
    assert found["socket"].fix == f"chmod 600 {path}"
    assert found["handshake"].status == "ok"


def test_a_file_in_place_of_the_socket_fails(path: Path) -> None:
    path.touch()
    found = examine(path)["socket"]
    assert (found.status, found.detail) == ("failed", f"{path} is not a socket")


def test_a_path_too_long_for_a_socket_fails(path: Path) -> None:
    long = path.parent / ("d" * 100)
    long.mkdir(0o700)
    findings = examine(long / "node.sock")
    for check in ("settings", "socket"):
        assert findings[check].status == "failed"
        assert "must have at most 107" in findings[check].detail


# Who listens.


def test_a_socket_that_nobody_listens_on_fails(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(path))
    found = examine(path)["listener"]
    assert found.status == "failed"
    assert "nobody listens" in found.detail


def test_a_listener_that_accepts_nobody_fails(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(os.fspath(path))
        listening.listen(0)
        waiting.connect(os.fspath(path))
        timeout = 0.2
        found = examine(path, timeout=timeout)["listener"]
        # On a busy machine the time may be over before the queue is tried.
        while "cannot be reached" in found.detail and timeout < HANG_S:
            timeout *= 2
            found = examine(path, timeout=timeout)["listener"]
    assert found.status == "failed"
    assert "its queue of connections is full" in found.detail


def test_a_listener_of_another_user_fails(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    # The kernel keeps the credentials of the time of listen().
    program = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.bind(sys.argv[1]); os.setuid(12345); s.listen(); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        found = examine(path)["listener"]
        other.communicate()
    assert found.status == "failed"
    assert "the user 12345 listens" in found.detail


# What it answers.


@contextmanager
def stranger(path: Path, answer: bytes | None) -> Iterator[None]:
    """Listens at `path`, and answers every hello so, or not at all."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fspath(path))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:
                return
            with connected:
                connected.settimeout(HANG_S)
                header = read_exactly(connected, HEADER.size)
                if not header:
                    continue  # only to see who listens
                read_exactly(connected, HEADER.unpack(header)[3])
                if answer is None:
                    connected.recv(1)
                else:
                    connected.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(HANG_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("transport", ["auto", "socket"])
def test_a_peer_that_accepts_and_never_answers_is_given_up_at_the_time_limit(path: Path, transport: str) -> None:
    with stranger(path, None):
        found = examine(path, timeout=0.1, SHM_POLYGLOT_TRANSPORT=transport)
    assert found["listener"].status == "ok"
    assert found["handshake"].status == "failed"
    assert "has not answered within 0.1 s" in found["handshake"].detail


def test_a_peer_that_answers_byte_by_byte_is_given_up_at_the_time_limit(path: Path) -> None:
    welcome = handshake.encode_answer(Welcome("n" * 100, 1000))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fspath(path))
    listening.listen()
    ended = threading.Event()

    def drip() -> None:
        listening.accept()[0].close()
        connected, _ = listening.accept()
        with connected:
            # The last byte never comes.
            for byte in welcome[:-1]:
                if ended.wait(0.05):
                    return
                try:
                    connected.sendall(bytes([byte]))
                except BrokenPipeError:
                    return
            ended.wait()

    thread = threading.Thread(target=drip)
    thread.start()
    found = examine(path, timeout=0.3)["handshake"]
    ended.set()
    thread.join(HANG_S)
    listening.close()
    assert found.status == "failed"
    assert "has not answered within 0.3 s" in found.detail


@pytest.mark.parametrize("transport", ["auto", "shm", "socket"])
@pytest.mark.parametrize(
    ("answer", "check", "status", "detail"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "handshake",
            "failed",
            "is not the Node side: not a handshake of this protocol",
        ),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\xc1", "handshake", "failed", "is not the Node side"),
        (b"", "handshake", "failed", "it has closed the connection"),
        (HEADER.pack(b"SHMP", 1, 0, 9) + b"\x80", "handshake", "failed", "it has closed the connection"),
        (
            handshake.encode_answer(Refusal("Busy", "256 already")),
            "handshake",
            "failed",
            "refuses with Busy: 256 already",
        ),
        (handshake.encode_answer(Refusal("Strange", "no")), "handshake", "failed", "refuses with Strange: no"),
        (
            handshake.encode_answer(Welcome("n", 1), major=2),
            "versions",
            "failed",
            "VersionMismatch: the peer speaks protocol 2.2",
        ),
        (handshake.encode_answer(Refusal("x", "y"), major=7), "versions", "failed", "protocol 7.2, this side 1.2"),
        (
            handshake.encode_answer(Refusal("VersionMismatch", "layout")),
            "versions",
            "failed",
            "VersionMismatch: layout",
        ),
        (
            handshake.encode_answer(Welcome("n", 1, "node 22", "0.0.9")),
            "versions",
            "warning",
            "library 0.0.9 with protocol 1.2 there",
        ),
        (handshake.encode_answer(Welcome("n", 1, "node 22")), "versions", "ok", "protocol 1.2 here"),
    ],
    ids=str,
)
def test_whatever_answers_there_is_a_finding(
    path: Path, transport: TransportChoice, answer: bytes, check: str, status: str, detail: str
) -> None:
    with stranger(path, answer):
        findings = doctor.check_peer(Settings(path, transport=transport), HANG_S)
    found = {finding.check: finding for finding in findings}
    assert (found[check].status, detail in found[check].detail) == (status, True), found[check]
    if check == "versions":
        assert found["handshake"].status == "ok"


@pytest.mark.parametrize(("transport", "status"), [("auto", "warning"), ("shm", "failed"), ("socket", "skipped")])
def test_a_peer_that_refuses_shared_memory_is_as_bad_as_the_transport_makes_it(
    listen: Listen, path: Path, transport: str, status: str
) -> None:
    listen(accepts=("socket",)).serve_in_background()
    found = examine(path, SHM_POLYGLOT_TRANSPORT=transport)
    assert found["sharing"].status == status
    assert found["handshake"].status == "ok"
    if status != "skipped":
        assert "no shm here" in found["sharing"].detail
        assert "mount one tmpfs volume at /dev/shm in both containers" in found["sharing"].fix


# Containers.


@pytest.fixture
def without_node(tmp_path: Path) -> str:
    """A $PATH with what these tests run, and no node."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("unshare", "sh", "mount", "mkdir"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    return str(tools)


def test_in_a_container_without_node_a_directory_of_its_own_is_a_warning(path: Path, without_node: str) -> None:
    if machine.mount_of(path.parent).point != Path("/"):
        pytest.skip(f"{path.parent} is on a mount of its own")
    done = run(path, KUBERNETES_SERVICE_HOST="10.0.0.1", PATH=without_node)
    assert done.statuses["sharing"] == "warning"
    assert "no other container sees" in done.details["sharing"]


def test_in_a_container_with_node_nothing_is_taken_for_another_container_s(path: Path) -> None:
    done = run(path, KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert done.statuses["sharing"] == "skipped"
    assert "file system" not in done.details["sharing"]


def test_in_a_container_without_node_the_engine_s_own_dev_shm_is_a_warning(without_node: str) -> None:
    directory = Path(f"/dev/shm/{os.getpid()}")
    before = mounted(shm_of("64m", source="shm"), f"mkdir -m 700 {directory}")
    done = run(
        directory / "node.sock", before=before, cwd=Path("/"), KUBERNETES_SERVICE_HOST="10.0.0.1", PATH=without_node
    )
    assert done.statuses["sharing"] == "warning"
    assert "makes for each container" in done.details["sharing"]


def test_in_a_container_without_node_and_with_a_volume_it_is_said_how_to_compare(without_node: str) -> None:
    directory = Path(f"/dev/shm/{os.getpid()}")
    before = mounted(shm_of("64m"), f"mkdir -m 700 {directory}")
    done = run(
        directory / "node.sock", before=before, cwd=Path("/"), KUBERNETES_SERVICE_HOST="10.0.0.1", PATH=without_node
    )
    assert done.statuses["sharing"] == "skipped"
    assert "stat -c %d:%i /dev/shm" in done.details["sharing"]


def test_a_mount_is_found_by_the_longest_path_and_the_last_on_top(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:2 / /a\\040b rw shared:1 - tmpfs first rw\n"
        "3 2 0:3 / /a\\040b rw - tmpfs second rw\n"
    )
    assert machine.mount_of(Path("/a b/c"), table) == (Path("/a b"), "tmpfs", "second")
    assert machine.mount_of(Path("/a"), table) == (Path("/"), "ext4", "/dev/sda1")


# /dev/shm.


@pytest.mark.parametrize(
    ("commands", "shm", "space", "detail"),
    [
        ([shm_of("64m")], "ok", "ok", "67108864 bytes (what Docker gives a container)"),
        ([shm_of("256m")], "ok", "ok", "of 268435456 bytes are free"),
        ([shm_of("2m")], "ok", "warning", "room for 3 more connections of 528384 bytes, 8 are wanted"),
        ([shm_of("400k")], "ok", "failed", "room for 0 more connections"),
        ([shm_of("0")], "ok", "ok", "has no limit of its own"),
        (["mount -t tmpfs -o ro tmpfs /dev/shm"], "failed", "skipped", "read-only"),
        (["mount -t tmpfs tmpfs /dev"], "failed", "skipped", "/dev/shm is missing"),
        (["mount -t ramfs ramfs /dev/shm"], "warning", "ok", "is not a tmpfs but on /dev/shm (ramfs)"),
    ],
    ids=str,
)
def test_dev_shm_is_a_tmpfs_with_room(path: Path, commands: list[str], shm: str, space: str, detail: str) -> None:
    done = run(path, before=mounted(*commands))
    assert (done.statuses["shm"], done.statuses["shm-space"]) == (shm, space)
    assert detail in done.details["shm"] + done.details["shm-space"]


def test_the_room_is_that_for_as_many_connections_as_asked_for(path: Path) -> None:
    before = mounted(shm_of("64m"))
    assert run(path, "--connections", "127", before=before).statuses["shm-space"] == "ok"
    done = run(path, "--connections", "128", before=before)
    assert done.statuses["shm-space"] == "warning"
    assert f"{128 * SEGMENT} bytes must be free" in done.fixes["shm-space"]
    assert "--shm-size" in done.fixes["shm-space"]


def test_a_full_dev_shm_fails_the_handshake_over_it_and_nothing_else(listen: Listen, path: Path) -> None:
    listen().serve_in_background()
    done = run(path, before=mounted(shm_of("400k")))
    assert done.code == 1
    assert done.statuses["handshake"] == done.statuses["versions"] == "ok"
    assert done.statuses["sharing"] == "failed"
    assert "/dev/shm is full" in done.details["sharing"]


def test_without_shared_memory_in_use_dev_shm_is_not_judged(path: Path) -> None:
    done = run(path, before=mounted(shm_of("400k")), SHM_POLYGLOT_TRANSPORT="socket")
    assert done.statuses["shm"] == done.statuses["shm-space"] == "skipped"


def test_old_names_of_segments_are_told_and_young_or_foreign_ones_are_not(tmp_path: Path) -> None:
    old, young = tmp_path / f"shm-polyglot-{'a' * 32}", tmp_path / f"shm-polyglot-{'b' * 32}"
    young.touch()
    (tmp_path / "shm-polyglot").mkdir()
    (tmp_path / "shm-polyglot-short").touch()
    os.utime(tmp_path / "shm-polyglot-short", (0, 0))
    assert doctor.check_stale_segments(tmp_path).status == "ok"
    old.write_bytes(b"x" * 5000)
    long_ago = time.time() - stale_segments.STALE_AFTER_S - 10
    os.utime(old, (long_ago, long_ago))
    found = doctor.check_stale_segments(tmp_path)
    assert found.status == "warning"
    assert f"{old.name} of the user {os.geteuid()}" in found.detail
    assert young.name not in found.detail
    assert old.exists()


# Processors and descriptors.


@pytest.mark.parametrize(
    ("spin_us", "cores", "allowed", "quota", "status", "detail"),
    [
        (None, 4, 4, math.inf, "ok", "quota none"),
        (None, 4, 4, 2.0, "ok", "quota 2"),
        (None, 1, 1, math.inf, "warning", "nobody polls"),
        (50, 1, 1, math.inf, "warning", "SHM_POLYGLOT_SPIN_US is ignored"),
        (None, 4, 1, math.inf, "warning", "1 allowed to this process"),
        (None, 4, 4, 1.5, "warning", "quota 1.5"),
        (50, 4, 4, 0.5, "warning", "quota 0.5"),
        (0, 1, 1, 0.5, "ok", "SHM_POLYGLOT_SPIN_US=0"),
    ],
)
def test_polling_needs_two_cores(
    path: Path, spin_us: int | None, cores: int, allowed: int, quota: float, status: str, detail: str
) -> None:
    found = doctor.check_cores(Settings(path, spin_us=spin_us), cores=cores, allowed=allowed, quota=quota)
    assert (found.status, detail in found.detail) == (status, True), found


def test_a_process_bound_to_one_core_is_warned(path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    done = run(path, before=["taskset", "-c", str(core)])
    assert done.statuses["cores"] == "warning"
    assert "1 allowed to this process" in done.details["cores"]


def test_a_real_quota_of_a_control_group_is_seen(path: Path) -> None:
    group = Path(f"/sys/fs/cgroup/cpu/doctor-{os.getpid()}")
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("150000")
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    try:
        done = run(path, before=["sh", "-ec", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
    finally:
        group.rmdir()
    assert "quota 1.5" in done.details["cores"]


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "20000 10000\n"}, 1.5),
        ("0::/not/seen/from/here\n", {"cpu.max": "100000 100000\n"}, 1.0),
        (
            "4:cpu,cpuacct:/docker/1\n1:name=systemd:/\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpuset:/\n", {"cpuset/cpu.max": "1 100000\n"}, math.inf),
    ],
)
def test_the_smallest_quota_of_a_group_and_its_parents_counts(
    tmp_path: Path, cgroup: str, files: dict[str, str], quota: float
) -> None:
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    (tmp_path / "cgroup").write_text(cgroup)
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "groups") == quota


def test_too_low_a_limit_of_descriptors_is_a_warning(path: Path) -> None:
    before = ["sh", "-ec", 'ulimit -n 100; exec "$@"', "sh"]
    assert run(path, before=before).statuses["descriptors"] == "ok"
    done = run(path, "--connections", "37", before=before)
    assert done.statuses["descriptors"] == "warning"
    assert "at most 100 open descriptors" in done.details["descriptors"]
    assert "ulimit -n 1024" in done.fixes["descriptors"]


# Whatever is broken, there is a report.


def test_without_proc_there_is_a_report_all_the_same(path: Path) -> None:
    done = run(path, before=mounted("mount -t tmpfs tmpfs /proc"))
    assert done.errors == ""
    assert done.statuses["cores"] == "warning"
    assert "/proc/self/cgroup" in done.details["cores"]


def test_with_hardly_any_descriptors_there_is_a_report_all_the_same(listen: Listen, path: Path) -> None:
    listen().serve_in_background()
    done = run(path, before=["sh", "-ec", 'ulimit -n 5; exec "$@"', "sh"])
    assert done.errors == ""
    assert "Too many open files" in " ".join(done.details.values())


def test_text_without_a_terminal_has_no_colours_and_names_every_check(path: Path) -> None:
    done = subprocess.run([*DOCTOR, "--path", str(path)], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    for check in doctor.CHECKS:
        assert check in done.stdout
    assert f"FAILED  socket           {path} is missing" in done.stdout
    assert "fix: start the Node side" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 failed") or " 1 failed" in done.stdout.splitlines()[-1]


def test_text_for_a_terminal_is_coloured_unless_no_color_is_set(path: Path) -> None:
    for environment, coloured in (
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ):
        master, slave = os.openpty()
        with os.fdopen(master, "rb", buffering=0) as screen:
            child = subprocess.Popen([*DOCTOR, "--path", str(path)], stdout=slave, env={**os.environ, **environment})
            os.close(slave)
            shown = b""
            # Linux: EIO when the other end is closed.
            while True:
                try:
                    more = screen.read(65536)
                except OSError:
                    break
                if not more:
                    break
                shown += more
            assert child.wait(HANG_S) == 1
        assert (b"\x1b[31mFAILED  \x1b[0m" in shown) == coloured
        assert (b"\x1b" in shown) == coloured


def test_what_a_peer_calls_itself_cannot_steer_the_terminal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stranger(path, handshake.encode_answer(Welcome("evil\x1b]0;title\x07\nok", 1, "node 22"))):
        command_line.main(["doctor", "--path", str(path)])
    shown = capsys.readouterr().out
    assert r"evil\x1b]0;title\x07\nok" in shown
    assert "\x1b" not in shown


def test_a_path_that_the_terminal_cannot_show_is_shown_escaped(path: Path) -> None:
    odd = path.parent / os.fsdecode(b"\xff\xc3\xa9")
    odd.mkdir(0o700)
    for arguments in ([], ["--json"]):
        done = subprocess.run(
            [*DOCTOR, *arguments, "--path", str(odd / "node.sock")],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.stderr == b""
        assert rb"\udcff" in done.stdout


def test_the_help_documents_exit_codes_and_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["doctor", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "exit code:" in shown
    for check in doctor.CHECKS:
        assert check in shown


@pytest.mark.parametrize(
    "arguments",
    [[], ["surgeon"], ["doctor", "--timeout", "0"], ["doctor", "--timeout", "soon"], ["doctor", "--connections", "0"]],
)
def test_wrong_arguments_end_it_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert "shm-polyglot" in capsys.readouterr().err


def test_the_script_that_node_runs_tells_what_the_finding_is_made_of() -> None:
    for field in node_installation.NodeInstallation.__dataclass_fields__:
        assert f"{field}:" in node_installation.SCRIPT

"""The rivals that call another process, and the floors beside them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from required import require

from bench import trial, workload
from bench.cases import Direction
from bench.floors import program_of
from bench.peers import PEERS, Peer, spawn_callee, uds_msgpack
from bench.pinning import ANY_CORES
from bench.trial import Outcome, Trial

ROOT: Final = Path(__file__).resolve().parents[2]
ENVIRONMENT: Final = {**os.environ, "TS_NODE_PROJECT": str(ROOT / "bench" / "tsconfig.json")}
NAMES: Final = (
    "same-language",
    "memcpy",
    "memcpy-here",
    "uds-msgpack",
    "uds-msgpack-busy",
    "zeromq",
    "grpc-uds",
    "http-keepalive",
    "jspybridge",
    "stdio",
    "spawn",
    "iceoryx2-py-py",
    "mp-pipe-py-py",
)
MAKE_THEIR_CALLEE: Final = ("jspybridge", "stdio", "mp-pipe-py-py")
"""Those whose caller has a child for as long as it lives."""
SAY_THAT_THE_CALLEE_HAS_ENDED: Final = (
    "uds-msgpack",
    "uds-msgpack-busy",
    "grpc-uds",
    "http-keepalive",
    "stdio",
    "mp-pipe-py-py",
)
"""ZeroMQ waits until the callee is there again, and iceoryx2 polls."""
FEW_CALLS: Final = 3
ENOUGH_S: Final = 60
HANG_S: Final = 200.0


def every(names: tuple[str, ...]) -> list[tuple[Peer, Direction]]:
    """The peers of these names, in each direction that they have."""
    return [(peer, direction) for peer in PEERS if peer.name in names for direction in peer.directions]


def name_of(value: object) -> str:
    """How a test's name shows a parameter."""
    return value.name if isinstance(value, (Peer, signal.Signals)) else str(value)


def installed(peer: Peer) -> Peer:
    """The peer, if it is installed."""
    require(peer.missing())
    return peer


def the(name: str) -> Peer:
    """The peer of that name, if it is installed."""
    return installed(next(peer for peer in PEERS if peer.name == name))


def running_in(group: int) -> bool:
    """Whether a process of that group is there, be it dead and unreaped."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def runs_on(group: int) -> bool:
    """Whether a process of that group does not end: those that are not ours are reaped by init, in its own time."""
    end = time.monotonic() + HANG_S
    while running_in(group):
        if time.monotonic() > end:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def address() -> Iterator[str]:
    """A directory as a trial has it: with a name that no other has, and short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="shm-polyglot-test-") as name:
        yield name


@contextlib.contextmanager
def process(command: list[str], first_line: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own that has said its first line; at the end all of the session is killed."""
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == f"{first_line}\n"
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        running.stdin.close()
        running.stdout.close()


def callee_of(
    peer: Peer, direction: Direction, address: str
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Its callee, ready."""
    return process(trial._command(peer.callees[direction], "callee", peer, address), "ready")


def caller_of(
    peer: Peer, direction: Direction, address: str
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """A process that has started the peer's caller and made a call. At a line it makes two more, and stops."""
    if peer.callers[direction] == "python":
        script = f"""
from bench.peers import {peer.module} as peer
caller = peer.start({address!r})
print(caller.call("echo", "up"), flush=True)
input()
for _ in range(2):
    try:
        print(caller.call("echo", "answered"), flush=True)
    except Exception as error:
        print("failed", flush=True)
caller.stop()"""
        return process([sys.executable, "-c", script], "up")
    script = f"""
        const {{ once }} = require("node:events");
        const {{ peerModule }} = require("./bench/peer_module");
        async function main() {{
          const caller = await peerModule("{peer.module}").start("{address}");
          console.log(await caller.call("echo", "up"));
          await once(process.stdin, "data");
          for (const _ of [1, 2]) console.log(await caller.call("echo", "answered").catch(() => "failed"));
          await caller.stop();
        }}
        main();"""
    return process([*trial.TS_NODE, "-e", script], "up")


def child_of(caller: subprocess.Popen[str]) -> int:
    """The one that it has made last: multiprocessing makes one more before."""
    return int(Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()[-1])


@pytest.fixture
def ended_callers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sessions of callers that have ended by themselves, each seen to be empty before the trial kills it."""
    groups: list[int] = []
    end_session = trial.end_session

    def look_and_end(ending: subprocess.Popen[bytes]) -> None:
        if ending.poll() is not None:
            assert not runs_on(ending.pid)
            groups.append(ending.pid)
        end_session(ending)

    monkeypatch.setattr(trial, "end_session", look_and_end)
    return groups


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the directories that the trials have: parts of the names in /dev/shm of what they make there."""
    names: list[str] = []
    make = tempfile.mkdtemp

    def make_and_note(*args: Any, **options: Any) -> str:
        directory: str = make(*args, **options)
        names.append(Path(directory).name)
        return directory

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_note)
    return names


@pytest.mark.parametrize(("peer", "direction"), every(NAMES), ids=name_of)
def test_every_call_is_answered_rightly_and_nothing_is_left(
    peer: Peer, direction: Direction, ended_callers: list[int], made: list[str]
) -> None:
    cases = [
        dataclasses.replace(case, calls=FEW_CALLS, seconds=ENOUGH_S, warmup=False)
        for case in installed(peer).cases(direction)
        if case.warmup and not case.pause_s and not case.neighbour
    ]
    found: list[Outcome] = []
    Trial(peer, direction, ANY_CORES).run(cases, lambda _, outcome: found.append(outcome))
    assert [outcome.failed for outcome in found] == [""] * len(cases)
    assert [outcome.errors for outcome in found] == [0] * len(cases)
    # From Python, each caller makes a call at least.
    assert all(len(found.times_ns) >= FEW_CALLS for found in found)
    assert len(ended_callers) == (0 if peer.in_c else 1)
    assert made or peer.in_c
    assert not [file for name in made for file in Path("/dev/shm").glob(f"iox2_{name}_*")]


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL], ids=name_of)
@pytest.mark.parametrize(("peer", "direction"), every(MAKE_THEIR_CALLEE), ids=name_of)
def test_a_caller_that_is_ended_takes_its_child_with_it(
    peer: Peer, direction: Direction, ended_by: signal.Signals, address: str
) -> None:
    with caller_of(installed(peer), direction, address) as caller:
        caller.send_signal(ended_by)
        caller.wait(HANG_S)
        assert not runs_on(caller.pid)


@pytest.mark.parametrize(("peer", "direction"), every(SAY_THAT_THE_CALLEE_HAS_ENDED), ids=name_of)
def test_a_call_to_a_callee_that_has_ended_fails(peer: Peer, direction: Direction, address: str) -> None:
    with contextlib.ExitStack() as processes:
        if direction in installed(peer).callees:
            callee = processes.enter_context(callee_of(peer, direction, address)).pid
            caller = processes.enter_context(caller_of(peer, direction, address))
        else:
            caller = processes.enter_context(caller_of(peer, direction, address))
            callee = child_of(caller)
        os.kill(callee, signal.SIGKILL)
        out, _ = caller.communicate("go on\n", timeout=HANG_S)
    assert (out, caller.returncode) == ("failed\nfailed\n", 0)


@pytest.mark.parametrize("name", ["uds-msgpack", "uds-msgpack-busy", "zeromq", "grpc-uds", "http-keepalive"])
def test_bytes_in_an_answer_stay_what_they_are_when_the_next_comes(name: str, address: str) -> None:
    peer = the(name)
    script = f"""
        async function main() {{
          const caller = await require("./bench/peer_module").peerModule("{peer.module}").start("{address}");
          const first = await caller.call("echo", Uint8Array.of(1, 2));
          const second = await caller.call("echo", Uint8Array.of(3, 4));
          console.log([...first, ...second].join());
          await caller.stop();
        }}
        main();"""
    with callee_of(peer, "ts->py", address), process([*trial.TS_NODE, "-e", script], "1,2,3,4") as caller:
        assert caller.wait(HANG_S) == 0


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL], ids=name_of)
def test_iceoryx2_leaves_nothing_in_shared_memory_when_its_caller_is_ended(
    ended_by: signal.Signals, address: str
) -> None:
    peer = the("iceoryx2-py-py")
    named = f"iox2_{Path(address).name}_*"
    with callee_of(peer, "py->ts", address) as callee, caller_of(peer, "py->ts", address) as caller:
        assert list(Path("/dev/shm").glob(named))
        caller.send_signal(ended_by)
        caller.wait(HANG_S)
        callee.terminate()
        assert callee.wait(HANG_S) == 0
    assert not list(Path("/dev/shm").glob(named))


def test_a_message_that_is_too_large_for_iceoryx2_is_refused(address: str) -> None:
    peer = the("iceoryx2-py-py")
    from bench.peers import iceoryx2_py_py

    with callee_of(peer, "py->ts", address) as callee:
        caller = iceoryx2_py_py.start(address)
        with pytest.raises(ValueError, match="echo: a message of 8388619 bytes; iceoryx2 has room for 8388608 here"):
            caller.call("echo", bytes(8 * 1024 * 1024))
        assert caller.call("echo", "small") == "small"
        caller.stop()
        callee.terminate()
        assert callee.wait(HANG_S) == 0


def pieces_of(data: bytes, size: int) -> uds_msgpack.Receive:
    """Receive the data in pieces of that size, and then the end."""
    position = 0

    def receive(room: memoryview) -> int:
        nonlocal position
        piece = data[position : position + min(size, len(room))]
        room[: len(piece)] = piece
        position += len(piece)
        return len(piece)

    return receive


MESSAGES: Final[list[object]] = ["a", ["echo", None], "x" * 200_000, "y" * 70_000, "z"]
SIZES: Final = [1, 3, 4, 5, 7, 64 * 1024, 1024 * 1024]


def sent(messages: list[object]) -> bytes:
    """What Python sends of them."""
    stream = bytearray()
    outgoing = uds_msgpack.Outgoing(stream.extend)
    for message in messages:
        outgoing.put(message)
    return bytes(stream)


@pytest.mark.parametrize("size", SIZES)
def test_messages_to_python_are_the_same_however_they_arrive(size: int) -> None:
    incoming = uds_msgpack.Incoming(pieces_of(sent(MESSAGES), size))
    assert [incoming.take() for _ in MESSAGES] == MESSAGES
    with pytest.raises(ConnectionError, match="closed the connection"):
        incoming.take()


def test_messages_to_typescript_are_the_same_however_they_arrive() -> None:
    script = f"""
        const {{ unpack }} = require("msgpackr");
        const {{ cut }} = require("./bench/peers/uds_msgpack");
        const stream = require("node:fs").readFileSync(0);
        const arrived = {SIZES}.map((size) => {{
          const messages = [];
          const arrive = cut((message) => messages.push(unpack(message)));
          for (let start = 0; start < stream.length; start += size) arrive(stream.subarray(start, start + size));
          return messages;
        }});
        console.log(JSON.stringify(arrived));"""
    done = subprocess.run(
        [*trial.TS_NODE, "-e", script],
        cwd=ROOT,
        env=ENVIRONMENT,
        input=sent(MESSAGES),
        stdout=subprocess.PIPE,
        timeout=HANG_S,
        check=True,
    )
    assert json.loads(done.stdout) == [MESSAGES] * len(SIZES)


def test_a_message_that_breaks_off_is_no_message() -> None:
    with pytest.raises(ConnectionError, match="closed the connection"):
        uds_msgpack.Incoming(pieces_of(sent(["whole"])[:-1], 1024)).take()


def test_a_child_for_each_call_has_the_functions_of_the_workload() -> None:
    assert spawn_callee.FUNCTIONS.keys() == workload.FUNCTIONS.keys()


def test_memcpy_of_nothing_is_refused() -> None:
    command = [str(program_of("memcpy")), "1", "0", "-1", "-1", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 2
    assert "PAYLOAD_BYTES is 0" in done.stderr

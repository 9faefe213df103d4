"""`shm-polyglot top`, and the counters that it shows."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, ROOT, Pair
from services import freeze
from shm_protocol import counters
from shm_protocol.cli.top import Watch
from shm_protocol.cli.top_table import table
from shm_protocol.config import read_settings
from shm_protocol.counters import Counters, Watched

TOP = (sys.executable, "-m", "shm_protocol", "top")
# One line of the table: what a worker's caller has done.
WORKED = re.compile(r"worker +node +([\d,.kM]+) +[\d.]+[mµ]?s")


def connections(client: shm_protocol.Client) -> dict[str, Watched]:
    """By name, without the asker's own."""
    return {one.name: one for one in counters.parse(client.call(counters.METHOD)) if not one.asks}


def calls(side: Counters | None) -> int:
    assert side is not None
    return sum(side.latency)


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOP, "--path", str(path), *arguments], capture_output=True, text=True, timeout=HANG_S, check=False
    )


@contextmanager
def calling(pair: Pair) -> Iterator[None]:
    """Node calls its worker all the time."""
    began, ends = threading.Event(), threading.Event()

    def call() -> None:
        with pair.connect(name="driver") as client:
            while not ends.is_set():
                assert client.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
                began.set()

    thread = threading.Thread(target=call)
    thread.start()
    assert began.wait(HANG_S)
    try:
        yield
    finally:
        ends.set()
        thread.join()


class Screen:
    """`shm-polyglot top` on a terminal of its own."""

    def __init__(self, path: Path, *arguments: str, term: str = "xterm-256color", columns: int = 130) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM=term, LC_ALL="C.UTF-8", COLUMNS=str(columns), LINES="30")
            os.execv(TOP[0], [*TOP, "--path", str(path), *arguments])
        self.seen = ""

    def read_until(self, pattern: str) -> None:
        """Read what is drawn until it has been."""
        end = time.monotonic() + HANG_S
        while re.search(pattern, self.seen) is None:
            readable, _, _ = select.select([self._terminal], [], [], max(0, end - time.monotonic()))
            assert readable, f"never shown: {pattern}\n{self.seen[-2000:]!r}"
            self.seen += self._read()

    def press(self, key: str) -> None:
        os.write(self._terminal, key.encode())

    def end(self) -> int:
        """Its exit code; `seen` has the rest."""
        while part := self._read():
            self.seen += part
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> str:
        try:
            return os.read(self._terminal, 65536).decode(errors="replace")
        except OSError:
            # So Linux tells that nobody has the terminal open any more.
            return ""


def test_each_call_is_counted_by_the_side_that_made_it(pair: Pair, transport: str) -> None:
    with pair.connect(name="counted") as client, pair.connect() as asker:
        before = connections(asker)
        for number in range(5):
            assert client.call("functions.echo", number) == number
        with pytest.raises(shm_protocol.RemoteError):
            client.call("functions.fail", "no")
        with pytest.raises(shm_protocol.CallTimeout):
            client.call("functions.hang", timeout=0.05)
        with pytest.raises(shm_protocol.EncodeError):
            client.call("functions.echo", object())
        for _ in range(3):
            assert client.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
        after = connections(asker)
        counted, worker, worker_before = after["counted"], after["worker 0"], before["worker 0"]
    assert counted.transport == transport
    if transport == "socket":
        assert (counted.dialer, counted.acceptor) == (None, None)
        return
    assert counted.dialer is not None
    assert (calls(counted.dialer), counted.dialer.calls_failed) == (10, 2)
    assert calls(counted.acceptor) == 0
    assert calls(worker.acceptor) - calls(worker_before.acceptor) == 3
    assert calls(worker.dialer) == calls(worker_before.dialer)
    # A cancel for the call that took too long is a message as well.
    assert counted.dialer.messages_sent == 11
    assert counted.acceptor is not None
    assert counted.acceptor.messages_sent == 9
    assert counted.acceptor.bytes_sent == counted.dialer.bytes_received


def test_a_latency_is_that_of_the_call() -> None:
    with Pair("shm") as pair, pair.connect(name="counted") as client, pair.connect() as asker:
        began = time.monotonic()
        client.call("functions.after", 60, None)
        took_us = (time.monotonic() - began) * 1e6
        told = connections(asker)["counted"].dialer
    assert told is not None
    (bucket,) = (bucket for bucket, count in enumerate(told.latency) if count)
    # A timer of Node's may be a millisecond early.
    assert counters.bucket_begin_ns(bucket + 1) / 1000 > 58_000
    assert counters.bucket_begin_ns(bucket) / 1000 <= took_us


def test_calls_of_asyncio_are_counted() -> None:
    async def call(path: Path) -> None:
        async with await shm_protocol.connect_async(path, name="counted") as client:
            await asyncio.gather(*(client.call("functions.echo", number) for number in range(20)))
            with pytest.raises(shm_protocol.RemoteError):
                await client.call("functions.fail", "no")
            with pytest.raises(shm_protocol.CallTimeout):
                await client.call("functions.hang", timeout=0.05)
            answer = await client.call(counters.METHOD)
        (told,) = counters.parse(answer)
        assert told.dialer is not None
        assert (calls(told.dialer), told.dialer.calls_failed) == (22, 2)

    with Pair("shm") as pair:
        asyncio.run(call(pair.path))


def test_a_line_of_json_for_each_look_tells_who_is_connected_and_what_has_been_called(
    pair: Pair, transport: str
) -> None:
    with calling(pair):
        done = run(pair.path, "--json", "--interval", "1", "--count", "2")
    assert (done.returncode, done.stderr.count("Error")) == (0, 0)
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == 2
    for look in looks:
        assert (look["format"], look["socket"]) == (1, str(pair.path))
        assert look["acceptor"]["language"].startswith("node ")
        assert look["acceptor"]["project"] == str(ROOT)
        by_name: dict[str, Any] = {one["name"]: one for one in look["connections"]}
        assert set(by_name) == {"worker 0", "driver"} | {name for name in by_name if name.startswith("python -c")}
        worker, driver = by_name["worker 0"], by_name["driver"]
        assert (worker["role"], worker["transport"]) == ("worker", transport)
        if transport == "shm":
            assert worker["acceptor"]["calls"] > 0
            assert driver["dialer"]["calls"] > 0
            assert driver["dialer"]["p50_us"] <= driver["dialer"]["p99_us"] <= driver["dialer"]["longest_us"]
            assert worker["dialer"]["p50_us"] is None
        else:
            assert (worker["dialer"], worker["acceptor"]) == (None, None)


def test_without_a_terminal_the_tables_follow_one_another(pair: Pair, transport: str) -> None:
    with calling(pair):
        done = run(pair.path, "--interval", "1", "--count", "2")
    assert (done.returncode, done.stdout.count("CONNECTION")) == (0, 2)
    if transport == "shm":
        assert len(WORKED.findall(done.stdout)) == 2
    else:
        assert "socket transport: without a segment nothing is counted" in done.stdout


def test_on_a_terminal_it_is_drawn_until_q_and_the_terminal_is_as_before() -> None:
    with Pair("shm") as pair:
        pair.add_worker()
        with calling(pair):
            screen = Screen(pair.path, "--interval", "0.1")
            for shown in ("q: quit", "worker 0", "driver", r"\d[µm]s"):
                screen.read_until(shown)
            screen.press("q")
            assert screen.end() == 0
    # rmcup: what was on the screen before is there again.
    assert "\x1b[?1049l" in screen.seen[-100:]


@pytest.mark.parametrize(
    ("columns", "shown", "left_out"),
    [
        (130, ["calls/s", "p50", "p99", "longest", "fail/s", "ring", "parks/s", "bells/s", "MB/s", "now"], []),
        (80, ["calls/s", "p50", "p99", "longest", "fail/s", "ring", "parks/s", "now"], ["bells/s", "MB/s"]),
        (50, ["calls/s", "p50", "p99"], ["fail/s", "parks/s", "bells/s", "MB/s"]),
    ],
)
def test_a_narrow_terminal_has_whole_lines_with_the_columns_that_say_most(
    columns: int, shown: list[str], left_out: list[str]
) -> None:
    with Pair("shm") as pair:
        pair.add_worker()
        with calling(pair):
            told = table_of(pair.path, columns)
            screen = Screen(pair.path, "--interval", "0.1", columns=columns)
            screen.read_until(r"\d[µm]s")
            screen.press("q")
            assert screen.end() == 0
    heading, *lines = told
    assert heading.split() == ["CONNECTION", "FROM", *shown]
    assert all(len(line) <= columns for line in told)
    assert any("worker 0" in line for line in lines)
    for name in shown:
        assert name in screen.seen
    for name in left_out:
        assert name not in screen.seen


def table_of(path: Path, columns: int) -> list[str]:
    """The lines of one table, as they are for a terminal of that width."""
    watch = Watch(read_settings(path))
    try:
        watch.look()
        return table(watch.look(), columns)
    finally:
        watch.close()


def test_ctrl_c_ends_it_with_exit_code_0() -> None:
    with Pair("shm") as pair:
        screen = Screen(pair.path)
        screen.read_until("nobody is connected")
        screen.press("\x03")
        assert screen.end() == 0
        piped = subprocess.Popen(
            [*TOP, "--path", str(pair.path), "--json", "--interval", "0.01"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert piped.stdout is not None
        with piped.stdout as lines:
            assert lines.readline().startswith(b"{")
            piped.send_signal(signal.SIGINT)
            lines.read()
        assert piped.wait(HANG_S) == 0
        assert piped.stderr is not None
        with piped.stderr as errors:
            assert b"Traceback" not in errors.read()


def test_where_nobody_listens_a_terminal_waits_and_a_pipe_is_told() -> None:
    with Pair("shm") as pair:
        pair.node.kill()
        pair.node.wait(HANG_S)
        done = run(pair.path, "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert "PeerUnavailable: nobody listens at" in done.stderr
        screen = Screen(pair.path, "--interval", "0.1")
        screen.read_until("nobody listens at")
        pair.restart_node()
        screen.read_until("nobody is connected")
        pair.node.kill()
        pair.node.wait(HANG_S)
        screen.read_until("PeerGone|nobody listens.*nobody listens")
        screen.press("q")
        assert screen.end() == 0


def test_a_node_side_that_does_not_answer_is_said_to_be_held_or_stopped() -> None:
    with Pair("shm") as pair:
        watched = subprocess.Popen(
            [*TOP, "--path", str(pair.path), "--json", "--interval", "0.01"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watched.stdout is not None
        assert watched.stderr is not None
        with watched.stdout as lines, watched.stderr as errors:
            assert lines.readline().startswith(b"{")
            freeze(pair.node.pid)
            lines.read()
            assert (
                b"CallTimeout: node_peer.ts has not answered for 2 s: a function holds its event loop" in errors.read()
            )
        pair.node.send_signal(signal.SIGCONT)
        assert watched.wait(HANG_S) == 1


def test_a_terminal_that_cannot_be_driven_and_settings_that_cannot_be_are_usage_errors(tmp_path: Path) -> None:
    screen = Screen(tmp_path / "none.sock", term="no-such-terminal")
    assert screen.end() == 2
    assert "TERM='no-such-terminal'" in screen.seen
    done = run(tmp_path / "none.sock", "--interval", "0")
    assert done.returncode == 2
    assert "--interval: '0': must be a number greater than 0" in done.stderr
    environment = os.environ | {"SHM_POLYGLOT_RING_BYTES": "5"}
    refused = subprocess.run([*TOP], env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert refused.returncode == 2
    assert 'SHM_POLYGLOT_RING_BYTES="5": must be' in refused.stderr

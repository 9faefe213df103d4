"""The bench measures what it says, and says what it could not measure."""

from __future__ import annotations

import array
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import percentiles, trial
from bench.peers import DIRECTIONS, PEERS, Direction, Peer

ROOT = Path(__file__).resolve().parent.parent
HANG_S = 60
CALLS = 50


def test_percentiles_of_a_known_distribution_are_right_to_three_digits() -> None:
    result = percentiles.of(array.array("I", range(1, 100_001)))
    assert result.p50 == pytest.approx(50.0, rel=1e-3)
    assert result.p95 == pytest.approx(95.0, rel=1e-3)
    assert result.p99 == pytest.approx(99.0, rel=1e-3)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_peer_answers_in_both_directions(peer: Peer, direction: Direction) -> None:
    samples = trial.run(peer, direction, CALLS, CALLS)
    assert len(samples) == CALLS
    assert min(samples) > 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_peer_that_breaks_is_reported_and_not_timed(direction: Direction) -> None:
    broken = dataclasses.replace(PEERS[2], module="nothing_of_that_name")
    with pytest.raises(trial.TrialFailed):
        trial.run(broken, direction, CALLS, 0)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` to its end."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)


def test_the_table_has_a_row_for_each_peer_that_matches() -> None:
    done = bench("--only", "c-*", "--rounds", "1", "--no-idle")
    assert done.returncode == 0, done.stderr
    assert "c-ring" in done.stdout
    assert "http-keepalive" not in done.stdout


def test_the_list_names_every_peer() -> None:
    listed = bench("--list").stdout
    assert all(peer.name in listed for peer in PEERS)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--rounds", "0"), "--rounds is 0"), (("--only", "zmq"), "zmq"), (("--rowns", "1"), "--rowns")],
)
def test_a_bad_option_is_named_and_nothing_is_measured(arguments: tuple[str, ...], named: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert named in done.stdout + done.stderr


def has_processes(group: int) -> bool:
    """Whether a process of that group is there, be it dead and unreaped."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_ends_every_child_and_prints_the_table() -> None:
    command = [sys.executable, "-m", "bench", "--only", "[cs]*", "--rounds", "1000", "--no-idle"]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert running.stdout is not None
    assert b"cores" in running.stdout.readline()
    # As a terminal does: the whole foreground group gets the signal.
    os.killpg(running.pid, signal.SIGINT)
    output, _ = running.communicate(timeout=HANG_S)
    assert running.returncode == 130
    assert b"c-ring" in output
    # Those that are not its own children are reaped by init, in its own time.
    end = time.monotonic() + HANG_S
    while has_processes(running.pid):
        assert time.monotonic() < end, "a child of the bench lives on"
        time.sleep(0.01)

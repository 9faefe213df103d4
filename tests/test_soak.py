"""The soak command: it finds leaks where there are some and none where there are none, and ends cleanly."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from services import HANG_S, ROOT, pids, read, resting_process
from soak.__main__ import Watched
from soak.holdings import Holdings, holdings
from soak.trend import trend

HELD = Holdings(descriptors=30, mappings=200, segments=2, rss=80.0, pss=60.0)


def watched(**after: int) -> Watched:
    """A process whose memory stays as it is, with noise, and that holds this at the end."""
    noise = random.Random(1)
    process = Watched("node", 1, HELD, Holdings(**{**HELD.__dict__, **after}))
    for second in range(300):
        process.times.append(float(second))
        process.samples.append(Holdings(**{**HELD.__dict__, "rss": 80.0 + noise.uniform(-0.5, 0.5)}))
    return process


def test_a_slope_is_found_with_an_interval_that_holds_it() -> None:
    noise = random.Random(2)
    times = [float(second) for second in range(300)]
    found = trend(times, [50.0 + 36.0 / 3600 * time + noise.gauss(0, 0.3) for time in times])
    assert found is not None
    assert found.low < 36.0 < found.high
    assert 0 < found.high - found.low < 10


def test_a_wandering_figure_has_a_wider_interval_than_independent_noise_of_the_same_size() -> None:
    noise = random.Random(3)
    times = [float(second) for second in range(300)]
    independent = [noise.gauss(0, 1) for _ in times]
    wandering = [0.0]
    for _ in times[1:]:
        wandering.append(0.95 * wandering[-1] + noise.gauss(0, 0.31))
    widths = [found.high - found.low for values in (independent, wandering) if (found := trend(times, values))]
    assert all(2 * narrow < wide for narrow, wide in pairwise(widths))


def test_too_few_samples_tell_no_slope_and_a_figure_that_never_changes_has_none() -> None:
    assert trend([1.0, 2.0], [1.0, 2.0]) is None
    flat = trend([float(second) for second in range(20)], [7.0] * 20)
    assert flat is not None
    assert (flat.per_hour, flat.low, flat.high) == (0.0, 0.0, 0.0)


def test_what_stays_as_it_was_is_no_leak() -> None:
    assert watched().leaks(24.0) == []


@pytest.mark.parametrize("what", ["descriptors", "segments"])
def test_one_descriptor_or_segment_more_at_rest_is_a_leak(what: str) -> None:
    (leak,) = watched(**{what: getattr(HELD, what) + 1}).leaks(24.0)
    assert f"{what} at rest" in leak


def test_memory_that_grows_faster_than_it_may_is_a_leak() -> None:
    process = watched()
    process.samples = [
        Holdings(**{**sample.__dict__, "rss": sample.rss + time / 60})
        for sample, time in zip(process.samples, process.times, strict=True)
    ]
    assert process.leaks(100.0) == []
    (leak,) = process.leaks(24.0)
    assert "MiB of memory an hour; 24 may be" in leak


def test_what_a_process_holds_is_counted() -> None:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(Path("/dev/null").open()).fileno() for _ in range(5)]
        less = holdings(stack.enter_context(resting_process()))
        more = holdings(stack.enter_context(resting_process(opened)))
    assert more.descriptors == less.descriptors + 5
    assert less.rss >= less.pss > 1.0


@pytest.fixture
def mark() -> str:
    """In the environment of the command and so of all its processes."""
    return f"SOAK_OF_TEST={os.getpid()}-{random.randrange(1 << 32)}"


def start(mark: str, *arguments: str) -> "subprocess.Popen[str]":
    name, _, value = mark.partition("=")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak", "--workers", "1", *arguments],
        cwd=ROOT,
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As a terminal's: Ctrl-C reaches the whole group.
        start_new_session=True,
    )


def processes_left(mark: str) -> list[int]:
    return [pid for pid in pids() if mark.encode() in read(pid, "environ").split(b"\0")]


def test_a_short_soak_checks_answers_of_every_kind_and_finds_no_leak(mark: str) -> None:
    # Too short for the memory: a heap that has not found its size is no leak.
    with start(mark, "--minutes", "0.1", "--mib-per-hour", "1e9") as soak:
        output, _ = soak.communicate(timeout=HANG_S)
    assert soak.returncode == 0, output
    assert "no leak, no error" in output
    for kind in ("http to Flask", "http to Node", "library calls", "connects and closes"):
        assert kind in output
    assert processes_left(mark) == []


def test_ctrl_c_prints_what_there_is_and_ends_every_process(mark: str) -> None:
    with start(mark, "--minutes", "5") as soak:
        assert soak.stdout is not None
        lines: list[str] = []
        # The warm-up is a fifth of the time: interrupted, too, it must end well.
        while "warm-up" not in (line := soak.stdout.readline()):
            assert line, lines
            lines.append(line)
        os.killpg(soak.pid, signal.SIGINT)
        output, _ = soak.communicate(timeout=HANG_S)
    assert soak.returncode == 130, output
    assert "answers, each checked" in output
    assert processes_left(mark) == []

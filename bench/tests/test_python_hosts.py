"""The rivals whose host is Python: JavaScript engines that live in the process that calls them, or that they call."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from required import require

from bench.cases import CASES, DIRECTIONS, FIRST, PREDICT, Case, Direction, echo
from bench.peers import PEERS, Peer, embedded_javascript
from bench.pinning import ANY_CORES
from bench.trial import Outcome, Trial

ROOT: Final = Path(__file__).resolve().parents[2]
ENGINES: Final = ("pythonmonkey", "stpyv8", "mini-racer")
WITH_A_CLOCK: Final = ("pythonmonkey", "stpyv8")
"""Those whose JavaScript can read Python's clock during a call."""
FEW_CALLS: Final = 3
MANY_NULLS: Final = 20_000
"""More than there are references to None in a Python before 3.12, which counts them."""
MANY_LISTS: Final = 600
"""Twice as many as PythonMonkey survives when a list is not copied."""
ENDLESS: Final = 10**9
MOST_ERRORS: Final = 100
A_MOMENT_S: Final = 0.05
ENOUGH_S: Final = 60
HANG_S: Final = 200.0

BATCH: Final = next(case for case in CASES if case.workload == "batch")
AFTER_PAUSE: Final = next(case for case in CASES if case.workload == "after-10ms")


def engine(name: str) -> Peer:
    """The peer of that name, if it is installed."""
    peer = next(peer for peer in PEERS if peer.name == name)
    require(peer.missing())
    return peer


def outcomes(name: str, direction: Direction, *cases: Case) -> list[Outcome]:
    """What the bench reports of each case, made in fresh processes."""
    found: list[Outcome] = []
    Trial(engine(name), direction, ANY_CORES).run(cases, lambda _, outcome: found.append(outcome))
    return found


def in_its_process(name: str, direction: Direction, program: str, address: Path) -> Any:
    """What a program prints as JSON. It has the peer's caller as `caller`, and workload.py as `workload`."""
    lines = [
        "import dataclasses, json",
        "from bench import workload",
        f"from bench.peers import {engine(name).module} as peer",
        f"caller = peer.start({str(address)!r})",
        program,
        "caller.stop()",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        env={**os.environ, "BENCH_DIRECTION": direction},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ENGINES)
def test_every_call_is_answered_rightly_and_the_process_ends_by_itself(name: str, direction: Direction) -> None:
    cases = [
        dataclasses.replace(case, calls=FEW_CALLS, seconds=ENOUGH_S, neighbour=False)
        for case in engine(name).cases(direction)
        if case.warmup and not case.pause_s
    ]
    found = outcomes(name, direction, *cases)
    assert [outcome.failed for outcome in found] == [""] * len(cases)
    assert [outcome.errors for outcome in found] == [0] * len(cases)
    assert [len(outcome.times_ns) for outcome in found] == [FEW_CALLS] * len(cases)
    assert all(min(outcome.times_ns) > 0 for outcome in found)


@pytest.mark.parametrize(
    ("name", "direction"),
    [*((name, direction) for name in WITH_A_CLOCK for direction in DIRECTIONS), ("mini-racer", "py->ts")],
)
def test_the_first_call_and_one_after_a_pause_are_timed(name: str, direction: Direction) -> None:
    first, after_pause = outcomes(name, direction, FIRST, dataclasses.replace(AFTER_PAUSE, calls=FEW_CALLS))
    assert (first.failed, first.errors, len(first.times_ns)) == ("", 0, 1)
    assert (after_pause.failed, after_pause.errors, len(after_pause.times_ns)) == ("", 0, FEW_CALLS)
    assert after_pause.elapsed_s >= FEW_CALLS * AFTER_PAUSE.pause_s


def test_what_mini_racer_has_no_clock_for_is_refused() -> None:
    first, after_pause = outcomes("mini-racer", "ts->py", FIRST, AFTER_PAUSE)
    assert "mini-racer, first-call: its JavaScript has no clock finer than 1 ms" in first.failed
    assert "mini-racer, after-10ms: its JavaScript has no clock finer than 1 ms" in after_pause.failed


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", WITH_A_CLOCK)
def test_null_may_cross_many_times(name: str, direction: Direction) -> None:
    (found,) = outcomes(name, direction, dataclasses.replace(echo(0), calls=MANY_NULLS, seconds=ENOUGH_S))
    assert (found.failed, found.errors, len(found.times_ns)) == ("", 0, MANY_NULLS)


@pytest.mark.parametrize("name", ENGINES)
def test_lists_may_cross_many_times(name: str) -> None:
    (found,) = outcomes(name, "py->ts", dataclasses.replace(BATCH, calls=MANY_LISTS, seconds=ENOUGH_S))
    assert (found.failed, found.errors, len(found.times_ns)) == ("", 0, MANY_LISTS)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ENGINES)
def test_a_single_call_gives_its_answer(name: str, direction: Direction, tmp_path: Path) -> None:
    functions = ["predict", "batch", "format", "segment"] if direction == "py->ts" else ["predict", "batch"]
    program = f"""
every_byte = bytes(range(256))
asked = {{name: workload.FIXED[name] for name in {functions}}}
right = [caller.call(name, each["argument"]) == each["answer"] for name, each in asked.items()]
right += [caller.call("echo", value) == value for value in (None, "", "a\\0b \\u20ac", "long" * 50_000, every_byte)]
print(json.dumps(right))"""
    assert in_its_process(name, direction, program, tmp_path) == [True] * (len(functions) + 5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("lambda text: {**workload.FIXED['predict']['answer'], 'confidence': 0.7}", '"confidence":0.7'),
        ("lambda text: {'sentiment': 'positive'}", '{"sentiment":"positive"}'),
        ("lambda text: {**workload.FIXED['predict']['answer'], 'neutral_words': 1}", '"neutral_words":1'),
        ("lambda text: int('seven')", "invalid literal for int() with base 10: 'seven'"),
    ],
    ids=["wrong", "too little", "too much", "raises"],
)
@pytest.mark.parametrize("name", ENGINES)
def test_answers_of_python_that_are_wrong_are_counted_and_the_first_is_shown(
    name: str, function: str, message: str, tmp_path: Path
) -> None:
    program = f"""
from bench.cases import PREDICT
workload.FUNCTIONS["predict"] = {function}
print(json.dumps(dataclasses.asdict(caller.measure(PREDICT, 10 * {MOST_ERRORS}, {ENOUGH_S}))))"""
    measured = in_its_process(name, "ts->py", program, tmp_path)
    assert measured["errors"] == MOST_ERRORS
    assert measured["first_error"].startswith("call 0 ")
    assert message in measured["first_error"]


@pytest.mark.parametrize("name", ENGINES)
def test_bytes_of_python_that_are_wrong_are_counted(name: str, tmp_path: Path) -> None:
    program = f"""
from bench.cases import CASES
case = next(case for case in CASES if case.workload == "bytes")
workload.FUNCTIONS["echo"] = lambda data: b"1" + bytes(data)[1:]
print(json.dumps(dataclasses.asdict(caller.measure(case, {FEW_CALLS}, {ENOUGH_S}))))"""
    measured = in_its_process(name, "ts->py", program, tmp_path)
    assert measured["errors"] >= FEW_CALLS


@pytest.mark.parametrize("name", ENGINES)
def test_calls_from_javascript_end_when_their_time_is_up(name: str, tmp_path: Path) -> None:
    program = f"""
from bench.cases import PREDICT
measured = caller.measure(PREDICT, {ENDLESS}, {A_MOMENT_S})
print(json.dumps(len(measured.times_ns)))"""
    assert 0 < in_its_process(name, "ts->py", program, tmp_path) < ENDLESS


@pytest.mark.parametrize("name", WITH_A_CLOCK)
def test_reading_the_clock_from_javascript_costs_more_than_nothing(name: str) -> None:
    trial = Trial(engine(name), "ts->py", ANY_CORES)
    trial.run([dataclasses.replace(PREDICT, calls=1)], lambda *_: None)
    assert trial.clock_us > 0


def test_stpyv8_leaves_the_home_of_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (found,) = outcomes("stpyv8", "py->ts", dataclasses.replace(PREDICT, calls=1))
    assert found.failed == ""
    assert list(tmp_path.iterdir()) == []


def test_an_engine_without_what_it_is_to_run_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_javascript, "WORKLOAD", tmp_path / "workload.js")
    with pytest.raises(FileNotFoundError, match="workload.js is not there; make bench-setup makes it"):
        embedded_javascript.load(lambda script: script)

"""A trial times what answers rightly, reports what does not, and leaves nothing running."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from bench import trial
from bench.cases import CASES, FIRST, Case, echo
from bench.peers import PEERS, PYTHON_ONLY, Peer
from bench.pinning import ANY_CORES
from bench.processor_time import processor_ns
from bench.trial import Outcome, Trial
from bench.workload import FUNCTIONS, answer_to, argument_of, is_same

TESTS: Final = Path(__file__).resolve().parent
HANG_S: Final = 200.0
SMALL, BROKEN, LARGER = echo(64), echo(1024), echo(16 * 1024)


def utf8_bytes(value: object) -> int:
    """Of all texts in a value, or of its bytes."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(utf8_bytes, value.values()))
    return sum(map(utf8_bytes, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.workload}-{case.payload_bytes}-{case.outstanding}")
def test_the_argument_of_a_case_is_as_large_as_the_case_says(case: Case) -> None:
    argument = argument_of(case)
    assert (argument.nbytes if isinstance(argument, np.ndarray) else utf8_bytes(argument)) == case.payload_bytes


@pytest.mark.parametrize("case", [case for case in CASES if case.function in FUNCTIONS], ids=lambda case: case.workload)
def test_the_expected_answers_are_those_of_the_python_functions(case: Case) -> None:
    assert is_same(FUNCTIONS[case.function](argument_of(case)), answer_to(case))


@pytest.mark.parametrize("other", [[0.0, 1.0], np.zeros(3), np.zeros(2, np.float32), np.ones(2), None])
def test_only_an_array_of_the_same_type_and_elements_answers_for_one(other: object) -> None:
    assert is_same(np.zeros(2), np.zeros(2))
    assert not is_same(other, np.zeros(2))


@pytest.mark.parametrize("answer", [1.0, [1.0], b"1", None, {"confidence": 1.0}])
def test_an_array_does_not_answer_for_what_is_none(answer: object) -> None:
    assert not is_same(np.ones(1), answer)


def broken(how: str, module: str = "echo_but") -> Peer:
    """A peer that goes wrong like that."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Peer(
        "broken",
        "in-process",
        module,
        "",
        1,
        PYTHON_ONLY,
        package="broken_peers",
        environment={"BROKEN_HOW": how, "PYTHONPATH": path},
    )


def outcomes(peer: Peer, cases: Sequence[Case]) -> dict[Case, Outcome]:
    """Of one trial."""
    found: dict[Case, Outcome] = {}
    Trial(peer, "py->ts", ANY_CORES).run(cases, found.__setitem__)
    assert list(found) == list(cases)
    return found


@pytest.mark.parametrize(
    ("how", "said"),
    [("crash", "SIGSEGV"), ("exit", "exit code 3"), ("raise", "a message of its own"), ("wrong", "answered 'fedcba")],
)
def test_a_peer_that_goes_wrong_in_one_case_is_reported_there_and_measured_in_the_others(how: str, said: str) -> None:
    found = outcomes(broken(how), [SMALL, BROKEN, LARGER])
    assert said in found[BROKEN].failed
    assert not found[BROKEN].times_ns
    for case in (SMALL, LARGER):
        assert not found[case].failed
        assert len(found[case].times_ns) > 0
        assert min(found[case].times_ns) > 0


def test_a_peer_that_hangs_is_ended_and_the_other_cases_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "CASE_GUARD_S", 1.0)
    found: dict[Case, Outcome] = {}

    def report(case: Case, outcome: Outcome) -> None:
        found[case] = outcome
        # The next one takes as long as this machine does.
        monkeypatch.setattr(trial, "CASE_GUARD_S", HANG_S)

    Trial(broken("hang"), "py->ts", ANY_CORES).run([BROKEN, LARGER], report)
    assert "hangs" in found[BROKEN].failed
    assert len(found[LARGER].times_ns) > 0


def test_a_peer_that_does_not_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "END_GUARD_S", 1.0)
    reported: list[Outcome] = []
    Trial(broken("linger"), "py->ts").run([SMALL], lambda _, outcome: reported.append(outcome))
    assert len(reported[0].times_ns) > 0
    assert "has not ended" in reported[1].failed


def test_a_peer_that_cannot_start_fails_every_case_with_its_own_message() -> None:
    found = outcomes(broken("start"), [SMALL, LARGER])
    assert all("cannot start" in outcome.failed for outcome in found.values())


def test_a_wrong_answer_among_the_timed_ones_is_counted_and_shown() -> None:
    three_calls = dataclasses.replace(FIRST, calls=3)
    found = outcomes(broken("", module="wrong_second_call"), [three_calls])
    assert found[three_calls].errors == 1
    assert "swapped" in found[three_calls].failed


BURNS_WITH_A_CHILD: Final = """
import os, sys, time

def burn():
    while time.process_time() < 0.1:
        pass

child = os.fork()
burn()
if child:
    print("burnt", flush=True)
    sys.stdin.read()
    os.waitpid(child, 0)
else:
    os.write(1, b"burnt\\n")
    sys.stdin.read()
"""


def test_the_processor_time_of_a_process_has_that_of_its_children_in_it() -> None:
    command = [sys.executable, "-c", BURNS_WITH_A_CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"burnt\n"] * 2
        used = processor_ns([process.pid])
        process.stdin.close()
    assert used >= 200_000_000


@pytest.mark.parametrize("name", ["c-ring", "eventfd"])
def test_a_floor_in_c_times_as_many_calls_as_it_is_told(name: str) -> None:
    peer = next(peer for peer in PEERS if peer.name == name)
    case = peer.cases("py->ts")[0]
    found = outcomes(peer, [case])[case]
    assert len(found.times_ns) == case.calls
    assert min(found.times_ns) > 0
    assert found.cpu_ns > 0


def count_sessions_of(program: str) -> int:
    """Processes whose command line holds the text."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += program.encode() in entry.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


@pytest.mark.parametrize("how", ["crash", "hang", ""])
def test_no_process_and_no_folder_is_left(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial, "CASE_GUARD_S", 1.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcomes(broken(how), [BROKEN])
    assert list(tmp_path.iterdir()) == []
    assert count_sessions_of(str(tmp_path)) == 0

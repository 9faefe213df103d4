"""The crash matrix in short: a strike of each kind. `python -m tests.chaos` has all of them, and many."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from chaos import leftovers, levels, matrix, misbehaviour, questions, report
from chaos.journal import Lane
from chaos.leftovers import Held
from chaos.matrix import Cell
from chaos.questions import token
from chaos.report import Figures
from services import HANG_S, ROOT, children, resting_process
from shm_protocol import PeerGone, RemoteError

COMMAND = (sys.executable, "-m", "tests.chaos")

DEATHS = ("node/*/python-calls", "worker/*/node-calls")
LARGE_MESSAGES = ("node/TERM/fragments", "worker/KILL/ring-full")
STOPS = ("node/STOP/python-calls", "worker/STOP/node-calls")


FUNCTIONS = matrix.select("functions/*")
CLIENTS = matrix.select("clients/*")

NOBODY_GIVES_UP_S = HANG_S / 2
"""The deadline of a question to whoever is not stopped: a guard, out of reach of a machine that pauses for seconds."""
STOPPED_TIMEOUT_S = 5.0
"""Of a question where somebody is stopped for longer than that."""

ROUNDS = 30


def strike(*cells: Cell, timeout_s: float = NOBODY_GIVES_UP_S) -> Figures:
    """One strike for each of the cells. No time is judged but by the guards: `python -m tests.chaos` does that."""
    total = Figures()
    for _, figures in levels.strikes(cells, timeout_s):
        total += figures
    assert total.strikes == len(cells) > 0
    assert total.verified > 0
    return total


@pytest.mark.parametrize("pattern", DEATHS)
def test_who_waits_for_a_dead_peer_is_told_and_all_recovers(pattern: str) -> None:
    deaths = [cell for cell in matrix.select(f"library/{pattern}") if cell.how != "STOP"]
    gone = 0
    for _ in range(ROUNDS):
        figures = strike(*deaths)
        assert not figures.faults
        gone += len(figures.gone)
        # At each of the three strikes everybody may have had an answer just then.
        if gone:
            break
    assert gone > 0


@pytest.mark.parametrize("pattern", LARGE_MESSAGES)
def test_a_message_that_a_side_dies_in_the_middle_of_confuses_nobody(pattern: str) -> None:
    assert not strike(*matrix.select(f"library/{pattern}")).faults


@pytest.mark.parametrize("pattern", STOPS)
def test_who_waits_for_a_stopped_peer_waits_until_the_deadline_and_all_recovers(pattern: str) -> None:
    figures = strike(*matrix.select(f"library/{pattern}"), timeout_s=STOPPED_TIMEOUT_S)
    assert not figures.faults
    assert len(figures.late) > 0


def test_nobody_is_confused_when_both_sides_die_in_a_chain_of_nested_calls() -> None:
    assert not strike(*matrix.select("library/all/KILL/nested")).faults


def test_what_a_worker_killed_in_its_handshake_leaves_is_removed_by_the_next() -> None:
    figures = strike(*matrix.select("library/all/KILL/handshake"))
    assert figures.swept > 0
    assert not figures.faults


@pytest.mark.parametrize("moment", ["nested", "ring-full"])
def test_a_rolling_restart_of_gunicorns_workers_fails_no_call_whatever_is_under_way(moment: str) -> None:
    figures = strike(*matrix.select(f"gunicorn/worker/TERM/{moment}"))
    assert not figures.faults
    assert not figures.failures


def test_the_others_take_over_from_a_worker_that_is_killed_and_a_master_that_ends_fails_no_call_under_way() -> None:
    figures = strike(
        *matrix.select("gunicorn/worker/KILL/node-calls"), *matrix.select("gunicorn/master/TERM/node-calls")
    )
    assert not figures.faults
    assert "PeerUnavailable" in figures.failures


def test_a_rolling_restart_of_the_workers_fails_no_request() -> None:
    figures = strike(*matrix.select("service/worker/TERM/http"))
    assert not figures.faults
    assert not figures.failures


def test_the_service_recovers_when_node_or_the_master_is_killed() -> None:
    assert not strike(*matrix.select("service/node/KILL/http"), *matrix.select("service/master/KILL/http")).faults


@pytest.mark.parametrize("cell", FUNCTIONS, ids=lambda cell: cell.name)
def test_functions_that_misbehave_end_nothing_and_hold_nobody(cell: Cell) -> None:
    assert not strike(cell).faults


@pytest.mark.parametrize("cell", CLIENTS, ids=lambda cell: cell.name)
def test_clients_that_misbehave_hold_nobody_and_get_what_is_owed_to_them(cell: Cell) -> None:
    assert not strike(cell).faults


# That the matrix can fail.


class Answering:
    """Answers every call alike."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def call(self, method: str, *args: object, timeout: float | None = None) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stream(self, method: str, *args: object, timeout: float | None = None) -> object:
        return nullcontext(self.answer)


def test_what_a_function_that_misbehaves_is_answered_with_is_judged() -> None:
    assert misbehaviour.ask(Answering(RemoteError("ValueError", "no", None, "")), "raises", 7)
    assert not misbehaviour.ask(Answering("an answer where there is none"), "raises", 7)
    assert misbehaviour.ask(Answering(token(7)), "sleeps", 7)
    assert not misbehaviour.ask(Answering(token(8)), "sleeps", 7)
    assert misbehaviour.ask(Answering([token(7), token(8)]), "streams", 7)
    assert not misbehaviour.ask(Answering([token(7), token(7)]), "streams", 7)
    with pytest.raises(PeerGone):
        misbehaviour.ask(Answering(PeerGone("ended")), "returns", 7)


def test_others_that_wait_for_too_long_are_reported() -> None:
    limit = report.WAITED_LIMIT_S
    assert Figures(waited=[limit / 2]).over_limits() == []
    assert Figures(waited=[limit / 2, 2 * limit]).over_limits() == ["another waited for 4.0 s, the limit 2 s"]


@pytest.mark.parametrize("shape", ["answer", "mirror", "descend", "stall"])
def test_the_answer_to_another_question_is_a_wrong_one(shape: str) -> None:
    def answer(to: int) -> Any:
        return {
            "answer": token(to),
            "mirror": questions.block(to, questions.size_of(7)),
            "descend": token(token(token(token(token(to))))),
            "stall": token(to),
        }[shape]

    assert questions.ask(lambda *_, **__: answer(7), shape, 7)
    assert not questions.ask(lambda *_, **__: answer(8), shape, 7)


def test_a_block_that_does_not_belong_to_its_question_is_refused() -> None:
    with pytest.raises(ValueError, match="question 7"):
        questions.mirror(7, questions.block(7, 64))


def test_a_wrong_answer_is_told_and_not_counted_as_verified() -> None:
    wrong: deque[str] = deque()
    lane = Lane(3, deque(), wrong)
    lane.attempt(lambda _: False)
    assert lane.verified == 0
    assert len(wrong) == 1


def test_what_a_process_holds_more_than_before_is_a_leak() -> None:
    assert not Held(5, 2).exceeds(Held(5, 2))
    assert not Held(4, 1).exceeds(Held(5, 2))
    assert Held(6, 1).exceeds(Held(5, 2))
    assert Held(4, 3).exceeds(Held(5, 2))


def test_a_descriptor_more_is_seen(tmp_path: Path) -> None:
    with resting_process() as less, (tmp_path / "file").open("wb") as file, resting_process([file.fileno()]) as more:
        assert leftovers.held(more).exceeds(leftovers.held(less))
        assert not leftovers.held(less).exceeds(leftovers.held(more))


def test_times_over_a_limit_are_reported() -> None:
    slow = [report.GONE_LIMIT_S / 10] * 90 + [report.GONE_LIMIT_S * 2] * 10
    assert Figures(gone=[report.GONE_LIMIT_S / 10]).over_limits() == []
    assert Figures(gone=slow).over_limits() == ["from death to PeerGone: p99 is 200.0 ms, the limit 100 ms"]


def test_every_victim_signal_moment_and_way_to_misbehave_has_a_cell() -> None:
    names = {cell.name for cell in matrix.CELLS}
    assert len(names) == len(matrix.CELLS) == 3 * 4 * 7 + 4 * 4 * 7 + 4 * 4 + 2 * 5 + 2 * 6
    assert Cell("service", "master", "TERM", "http").name in names


def test_a_pattern_that_matches_nothing_is_bad_usage() -> None:
    result = subprocess.run([*COMMAND, "--only", "nowhere/*"], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert result.returncode == 2
    assert "--only nowhere/*: matches no cell" in result.stderr


def test_ctrl_c_ends_every_program_and_prints_what_was_counted() -> None:
    command = [*COMMAND, "--only", "library/worker/KILL/node-calls", "--rounds", "1000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("library/worker/KILL/node-calls ")
        # Between two rounds there are none.
        while not (programs := children(running.pid)):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=HANG_S)
    assert running.returncode == 130
    assert "interrupted" in rest
    assert "verified calls" in rest
    assert not any(map(leftovers.lives, programs))

"""The crash matrix in short: a strike of each kind. `python -m tests.chaos` has all of them, and many."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from chaos import leftovers, levels, matrix, questions, report
from chaos.journal import Lane
from chaos.leftovers import Held
from chaos.matrix import Cell
from chaos.questions import token
from chaos.report import Figures
from services import HANG_S, ROOT, children

COMMAND = (sys.executable, "-m", "tests.chaos")

DEATHS = ("node/*/python-calls", "worker/*/node-calls")
LARGE_MESSAGES = ("node/TERM/fragments", "worker/KILL/ring-full")
STOPS = ("node/STOP/python-calls", "worker/STOP/node-calls")


def strike(*cells: Cell) -> Figures:
    """One strike for each of the cells."""
    total = Figures()
    for _, figures in levels.strikes(cells):
        total += figures
    assert total.strikes == len(cells) > 0
    assert total.verified > 0
    return total


@pytest.mark.parametrize("pattern", DEATHS)
def test_who_waits_for_a_dead_peer_is_told_and_all_recovers(pattern: str) -> None:
    figures = strike(*(cell for cell in matrix.select(f"library/{pattern}") if cell.how != "STOP"))
    assert not figures.faults
    # Of three strikes: at one of them everybody may have had an answer just then.
    assert len(figures.gone) > 0


@pytest.mark.parametrize("pattern", LARGE_MESSAGES)
def test_a_message_that_a_side_dies_in_the_middle_of_confuses_nobody(pattern: str) -> None:
    assert not strike(*matrix.select(f"library/{pattern}")).faults


@pytest.mark.parametrize("pattern", STOPS)
def test_who_waits_for_a_stopped_peer_waits_until_the_deadline_and_all_recovers(pattern: str) -> None:
    figures = strike(*matrix.select(f"library/{pattern}"))
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


# That the matrix can fail.


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
    before = leftovers.held(os.getpid())
    with (tmp_path / "file").open("wb"):
        assert leftovers.held(os.getpid()).exceeds(before)


def test_times_over_a_limit_are_reported() -> None:
    slow = [report.GONE_LIMIT_S / 10] * 90 + [report.GONE_LIMIT_S * 2] * 10
    assert Figures(gone=[report.GONE_LIMIT_S / 10]).over_limits() == []
    assert Figures(gone=slow).over_limits() == ["from death to PeerGone: p99 is 200.0 ms, the limit 100 ms"]


def test_every_victim_signal_and_moment_has_a_cell() -> None:
    names = {cell.name for cell in matrix.CELLS}
    assert len(names) == len(matrix.CELLS) == 3 * 4 * 7 + 4 * 4 * 7 + 4 * 4
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
        programs = children(running.pid)
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=HANG_S)
    assert running.returncode == 130
    assert "interrupted" in rest
    assert "verified calls" in rest
    assert programs
    assert not any(map(leftovers.lives, programs))

"""A call that is not answered in time fails in time; what comes late is dropped, and the connection goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, Pair


def late_answers_of_workers(node: shm_protocol.Client) -> int:
    """Answers of Python workers that Node has dropped."""
    return sum(c["lateAnswers"] for c in node.call("driver.connections") if c["role"] == "worker")


def test_python_gives_up_at_its_deadline_and_names_the_method(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.CallTimeout, match=r"functions\.hang"):
        node.call("functions.hang", timeout=0.05)


def test_a_late_answer_is_never_given_to_the_next_call(node: shm_protocol.Client) -> None:
    for number in range(20):
        with pytest.raises(shm_protocol.CallTimeout):
            node.call("functions.hold", "late", timeout=0.001)
        # Node answers the held call now, before this one.
        assert node.call("functions.release") is None
        assert node.call("functions.echo", number) == number


@pytest.fixture
def held(tmp_path: Path) -> Iterator[str]:
    """A file that `worker.pid_once_there` waits for. It is there at the end of the test."""
    yield str(tmp_path / "there")
    (tmp_path / "there").touch()


def test_typescript_gives_up_at_its_deadline_and_names_the_method(node: shm_protocol.Client, held: str) -> None:
    answer = node.call("driver.attempt", "worker.pid_once_there", [held], {"timeoutMs": 20})
    assert answer["error"]["code"] == "CallTimeout"
    assert "worker.pid_once_there" in answer["error"]["message"]


def test_the_worker_that_answers_late_serves_the_next_call_and_the_late_answer_is_dropped(
    pair: Pair, node: shm_protocol.Client, tmp_path: Path
) -> None:
    # It may still owe an answer that is late to a test before this one.
    assert node.call("driver.attempt", "worker.echo", ["idle"]) == {"value": "idle"}
    before, began, timeout_ms = late_answers_of_workers(node), tmp_path / "0 has begun", 20
    # On a busy machine the time may be over before the worker has begun: then there is no answer that could be late.
    while not began.exists():
        release = tmp_path / f"{timeout_ms}"
        began = tmp_path / f"{timeout_ms} has begun"
        attempted = node.call("driver.attempt", "worker.begin_and_wait", [str(release)], {"timeoutMs": timeout_ms})
        assert attempted["error"]["code"] == "CallTimeout"
        release.touch()
        assert node.call("driver.attempt", "worker.echo", ["on time"]) == {"value": "on time"}
        timeout_ms *= 2
    pair.wait_until(lambda: late_answers_of_workers(node) == before + 1, "the late answer has come and was dropped")


def test_a_call_whose_deadline_passed_in_the_queue_is_not_started(
    pair: Pair, node: shm_protocol.Client, tmp_path: Path
) -> None:
    key, release = f"started late over {pair.transport}", tmp_path / "there"
    # The first keeps the only worker; the second waits behind it, longer than it may.
    node.call("driver.notify", "worker.pid_once_there", [str(release)])
    answer = node.call("driver.attempt", "worker.note", [key], {"timeoutMs": 20})
    assert answer["error"]["code"] == "CallTimeout"
    release.touch()
    assert key not in node.call("driver.attempt", "worker.notes", [])["value"]


def test_typescript_is_told_that_its_caller_has_given_up(pair: Pair, node: shm_protocol.Client) -> None:
    seconds = 0.05
    # On a busy machine they may be over before Node has begun: then there is nobody to tell.
    while pair.transport not in node.call("functions.cancelled"):
        assert seconds < HANG_S
        with pytest.raises(shm_protocol.CallTimeout):
            node.call("functions.hangUntilCancelled", pair.transport, timeout=seconds)
        seconds *= 2


def test_typescript_knows_how_long_its_caller_will_wait(node: shm_protocol.Client) -> None:
    context: dict[str, Any] = node.call("functions.context", timeout=20)
    assert 0 < context["remainingMs"] <= 20_000


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(node: shm_protocol.Client, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        node.call("functions.echo", 1, timeout=timeout)

"""A call that is not answered in time fails in time; what comes late is dropped, and the connection goes on."""

from __future__ import annotations

from typing import Any

import pytest
import shm_protocol
from peers import Pair


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


def test_typescript_gives_up_at_its_deadline_and_names_the_method(node: shm_protocol.Client) -> None:
    answer = node.call("driver.attempt", "worker.sleep", [0.2], {"timeoutMs": 20})
    assert answer["error"]["code"] == "CallTimeout"
    assert "worker.sleep" in answer["error"]["message"]


def test_the_worker_that_answers_late_serves_the_next_call_and_the_late_answer_is_dropped(
    pair: Pair, node: shm_protocol.Client
) -> None:
    before = late_answers_of_workers(node)
    node.call("driver.attempt", "worker.sleep", [0.2, "late"], {"timeoutMs": 20})
    assert node.call("driver.attempt", "worker.echo", ["on time"]) == {"value": "on time"}
    pair.wait_until(lambda: late_answers_of_workers(node) == before + 1, "the late answer has come and was dropped")


def test_a_call_whose_deadline_passed_in_the_queue_is_not_started(pair: Pair, node: shm_protocol.Client) -> None:
    key = f"started late over {pair.transport}"
    # The first keeps the only worker; the second waits behind it, longer than it may.
    node.call("driver.notify", "worker.sleep", [0.3])
    answer = node.call("driver.attempt", "worker.note", [key], {"timeoutMs": 20})
    assert answer["error"]["code"] == "CallTimeout"
    assert key not in node.call("driver.attempt", "worker.notes", [])["value"]


def test_typescript_is_told_that_its_caller_has_given_up(pair: Pair, node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.CallTimeout):
        node.call("functions.hangUntilCancelled", pair.transport, timeout=0.05)
    pair.wait_until(lambda: pair.transport in node.call("functions.cancelled"), "the signal was aborted")


def test_typescript_knows_how_long_its_caller_will_wait(node: shm_protocol.Client) -> None:
    context: dict[str, Any] = node.call("functions.context", timeout=20)
    assert 0 < context["deadlineMs"] <= 20_000


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(node: shm_protocol.Client, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        node.call("functions.echo", 1, timeout=timeout)

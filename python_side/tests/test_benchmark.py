"""The Python half of /api/benchmark does not wait for a Node that answers late."""

from types import SimpleNamespace
from typing import Any

import pytest
from shm_protocol import CallTimeout

from python_side import benchmark


class LateNode:
    """Answers each call just before its caller gives up."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.now_ns = 0

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        self.timeouts.append(timeout)
        # Never less than it needs for it to come to an end.
        self.now_ns += 1 + int(timeout * 0.9e9)
        return "hello-world"


def test_all_calls_of_a_run_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LateNode()
    monkeypatch.setattr(benchmark, "get_node", lambda: node)
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter_ns=lambda: node.now_ns))
    with pytest.raises(CallTimeout, match=f"of {benchmark.MAX_CALLS} calls took {benchmark.TIMEOUT_S:g} s"):
        benchmark.time_typescript_calls(benchmark.MAX_CALLS)
    assert node.timeouts[0] == benchmark.TIMEOUT_S
    assert node.timeouts == sorted(node.timeouts, reverse=True)

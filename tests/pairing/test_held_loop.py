"""A TypeScript function holds Node's event loop: whoever waits times out in time, and the log names the function."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
import shm_protocol
from peers import Pair

HELD = re.compile(r"a function held the event loop: nobody else was served meanwhile method=(\S+) ms=(\d+)")
BLOCKED_MS = 2500


@pytest.fixture
def own_pair(transport: str) -> Iterator[Pair]:
    """A pair for one test, whose log is only that test's."""
    with Pair(transport) as pair:
        pair.add_worker()
        yield pair


def test_others_time_out_cleanly_and_the_log_names_the_function_that_blocked(own_pair: Pair) -> None:
    with own_pair.connect() as blocker, own_pair.connect() as other:
        assert other.call("functions.echo", 0) == 0
        blocking: list[object] = []
        thread = threading.Thread(target=lambda: blocking.append(blocker.call("functions.block", BLOCKED_MS)))
        thread.start()
        # Before it has begun, they are answered.
        with pytest.raises(shm_protocol.CallTimeout, match=r"functions\.echo"):
            while True:
                other.call("functions.echo", "in vain", timeout=0.2)
        thread.join()
        assert blocking == ["done"]
        for number in range(3):
            assert other.call("functions.echo", number) == number
        assert other.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
    # A machine that stood still for a second is told of, too.
    (held_ms,) = (int(ms) for method, ms in HELD.findall(own_pair.log()) if method == "functions.block")
    assert held_ms >= BLOCKED_MS

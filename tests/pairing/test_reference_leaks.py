"""A hundred thousand callbacks and handles, both ways, leave nothing behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import shm_protocol
from peers import Pair

WARM = 10_000
ROUNDS = 100_000
MOST = {"here": ROUNDS // 10, "worker": ROUNDS // 10, "node": ROUNDS * 20}
"""Python's blocks, and bytes of Node's: what is kept of one callback or handle takes at least one, or a hundred."""
NOTHING = {"lent": 0, "held": 0}


@pytest.fixture
def client(transport: str) -> Iterator[shm_protocol.Client]:
    """A client of a Node whose collector can be called, and which has a worker."""
    programs = ("references_peer.ts", "references_peer.py")
    with Pair(transport, {"NODE_OPTIONS": "--expose-gc"}, programs=programs) as running:
        running.add_worker()
        with running.connect(max_connections=1) as connected:
            yield connected


def held(client: shm_protocol.Client) -> dict[str, int]:
    """What is not free here, in Node and in the worker."""
    gc.collect()
    node: Any = client.call("functions.heapUsed")
    return {"here": sys.getallocatedblocks(), "node": node, "worker": client.call("driver.run", "blocksOfWorker")}


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Where it has become more than what comes and goes."""
    by = {side: after[side] - before[side] for side in after}
    return {side: more for side, more in by.items() if more > MOST[side]}


def test_what_python_lends_and_borrows(client: shm_protocol.Client) -> None:
    def rounds(count: int) -> None:
        for number in range(count):
            assert client.call("functions.apply", lambda given: given, number) == number
            made = client.call_with("functions.counter", ["one"], 30.0, None, handles=True)
            assert made.add(number) == number

    rounds(WARM)
    before = held(client)
    rounds(ROUNDS - WARM)
    assert grown(before, held(client)) == {}
    assert client.call("functions.table") == NOTHING


def test_what_typescript_lends_and_borrows(client: shm_protocol.Client) -> None:
    client.call("driver.run", "manyRounds", WARM, timeout=None)
    before = held(client)
    client.call("driver.run", "manyRounds", ROUNDS - WARM, timeout=None)
    assert client.call("driver.run", "collected") == "none"
    assert grown(before, held(client)) == {}

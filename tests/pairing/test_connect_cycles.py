"""Connecting and closing again and again leaves nothing behind on either side. `make soak` does it for longer."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import shm_protocol
from peers import Pair

CYCLES = 300
SEGMENT = re.compile(r"^\S+ \S+ \S+ \S+ \d+ +/dev/shm/shm-polyglot-", re.MULTILINE)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def segments_mapped(pid: int) -> int:
    """Mappings of segments, with a name or without."""
    return len(SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text()))


def holds(pid: int) -> tuple[int, int]:
    return descriptors(pid), segments_mapped(pid)


def hold_no_more(before: Sequence[tuple[int, int]], *now: tuple[int, int]) -> bool:
    """Less is no leak: what another test has left in this process may be collected meanwhile."""
    return all(a <= b for one, other in zip(now, before, strict=True) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("closes", ["the client", "the process's end"])
def test_connections_that_have_ended_leave_no_descriptor_mapping_or_name(
    pair: Pair, transport: str, closes: str
) -> None:
    def cycle() -> None:
        with pair.connect() as node:
            assert node.call("functions.echo", "x") == "x"

    def cycle_in_child() -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if pair.connect().call("functions.echo", "x") == "x" else 1
            finally:
                # No clean-up whatever.
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    run, count = (cycle, CYCLES) if closes == "the client" else (cycle_in_child, CYCLES // 10)
    with pair.connect() as standing:
        for _ in range(5):
            run()
        node, here = pair.node.pid, os.getpid()
        pair.wait_until(
            lambda: len(standing.call("driver.connections")) == 2, "only this client and the worker are there"
        )
        # Node closes what they held before its event loop comes round to the next call.
        standing.call("functions.after", 1, None)
        gc.collect()
        before = holds(node), holds(here)
        assert before[1][1] >= (1 if transport == "shm" else 0)
        for _ in range(count):
            run()
        pair.wait_until(lambda: hold_no_more(before, holds(node), holds(here)), f"both hold what they did: {before}")


def test_dials_that_are_refused_leave_nothing_either(transport: str) -> None:
    other = "socket" if transport == "shm" else "shm"
    with Pair(transport) as pair:
        # Before the first: Node closes a refused dialer's socket some time after the dialer has gone.
        node, here = pair.node.pid, os.getpid()
        gc.collect()
        before = holds(node), holds(here)
        for _ in range(CYCLES // 3):
            with pytest.raises(shm_protocol.PeerUnavailable, match="takes only the"):
                pair.connect(transport=other)
        pair.wait_until(lambda: hold_no_more(before, holds(node), holds(here)), f"both hold what they did: {before}")

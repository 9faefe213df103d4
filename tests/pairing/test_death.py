"""Either side may die at any moment: whoever waits is told at once, and the next call finds the other again."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shm_protocol
from peers import HANG_S, Pair
from services import SEGMENT, freeze, read


@pytest.fixture
def mortal(transport: str) -> Iterator[Pair]:
    """A pair for one test."""
    with Pair(transport) as pair:
        yield pair


def segments_of(*pids: int) -> set[Path]:
    """Where the segments are, or were, that processes have mapped. Others have theirs, which come and go."""
    return {Path("/dev/shm", name) for pid in pids for name in SEGMENT.findall(read(pid, "maps").decode())}


@contextlib.contextmanager
def once(condition: Callable[[], object], strike: Callable[[], object]) -> Iterator[None]:
    """Strike as soon as something is so."""

    def watch() -> None:
        while not condition():
            time.sleep(0.001)
        strike()

    striking = threading.Thread(target=watch)
    striking.start()
    yield
    striking.join(HANG_S)


def test_python_is_told_when_node_is_killed_during_a_call(mortal: Pair) -> None:
    with mortal.connect() as watching, mortal.connect(name="who waits") as node:

        def is_under_way() -> bool:
            return any(c["beingServed"] for c in watching.call("driver.connections") if c["name"] == "who waits")

        with (
            once(is_under_way, mortal.node.kill),
            pytest.raises(shm_protocol.PeerGone, match=r"functions\.hang"),
        ):
            node.call("functions.hang")


def test_the_next_call_finds_the_node_that_came_back(mortal: Pair) -> None:
    with mortal.connect() as node:
        assert node.call("functions.echo", 1) == 1
        mortal.restart_node()
        assert node.call("functions.echo", 2) == 2


def test_a_call_while_node_is_away_fails_at_once_and_was_not_made(mortal: Pair) -> None:
    with mortal.connect() as node:
        mortal.node.kill()
        mortal.node.wait(HANG_S)
        with pytest.raises((shm_protocol.PeerUnavailable, shm_protocol.PeerGone)):
            node.call("functions.echo", 1)
        with pytest.raises(shm_protocol.PeerUnavailable, match=r"node\.sock"):
            node.call("functions.echo", 1)
        mortal.restart_node()


def test_typescript_is_told_when_its_worker_is_killed_and_the_next_call_goes_elsewhere(mortal: Pair) -> None:
    victim = mortal.add_worker()
    survivor = mortal.add_worker()
    release = mortal.directory / "there"
    with mortal.connect() as node, mortal.connect() as watching:

        def both_are_under_way() -> bool:
            return bool(sum(c["outstanding"] for c in watching.call("driver.connections")) == 2)

        def kill_one_and_release_the_other() -> None:
            victim.kill()
            mortal.wait_until(lambda: mortal.count_workers() == 1, "Node has seen the end of one")
            release.touch()

        with once(both_are_under_way, kill_one_and_release_the_other):
            answers = node.call("driver.attemptAll", "worker.pid_once_there", [str(release)] * 2)
        codes = sorted(answer["error"]["code"] if "error" in answer else "answered" for answer in answers)
        assert codes == ["PeerGone", "answered"]
        assert node.call("driver.attempt", "worker.pid", [])["value"] == survivor.pid
        assert mortal.count_workers() == 1


def test_a_worker_finds_the_node_that_came_back(mortal: Pair) -> None:
    worker = mortal.add_worker()
    mortal.restart_node()
    mortal.wait_until(lambda: mortal.count_workers() == 1, "the worker has attached again")
    with mortal.connect() as node:
        assert node.call("driver.attempt", "worker.pid", [])["value"] == worker.pid


def test_a_stopped_node_costs_the_caller_its_deadline_and_no_more(mortal: Pair) -> None:
    with mortal.connect() as node:
        assert node.call("functions.echo", 1) == 1
        freeze(mortal.node.pid)
        with pytest.raises(shm_protocol.CallTimeout):
            node.call("functions.echo", 2, timeout=0.1)
        mortal.node.send_signal(signal.SIGCONT)
        assert node.call("functions.echo", 3) == 3


def test_a_large_message_that_node_dies_in_the_middle_of_fails_with_peer_gone(mortal: Pair) -> None:
    with mortal.connect() as node:
        freeze(mortal.node.pid)
        transport = node._connections[0]._transport
        with once(lambda: transport.sending, mortal.node.kill), pytest.raises(shm_protocol.PeerGone):
            node.call("functions.echo", bytes(8 << 20))


def test_nothing_has_a_name_in_dev_shm_once_connected_so_nothing_is_left_by_kill(mortal: Pair) -> None:
    worker = mortal.add_worker()
    with mortal.connect() as node:
        assert node.call("functions.echo", 1) == 1
        made = segments_of(mortal.node.pid, worker.pid)
        # The worker's, and the client's.
        assert len(made) == (2 if mortal.transport == "shm" else 0)
        assert not any(segment.exists() for segment in made)
        worker.kill()
        worker.wait(HANG_S)
        mortal.node.kill()
        mortal.node.wait(HANG_S)
    assert not any(segment.exists() for segment in made)


def test_node_that_exits_inside_a_call_ends_that_call_with_peer_gone(mortal: Pair) -> None:
    with mortal.connect() as node, pytest.raises(shm_protocol.PeerGone, match=r"functions\.exit"):
        node.call("functions.exit")

"""A receiver that has no file descriptor left when a large buffer comes: that call fails and says why, everything else
goes on, and once there is room again the next call works (PROTOCOL.md section 12).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shm_protocol
from peers import Pair
from shm_protocol import pool
from shm_protocol.config import read_settings
from shm_protocol.dialing import dial
from shm_protocol.exposed import Exposed

BYTES = 1 << 20
ARRAY = np.arange(BYTES // 8, dtype="float64")
NO_DESCRIPTORS = "the receiving process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`"
WITHHELD = f"a buffer of {BYTES} bytes cannot be received: {NO_DESCRIPTORS}"


@contextlib.contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """Meanwhile a running process can open nothing."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # The standard streams are open, and what it closes meanwhile makes no room.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def descriptors_of_memory(pid: int) -> int:
    """How many pieces of memory a process has open."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("/memfd:shm-polyglot") for link in links)


@contextlib.contextmanager
def pair_that_keeps(kept_bytes: int) -> Iterator[Pair]:
    """Over shared memory, of which both sides and this process keep so much for the next buffer."""
    with pytest.MonkeyPatch.context() as patch, Pair("shm", {"SHM_POLYGLOT_POOL_BYTES": str(kept_bytes)}) as pair:
        patch.setattr(pool, "_pools", [pool.Pool(kept_bytes)])
        pair.add_worker()
        yield pair


@pytest.fixture(scope="module")
def shm_pair() -> Iterator[Pair]:
    """No memory is kept: each buffer comes with a descriptor, and is withdrawn, perhaps before that is received."""
    with pair_that_keeps(0) as pair:
        yield pair


@pytest.fixture
def client(shm_pair: Pair) -> Iterator[shm_protocol.Connection]:
    """A connection whose second socket is there, as is the worker's, which has NumPy already."""
    with dial(
        read_settings(shm_pair.path, transport="shm"), role="client", exposed=Exposed(), name="large buffers"
    ) as connection:
        connection.call("arrays.forget")
        assert connection.call("driver.attempt", "worker.forget", []) == {"value": None}
        # Smaller memory than what comes, so that it cannot be used again for that.
        assert connection.call("arrays.length", np.zeros(BYTES // 16)) == BYTES // 16
        assert connection.call("driver.attempt", "worker.keep", [np.zeros(BYTES // 16)])["value"]
        assert connection.call("driver.attempt", "worker.forget", []) == {"value": None}
        yield connection


def worker_fails(method: str, what: str) -> dict[str, Any]:
    """What `driver` gives where a call of the worker's functions fails like that."""
    return {"error": {"code": "EncodeError", "message": f"{method}: {what}: {WITHHELD}"}}


def test_node_without_descriptors_answers_that_call_with_the_reason_and_goes_on(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    with no_descriptors(shm_pair.node.pid):
        for sent in (ARRAY, bytes(ARRAY)):
            with pytest.raises(shm_protocol.EncodeError) as raised:
                client.call("functions.echo", sent)
            assert str(raised.value) == f"functions.echo: args: {WITHHELD}"
            assert raised.value.from_peer
            assert client.call("functions.echo", 1) == 1
    assert (client.call("functions.echo", ARRAY) == ARRAY).all()


def test_a_worker_without_descriptors_answers_that_call_with_the_reason_and_goes_on(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    index = client.call("arrays.keep", ARRAY)
    with no_descriptors(shm_pair.workers[0].pid):
        for sent in (ARRAY, bytes(ARRAY)):
            answer = client.call("driver.attempt", "worker.describe", [sent])
            assert answer == worker_fails("worker.describe", "args")
            assert client.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
    assert client.call("arrays.pass", "worker.keep", index) == [["ndarray", [len(ARRAY)]]]


def test_a_python_caller_without_descriptors_is_told_why_and_its_connection_goes_on(
    client: shm_protocol.Connection,
) -> None:
    index = client.call("arrays.keep", ARRAY)
    with no_descriptors(os.getpid()):
        for method, argument in (("arrays.give", index), ("functions.bytes", BYTES)):
            with pytest.raises(shm_protocol.EncodeError) as raised:
                client.call(method, argument)
            assert str(raised.value) == f"{method}: result: {WITHHELD}"
            assert not raised.value.from_peer
            assert client.call("functions.echo", 1) == 1
    assert (client.call("arrays.give", index) == ARRAY).all()
    assert client.call("functions.bytes", BYTES) == b"\7" * BYTES


def test_a_caller_in_node_without_descriptors_is_told_why_and_its_connection_goes_on(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    attempt = "driver.attempt"
    assert client.call(attempt, "worker.keep", [ARRAY, bytes(ARRAY)])["value"][1] == ["bytes", None]
    with no_descriptors(shm_pair.node.pid):
        for index in (0, 1):
            assert client.call(attempt, "worker.give_kept", [index]) == worker_fails("worker.give_kept", "result")
            assert client.call(attempt, "worker.echo", [1]) == {"value": 1}
    assert (client.call(attempt, "worker.give_kept", [0])["value"] == ARRAY).all()
    assert client.call(attempt, "worker.give_kept", [1])["value"] == ARRAY.tobytes()


def test_a_stream_fails_at_the_item_that_cannot_be_received(shm_pair: Pair, client: shm_protocol.Connection) -> None:
    attempt, collect = "driver.attempt", ("driver.collect", "worker.each_kept", list[Any](), 9, 1)
    index = client.call("arrays.keep", ARRAY)
    assert client.call(attempt, "worker.keep", [1, ARRAY, 2])["value"][2] == ["int", None]
    with no_descriptors(os.getpid()):
        items = client.stream("arrays.eachKept", index, credit=1)
        assert next(items) == "first"
        with pytest.raises(shm_protocol.EncodeError) as raised:
            next(items)
        assert str(raised.value) == f"arrays.eachKept: result: {WITHHELD}"
        assert next(items, "the end") == "the end"
        assert client.call("functions.echo", 1) == 1
    with no_descriptors(shm_pair.node.pid):
        assert client.call(*collect) == {"items": [1], **worker_fails("worker.each_kept", "result")}
        assert client.call(attempt, "worker.echo", [1]) == {"value": 1}
    first, array, last = client.stream("arrays.eachKept", index)
    assert (first, last, (array == ARRAY).all()) == ("first", "last", True)
    first, array, last = client.call(*collect)["items"]
    assert (first, last, (array == ARRAY).all()) == (1, 2, True)


def test_a_notification_that_cannot_be_received_is_dropped_alone(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    attempt = "driver.attempt"
    with no_descriptors(shm_pair.node.pid):
        client.notify("arrays.keep", ARRAY)
        client.notify("arrays.keep", "small")
        assert client.call("arrays.give", 0) == "small"
    dropped = f"{WITHHELD}"
    shm_pair.wait_until(lambda: dropped in shm_pair.log(), "Node logs the notification that it drops")
    worker = shm_pair.workers[0].pid
    index = client.call("arrays.keep", ARRAY)
    with no_descriptors(worker):
        client.call("driver.notify", "worker.keep", [ARRAY])
        client.call("driver.notify", "worker.keep", ["small"])
        assert client.call(attempt, "worker.give_kept", [0]) == {"value": "small"}
    assert client.call("arrays.pass", "worker.keep", index) == [["ndarray", [len(ARRAY)]]]


def test_the_calls_that_are_under_way_on_that_connection_are_answered(shm_pair: Pair) -> None:
    async def run() -> None:
        async with await shm_protocol.connect_async(shm_pair.path, transport="shm") as node:
            assert len(await node.call("functions.echo", bytes(BYTES // 2))) == BYTES // 2
            index = await node.call("arrays.keep", ARRAY)
            waiting = asyncio.create_task(node.call("functions.hold", "held"))
            await node.call("functions.echo", 1)
            for pid, method, argument in (
                (os.getpid(), "arrays.give", index),
                # In memory that Node does not know yet.
                (shm_pair.node.pid, "arrays.keep", np.zeros(BYTES)),
            ):
                with no_descriptors(pid):
                    refused = node.call(method, argument)
                    answers = await asyncio.gather(refused, node.call("functions.echo", 2), return_exceptions=True)
                assert isinstance(answers[0], shm_protocol.EncodeError)
                assert str(answers[0]).endswith(NO_DESCRIPTORS)
                assert answers[1] == 2
            assert not waiting.done()
            await node.call("functions.release")
            assert await waiting == "held"
            assert (await node.call("arrays.give", index) == ARRAY).all()

    asyncio.run(run())


def test_what_could_not_be_received_is_returned_and_its_descriptors_are_closed_when_they_come(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    rounds = 100

    before = descriptors_of_memory(shm_pair.node.pid)
    with no_descriptors(shm_pair.node.pid):
        for _ in range(rounds):
            with pytest.raises(shm_protocol.EncodeError):
                client.call("functions.describe", ARRAY)

    def are_returned() -> bool:
        client.call("functions.echo", 1)
        # But for what Node has had and not collected yet.
        return client.stats["bytes_lent"] < BYTES

    shm_pair.wait_until(are_returned, "what was withheld is returned")
    assert client.call("functions.describe", ARRAY) == "Float64Array"
    assert descriptors_of_memory(shm_pair.node.pid) <= before + 3

    worker = shm_pair.workers[0].pid
    before = descriptors_of_memory(worker)
    through_node = ("driver.attempt", "worker.keep", [bytes(ARRAY)])
    with no_descriptors(worker):
        for _ in range(rounds):
            assert client.call(*through_node) == worker_fails("worker.keep", "args")
    assert client.call(*through_node) == {"value": [["bytes", None]]}
    assert descriptors_of_memory(worker) <= before + 3


def test_memory_that_could_not_be_received_is_received_when_it_is_used_again() -> None:
    with pair_that_keeps(1 << 28) as pair, pair.connect() as node:
        assert node.call("functions.echo", bytes(BYTES // 2)) == bytes(BYTES // 2)
        with no_descriptors(pair.node.pid):
            for _ in range(2):
                with pytest.raises(shm_protocol.EncodeError, match="EMFILE"):
                    node.call("functions.describe", bytes(ARRAY))
        assert node.call("functions.describe", bytes(ARRAY)) == "Uint8Array"
        through_node = ("driver.attempt", "worker.keep", [bytes(ARRAY)])
        with no_descriptors(pair.workers[0].pid):
            for _ in range(2):
                assert node.call(*through_node) == worker_fails("worker.keep", "args")
        assert node.call(*through_node) == {"value": [["bytes", None]]}


def test_an_array_for_which_numpy_cannot_be_imported_now_fails_its_call_alone(transport: str) -> None:
    sent = [np.zeros(3), "small"]
    with Pair(transport) as pair, pair.connect() as node:
        worker = pair.add_worker().pid
        assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
        with no_descriptors(worker):
            error = node.call("driver.attempt", "worker.describe", [sent])["error"]
            assert error["code"] == "EncodeError"
            said = "worker.describe: args: an array cannot be received: NumPy cannot be imported now ([Errno 24]"
            assert error["message"].startswith(said)
            assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
        assert node.call("driver.attempt", "worker.describe", [sent]) == {
            "value": "list [array([0., 0., 0.]), 'small']"
        }

"""Many at once: threads on one client, calls of Node's under way together, several workers, and forks."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, Pair


def test_threads_share_a_client_and_each_gets_its_own_answers(node: shm_protocol.Client) -> None:
    wrong: list[tuple[int, object]] = []

    def call(thread: int) -> None:
        for number in range(200):
            answer = node.call("functions.echo", [thread, number])
            if answer != [thread, number]:
                wrong.append((thread, answer))

    threads = [threading.Thread(target=call, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_calls_of_nodes_that_are_under_way_together_are_all_answered(node: shm_protocol.Client) -> None:
    numbers = list(range(1000))
    answers = node.call("driver.attemptAll", "worker.echo", numbers)
    assert answers == [{"value": number} for number in numbers]


def test_more_calls_than_may_be_outstanding_are_refused_as_busy_and_the_others_answered(
    node: shm_protocol.Client,
) -> None:
    answers = node.call("driver.attemptAll", "worker.echo", list(range(1100)))
    refused = [answer for answer in answers if "error" in answer]
    assert {answer["error"]["code"] for answer in refused} == {"Busy"}
    assert len(refused) == 1100 - 1024
    assert [answer["value"] for answer in answers if "value" in answer] == list(range(1024))


def test_calls_go_to_the_least_busy_worker(transport: str) -> None:
    with Pair(transport) as pair:
        for _ in range(3):
            pair.add_worker()
        with pair.connect() as node, ThreadPoolExecutor(1) as pool:
            mark = pair.directory / "mark"
            held = pool.submit(node.call, "driver.attemptAll", "worker.pid_once_there", [str(mark)] * 2)
            pair.wait_until(
                lambda: sum(c["outstanding"] for c in node.call("driver.connections")) == 2, "two workers are occupied"
            )
            free = {node.call("driver.attempt", "worker.pid", [])["value"] for _ in range(10)}
            mark.touch()
            occupied = {answer["value"] for answer in held.result()}
    assert len(occupied) == 2
    assert free == {worker.pid for worker in pair.workers} - occupied


@contextlib.contextmanager
def worker_that_waits(pair: Pair, node: shm_protocol.Client, **options: Any) -> Iterator[None]:
    """A worker in this process that waits for an answer of Node's inside of a handler."""
    name = "the one that waits"
    answers: list[object] = []
    attached: SimpleQueue[shm_protocol.Connection] = SimpleQueue()

    def wait_inside() -> None:
        call = shm_protocol.current_call()
        assert call is not None
        answers.append(call.connection.call("functions.hold", "held"))

    def work() -> None:
        expose = {"worker": {"wait_inside": wait_inside, "pid": lambda: name}}
        worker = shm_protocol.attach(pair.path, transport=pair.transport, expose=expose, name=name, **options)
        attached.put(worker)
        with contextlib.suppress(shm_protocol.ConnectionClosed):
            worker.serve()

    def is_waited_for() -> bool:
        return any(c["beingServed"] and c["name"] == name for c in node.call("driver.connections"))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        worker = attached.get(timeout=HANG_S)
        try:
            # A notification: Node has no answer outstanding there, by which it could tell.
            node.call("driver.notify", "worker.wait_inside", [])
            pair.wait_until(is_waited_for, "Node serves the call that is waited for")
            yield
            node.call("functions.release")
            pair.wait_until(lambda: answers == ["held"], "the one that waited has its answer")
        finally:
            worker.interrupt()
            working.result(HANG_S)


def test_while_a_worker_waits_inside_a_handler_calls_of_nodes_own_go_to_the_free_one(transport: str) -> None:
    with Pair(transport) as pair, pair.connect() as node, worker_that_waits(pair, node):
        free = pair.add_worker()
        asked = [node.call("driver.attempt", "worker.pid", [], {"timeoutMs": 1000 * HANG_S / 2}) for _ in range(6)]
        assert asked == [{"value": free.pid}] * 6


def test_a_worker_that_waits_serves_calls_that_have_nothing_to_do_with_it_only_where_it_was_told_to(
    transport: str,
) -> None:
    with Pair(transport) as pair, pair.connect() as node:
        with worker_that_waits(pair, node, serve_unrelated=True):
            assert node.call("driver.attempt", "worker.pid", []) == {"value": "the one that waits"}
        pair.wait_until(lambda: pair.count_workers() == 0, "it has gone")
        with worker_that_waits(pair, node):
            answer = node.call("driver.attempt", "worker.pid", [], {"timeoutMs": 100})
            assert answer["error"]["code"] == "CallTimeout"


def test_a_client_keeps_no_more_connections_than_it_may(pair: Pair) -> None:
    with pair.connect(max_connections=2) as node:
        threads = [threading.Thread(target=node.call, args=("functions.after", 20, None)) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert len(node.connections) <= 2
        for thread in threads:
            thread.join()
        assert len(node.connections) <= 2


def test_a_thread_that_gets_no_connection_in_time_is_told_it_is_busy(pair: Pair) -> None:
    with pair.connect(max_connections=1) as node:
        holder = threading.Thread(target=node.call, args=("functions.after", 500, None))
        stream = node.stream("functions.count", 3)
        try:
            with pytest.raises(shm_protocol.Busy):
                node.call("functions.echo", 1, timeout=0.05)
        finally:
            stream.close()
        holder.start()
        holder.join()


def test_a_child_forked_after_connecting_dials_its_own_connection_and_leaves_the_parents_alone(pair: Pair) -> None:
    with pair.connect() as node:
        assert node.call("functions.echo", "before") == "before"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if all(node.call("functions.echo", n) == n for n in range(100)) else 2
                node.close()
            finally:
                os._exit(code)
        mine = [node.call("functions.echo", number) for number in range(100)]
        _, status = os.waitpid(child, 0)
        assert mine == list(range(100))
        assert os.waitstatus_to_exitcode(status) == 0
        assert node.call("functions.echo", "after") == "after"

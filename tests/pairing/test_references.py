"""Callbacks and handles, both ways: functions and objects that stay with their owner."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import shm_protocol
from peers import Pair
from shm_protocol import Handle

NOTHING = {"lent": 0, "held": 0}
ROUNDS = 1000


@pytest.fixture(scope="module")
def pair(transport: str) -> Iterator[Pair]:
    """Node, whose collector can be called, and one Python worker."""
    programs = ("references_peer.ts", "references_peer.py")
    with Pair(transport, {"NODE_OPTIONS": "--expose-gc"}, programs=programs) as running:
        running.add_worker()
        yield running


@pytest.fixture
def client(pair: Pair) -> Iterator[shm_protocol.Client]:
    """A client with one connection, of which the tables are looked at."""
    with pair.connect(max_connections=1) as connected:
        yield connected


def of(client: shm_protocol.Client) -> Any:
    """The tables of its connection."""
    (connection,) = client._connections
    return connection.link.session.lending


def handle(client: shm_protocol.Client, method: str, *args: Any) -> Any:
    """Call what gives an object that is no value."""
    return client.call_with(method, args, 30.0, None, handles=True)


# What Node does with a worker.


SCENARIOS = {
    "callback": 42,
    "asynchronousCallback": 42,
    "each": [0, 1, 4, 9, 16],
    "raises": "RangeError: no",
    "generator": [0, 1, 2],
    "stream": [[0, 2, 4, 6, 8], NOTHING],
    "nests": 20,
    "deeper": "EncodeError: py.apply: args[0].done: a function cannot be encoded",
    "notification": "EncodeError: py.keep: args[0]: a function cannot be encoded",
    "aClass": "EncodeError: py.apply: args[0]: a function cannot be encoded",
    "withoutHandles": "EncodeError: py.make: result: an object of class __main__.Model cannot be encoded",
    "itself": True,
    "identity": True,
    "streams": [[0, 1, 2], ["0 1: x", "1 1: x", "2 1: x"]],
    "forgotten": [{"lent": 1, "held": 0}, NOTHING],
    "collected": "none",
    "deep": "CallTooDeep",
    "keywords": ["de", 3],
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_typescript_lends_to_python_and_borrows_from_it(client: shm_protocol.Client, name: str) -> None:
    assert client.call("driver.run", name) == SCENARIOS[name]


def test_a_callback_that_python_calls_after_its_time_is_told_so(client: shm_protocol.Client) -> None:
    # extremeheat/JSPyBridge 172: callbacks were lost early, and whoever called them was told nothing of use.
    told = client.call("driver.run", "kept")
    assert told == (
        "Released: onDone: the call that this function was given to has ended; call its hold() before that to keep it"
    )


def test_a_callback_that_python_holds_is_called_in_a_later_call_and_released(client: shm_protocol.Client) -> None:
    called, in_thread, released, tables = client.call("driver.run", "held")
    assert called == 2
    # Another thread than the one that serves: told at once, and not left waiting.
    assert in_thread.startswith("RuntimeError: shm_polyglot.ref.")
    assert "belongs to thread" in in_thread
    assert released == "Released: onDone: it has been released"
    assert tables == NOTHING


def test_a_handle_has_its_state_there_and_ends_when_it_is_disposed(client: shm_protocol.Client) -> None:
    first, second, of_child, is_handle, after, there, here = client.call("driver.run", "handle")
    assert (first, second, of_child, is_handle) == ("m 1: a", "m 2: b", "m's child 1: c", True)
    assert after == "Released: Model.predict: it has been released"
    assert there == here == NOTHING


def test_a_handle_is_no_promise_and_no_json_and_has_no_private_methods(client: shm_protocol.Client) -> None:
    no_private, no_then, as_json, absent = client.call("driver.run", "private")
    assert (no_private, no_then, as_json) == (True, True, "{}")
    assert absent.startswith("UnknownMethod: ")
    assert absent.endswith("Model has no public method 'absent'")


def test_a_function_as_a_result_is_called_until_it_is_released(client: shm_protocol.Client) -> None:
    assert client.call("driver.run", "functionAsResult") == [2, "Released: <lambda>: it has been released"]


# What a client does with Node.


def test_a_callback_runs_while_its_call_waits(client: shm_protocol.Client) -> None:
    assert client.call("functions.apply", lambda a, b: a + b, 1, 2) == 3
    assert client.call("functions.each", lambda number: number * 2, 3) == [0, 2, 4]
    assert client.call("functions.eachAtOnce", lambda number: number * 2, 100) == [2 * number for number in range(100)]
    assert of(client).lent == {}


def test_a_callback_as_a_keyword_argument(client: shm_protocol.Client) -> None:
    assert client.call("functions.applyNamed", 20, done=lambda number: number + 1) == 21


def test_a_callback_that_nobody_awaits_is_called_all_the_same(client: shm_protocol.Client) -> None:
    seen: list[int] = []
    assert client.call("functions.eachUnawaited", seen.append, 50) == "done"
    assert seen == list(range(50))


def test_a_callback_that_raises_tells_whoever_called_it(client: shm_protocol.Client) -> None:
    def fail(_: int) -> None:
        raise LookupError("not there")

    with pytest.raises(shm_protocol.RemoteError, match="LookupError: not there"):
        client.call("functions.fails", fail)
    assert of(client).lent == {}


def test_a_generator_as_a_callback_gives_a_stream(client: shm_protocol.Client) -> None:
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    assert client.call("functions.collect", count, 5) == [0, 1, 2, 3, 4]


def test_a_callback_of_a_stream_is_there_until_that_has_ended(client: shm_protocol.Client) -> None:
    with client.stream("functions.eachLater", lambda number: number * 3, 5, credit=2) as items:
        assert len(of(client).lent) == 1
        assert list(items) == [0, 3, 6, 9, 12]
    assert of(client).lent == {}


def test_a_callback_calls_back_to_the_depth_that_any_chain_has(client: shm_protocol.Client) -> None:
    depths: list[int] = []

    def down(depth: int) -> Any:
        depths.append(depth)
        return client.call("functions.apply", down, depth + 1)

    with pytest.raises(shm_protocol.BridgeError) as caught:
        client.call("functions.apply", down, 1)
    assert "more than 32 nested calls" in str(caught.value)
    assert max(depths) == 16
    assert of(client).lent == {}


def test_a_callback_after_its_time_is_released_and_never_another_function(client: shm_protocol.Client) -> None:
    # extremeheat/JSPyBridge 81 hung here.
    client.call("functions.keep", lambda: "the first")
    assert client.call("functions.callKept").startswith("Released: <lambda>: the call that this function")
    assert client.call("functions.apply", lambda: "another") == "another"
    assert client.call("functions.callKept").startswith("Released: ")


def test_a_callback_that_typescript_holds_is_called_in_a_later_call(client: shm_protocol.Client) -> None:
    client.call("functions.hold", lambda number: number + 1)
    assert client.call("functions.callKept", 41) == 42
    assert len(of(client).lent) == 1
    client.call("functions.release")
    client.call("functions.describe", 1)
    assert of(client).lent == {}


def test_a_held_callback_that_is_called_while_its_client_does_nothing_is_refused_at_once(
    pair: Pair, client: shm_protocol.Client
) -> None:
    client.call("functions.hold", lambda: "never")
    with pair.connect() as other:
        told = other.call("functions.callKept")
    assert told.startswith("Busy: ")
    assert "which serves calls only while a call of its own waits" in told
    assert client.call("functions.callKept") == "never"
    client.call("functions.release")


def test_what_goes_back_to_its_owner_is_the_very_thing(client: shm_protocol.Client) -> None:
    def own() -> None:
        """Of this side."""

    assert client.call("functions.giveBack", own) is own
    counter = handle(client, "functions.theCounter")
    assert client.call("functions.isTheCounter", {"deep": [counter]}) is True


def test_a_handle_of_an_object_of_typescript(client: shm_protocol.Client) -> None:
    counter = handle(client, "functions.counter", "one")
    assert isinstance(counter, Handle)
    assert repr(counter) == "<Handle of Counter>"
    assert [counter.add(), counter.add(5), counter.add()] == [1, 6, 7]
    assert counter.child().add() == 1
    assert list(counter.upTo.stream(3)) == [0, 1, 2]
    assert counter.apply(lambda number: number + 1, 1) == 2
    with pytest.raises(AttributeError):
        counter._secret  # noqa: B018
    with pytest.raises(shm_protocol.UnknownMethod, match="Counter has no public method"):
        counter.absent()
    counter.close()
    counter.close()
    with pytest.raises(shm_protocol.Released, match=r"Counter\.add: it has been released"):
        counter.add()
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]: <Handle of Counter, released> cannot be sent"):
        client.call("functions.describe", counter)
    with handle(client, "functions.closures") as closures:
        assert [closures.add(), closures.add()] == [1, 2]
    del counter, closures
    client.call("functions.describe", 1)
    assert of(client).held == {}
    assert client.call("functions.table") == NOTHING


def test_a_handle_that_nothing_refers_to_is_released(client: shm_protocol.Client) -> None:
    def make_a_cycle() -> None:
        cycle: list[Any] = [handle(client, "functions.counter", "one")]
        cycle.append(cycle)
        cycle[0].add()

    for _ in range(50):
        make_a_cycle()
    gc.collect()
    assert client.call("functions.table") == NOTHING
    assert of(client).held == {}


def test_items_of_a_stream_are_handles_whose_methods_are_called_meanwhile(client: shm_protocol.Client) -> None:
    root = handle(client, "functions.counter", "root")
    assert [child.add(2) for child in root.children.stream(5)] == [2] * 5
    assert [list(child.upTo.stream(2)) for child in root.children.stream(3)] == [[0, 1]] * 3
    with client.stream_with("functions.counters", (3,), 30.0, 2, None, handles=True) as counters:
        assert [counter.add(7) for counter in counters] == [7] * 3


def test_a_handle_waits_for_the_connection_that_it_came_by(pair: Pair) -> None:
    with pair.connect(max_connections=4) as client, ThreadPoolExecutor(8) as threads:
        counter = handle(client, "functions.counter", "shared")
        calls = [threads.submit(counter.add) for _ in range(200)]
        others = [threads.submit(client.call, "functions.describe", 1) for _ in range(100)]
        assert sorted(call.result() for call in calls) == list(range(1, 201))
        assert {other.result() for other in others} == {"number"}
        counter.close()


def test_a_handle_whose_connection_is_in_use_for_too_long_says_so(pair: Pair) -> None:
    with pair.connect(max_connections=2) as client:
        counter = handle(client, "functions.counter", "one")
        running, done = threading.Event(), threading.Event()

        def hold_up() -> None:
            running.set()
            done.wait(60)

        thread = threading.Thread(target=client.call, args=("functions.apply", hold_up))
        thread.start()
        running.wait(60)
        try:
            with pytest.raises(shm_protocol.Busy, match="the connection that it came by was in use"):
                counter.add(timeout=0.05)
        finally:
            done.set()
            thread.join()
        assert counter.add() == 1


def test_what_came_by_another_connection_is_not_sent(pair: Pair, client: shm_protocol.Client) -> None:
    counter = handle(client, "functions.counter", "one")
    with (
        pair.connect() as other,
        pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]: <Handle of Counter> came by another connection"),
    ):
        other.call("functions.describe", counter)
    counter.close()


def test_the_end_of_the_connection_ends_what_was_lent_by_it(pair: Pair) -> None:
    with pair.connect() as client:
        counter = handle(client, "functions.counter", "one")
        client.call("functions.hold", lambda: 1)
    with pytest.raises((shm_protocol.ConnectionClosed, shm_protocol.PeerGone), match="closed"):
        counter.add()
    counter.close()
    with pair.connect() as other:
        pair.wait_until(lambda: other.call("functions.table") == NOTHING, "Node has let go of all")
        assert other.call("functions.callKept").split(":")[0] in ("PeerGone", "ConnectionClosed")
        other.call("functions.release")


def test_a_peer_that_dies_while_it_is_called_back_hangs_nobody(transport: str) -> None:
    # extremeheat/JSPyBridge 81.
    programs = ("references_peer.ts", "references_peer.py")
    with Pair(transport, programs=programs) as own, own.connect() as client:
        counter = handle(client, "functions.counter", "one")

        def kill(pid: int) -> None:
            os.kill(pid, signal.SIGKILL)
            own.node.wait(60)
            with pytest.raises((shm_protocol.PeerGone, shm_protocol.ConnectionClosed)):
                counter.add()

        with pytest.raises((shm_protocol.PeerGone, shm_protocol.ConnectionClosed)):
            client.call("functions.exitMeanwhile", kill)
        with pytest.raises((shm_protocol.PeerGone, shm_protocol.ConnectionClosed)):
            counter.add()
        counter.close()
        own.restart_node()


def test_a_forked_child_uses_and_releases_nothing_of_its_parents(client: shm_protocol.Client) -> None:
    counter = handle(client, "functions.counter", "one")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            counter.add()
        except shm_protocol.ConnectionClosed:
            counter.close()
            del counter
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counter.add() == 1
    counter.close()


def test_a_call_that_is_given_up_takes_its_callback_with_it(client: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.CallTimeout):
        client.call("functions.keepAndHang", lambda: 1, timeout=0.05)
    assert of(client).lent == {}
    assert client.call("functions.callKept").startswith("Released: ")


def test_neither_a_handle_nor_a_callback_is_copied_or_pickled(client: shm_protocol.Client) -> None:
    import copy
    import pickle

    counter = handle(client, "functions.counter", "one")
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="belongs to its connection"):
            attempt(counter)


def test_at_most_65536_are_lent(client: shm_protocol.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shm_protocol.frames.MAX_REFERENCES", 3)
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[3\]: the peer has 3 functions and objects .* at most 3"):
        client.call("functions.apply", *(lambda: 1 for _ in range(4)))
    assert of(client).lent == {}


@pytest.fixture
def _often_interrupted() -> Iterator[None]:
    """Threads take turns after microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_often_interrupted")
def test_streams_that_threads_drop_leave_their_connection_to_who_else_uses_it(client: shm_protocol.Client) -> None:
    counter = handle(client, "functions.counter", "one")

    def drops(begun: int) -> int:
        for _ in range(ROUNDS // 5):
            assert next(counter.upTo.stream(1000, credit=2)) == 0
            begun = counter.add(0)
        return begun

    def reads() -> int:
        return sum(len(list(counter.upTo.stream(50, credit=2))) for _ in range(ROUNDS // 20))

    with ThreadPoolExecutor(4) as threads:
        dropping = [threads.submit(drops, 1) for _ in range(2)]
        reading = [threads.submit(reads) for _ in range(2)]
        assert [one.result() for one in dropping] == [0, 0]
        assert [one.result() for one in reading] == [50 * (ROUNDS // 20)] * 2
    assert [info.in_use for info in client.connections] == [False]
    assert counter.add() == 1


def test_thousands_of_rounds_leave_nothing(client: shm_protocol.Client) -> None:
    for number in range(ROUNDS):
        assert client.call("functions.apply", lambda given: given, number) == number
        assert handle(client, "functions.counter", "one").add(number) == number
    client.call("functions.describe", 1)
    assert of(client).lent == of(client).held == {}
    assert client.call("functions.table") == NOTHING
    # And from Node, where nobody disposes.
    client.call("driver.run", "manyRounds", 300)
    assert client.call("driver.run", "collected") == "none"


# asyncio.


async def in_a_loop(pair: Pair) -> None:
    async with await shm_protocol.connect_async(pair.path, transport=pair.transport) as client:
        assert await client.call("functions.apply", lambda a, b: a * b, 6, 7) == 42

        async def later(number: int) -> int:
            await asyncio.sleep(0)
            return number + 1

        assert await client.call("functions.eachAtOnce", later, 20) == list(range(1, 21))
        seen: list[int] = []
        all_seen = asyncio.Event()

        def see(number: int) -> None:
            seen.append(number)
            if number == 49:
                all_seen.set()

        assert await client.call("functions.eachUnawaited", see, 50) == "done"
        await all_seen.wait()
        assert seen == list(range(50))
        counter = await client.call_with("functions.counter", ("one",), 30.0, None, handles=True)
        assert [await counter.add(), await counter.add(2)] == [1, 3]
        assert [item async for item in counter.upTo.stream(3)] == [0, 1, 2]
        assert await client.call("functions.isTheCounter", {"deep": [counter]}) is False
        # In an event loop it is called whenever somebody likes.
        await client.call("functions.hold", later)
        assert await asyncio.to_thread(called_by_another, pair, 1) == 2
        await client.call("functions.release")
        counter.close()
        with pytest.raises(shm_protocol.Released):
            await counter.add()
        lending = client._connection.link.session.lending
        dropped = await client.call_with("functions.counter", ("two",), 30.0, None, handles=True)
        assert await dropped.add() == 1
        del dropped
        await client.call("functions.describe", 1)
        assert lending.held == lending.lent == {}
        assert await client.call("functions.table") == NOTHING


def called_by_another(pair: Pair, number: int) -> Any:
    with pair.connect() as other:
        return other.call("functions.callKept", number)


def test_asyncio_awaits_what_is_called(pair: Pair) -> None:
    asyncio.run(in_a_loop(pair))

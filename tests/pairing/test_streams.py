"""Iterators cross as streams, never further ahead than the credit granted."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, Pair


@pytest.mark.parametrize("credit", [1, 2, 64])
def test_python_iterates_over_a_typescript_generator(node: shm_protocol.Client, credit: int) -> None:
    assert list(node.stream("functions.count", 500, credit=credit)) == list(range(500))


@pytest.mark.parametrize("credit", [1, 2, 64])
def test_typescript_iterates_over_a_python_generator(node: shm_protocol.Client, credit: int) -> None:
    assert node.call("driver.collect", "worker.count", [500], 1000, credit) == {"items": list(range(500))}


def test_a_stream_that_python_closes_ends_the_typescript_generator(pair: Pair, node: shm_protocol.Client) -> None:
    before = node.call("functions.cancelled").count("countForever")
    with node.stream("functions.countForever") as numbers:
        assert list(itertools.islice(numbers, 100)) == list(range(100))
    pair.wait_until(
        lambda: node.call("functions.cancelled").count("countForever") == before + 1, "the generator's finally has run"
    )


def test_a_stream_that_typescript_leaves_ends_the_python_generator(pair: Pair, node: shm_protocol.Client) -> None:
    assert node.call("driver.collect", "worker.count_forever", [], 100, 8)["items"] == list(range(100))
    pair.wait_until(
        lambda: "count_forever closed" in node.call("driver.attempt", "worker.notes", [])["value"],
        "the generator's finally has run",
    )


def test_a_typescript_generator_that_throws_raises_after_its_items(node: shm_protocol.Client) -> None:
    got = []
    with pytest.raises(shm_protocol.RemoteError, match="Refusal: no more"):
        for number in node.stream("functions.countThenFail", 10):
            got.append(number)  # noqa: PERF402
    assert got == list(range(10))


def test_a_python_generator_that_raises_throws_after_its_items(node: shm_protocol.Client) -> None:
    result = node.call("driver.collect", "worker.count_then_fail", [10], 1000, 4)
    assert result["items"] == list(range(10))
    assert (result["error"]["type"], result["error"]["message"]) == ("Refusal", "no more")


def test_two_streams_of_one_worker_are_read_side_by_side(node: shm_protocol.Client) -> None:
    with node.stream("functions.count", 200, credit=3) as one, node.stream("functions.count", 200, credit=5) as other:
        assert list(zip(one, other, strict=True)) == [(number, number) for number in range(200)]


def test_a_generator_called_without_stream_is_an_encode_error_that_says_so(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.EncodeError, match="stream"):
        node.call("functions.count", 3)
    error = node.call("driver.attempt", "worker.count", [3])["error"]
    assert error["code"] == "EncodeError"
    assert "stream" in error["message"]


def test_a_stream_to_a_function_that_gives_a_value_says_so(node: shm_protocol.Client) -> None:
    with pytest.raises(TypeError, match=r"functions\.echo"):
        list(node.stream("functions.echo", 3))


def test_a_worker_that_leaves_ends_its_streams_first(transport: str) -> None:
    collected: list[Any] = []
    with Pair(transport) as own, own.connect() as asker:
        worker = shm_protocol.attach(
            own.path, transport=transport, expose={"worker": {"count": lambda: iter(range(500))}}
        )
        # With a credit of 1 it waits for the reader after each item.
        call = threading.Thread(
            target=lambda: collected.append(asker.call("driver.collect", "worker.count", [], 1_000_000, 1))
        )
        call.start()
        with own.connect() as other:
            own.wait_until(
                lambda: sum(one["outstanding"] for one in other.call("driver.connections")) == 1,
                "the stream is asked for",
            )
        with worker:
            worker.leave(HANG_S)
            worker.leave(HANG_S)
        call.join(HANG_S)
    assert collected == [{"items": list(range(500))}]

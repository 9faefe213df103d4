"""Messages from one byte to 32 MiB, through rings that are far smaller, in both directions at once."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator

import pytest
import shm_protocol
from peers import Pair

SIZES = [0, 1, 7, 8, 9, 255, 256, 4095, 4096, 65535, 65536, 65537, 262143, 262144, 1 << 20, 32 << 20]


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which a lost or doubled fragment shows."""
    return random.Random(size + seed).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_any_size_come_back_from_typescript(node: shm_protocol.Client, size: int) -> None:
    sent = pattern(size)
    assert node.call("functions.echo", sent) == sent


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_any_size_come_back_from_python(node: shm_protocol.Client, size: int) -> None:
    sent = pattern(size)
    assert node.call("driver.attempt", "worker.echo", [sent])["value"] == sent


def test_strings_of_every_length_around_the_boundaries_come_back(node: shm_protocol.Client) -> None:
    for length in (*range(300), *range(65_500, 65_560)):
        assert node.call("functions.text", length) == "x" * length


@pytest.fixture(scope="module")
def tiny_rings(transport: str) -> Iterator[Pair]:
    """A pair whose rings hold 4 KiB."""
    with Pair(transport, {"SHM_POLYGLOT_RING_BYTES": "4096"}) as pair:
        pair.add_worker()
        yield pair


def test_full_rings_in_both_directions_do_not_deadlock(tiny_rings: Pair) -> None:
    sent = [pattern(100_000, seed) for seed in range(20)]
    with tiny_rings.connect(ring_capacity=4096) as node:
        answers = node.call("driver.attemptAll", "worker.echo", sent)
    assert [hashlib.sha256(answer["value"]).digest() for answer in answers] == [
        hashlib.sha256(s).digest() for s in sent
    ]


def test_threads_that_send_large_messages_at_once_each_get_their_own_back(tiny_rings: Pair) -> None:
    wrong: list[int] = []

    with tiny_rings.connect(ring_capacity=4096) as node:

        def exchange(seed: int) -> None:
            for number in range(5):
                sent = pattern(50_000 + number, seed)
                if node.call("functions.echo", sent) != sent:
                    wrong.append(seed)

        threads = [threading.Thread(target=exchange, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.fixture(scope="module")
def small_messages(transport: str) -> Iterator[Pair]:
    """A pair whose Node takes messages of 64 KiB at most; Python takes the default."""
    with Pair(transport, max_message=65536) as pair:
        pair.add_worker()
        yield pair


def test_an_argument_past_max_message_is_refused_before_anything_is_sent(small_messages: Pair) -> None:
    with small_messages.connect() as node:
        with pytest.raises(shm_protocol.MessageTooLarge, match="65536"):
            node.call("functions.echo", bytes(65536))
        assert node.call("functions.echo", 1) == 1


def test_a_result_past_max_message_is_an_error_and_not_the_end(small_messages: Pair) -> None:
    with small_messages.connect() as node:
        with pytest.raises(shm_protocol.MessageTooLarge, match="65536"):
            node.call("functions.bytes", 65536)
        assert node.call("functions.echo", 1) == 1


def test_typescript_is_told_of_a_python_result_past_max_message(small_messages: Pair) -> None:
    with small_messages.connect() as node:
        error = node.call("driver.attempt", "worker.text", [65536])["error"]
        assert error["code"] == "MessageTooLarge"
        assert "65536" in error["message"]
        assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}

"""Python comes first, and Node while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import shm_protocol
from peers import HANG_S, Pair
from shm_protocol import PeerUnavailable, connect_async


@pytest.fixture
def ended(transport: str) -> Iterator[Pair]:
    """A pair for one test, whose Node has been killed: its socket is still there."""
    with Pair(transport) as pair:
        pair.node.kill()
        pair.node.wait(HANG_S)
        yield pair


def test_a_client_that_waits_is_connected_as_soon_as_node_listens(ended: Pair) -> None:
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(ended.connect, wait=HANG_S)
        ended.restart_node()
        with connecting.result(HANG_S) as node:
            assert node.call("functions.echo", "here") == "here"


def test_a_client_that_is_lazy_is_there_before_node_and_calls_when_it_has_come(ended: Pair) -> None:
    with ended.connect(lazy=True) as node:
        with pytest.raises(PeerUnavailable, match="nobody listens at "):
            node.call("functions.echo", "too early")
        ended.restart_node()
        assert node.call("functions.echo", "here") == "here"


def test_an_asyncio_client_that_is_lazy_and_waits_calls_as_soon_as_node_listens(ended: Pair) -> None:
    async def body() -> Any:
        async with await connect_async(ended.path, transport=ended.transport, lazy=True, wait=HANG_S) as node:
            calls = [asyncio.create_task(node.call("functions.echo", number)) for number in range(3)]
            await asyncio.to_thread(ended.restart_node)
            return await asyncio.gather(*calls)

    assert asyncio.run(asyncio.wait_for(body(), HANG_S)) == [0, 1, 2]


def test_a_lazy_client_of_a_node_that_runs_is_as_any_other(pair: Pair) -> None:
    with pair.connect(lazy=True) as node:
        assert node.connections == []
        assert node.call("driver.attempt", "worker.echo", ["there and back"]) == {"value": "there and back"}
        assert [connection.transport for connection in node.connections] == [pair.transport]
        assert isinstance(node, shm_protocol.Client)

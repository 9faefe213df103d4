"""Which transport is used is chosen by both sides, and always told."""

from __future__ import annotations

import logging
import socket

import pytest
import shm_protocol
from peers import Pair


def test_auto_uses_shared_memory_where_both_sides_can() -> None:
    with Pair("auto") as pair, pair.connect() as node:
        assert node.transport == "shm"
        assert node.call("functions.echo", 1) == 1


def test_auto_falls_back_to_the_socket_where_node_takes_nothing_else_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        Pair("socket") as pair,
        caplog.at_level(logging.WARNING, "shm_protocol"),
        pair.connect(transport="auto") as node,
    ):
        assert node.transport == "socket"
        assert node.call("functions.echo", 1) == 1
    assert any("socket" in record.getMessage() for record in caplog.records)


def test_asking_for_shared_memory_where_node_takes_only_sockets_fails_and_says_why() -> None:
    with Pair("socket") as pair, pytest.raises(shm_protocol.BridgeError, match="shm"):
        pair.connect(transport="shm")


def test_the_socket_transport_needs_no_peer_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    with Pair("socket") as pair, pair.connect() as node:
        assert node.call("functions.echo", 1) == 1


def test_a_stale_socket_of_a_killed_node_is_replaced() -> None:
    with Pair("auto") as pair:
        pair.restart_node()
        with pair.connect() as node:
            assert node.call("functions.echo", 1) == 1


@pytest.mark.parametrize("spin_us", ["0", "20", "5000"])
def test_any_spin_budget_gives_the_same_answers(spin_us: str) -> None:
    with Pair("shm", {"SHM_POLYGLOT_SPIN_US": spin_us}) as pair:
        pair.add_worker()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHM_POLYGLOT_SPIN_US", spin_us)
            with pair.connect() as node:
                for number in range(200):
                    assert node.call("functions.echo", number) == number
                    assert node.call("driver.attempt", "worker.echo", [number]) == {"value": number}

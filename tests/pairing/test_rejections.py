"""Promises of an exposed function that reject: what concerns the call goes to its caller, the rest is Node's."""

from __future__ import annotations

import threading

import pytest
import shm_protocol
from peers import HANG_S, Pair


def test_a_rejection_that_is_the_answer_fails_that_call_and_no_other(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.RemoteError, match="RangeError: no"):
        node.call("functions.failLater", "no")
    assert node.call("functions.echo", 1) == 1


def test_a_rejection_that_nobody_awaits_ends_node_as_it_does_anywhere_and_whoever_waits_is_told(transport: str) -> None:
    with Pair(transport) as pair, pair.connect() as waiting, pair.connect() as node:
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                waiting.call("functions.hang")
            except shm_protocol.BridgeError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        # The answer may be out before Node looks for rejections.
        try:
            assert node.call("functions.forgetRejection", "forgotten") == "answered"
        except shm_protocol.PeerGone:
            pass
        thread.join(HANG_S)
        assert [type(error) for error in errors] == [shm_protocol.PeerGone]
        assert pair.node.wait(HANG_S) == 1
        assert "Refusal: forgotten" in pair.log()
        pair.restart_node()
        assert node.call("functions.echo", 1) == 1


def test_where_node_is_told_only_to_warn_of_rejections_no_call_is_affected(transport: str) -> None:
    with Pair(transport, {"NODE_OPTIONS": "--unhandled-rejections=warn"}) as pair, pair.connect() as node:
        for number in range(5):
            assert node.call("functions.forgetRejection", f"forgotten {number}") == "answered"
            assert node.call("functions.echo", number) == number
        pair.wait_until(lambda: "Refusal: forgotten 4" in pair.log(), "Node has warned of the last")

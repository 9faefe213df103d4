"""Calls made while serving a call go back where it came from, to a depth of 32."""

from __future__ import annotations

from typing import Any

import pytest
import shm_protocol


@pytest.fixture
def nested(pair: Any) -> Any:
    """A client that exposes to Node what the worker exposes to it."""
    import python_peer

    functions = {function.__name__: function for function in python_peer.EXPOSED}
    with pair.connect(expose={"worker": functions}) as client:
        yield client


def test_python_calls_typescript_which_calls_python_which_calls_typescript(nested: shm_protocol.Client) -> None:
    assert (
        nested.call("functions.callBack", "worker.call_node", ["functions.echo", ["round and round"]])
        == "round and round"
    )


def test_a_nested_call_goes_to_the_caller_and_not_to_another_worker(nested: shm_protocol.Client) -> None:
    import os

    assert nested.call("functions.callBack", "worker.pid", []) == os.getpid()


def test_a_chain_of_32_calls_is_served(nested: shm_protocol.Client) -> None:
    # Each calls the other with a depth one lower, so 31 means 32 calls altogether.
    chain = nested.call("functions.down", 31)
    assert len(chain) == 31
    assert chain[:3] == ["functions.down", "worker.down", "functions.down"]


def test_the_33rd_call_of_a_chain_is_refused_and_names_the_chain(nested: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.BridgeError) as caught:
        nested.call("functions.down", 32)
    assert "CallTooDeep" in f"{caught.value.code} {getattr(caught.value, 'type', '')}"
    assert "functions.down" in str(caught.value)
    assert "worker.down" in str(caught.value)
    assert nested.call("functions.echo", 1) == 1


def test_typescript_calls_python_which_calls_typescript_which_calls_python(node: shm_protocol.Client) -> None:
    answer = node.call(
        "driver.attempt", "worker.call_node", ["functions.callBack", ["worker.echo", ["there and back"]]]
    )
    assert answer == {"value": "there and back"}


def test_an_inner_call_inherits_the_deadline_of_the_outer(nested: shm_protocol.Client) -> None:
    context = nested.call("functions.callBack", "worker.context", [], timeout=20)
    assert 0 < context["remaining"] <= 20
    assert context["chain"] == ["functions.callBack"]

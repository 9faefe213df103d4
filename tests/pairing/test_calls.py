"""Python calls TypeScript and TypeScript calls Python: answers, errors, and what travels with a call."""

from __future__ import annotations

from typing import Any

import pytest
import shm_protocol
from peers import Pair


def attempt(node: shm_protocol.Client, method: str, *args: Any, **options: Any) -> Any:
    """What Node gets when it calls Python."""
    return node.call("driver.attempt", method, list(args), options)


def test_the_transport_that_was_asked_for_is_the_one_reported(pair: Pair, node: shm_protocol.Client) -> None:
    assert node.transport == pair.transport
    assert {connection["transport"] for connection in node.call("driver.connections")} == {pair.transport}


def test_python_gets_the_answer_of_a_typescript_function(node: shm_protocol.Client) -> None:
    assert node.call("functions.echo", "Hello, World") == "Hello, World"


def test_typescript_gets_the_answer_of_a_python_function(node: shm_protocol.Client) -> None:
    assert attempt(node, "worker.echo", "Hello, World") == {"value": "Hello, World"}


def test_a_promise_is_awaited_before_it_is_answered(node: shm_protocol.Client) -> None:
    assert node.call("functions.after", 1, "later") == "later"


def test_a_typescript_exception_reaches_python_with_type_message_data_and_stack(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.RemoteError) as caught:
        node.call("functions.fail", "not this one")
    error = caught.value
    assert (error.type, error.message, error.data) == ("Refusal", "not this one", {"limit": 3})
    assert "node_peer.ts" in error.stack


def test_a_rejected_promise_reaches_python_as_an_exception(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.RemoteError, match="RangeError: too far"):
        node.call("functions.failLater", "too far")


def test_a_python_exception_reaches_typescript_with_type_message_data_and_stack(node: shm_protocol.Client) -> None:
    error = attempt(node, "worker.fail", "not this one")["error"]
    assert (error["code"], error["type"], error["message"]) == ("RemoteError", "Refusal", "not this one")
    assert error["data"] == {"limit": 3}
    assert "python_peer.py" in error["stack"]
    assert "node_peer.ts" in error["stack"]


def test_an_exception_that_crosses_twice_shows_the_stacks_of_all(node: shm_protocol.Client) -> None:
    error = attempt(node, "worker.call_node", "functions.fail", ["deep down"])["error"]
    assert (error["type"], error["message"]) == ("Refusal", "deep down")
    assert "call_node" in error["stack"]
    assert "fail" in error["stack"]


@pytest.mark.parametrize(
    "name", ["functions.nothing", "nothing", "functions.__proto__", "functions.echo.call", "constructor"]
)
def test_a_function_that_typescript_does_not_expose_is_unknown_and_named(node: shm_protocol.Client, name: str) -> None:
    with pytest.raises(shm_protocol.UnknownMethod, match=name):
        node.call(name)
    assert node.call("functions.echo", 1) == 1


@pytest.mark.parametrize("name", ["worker.nothing", "worker.__class__", "worker.echo.__globals__", "os.getpid"])
def test_a_function_that_python_does_not_expose_is_unknown_and_named(node: shm_protocol.Client, name: str) -> None:
    error = attempt(node, name)["error"]
    assert error["code"] == "UnknownMethod"
    assert name in error["message"]
    assert attempt(node, "worker.echo", 1) == {"value": 1}


def test_an_argument_that_python_cannot_encode_is_named_by_its_path(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]\.items\[3\]"):
        node.call("functions.echo", {"items": [1, 2, 3, {4}]})
    assert node.call("functions.echo", 1) == 1


def test_a_result_that_typescript_cannot_encode_is_named_by_its_path(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.EncodeError, match=r"result\.items\[3\]"):
        node.call("functions.unsendable")
    assert node.call("functions.echo", 1) == 1


def test_a_lone_surrogate_is_refused_by_both_encoders(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]\[1\].*surrogate"):
        node.call("functions.echo", ["fine", "\ud800"])
    with pytest.raises(shm_protocol.EncodeError, match=r"result\[0\].*surrogate"):
        node.call("functions.surrogate")


def test_a_result_that_python_cannot_encode_is_named_by_its_path(node: shm_protocol.Client) -> None:
    error = attempt(node, "worker.unsendable")["error"]
    assert error["code"] == "EncodeError"
    assert "result.items[3]" in error["message"]
    assert attempt(node, "worker.echo", 1) == {"value": 1}


def test_the_trace_context_travels_to_typescript_and_on_to_python(node: shm_protocol.Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert node.call("functions.context", traceparent=trace)["traceparent"] == trace
    assert attempt(node, "worker.context", traceparent=trace)["value"]["traceparent"] == trace


def test_a_notification_to_python_runs_and_is_not_answered(pair: Pair, node: shm_protocol.Client) -> None:
    node.call("driver.notify", "worker.note", [f"notified over {pair.transport}"])
    pair.wait_until(
        lambda: f"notified over {pair.transport}" in attempt(node, "worker.notes")["value"], "the notification has run"
    )


def test_a_notification_to_an_unknown_function_harms_nobody(node: shm_protocol.Client) -> None:
    node.notify("functions.nothing", 1)
    node.notify("functions.fail", "unheard")
    assert node.call("functions.echo", 1) == 1


def test_a_call_that_node_cancels_is_cancelled(node: shm_protocol.Client) -> None:
    assert node.call("driver.abort", "worker.sleep", [0.01])["error"]["code"] == "Cancelled"
    assert attempt(node, "worker.echo", 1) == {"value": 1}


def test_a_call_where_no_worker_is_attached_fails_and_names_the_socket(pair: Pair) -> None:
    with Pair(pair.transport) as lonely, lonely.connect() as node:
        error = attempt(node, "worker.echo", 1)["error"]
        assert error["code"] == "PeerUnavailable"
        assert str(lonely.path) in error["message"]


def test_dialling_where_nobody_listens_fails_at_once_and_says_where(tmp_path: Any) -> None:
    missing = tmp_path / "node.sock"
    tmp_path.chmod(0o700)
    with pytest.raises(shm_protocol.PeerUnavailable, match=str(missing)):
        shm_protocol.connect(missing)

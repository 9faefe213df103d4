"""Exceptions cross as exceptions: of their own class where it is registered, with their causes and their parts."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import shm_protocol
from python_errors import AgeError
from shm_protocol import RemoteError, RemoteErrorGroup


def caught(node: shm_protocol.Client, function: str) -> RemoteError:
    with pytest.raises(RemoteError) as raised:
        node.call(f"functions.{function}")
    return raised.value


def told(node: shm_protocol.Client, function: str) -> dict[str, Any]:
    error: dict[str, Any] = node.call("driver.attemptErrors", f"worker.{function}")
    return error


def test_what_typescript_throws_of_a_registered_class_is_of_that_class_and_a_remote_error(
    node: shm_protocol.Client,
) -> None:
    error = caught(node, "throwRegistered")
    assert isinstance(error, AgeError)
    assert (error.type, error.message, str(error)) == ("AgeError", "-1 is no age", "-1 is no age")
    assert (error.code, error.from_peer, error.data, error.least) == ("RemoteError", True, {"least": 0}, 0)
    text = "".join(traceback.format_exception(error))
    assert "python_errors.AgeError: -1 is no age\n--- remote stack of AgeError ---\n" in text
    assert "node_errors.ts" in text
    assert "in caught" in text


def test_what_typescript_throws_keeps_its_causes(node: shm_protocol.Client) -> None:
    error = caught(node, "throwCaused")
    assert type(error) is RemoteError
    middle = error.__cause__
    assert type(middle) is RemoteError
    assert (middle.type, middle.message) == ("TypeError", "middle")
    assert "node_errors.ts" in middle.stack
    innermost = middle.__cause__
    assert isinstance(innermost, AgeError)
    assert innermost.least == 1
    text = "".join(traceback.format_exception(error))
    assert text.index("200 is no age") < text.index("TypeError: middle") < text.index("Error: outer")
    # Each remote stack is in it once, in that of the whole.
    assert text.count("--- remote stack of") == 1
    assert text.count("Caused by: TypeError: middle") == 1


def test_what_typescript_throws_as_one_of_several_is_a_group_that_except_star_tells_apart(
    node: shm_protocol.Client,
) -> None:
    seen: dict[str, list[str]] = {}
    try:
        node.call("functions.throwGroup")
    except* AgeError as ages:
        seen[type(ages).__name__] = [str(one) for one in ages.exceptions]
    except* RemoteError as others:
        seen["others"] = [str(one) for one in others.exceptions]
    assert seen == {"RemoteErrorGroup": ["300 is no age"], "others": ["TypeError: first", "Error: third"]}
    error = caught(node, "throwGroup")
    assert isinstance(error, RemoteErrorGroup)
    assert issubclass(RemoteErrorGroup, ExceptionGroup)
    assert (error.type, error.message, len(error.exceptions)) == ("AggregateError", "All promises were rejected", 3)


def test_what_python_raises_of_a_registered_class_is_of_that_class_and_a_remote_error(
    node: shm_protocol.Client,
) -> None:
    error = told(node, "raise_registered")
    assert (error["type"], error["message"], error["data"], error["code"]) == (
        "AgeError",
        "-1 is no age",
        {"least": 0},
        "RemoteError",
    )
    assert error["isAgeError"]
    assert error["least"] == 0
    assert error["hasStack"]
    assert error["fromPeer"]
    assert error["stack"].startswith("AgeError: -1 is no age\n    at ")
    assert "node_peer.ts" in error["stack"].split("--- remote stack ---")[0]
    assert "python_errors.py" in error["stack"]


def test_what_python_raises_keeps_its_cause_and_what_was_handled_meanwhile(node: shm_protocol.Client) -> None:
    error = told(node, "raise_caused")
    assert error["isRangeError"], "registered under the name of Python's ValueError"
    assert (error["cause"]["type"], error["cause"]["message"]) == ("KeyError", "'middle'")
    assert "python_errors.py" in error["cause"]["stack"]
    innermost = error["cause"]["cause"]
    assert (innermost["isAgeError"], innermost["least"], innermost["cause"]) == (True, 1, None)
    assert told(node, "raise_suppressed")["cause"] is None


def test_what_python_raises_as_a_group_is_an_aggregate_error_with_its_parts(node: shm_protocol.Client) -> None:
    error = told(node, "raise_group")
    assert error["isAggregateError"]
    assert (error["type"], error["code"], error["hasStack"]) == ("ExceptionGroup", "RemoteError", True)
    first, second, third = error["errors"]
    assert (first["isRangeError"], first["message"]) == (True, "first")
    assert (second["isAgeError"], second["least"]) == (True, 2)
    assert third["isAggregateError"]
    assert third["errors"][0]["type"] == "KeyError"


def test_what_is_let_through_keeps_its_class_its_causes_and_all_stacks(node: shm_protocol.Client) -> None:
    error = told(node, "relay")
    assert (error["type"], error["message"]) == ("Error", "outer")
    assert "python_errors.py" in error["stack"]
    assert "node_errors.ts" in error["stack"]
    assert error["cause"]["type"] == "TypeError"
    assert (error["cause"]["cause"]["isAgeError"], error["cause"]["cause"]["least"]) == (True, 1)

"""A number of arguments that a function of Python's cannot take is told to the caller; JavaScript takes any number."""

from __future__ import annotations

import pytest
import shm_protocol


def test_typescript_is_given_more_than_a_function_names(node: shm_protocol.Client) -> None:
    assert node.call("functions.describe", 1, 2, 3) == "number 1"


@pytest.mark.parametrize(("args", "given"), [([], 0), ([1, 2, 3], 3)], ids=["too few", "too many"])
def test_python_refuses_what_does_not_fit_the_signature(node: shm_protocol.Client, args: list[int], given: int) -> None:
    error = node.call("driver.attempt", "worker.sleep", args)["error"]
    assert (error["code"], error["type"]) == ("RemoteError", "TypeError")
    assert error["message"] == f"worker.sleep takes 1 to 2 arguments, and was given {given}"
    assert "remote stack" not in error["stack"]


def test_a_function_with_defaults_may_be_given_fewer_and_one_with_optional_parameters_as_well(
    node: shm_protocol.Client,
) -> None:
    assert node.call("driver.attempt", "worker.sleep", [0]) == {"value": None}
    assert node.call("functions.describe") == "undefined undefined"

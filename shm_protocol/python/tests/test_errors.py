"""The registry of errors: errors.json, PROTOCOL.md and the classes say the same."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import pytest
import shm_protocol
from shm_protocol import ERRORS, BridgeError, RemoteError, UnknownMethod
from shm_protocol.errors import MAX_STACK_CHARACTERS, error_from_map, error_to_map
from tagged import SHM_PROTOCOL

REGISTRY: list[dict[str, str]] = json.loads((SHM_PROTOCOL / "errors.json").read_text())


def test_the_classes_are_those_of_the_registry_with_the_same_parents() -> None:
    in_python = {code: kind.__mro__[1].__name__ for code, kind in ERRORS.items()}
    assert in_python == {row["code"]: row["parent"] for row in REGISTRY}


def test_a_code_is_the_name_of_its_class_and_public() -> None:
    for code, kind in ERRORS.items():
        assert kind.__name__ == kind.code == code
        assert getattr(shm_protocol, code) is kind


def test_the_table_of_the_protocol_is_the_registry() -> None:
    section = (SHM_PROTOCOL / "PROTOCOL.md").read_text().split("## 9. Errors")[1].split("## 10.")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    codes = [code for code, _ in rows]
    assert codes == [row["code"] for row in REGISTRY]


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class Limit(Exception):
    data = {"limit": 3}


def test_an_exception_crosses_with_type_message_data_and_stack() -> None:
    crossed = error_from_map(error_to_map(raised(Limit("too much"))))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message, crossed.data) == ("Limit", "too much", {"limit": 3})
    assert "test_errors.py" in crossed.stack
    assert str(crossed) == "Limit: too much"


def test_a_remote_error_from_deeper_keeps_its_name_and_both_stacks_are_visible() -> None:
    deeper = RemoteError("RangeError", "bad locale", {"k": 1}, "RangeError: bad locale\n    at format (x.ts:1:2)")
    crossed = error_from_map(error_to_map(raised(deeper)))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message, crossed.data) == ("RangeError", "bad locale", {"k": 1})
    assert "x.ts:1:2" in crossed.stack
    assert "test_errors.py" in crossed.stack


def test_a_bridge_error_from_deeper_crosses_under_its_code() -> None:
    crossed = error_from_map(error_to_map(raised(UnknownMethod("no.such"))))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message) == ("UnknownMethod", "no.such")


def test_a_traceback_shows_the_remote_stack() -> None:
    error = RemoteError("TypeError", "m", None, "at x.ts:1:2\n")
    assert error.__notes__ == ["--- remote stack of TypeError ---\nat x.ts:1:2"]


def test_an_unknown_code_is_a_remote_error_of_that_type() -> None:
    error = error_from_map({"code": "FutureError", "message": "m"})
    assert isinstance(error, RemoteError)
    assert (error.type, error.message, error.stack) == ("FutureError", "m", "")


@pytest.mark.parametrize("code", [code for code in ERRORS if code != "RemoteError"])
def test_a_known_code_is_its_class(code: str) -> None:
    error = error_from_map({"code": code, "message": "m"})
    assert type(error) is ERRORS[code]
    assert str(error) == "m"


def test_an_exception_that_cannot_be_read_still_crosses() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

        @property
        def data(self) -> Any:
            raise ValueError("no data")

    sent = error_to_map(raised(Broken()))
    assert sent["type"] == "Broken"
    assert sent["data"] is None


def test_an_endless_message_is_cut_and_a_lone_surrogate_is_escaped() -> None:
    sent = error_to_map(raised(ValueError("\ud800" + "x" * 10 * MAX_STACK_CHARACTERS)))
    message = sent["message"]
    assert isinstance(message, str)
    assert len(message) < MAX_STACK_CHARACTERS + 100
    assert message.startswith("\\ud800")
    message.encode()


def test_errors_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(RemoteError("T", "m", [1], "s")))
    assert (error.type, error.message, error.data, error.stack) == ("T", "m", [1], "s")


def test_every_error_is_a_bridge_error() -> None:
    assert all(issubclass(kind, BridgeError) for kind in ERRORS.values())

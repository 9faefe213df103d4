"""Classes of the program's own, as which exceptions arrive."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import pytest
from shm_protocol import BridgeError, PeerGone, RemoteError, RemoteErrorGroup, register_error, registered_errors
from shm_protocol.error_maps import error_from_map, error_to_map


class TooOld(Exception):
    """Can only be made by who knows how; and everything that is the program's own raises."""

    def __new__(cls, *_arguments: object) -> Any:
        raise AssertionError("__new__ has run")

    def __init__(self, *_arguments: object) -> None:
        raise AssertionError("__init__ has run")

    def __setattr__(self, name: str, value: object) -> None:
        raise AssertionError("__setattr__ has run")

    def __str__(self) -> str:
        raise AssertionError("__str__ has run")

    @property
    def data(self) -> object:
        raise AssertionError("data has run")

    message = type = stack = data


class Plain(Exception):
    pass


class Odd(Exception):
    """What it says of itself would need what its constructor sets."""

    __notes__ = property(lambda self: self.noted)

    def __repr__(self) -> str:
        return f"Odd({self.reason})"  # type: ignore[attr-defined]  # as in a constructor that has not run

    def __eq__(self, other: object) -> bool:
        return bool(self.reason == other)  # type: ignore[attr-defined]  # as above


class Derived(Plain):
    pass


class Full(OSError):
    pass


class Both(ExceptionGroup[Exception]):
    pass


class Slotted(ValueError):
    __slots__ = ("limit",)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own classes among them, which other tests of this process raise unregistered."""
    monkeypatch.setattr(registered_errors, "_by_name", {})
    monkeypatch.setattr(registered_errors, "_names", {})
    register_error("test.TooOld", TooOld)
    register_error("test.Plain", Plain)
    register_error("test.Full", Full)
    register_error("test.Both", Both)
    register_error("test.Slotted", Slotted)
    register_error("test.SyntaxError", SyntaxError)
    register_error("test.Unicode", UnicodeDecodeError)


def arrived(name: str, **fields: object) -> BridgeError:
    return error_from_map({"code": "RemoteError", "message": "m", "type": name, "stack": "at x", "data": [1], **fields})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test.TooOld", TooOld),
        ("test.Plain", Plain),
        ("test.Full", Full),
        ("test.Slotted", Slotted),
        ("test.SyntaxError", SyntaxError),
        ("test.Unicode", UnicodeDecodeError),
    ],
)
def test_what_arrives_is_of_the_class_and_a_remote_error_and_runs_nothing_of_the_class(
    name: str, kind: type[Exception]
) -> None:
    cause = {"code": "RemoteError", "message": "c", "type": "test.Plain"}
    error: Any = arrived(name, cause=cause)
    assert isinstance(error, kind)
    assert isinstance(error, RemoteError)
    fields = ("type", "message", "data", "stack")
    assert [getattr(error, field) for field in fields] == [name, "m", [1], "at x"]
    assert (error.code, error.from_peer, str(error), type(error).__name__) == ("RemoteError", True, "m", kind.__name__)
    assert isinstance(error.__cause__, Plain)
    text = "".join(traceback.format_exception(error))
    assert f"{kind.__name__}: m\n--- remote stack of {name} ---\nat x" in text
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert isinstance(again, kind)
        assert [getattr(again, field) for field in fields] == [name, "m", [1], "at x"]


@pytest.mark.parametrize("fields", [{}, {"stack": ""}, {"errors": [{"code": "RemoteError", "message": "p"}]}])
def test_what_arrives_can_be_shown_compared_and_noted_whatever_its_class_makes_of_that(fields: dict[str, Any]) -> None:
    register_error("test.Odd", Odd)
    error = arrived("test.Odd", **fields)
    assert isinstance(error, Odd)
    assert repr(error).startswith("Odd('m'")
    assert len({error, arrived("test.Odd", **fields)}) == 2
    error.add_note("seen here")
    told = "".join(traceback.format_exception(error))
    assert "seen here" in told
    assert ("--- remote stack of test.Odd ---" in told) == ("" not in fields.values())


def test_what_has_parts_is_a_group_where_its_class_can_be_one() -> None:
    parts = [{"code": "RemoteError", "message": "p", "type": "test.Plain"}]
    for name, kind in (("test.Plain", Plain), ("test.Both", Both)):
        error: Any = arrived(name, errors=parts)
        assert isinstance(error, kind)
        assert isinstance(error, RemoteErrorGroup)
        assert isinstance(error.exceptions[0], Plain)
        left, _ = error.split(Plain)
        assert isinstance(left, kind)
        assert isinstance(pickle.loads(pickle.dumps(error)).exceptions[0], Plain)
    # No object is both an OSError and a group, or has slots and is one; and none is a group without parts.
    assert [type(arrived(f"test.{name}", errors=parts)).__name__ for name in ("Full", "Slotted")] == ["Full", "Slotted"]
    assert type(arrived("test.Both")) is RemoteError


def test_what_the_metaclass_says_of_subclasses_is_not_asked() -> None:
    register_error("test.OfAnswers", OfAnswers)
    assert type(arrived("test.OfAnswers")).__mro__[1] is OfAnswers


def test_the_name_that_is_sent_is_that_of_the_nearest_registered_class() -> None:
    assert error_to_map(Derived("m"))["type"] == "test.Plain"
    assert error_to_map(KeyError("m"))["type"] == "KeyError"
    # What has arrived keeps its name on the way on.
    assert error_to_map(arrived("test.Full"))["type"] == "test.Full"


def test_another_class_of_a_registered_name_does_not_arrive_as_it() -> None:
    other = type("test.Plain", (Exception,), {})
    assert error_to_map(other("m"))["type"] == "test.Plain (another class)"


def test_a_class_that_has_been_loaded_again_replaces_its_predecessor() -> None:
    old, new = (type("Again", (Exception,), {"__module__": "reloaded"}) for _ in range(2))
    register_error("test.Again", old)
    register_error("test.Again", old)
    register_error("test.Again", new)
    assert isinstance(arrived("test.Again"), new)
    assert error_to_map(old("m"))["type"] == "test.Again"


class Unfit(Exception):
    def __init_subclass__(cls) -> None:
        raise LookupError("no more classes")


class Answers(type(Exception)):  # type: ignore[misc]  # it is type
    def __subclasscheck__(cls, _other: type) -> bool:
        raise LookupError("whose subclass?")


class OfAnswers(Exception, metaclass=Answers):
    pass


class Free(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "kind", "error", "said"),
    [
        (b"x", Free, TypeError, "a name that is not a str: bytes"),
        ("", Free, ValueError, "a name of 0 bytes: must be 1 to 256"),
        ("ä" * 129, Free, ValueError, "a name of 258 bytes: must be 1 to 256"),
        ("\ud800", Free, ValueError, r"'\\ud800': a lone surrogate cannot be sent"),
        ("PeerGone", Free, ValueError, "PeerGone: is the bridge's own error"),
        ("test.Plain", Free, ValueError, r"test.Plain: .*\.Plain is registered under this name already"),
        ("test.Other", Plain, ValueError, r"test.Other: .*\.Plain is registered as test.Plain already"),
        ("n", int, TypeError, "n: builtins.int must be a class of exceptions"),
        ("n", KeyboardInterrupt, TypeError, "n: builtins.KeyboardInterrupt must be a class of exceptions"),
        ("n", Free(), TypeError, "n: an object of class Free must be a class of exceptions"),
        ("n", PeerGone, TypeError, "n: .*PeerGone has a meaning of its own"),
        ("n", StopIteration, TypeError, "n: builtins.StopIteration has a meaning of its own"),
        ("n", Exception, TypeError, "n: builtins.Exception is what every RemoteError, or group, is already"),
        ("n", ExceptionGroup, TypeError, "n: builtins.ExceptionGroup is what every RemoteError, or group, is already"),
        ("n", Unfit, TypeError, "n: .*Unfit cannot be combined with RemoteError: LookupError: no more classes"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_its_name(
    name: Any, kind: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=f"^register_error: {said}"):
        register_error(name, kind)
    assert type(arrived("n")) is RemoteError

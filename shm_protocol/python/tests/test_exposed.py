"""What the peer may call, and what it may not."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

import pytest
from shm_protocol.exposed import ANY_NUMBER, Exposed, argument_counts, wrong_count

SOURCE = """
import functools, os
from os.path import join
from collections import OrderedDict

def public(): "f"
def _private(): "f"
class Class: pass
constant = 5
instance = Class()
loaded = functools.lru_cache(public)

def decorator(function):
    @functools.wraps(function)
    def wrapper(): return function()
    return wrapper

@decorator
def decorated(): "f"
"""


@pytest.fixture
def module() -> ModuleType:
    made = ModuleType("made_module")
    exec(SOURCE, made.__dict__)
    return made


def test_of_a_module_its_own_public_functions_are_exposed(module: ModuleType) -> None:
    assert set(Exposed({"m": module}).functions) == {"m.public", "m.decorated", "m.decorator", "m.loaded"}


def test_all_narrows_what_a_module_exposes(module: ModuleType) -> None:
    module.__dict__["__all__"] = ["public", "join", "Class", "missing"]
    assert set(Exposed({"m": module}).functions) == {"m.public"}


def test_a_module_without_public_functions_is_refused() -> None:
    with pytest.raises(TypeError, match="no public functions"):
        Exposed({"m": ModuleType("empty")})


def test_of_a_mapping_every_function_is_exposed() -> None:
    functions = {"length": len, "partial": functools.partial(max, 1), "method": [].append}
    assert set(Exposed({"m": functions}).functions) == {"m.length", "m.partial", "m.method"}


def test_a_function_is_exposed_under_its_very_name() -> None:
    assert Exposed({"length": len, "a.b.c": max}).functions == {"length": len, "a.b.c": max}


class Base:
    def inherited(self) -> str:
        return "inherited"


class Model(Base):
    attribute = 5

    def __init__(self) -> None:
        self.callback = len

    def predict(self) -> str:
        return "predicted"

    def _private(self) -> None: ...

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    @property
    def loud(self) -> str:
        raise AssertionError("a property has been run")


def test_of_an_object_the_public_methods_of_its_class_are_exposed() -> None:
    functions = Exposed({"model": Model()}).functions
    assert {name: function() for name, function in functions.items()} == {
        "model.predict": "predicted",
        "model.inherited": "inherited",
        "model.static": "static",
        "model.of_class": "Model",
    }


def test_of_an_object_built_on_a_builtin_only_its_own_methods_are_exposed() -> None:
    class Names(dict[str, str]):
        def first(self) -> str:
            return next(iter(self))

    value: Any = Names(a="b")
    # A mapping is taken for a mapping of functions, so it is wrapped as an object would be.
    with pytest.raises(TypeError, match="'b' is no function"):
        Exposed({"names": value})

    class Items(list[str]):
        def first(self) -> str:
            return self[0]

    assert set(Exposed({"items": Items("a")}).functions) == {"items.first"}


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"m": Model}, "m: a class cannot be exposed"),
        ({"m": {"f": Model}}, "m.f: .* is no function"),
        ({"m": {"f": 5}}, "m.f: 5 is no function"),
        ({"m": 5}, "m: 5 has no public functions"),
        ({"m": {}}, "m: {} has no public functions"),
    ],
)
def test_what_is_no_function_is_refused(functions: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Exposed(functions)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"": len}, "is no name"),
        ({"m": {"_f": len}}, "'_f' is no public name"),
        ({"m": {"": len}}, "'' is no public name"),
        ({"m": {1: len}}, "1 is no public name"),
        ({"x" * 257: len}, "at most 256 bytes"),
        ({"m.f": len, "m": {"f": max}}, "m.f is exposed already"),
        ({"shm_polyglot": {"f": len}}, "the library's own"),
    ],
)
def test_a_name_that_cannot_be_is_refused(functions: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Exposed(functions)


def decorated(function: Any) -> Any:
    """As decorators are written that give the function an argument of their own."""

    @functools.wraps(function)
    def wrapper(text: str) -> Any:
        return function("a database", text)

    return wrapper


@decorated
def with_database(database: str, text: str) -> str:
    return database + text


@pytest.mark.parametrize(
    ("function", "counts"),
    [
        (lambda: None, range(1)),
        (lambda a, b: None, range(2, 3)),
        (lambda a, b=1, c=2: None, range(1, 4)),
        (lambda a, /, b: None, range(2, 3)),
        (lambda a, *rest: None, range(1, ANY_NUMBER.stop)),
        (lambda *rest: None, ANY_NUMBER),
        (lambda a, *, key=1, **others: None, range(1, 2)),
        (Model().predict, range(1)),
        (Model.of_class, range(1)),
        (Model.static, range(1)),
        (functools.partial(lambda a, b, c=1: None, 1), range(1, 3)),
        (functools.lru_cache(lambda a: None), ANY_NUMBER),
        (with_database, range(1, 2)),
        (len, range(1, 2)),
        ([].append, range(1, 2)),
        (max, ANY_NUMBER),
    ],
)
def test_the_signature_tells_how_many_arguments_a_function_takes(function: Any, counts: range) -> None:
    assert argument_counts(function) == counts
    assert Exposed({"f": function}).argument_counts == {"f": counts}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (range(1), "m.f takes no arguments, and was given 7"),
        (range(1, 2), "m.f takes 1 argument, and was given 7"),
        (range(2, 3), "m.f takes 2 arguments, and was given 7"),
        (range(2), "m.f takes 0 to 1 argument, and was given 7"),
        (range(2, 5), "m.f takes 2 to 4 arguments, and was given 7"),
        (range(8, ANY_NUMBER.stop), "m.f takes at least 8 arguments, and was given 7"),
    ],
)
def test_a_wrong_number_is_told_with_what_the_function_takes(counts: range, message: str) -> None:
    assert wrong_count("m.f", counts, 7) == message


def test_adding_is_all_or_nothing() -> None:
    exposed = Exposed({"f": len})
    with pytest.raises(ValueError, match="f is exposed already"):
        exposed.add({"g": len, "f": max})
    assert exposed.functions == {"f": len}
    assert exposed.argument_counts.keys() == {"f"}
    exposed.add({"g": len})
    assert set(exposed.functions) == {"f", "g"}


def test_a_module_can_be_exposed_whole() -> None:
    assert "json.dumps" not in Exposed({"this": sys.modules[__name__]}).functions

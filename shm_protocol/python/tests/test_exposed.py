"""What the peer may call, and what it may not."""

from __future__ import annotations

import email
import functools
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
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
    assert set(Exposed({"m": module}).functions) == {"m.public", "m.decorated", "m.decorator", "m.loaded", "m.Class"}


def test_a_module_with_all_exposes_the_functions_that_it_lists_wherever_they_come_from(module: ModuleType) -> None:
    module.__dict__["__all__"] = ["public", "join", "Class", "_private"]
    assert set(Exposed({"m": module}).functions) == {"m.public", "m.join", "m.Class"}


def test_a_module_whose_all_is_no_list_is_refused(module: ModuleType) -> None:
    module.__dict__["__all__"] = "public"
    with pytest.raises(TypeError, match=r"expose: m: its __all__ is 'public', not a list of names"):
        Exposed({"m": module})


@pytest.mark.parametrize(
    ("listed", "said"), [("pulbic", "'pulbic', but the module has none of that name"), (5, "5, which is no name")]
)
def test_what_a_module_lists_in_its_all_and_does_not_have_is_named(
    module: ModuleType, listed: object, said: str
) -> None:
    module.__dict__["__all__"] = ["public", listed]
    with pytest.raises(TypeError, match=rf"^expose: m: its __all__ lists {said}$"):
        Exposed({"m": module})


def test_what_a_module_makes_when_it_is_asked_for_and_a_module_of_a_package_may_be_listed(module: ModuleType) -> None:
    module.__dict__.update(__all__=["public", "lazy"], __getattr__=lambda name: name)
    assert set(Exposed({"m": module}).functions) == {"m.public"}
    package = ModuleType("email")
    package.__dict__.update(__all__=["public", "message"], __path__=email.__path__, public=module.__dict__["public"])
    assert set(Exposed({"m": package}).functions) == {"m.public"}
    package.__dict__["__all__"] = ["public", "mesage"]
    with pytest.raises(TypeError, match="lists 'mesage', but the module has none"):
        Exposed({"m": package})


def test_a_module_whose_functions_come_from_elsewhere_is_refused_with_what_to_do() -> None:
    module = ModuleType("front")
    exec("from os.path import join", module.__dict__)
    with pytest.raises(
        TypeError,
        match=r"expose: m has no public functions of its own; expose them one by one, or list them in `__all__`",
    ):
        Exposed({"m": module})
    module.__dict__["__all__"] = ["join"]
    assert set(Exposed({"m": module}).functions) == {"m.join"}


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
    # A field that is a function is called like a method.
    assert functions.pop("model.callback") is len
    assert {name: function() for name, function in functions.items()} == {
        "model.predict": "predicted",
        "model.inherited": "inherited",
        "model.static": "static",
        "model.of_class": "Model",
    }


ran: list[str] = []


class Lazy:
    """A property of a library's own, which says what it wraps."""

    def __init__(self, function: Any) -> None:
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: object = None) -> Any:
        ran.append("Lazy")
        raise RuntimeError("not yet")


class Bound(Lazy):
    """A decorator that is a class, and can be called unbound."""

    def __get__(self, instance: object, owner: object = None) -> Any:
        ran.append("Bound")
        return functools.partial(self.__wrapped__, instance)

    def __call__(self, instance: object) -> Any:
        raise AssertionError("it is bound first")


class Hidden:
    def to_none(self) -> str:
        return "hidden"

    def to_property(self) -> str:
        return "hidden"

    def to_field(self) -> str:
        return "hidden"

    def overridden(self) -> str:
        return "hidden"


class Tricky(Hidden):
    __slots__ = ("empty", "slot")
    to_none = None  # type: ignore[assignment]

    class Inner:
        def __call__(self) -> None: ...

    instance = Inner()

    def __init__(self) -> None:
        self.slot = lambda: "slot"
        self.to_field = None  # type: ignore[assignment, method-assign]
        self.kind = dict
        self.field = lambda: "field"

    def __getattr__(self, name: str) -> Any:
        ran.append(name)
        raise SystemError(name)

    @functools.cached_property
    def cached(self) -> Any:
        ran.append("cached")
        return len

    @property
    def to_property(self) -> Any:
        ran.append("to_property")
        return len

    @Lazy
    def lazy(self) -> str:
        return "lazy"

    @Bound
    def bound(self) -> str:
        return "bound"

    @functools.cache  # noqa: B019  # the instance lives as long as the test
    def remembered(self) -> str:
        return "remembered"

    def with_default(self, text: str) -> str:
        return text

    partial = functools.partialmethod(with_default, "partial")

    def overridden(self) -> str:
        return "nearest"


def test_no_code_of_an_object_runs_when_it_is_exposed_and_the_nearest_definition_counts() -> None:
    ran.clear()
    functions = Exposed({"x": Tricky()}).functions
    assert ran == []
    assert functions.pop("x.with_default")("text") == "text"
    assert {name: function() for name, function in functions.items()} == {
        "x.slot": "slot",
        "x.field": "field",
        "x.bound": "bound",
        "x.remembered": "remembered",
        "x.partial": "partial",
        "x.overridden": "nearest",
    }
    assert ran == ["Bound"]


def test_what_raises_whatever_it_is_asked_is_exposed_by_what_its_class_says() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise GeneratorExit(name)

        def __repr__(self) -> str:
            raise ValueError

        def predict(self) -> str:
            return "predicted"

    class Nothing:
        def __repr__(self) -> str:
            raise ValueError

    assert Exposed({"x": Hostile()}).functions["x.predict"]() == "predicted"
    with pytest.raises(TypeError, match="^expose: x has no public functions$"):
        Exposed({"x": Nothing()})


def test_a_module_is_not_asked_for_what_it_does_not_have() -> None:
    module = ModuleType("lazy")
    exec("def __getattr__(name): raise SystemError(name)\ndef f(): return 1", vars(module))
    assert list(Exposed({"lazy": module}).functions) == ["lazy.f"]


async def _coroutine() -> None: ...


async def _generator() -> AsyncIterator[int]:
    yield 1


class Asynchronous:
    async def __call__(self) -> None: ...

    async def method(self) -> None: ...


@pytest.mark.parametrize(
    "value",
    [
        _coroutine,
        _generator,
        functools.partial(functools.partial(_coroutine)),
        {"f": _coroutine},
        {"f": Asynchronous()},
        {"f": Asynchronous().method},
        Asynchronous(),
    ],
)
def test_a_coroutine_function_is_refused_where_there_is_no_loop_with_what_to_do(value: Any) -> None:
    with pytest.raises(TypeError, match=r"needs an event loop: serve it with serve_async\(\), AsyncWorker or"):
        Exposed({"f": value})
    assert Exposed({"f": value}, has_loop=True).functions


def test_of_an_object_built_on_a_builtin_only_its_own_methods_are_exposed() -> None:
    class Names(dict[str, int]):
        def first(self) -> str:
            return next(iter(self))

    value: Any = Names(a=5)
    # A mapping is taken for a mapping of functions, so it is wrapped as an object would be.
    with pytest.raises(TypeError, match="is 5, not a function"):
        Exposed({"names": value})

    class Items(list[str]):
        def first(self) -> str:
            return self[0]

    assert set(Exposed({"items": Items("a")}).functions) == {"items.first"}


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"m": Model}, "expose: m is a class"),
        ({"m": {"f": Model}}, "m.f is .*, not a function"),
        ({"m": {"f": 5}}, "m.f is 5, not a function"),
        ({"m": 5}, "m has no public functions"),
        ({3: len}, "expose: 3: a name must be a string"),
        ({"m": {1: len}}, "expose: m: 1: a name must be a string"),
        ({"m": {}}, "m has no public functions"),
    ],
)
def test_what_is_no_function_is_refused(functions: dict[Any, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Exposed(functions)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"": len}, "a name must be 1 to 256 bytes of UTF-8"),
        ({"m": {"_f": len}}, "'_f' is not a public name"),
        ({"m": {"": len}}, "'' is not a public name"),
        ({"x" * 257: len}, "a name must be 1 to 256 bytes"),
        ({"\ud800": len}, r"'\\ud800': a name must be 1 to 256 bytes of UTF-8"),
        ({"m": {"\udfff": len}}, r"'m\.\\udfff': a name must be 1 to 256 bytes of UTF-8"),
        ({"m.f": len, "m": {"f": max}}, "m.f is exposed already"),
        ({"shm_polyglot": {"f": len}}, "the library's own"),
    ],
)
def test_a_name_that_cannot_be_is_refused(functions: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Exposed(functions)


class Exits(Mapping[str, Any]):
    """Written for the command line."""

    def __getitem__(self, key: str) -> Any:
        raise SystemExit(3)

    def __iter__(self) -> Iterator[str]:
        raise SystemExit(3)

    def __len__(self) -> int:
        return 1


class Signed:
    """A function whose signature ends the program."""

    __wrapped__ = len

    @property
    def __signature__(self) -> Any:
        raise SystemExit(3)

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("functions", "what"),
    [
        (Exits(), "expose"),
        ({"m": Exits()}, "expose: m"),
        ({"m": Signed()}, "expose: m"),
        ({"m": {"f": Signed()}}, r"expose: m\.f"),
    ],
)
def test_what_ends_the_program_when_it_is_looked_at_is_told_with_its_line(functions: Any, what: str) -> None:
    with pytest.raises(TypeError, match=rf"^{what}: looking at it raised SystemExit: 3 \({__file__}, line \d+\)$"):
        Exposed(functions)


def test_a_class_that_ends_the_program_when_it_is_asked_is_told() -> None:
    class Exits(type):
        def __getattribute__(cls, name: str) -> Any:
            raise SystemExit(3)

        def __hash__(cls) -> int:
            raise SystemExit(3)

    with pytest.raises(TypeError, match=r"^expose: m: looking at it raised SystemExit: 3"):
        Exposed({"m": Exits("Thing", (), {})()})


@pytest.mark.parametrize("functions", ["text", b"bytes", 5, [len], (), len, object(), ModuleType("module")])
def test_what_is_no_mapping_of_names_is_a_type_error_that_says_so(functions: Any) -> None:
    with pytest.raises(TypeError, match=r"expose=.*: must be a mapping of names to what is exposed"):
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

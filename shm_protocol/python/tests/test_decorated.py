"""@shm_protocol.expose: what is decorated is what a worker exposes that is given nothing else."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import shm_protocol
from acceptor import Acceptor
from shm_protocol import decorated, expose

Listen = Callable[..., Acceptor]
Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One of the test's own."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(decorated, "_decorated", found)
    return found


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules, and forgets them."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, source: str) -> Path:
        file = tmp_path / f"{name}.py"
        file.write_text(f"from shm_protocol import expose\n{source}")
        importlib.invalidate_caches()
        return file

    yield write
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_a_decorated_function_is_what_it_was_and_is_exposed_by_its_name() -> None:
    def double(x: int) -> int:
        return 2 * x

    assert expose(double) is double
    assert expose(name="maths.double")(double) is double
    assert decorated.functions() == {"double": double, "maths.double": double}


def test_generators_coroutine_functions_and_wrapped_ones_are_exposed_too() -> None:
    @expose
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    @expose
    async def later() -> int:
        return 1

    @expose
    @functools.cache
    def kept() -> int:
        return 1

    partial = expose(name="two")(functools.partial(max, 1, 2))
    assert decorated.functions() == {"count": count, "later": later, "kept": kept, "two": partial}
    assert (list(count(3)), asyncio.run(later()), kept()) == ([0, 1, 2], 1, 1)


def test_a_worker_that_is_given_nothing_exposes_what_has_been_decorated(path: Path, listen: Listen) -> None:
    @expose
    def double(x: int) -> int:
        return 2 * x

    acceptor = listen()
    with shm_protocol.Worker(path):
        assert acceptor.accept().call("double", 4) == 8
        acceptor.close()
    # What a client serves, and a worker that is given something, it says itself.
    assert "double" not in shm_protocol.connect(path, lazy=True)._exposed.functions
    acceptor = listen()
    with shm_protocol.Worker(path, expose={"other": double}):
        connection = acceptor.accept()
        assert connection.call("other", 4) == 8
        with pytest.raises(shm_protocol.UnknownMethod):
            connection.call("double", 4)
        acceptor.close()


def test_a_worker_with_nothing_to_expose_is_told_what_to_do(path: Path) -> None:
    said = r"^nothing is exposed: decorate functions with @shm_protocol.expose .*, or give expose="
    for begin in (shm_protocol.serve, shm_protocol.attach, shm_protocol.Worker):
        with pytest.raises(TypeError, match=said):
            begin(path)
    with pytest.raises(TypeError, match=said):
        asyncio.run(shm_protocol.serve_async(path))


def test_a_coroutine_function_is_refused_by_a_worker_without_a_loop(path: Path) -> None:
    @expose
    async def later() -> None: ...

    with pytest.raises(
        TypeError,
        match=r"^expose: later is a coroutine function .* serve it with serve_async\(\), AsyncWorker",
    ):
        shm_protocol.serve(path)


def test_two_functions_of_one_name_are_an_error_that_names_both_places(write: Write) -> None:
    first = write("shop_prices", "\n@expose\ndef total(): return 1\n")
    second = write("shop_taxes", "@expose(name='total')\ndef taxes(): return 2\n")
    import_module = importlib.import_module
    import_module("shop_prices")
    with pytest.raises(ValueError, match="total") as caught:
        import_module("shop_taxes")
    assert str(caught.value) == (
        f"expose: total is the name of two functions, of {first}, line 3 and of {second}, line 2: give one of them "
        "another, @expose(name=...)"
    )


def test_two_functions_of_one_name_in_one_module_are_an_error_too(write: Write) -> None:
    write("shop_twice", "@expose\ndef total(): return 1\n\n@expose\ndef total(): return 2\n")
    with pytest.raises(ValueError, match=r"shop_twice.py, line 2 and of .*shop_twice.py, line 5"):
        importlib.import_module("shop_twice")


def test_a_module_that_is_executed_anew_exposes_its_new_functions(write: Write) -> None:
    write("shop_again", "@expose\ndef total(): return 1\n")
    module = importlib.import_module("shop_again")
    old = module.total
    importlib.reload(module)
    assert decorated.functions() == {"total": module.total}
    assert module.total is not old


def test_what_is_typed_in_again_takes_the_place_of_the_other() -> None:
    typed = ModuleType("typed_in")
    sys.modules["typed_in"] = typed
    try:
        for cell in (1, 2):
            source = f"from shm_protocol import expose\n@expose\ndef total(): return {cell}"
            exec(compile(source, f"<cell {cell}>", "exec"), typed.__dict__)
    finally:
        del sys.modules["typed_in"]
    assert decorated.functions()["total"]() == 2


def test_a_function_that_is_made_twice_by_the_same_lines_is_an_error_that_says_so(write: Write) -> None:
    file = write("shop_factory", "def make(rate):\n    @expose\n    def total(): return rate\n    return total\n")
    module = importlib.import_module("shop_factory")
    first = module.make(1)
    with pytest.raises(ValueError, match="total") as caught:
        module.make(2)
    assert str(caught.value) == (
        f"expose: total is the name of two functions, both made by {file}, line 3, which has run twice: give each of "
        "them another, @expose(name=...), or decorate it where that runs once"
    )
    assert decorated.functions() == {"total": first}
    importlib.reload(module).make(3)
    assert decorated.functions()["total"]() == 3


class Model:
    def predict(self) -> int:
        return 1

    @staticmethod
    def free() -> int:
        return 2


def test_a_method_is_refused_because_there_is_no_instance() -> None:
    with pytest.raises(TypeError, match=r"^expose: Model.predict is defined in a class, and has no instance here"):
        expose(Model.predict)


def test_a_static_method_may_be_exposed() -> None:
    expose(vars(Model)["free"])
    assert decorated.functions()["free"]() == 2


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: expose(Model), r"^expose: Model is a class; expose an instance or its functions"),
        (lambda: expose(cast("Any", 5)), r"^expose=5: must be a function"),
        (
            lambda: expose(cast("Any", "name")),
            r"^expose='name': must be a function; @expose\(name=...\) names",
        ),
        (lambda: expose(lambda: 1), r"^expose=<function>: has no name; use expose\(name=...\)"),
        (
            lambda: expose(cast("Any", classmethod(lambda cls: cls))),
            r"^expose: a class method has no class and no .*: below the class, expose an instance, or the",
        ),
        (
            lambda: expose(cast("Any", property(lambda self: self))),
            r"^expose: a property has no class and no instance here: below the class, expose an instance, expose=\{",
        ),
        (
            lambda: expose(cast("Any", functools.cached_property(lambda self: self))),
            r"^expose: a property has no class and no instance here",
        ),
        (lambda: expose(name=cast("Any", 3)), r"^name=3: must be a string, the name under which TypeScript calls"),
        (lambda: expose(functools.partial(max, 1)), r"^expose=<partial>: has no name; use expose\(name=...\)"),
    ],
)
def test_what_is_no_function_with_a_name_is_refused(decorate: Callable[[], object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        decorate()


@pytest.mark.parametrize("name", ["", "x" * 257, "shm_polyglot.f"])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="^expose: "):
        expose(name=name)(lambda: 1)
    assert decorated.functions() == {}

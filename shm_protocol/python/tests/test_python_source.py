"""What a Python module's source tells of it, without running it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shm_protocol import described
from shm_protocol.described.python_source import describe

FOLDER = Path(described.__file__).parent.parent
PROGRAM = "import sys; sys.path.append(sys.argv[1]); from described.python_source import main; main()"


def module_of(tmp_path: Path, source: str) -> dict[str, Any]:
    file = tmp_path / "ml.py"
    file.write_text(source)
    return dict(describe(file))


def types_of(tmp_path: Path, annotation: str, place: str = "parameter") -> Any:
    """What an annotation is told as."""
    head = (
        "import datetime, enum, typing as t\nimport numpy as np\nfrom typing import *\nfrom collections.abc import *\n"
    )
    named = "from typing import Any, Literal, Optional, Union, Callable, Iterator, Iterable, Sequence, Annotated\n"
    own = "class Model: ...\nclass Colour(enum.Enum):\n    RED = 1\nclass P(t.TypedDict):\n    a: int\n"
    own += "Name = t.Literal['a']\n"
    function = f"def f(x: {annotation}): ..." if place == "parameter" else f"def f() -> {annotation}: ..."
    [found] = module_of(tmp_path, head + named + own + function)["functions"]
    [one] = found["overloads"]
    return one["params"][0]["type"] if place == "parameter" else one["result"]


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ("None", {"kind": "none"}),
        ("str", {"kind": "str"}),
        ("'int'", {"kind": "int"}),
        ("Any", {"kind": "any"}),
        ("t.Any", {"kind": "any"}),
        ("bytes", {"kind": "bytes"}),
        ("datetime.datetime", {"kind": "datetime"}),
        ("list[int]", {"kind": "list", "item": {"kind": "int"}}),
        ("Sequence[str]", {"kind": "list", "item": {"kind": "str"}}),
        ("t.List[str]", {"kind": "list", "item": {"kind": "str"}}),
        ("set[str]", {"kind": "list", "item": {"kind": "str"}}),
        ("Iterable[str]", {"kind": "list", "item": {"kind": "str"}}),
        ("tuple[int, str]", {"kind": "tuple", "items": [{"kind": "int"}, {"kind": "str"}]}),
        ("tuple[int, ...]", {"kind": "list", "item": {"kind": "int"}}),
        ("dict[str, float]", {"kind": "dict", "key": {"kind": "str"}, "value": {"kind": "float"}}),
        ("str | None", {"kind": "union", "options": [{"kind": "str"}, {"kind": "none"}]}),
        ("Optional[str]", {"kind": "union", "options": [{"kind": "str"}, {"kind": "none"}]}),
        ("Union[int, str]", {"kind": "union", "options": [{"kind": "int"}, {"kind": "str"}]}),
        ("Literal['a', 1, None]", {"kind": "literal", "values": ["a", 1, None]}),
        ("Literal['a'] | Literal['b']", {"kind": "literal", "values": ["a", "b"]}),
        ("np.ndarray", {"kind": "array", "dtype": None}),
        ("np.typing.NDArray[np.float32]", {"kind": "array", "dtype": "float32"}),
        ("np.ndarray[Any, np.dtype[np.int64]]", {"kind": "array", "dtype": "int64"}),
        ("Callable[[int], str]", {"kind": "callable", "params": [{"kind": "int"}], "result": {"kind": "str"}}),
        ("Callable[..., str]", {"kind": "callable", "params": None, "result": {"kind": "str"}}),
        ("Annotated[int, 'metres']", {"kind": "int"}),
        ("Model", {"kind": "handle", "name": "Model"}),
        ("Colour", {"kind": "ref", "name": "Colour"}),
        ("Literal[Colour.RED]", {"kind": "ref", "name": "Colour"}),
        ("P", {"kind": "ref", "name": "P"}),
        ("Name", {"kind": "ref", "name": "Name"}),
        ("complex", {"kind": "unknown", "text": "complex"}),
    ],
)
def test_an_annotation_is_told_as_what_crosses(tmp_path: Path, annotation: str, told: object) -> None:
    assert types_of(tmp_path, annotation) == told


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ("Iterator[int]", {"kind": "iterator", "item": {"kind": "int"}, "async": False}),
        ("t.Generator[int, None, None]", {"kind": "iterator", "item": {"kind": "int"}, "async": False}),
        ("t.AsyncIterator[int]", {"kind": "iterator", "item": {"kind": "int"}, "async": True}),
        ("set[str]", {"kind": "unknown", "text": "set[str]"}),
        ("t.NoReturn", {"kind": "union", "options": []}),
    ],
)
def test_what_a_function_gives_may_be_a_stream_and_no_set(tmp_path: Path, annotation: str, told: object) -> None:
    assert types_of(tmp_path, annotation, "result") == told


HELD = """
from collections.abc import Iterator
from dataclasses import dataclass
class Model:
    def get(self) -> int: ...
    def then(self) -> int: ...
    def toJSON(self) -> int: ...
    def dispose(self) -> int: ...
@dataclass
class Box:
    model: Model
    next: "Box | None" = None
Models = dict[str, Model]
def one() -> Model | None: ...
def each() -> Iterator[Model]: ...
def taken(models: list[Model]) -> None: ...
def several() -> list[Model]: ...
def boxed() -> "Box | None": ...
def named() -> Models: ...
def lists() -> Iterator[tuple[Model, int]]: ...
"""


def test_an_object_that_stays_where_it_is_is_no_part_of_a_value(tmp_path: Path) -> None:
    module = module_of(tmp_path, HELD)
    model = {"kind": "handle", "name": "Model"}
    [taken] = [one["overloads"][0]["params"][0]["type"] for one in module["functions"] if one["name"] == "taken"]
    assert taken == {"kind": "list", "item": model}
    told = {one["name"]: one["overloads"][0]["result"] for one in module["functions"] if one["name"] != "taken"}
    assert told == {
        "one": {"kind": "union", "options": [model, {"kind": "none"}]},
        "each": {"kind": "iterator", "item": model, "async": False},
        "several": {"kind": "unknown", "text": "list[Model]"},
        "boxed": {"kind": "unknown", "text": "'Box | None'"},
        "named": {"kind": "unknown", "text": "Models"},
        "lists": {
            "kind": "iterator",
            "item": {"kind": "unknown", "text": "Iterator[tuple[Model, int]]"},
            "async": False,
        },
    }


def test_methods_that_a_handle_cannot_have_are_left_out_with_a_reason(tmp_path: Path) -> None:
    module = module_of(tmp_path, HELD)
    assert [one["name"] for one in module["classes"][0]["methods"]] == ["get"]
    assert [one["name"] for one in module["skipped"]] == ["Model.then", "Model.toJSON", "Model.dispose"]


def test_each_kind_of_parameter_is_told_with_its_default(tmp_path: Path) -> None:
    [function] = module_of(tmp_path, "def f(a, /, b, c=[1], *rest, d, e='x', g=open, **more): ...")["functions"]
    [one] = function["overloads"]
    told = [(p["name"], p["kind"], p["optional"], p.get("default", "none is known")) for p in one["params"]]
    assert told == [
        ("a", "positional", False, "none is known"),
        ("b", "either", False, "none is known"),
        ("c", "either", True, [1]),
        ("rest", "var", False, "none is known"),
        ("d", "keyword", False, "none is known"),
        ("e", "keyword", True, "x"),
        ("g", "keyword", True, "none is known"),
        ("more", "var_keyword", False, "none is known"),
    ]


def test_a_generator_without_hints_is_a_stream_and_a_coroutine_function_is_asynchronous(tmp_path: Path) -> None:
    module = module_of(
        tmp_path, "def g():\n    yield 1\nasync def h() -> int: ...\ndef k():\n    def i():\n        yield\n"
    )
    results = {one["name"]: (one["async"], one["overloads"][0]["result"]["kind"]) for one in module["functions"]}
    assert results == {"g": (False, "iterator"), "h": (True, "int"), "k": (False, "any")}


def test_overloads_are_told_one_by_one_without_what_implements_them(tmp_path: Path) -> None:
    source = """
from typing import overload
@overload
def f(a: int) -> int: ...
@overload
def f(a: str) -> str: ...
def f(a): "Says."
"""
    [function] = module_of(tmp_path, source)["functions"]
    assert [one["result"]["kind"] for one in function["overloads"]] == ["int", "str"]
    assert function["doc"] == "Says."


CLASSES = '''
import enum
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, NotRequired, TypedDict

class Base:
    def above(self) -> int: ...
    def again(self) -> int: ...

class Model(Base):
    """Thinks."""
    def __init__(self, path: str, *, size: int = 3) -> None: ...
    def again(self) -> str: ...
    def _hidden(self): ...
    @property
    def name(self): ...
    @classmethod
    def load(cls, path: str) -> "Model": ...
    @staticmethod
    def count() -> int: ...

class Colour(enum.StrEnum):
    RED = enum.auto()
    BLUE = "b"

class P(TypedDict):
    a: int
    """Which."""
    b: NotRequired[str]

@dataclass
class Point:
    x: float
    all: ClassVar[int] = 0

class Pair(NamedTuple):
    a: int
    b: str

class Trouble(Exception): ...

class _Private:
    def run(self) -> int: ...

def make() -> Model: ...
model = Model("x")
other: Model = unknown()
third = make()
private = _Private()
'''


def test_a_class_is_told_with_its_constructor_and_methods_also_those_of_its_bases(tmp_path: Path) -> None:
    classes = {one["name"]: one for one in module_of(tmp_path, CLASSES)["classes"]}
    assert set(classes) == {"Base", "Model"}
    model = classes["Model"]
    assert [(one["name"], one["kind"]) for one in model["init"]["params"]] == [("path", "either"), ("size", "keyword")]
    methods = {one["name"]: one["overloads"][0] for one in model["methods"]}
    assert set(methods) == {"above", "again", "load", "count"}
    assert methods["again"]["result"] == {"kind": "str"}
    static = {one["name"]: one["overloads"][0] for one in model["static"]}
    assert set(static) == {"load", "count"}
    assert [one["name"] for one in static["load"]["params"]] == ["path"]


def test_objects_that_stay_where_they_are_are_told_with_their_methods(tmp_path: Path) -> None:
    instances = {one["name"]: one for one in module_of(tmp_path, CLASSES)["instances"]}
    assert {name: one["class"] for name, one in instances.items()} == {
        "model": "Model",
        "other": "Model",
        "third": "Model",
        "private": None,
    }
    assert [one["name"] for one in instances["private"]["methods"]] == ["run"]


def test_classes_that_are_values_are_told_as_types(tmp_path: Path) -> None:
    module = module_of(tmp_path, CLASSES)
    types = {one["name"]: one for one in module["types"]}
    assert types["Colour"]["members"] == [{"name": "RED", "value": "red"}, {"name": "BLUE", "value": "b"}]
    assert [(one["name"], one["optional"], one["doc"]) for one in types["P"]["fields"]] == [
        ("a", False, "Which."),
        ("b", True, None),
    ]
    assert [one["name"] for one in types["Point"]["fields"]] == ["x"]
    assert types["Pair"]["type"] == {"kind": "tuple", "items": [{"kind": "int"}, {"kind": "str"}]}
    assert [one["name"] for one in module["skipped"]] == ["Trouble"]


def test_a_constant_is_told_with_its_value_and_what_may_change_is_not(tmp_path: Path) -> None:
    source = """
from typing import Final
MODEL: Final = "v1"
'''Which.'''
LIMITS = {"a": [1, 2.5]}
counter = 0
twice = 1
twice = 2
computed = len("x")
huge = 2**70
infinite = 1e999
def bump():
    global counter
"""
    module = module_of(tmp_path, source)
    assert [(one["name"], one["value"], one["doc"]) for one in module["constants"]] == [
        ("MODEL", "v1", "Which."),
        ("LIMITS", {"a": [1, 2.5]}, None),
    ]
    assert module["constants"][0]["type"] == {"kind": "literal", "values": ["v1"]}
    assert [one["name"] for one in module["skipped"]] == ["counter", "twice", "computed", "huge", "infinite"]


def test_where_there_is_an_all_it_says_what_is_told(tmp_path: Path) -> None:
    source = "from os import getcwd\n__all__ = ['f', 'getcwd']\ndef f(): ...\ndef g(): ...\n"
    module = module_of(tmp_path, source)
    assert [one["name"] for one in module["functions"]] == ["f"]
    assert module["skipped"] == [{"name": "getcwd", "why": "it comes from another module"}]


def test_of_a_branch_for_versions_the_one_that_runs_is_told(tmp_path: Path) -> None:
    source = "import sys\nif sys.version_info >= (3, 8):\n    def f(a: int): ...\nelse:\n    def g(): ...\n"
    source += (
        "if __name__ == '__main__':\n    def h(): ...\ntry:\n    import x\nexcept ImportError:\n    def i(): ...\n"
    )
    assert [one["name"] for one in module_of(tmp_path, source)["functions"]] == ["f", "i"]


def test_nothing_of_the_module_runs(tmp_path: Path) -> None:
    assert module_of(tmp_path, "raise SystemExit\ndef f(): ...\n")["functions"][0]["name"] == "f"


def run(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-S", "-E", "-c", PROGRAM, str(FOLDER), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)


def test_as_a_program_it_prints_the_same_whatever_lies_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ast.py").write_text("raise SystemExit('not this one')")
    told = module_of(tmp_path, CLASSES)
    done = run(tmp_path / "ml.py", tmp_path)
    assert json.loads(done.stdout) == told, done.stderr


def test_as_a_program_it_says_in_one_line_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("x = 1\ndef f(:\n")
    done = run(broken, tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"SyntaxError: invalid syntax ({broken}, line 2)\n"
    done = run(tmp_path / "missing.py", tmp_path)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert done.stderr.count("\n") == 1

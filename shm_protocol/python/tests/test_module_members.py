"""What of a module may be called beside its functions, and which file it says it is of."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from shm_protocol.exposed import Exposed

SOURCE = """
import enum, logging
from abc import ABC
from collections import Counter
from dataclasses import dataclass

class Model(ABC):
    def __init__(self, size=1): self.size = size
    def predict(self, text): return text * self.size
    async def later(self): ...
    def _hidden(self): ...
    @property
    def name(self): raise ValueError
    @classmethod
    def load(cls, size): return cls(size)
    @staticmethod
    def count(): return 5

class Colour(enum.Enum):
    RED = 1

@dataclass
class Point:
    x: int
    def moved(self): ...

class Trouble(Exception): ...

model = Model(2)
_private = Model()
log = logging.getLogger("x")
counted = Counter()
colour = Colour.RED
alias = Counter

def learn(text): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "made_members.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("made_members")
    del sys.modules["made_members"]


def names(exposed: Exposed) -> set[str]:
    return set(exposed.functions)


OWN = {
    "m.learn",
    "m.Model",
    "m.Model.load",
    "m.Model.count",
    "m.model.predict",
    "m.model.load",
    "m.model.count",
}


def test_methods_of_objects_and_constructors_and_static_methods_of_classes_are_exposed(module: ModuleType) -> None:
    exposed = Exposed({"m": module})
    assert names(exposed) == OWN
    assert exposed.functions["m.model.predict"]("a") == "aa"
    assert exposed.functions["m.Model.load"](3).size == 3
    assert exposed.functions["m.Model.count"]() == 5
    assert exposed.functions["m.Model"](4).size == 4


def test_asynchronous_methods_are_exposed_where_there_is_a_loop(module: ModuleType) -> None:
    assert "m.model.later" in names(Exposed({"m": module}, has_loop=True))


def test_an_object_of_a_foreign_class_is_exposed_where_it_is_listed(module: ModuleType) -> None:
    module.__dict__["__all__"] = ["log"]
    found = names(Exposed({"m": module}))
    assert {"m.log.warning"} <= found
    assert not any(name.startswith("m.model") for name in found)
    assert logging.getLogger("x").name == "x"


def test_what_is_exposed_by_its_name_comes_before_what_a_module_has(module: ModuleType) -> None:
    other = {"predict": lambda text: "other"}
    for exposed in (Exposed({"m": module, "m.model": other}), Exposed({"m.model": other, "m": module})):
        assert exposed.functions["m.model.predict"]("a") == "other"
    exposed = Exposed({"m": module})
    exposed.add({"m.model": other})
    assert exposed.functions["m.model.predict"]("a") == "other"
    with pytest.raises(ValueError, match=r"m\.model\.predict is exposed already"):
        exposed.add({"m.model": other})


def test_the_files_of_exposed_modules_are_told(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exposed = Exposed({"m": module, "f": {"g": len}})
    file = os.path.realpath(tmp_path / "made_members.py")
    assert exposed.sources() == [{"key": "m", "file": file, "project": "made_members.py"}]
    learn = vars(module)["learn"]
    wrapped = functools.wraps(learn)(lambda text: learn(text))
    told = Exposed({"own": {"learn": learn}, "wrapped": {"learn": wrapped}, "other": {"l": learn}}).sources()
    assert [(source["key"], source["file"]) for source in told] == [("own", file), ("wrapped", file)]
    mixed = {"learn": wrapped, "read": os.read, "f": lambda: None}
    assert Exposed({"mixed": mixed}).sources() == []
    monkeypatch.chdir("/")
    assert exposed.built_in["shm_polyglot.sources"]() == [{"key": "m", "file": file, "project": file.removeprefix("/")}]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert exposed.sources() == [{"key": "m", "file": file, "project": None}]

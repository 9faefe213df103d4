"""Modules that are loaded again: which, and that all or none are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shm_protocol import reloading

VALUE = "VALUE = {0}\n"
FILES = {
    "pkg_r/__init__.py": VALUE.format(1),
    "pkg_r/sub.py": "def f():\n    return 0\n",
    "user_r.py": "import pkg_r.sub\n\ndef f():\n    return pkg_r.VALUE, pkg_r.sub.f()\n",
    "other_r.py": "import json\nKEPT = object()\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    # What is kept of a file tells only by the second when it was changed.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("user_r", "other_r"):
        importlib.import_module(name)
    yield tmp_path
    for name in ("user_r", "other_r", "pkg_r", "pkg_r.sub"):
        sys.modules.pop(name, None)


def change(file: Path, text: str) -> None:
    """Edits a file, and loads again what is to be."""
    file.write_text(text)
    reloading.load_again([str(file)], lambda: None)


def test_who_imports_from_a_package_is_loaded_again_with_it_and_nobody_else(folder: Path) -> None:
    before, kept = sys.modules["user_r"], sys.modules["other_r"]
    change(folder / "pkg_r" / "__init__.py", VALUE.format(2))
    assert sys.modules["user_r"].f() == (2, 0)
    assert before.f() == (1, 0)
    assert sys.modules["other_r"] is kept


@pytest.mark.parametrize("wrong", ["VALUE = (\n", "1 / 0\n", "import sys\ndel sys.modules[__name__]\n"])
def test_where_one_cannot_be_loaded_again_all_are_as_they_were(folder: Path, wrong: str) -> None:
    before = {name: sys.modules[name] for name in ("user_r", "pkg_r", "pkg_r.sub")}
    with pytest.raises((SyntaxError, ZeroDivisionError, ImportError, KeyError)):
        change(folder / "pkg_r" / "sub.py", wrong)
    assert {name: sys.modules[name] for name in before} == before
    assert sys.modules["user_r"].f() == (1, 0)
    assert sys.modules["pkg_r"].sub is before["pkg_r.sub"]

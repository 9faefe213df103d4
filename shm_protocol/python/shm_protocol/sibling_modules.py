"""Which modules beside a Python file it imports by their bare names: of each name a process has one module, so that two
folders with a `helper.py` each would share the one that is imported first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


def require_distinct(file: Path, folder: Path, others: Iterable[tuple[Path, Path]]) -> None:
    """Raise ImportError where a file of another folder, which has been loaded, imports another module by a name that
    this one imports one by. folder: where its imports are looked for. others: likewise, a file and its folder each.
    """
    own = _siblings_of(file, folder)
    for other, other_folder in others:
        theirs = _siblings_of(other, other_folder)
        for name in own:
            if name in theirs and not own[name].samefile(theirs[name]):
                raise ImportError(
                    f"{file} imports {own[name]} as {name!r}, and {other} has {theirs[name]} by that name: a process "
                    f"has one module of a name. Rename one of the two, or make packages of their folders "
                    f"(__init__.py, and `from . import {name}`)",
                    name=name,
                    path=str(own[name]),
                )


def _siblings_of(file: Path, folder: Path) -> dict[str, Path]:
    """What it imports from the folder, and what that imports from there, by name."""
    found: dict[str, Path] = {}
    left = [file]
    while left:
        for name in _imported_by(left.pop()):
            if name not in found and (sibling := _module_in(folder, name)) is not None:
                found[name] = sibling
                left.append(sibling)
    return found


def _module_in(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name / "__init__.py", folder / f"{name}.py") if path.is_file()), None)


@cache
def _imported_by(file: Path) -> tuple[str, ...]:
    """The first part of each absolute name, as of when it was loaded."""
    return tuple(dict.fromkeys(_names_in(file)))


def _names_in(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes(), file)
    except (OSError, SyntaxError, ValueError):
        # Whoever loads it is told.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]

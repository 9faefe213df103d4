"""Which files of a folder are imported from the other language."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from . import stub_modules
from .carried import ENDING
from .generated_files import DECLARATIONS, STUB_MODULES, STUBS, TYPESCRIPT, is_generated

_NOT_OF_THE_PROJECT: Final = frozenset(("node_modules", "__pycache__", "dist", "build", "venv", "site-packages"))
_IMPORTERS: Final = (*TYPESCRIPT, ".tsx", ".js", ".mjs", ".cjs", ".jsx")

_OF_PYTHON: Final = re.compile(
    rb"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\(|\bload\s*\()\s*["'](\.{1,2}/[^"'\n]+\.py)["']"""
)
"""`from "./ml.py"`, `import("./ml.py")`, `load("./ml.py")`."""

_OF_PYTHON_MODULES: Final = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[ \t][\w \t,]+)|import[ \t]+([\w. \t,]+))",
    re.MULTILINE,
)
"""`from . import (a, b)`, `import a.b, c as d`."""


def crossing(folder: Path) -> list[Path]:
    """Python's files that TypeScript's in the folder import, TypeScript's that Python's import, and those for which
    types have been written; in order. Some may lie outside of the folder. Raises OSError.
    """
    found: set[Path] = set()
    for file in _files(folder):
        if file.name.endswith(DECLARATIONS):
            found.update(_source_of(file, DECLARATIONS, (".py",)))
        elif file.suffix == STUBS:
            found.update(_source_of(file, STUBS, TYPESCRIPT))
        elif file.suffix == ENDING and Path(file.stem).suffix in (".py", *TYPESCRIPT):
            found.update(_source_of(file, ENDING, ("",)))
        elif file.suffix == ".py":
            found.update(_typescript_of(file, folder))
        elif file.suffix in _IMPORTERS and ".d" not in file.suffixes[-2:-1]:
            found.update(_python_of(file))
    return sorted(found)


def stubbed(folder: Path) -> dict[Path, Path]:
    """The modules of stubs in the folder and where its package.json say that modules are, and of which Python file each
    is. Raises OSError.
    """
    files = list(_files(folder))
    for file in list(files):
        if file.name == "package.json":
            files += (one for place in _imported_folders(file) if place.is_dir() for one in _files(place))
    found = ((file, _stubbed_by(file)) for file in dict.fromkeys(files) if file.suffix == STUB_MODULES)
    return {file: source for file, source in found if source is not None and source.is_file()}


def _stubbed_by(file: Path) -> Path | None:
    if not is_generated(file):
        return None
    beside = stub_modules.source_in(file.read_text("utf-8", "replace"))
    return None if beside is None else _within(file.parent, beside)


def _imported_folders(package: Path) -> Iterator[Path]:
    """Those of its subpath imports that are not looked into anyway: of `"#py/*": "./.py/*.mjs"` the folder `.py`."""
    try:
        told = json.loads(package.read_bytes())
    except (ValueError, RecursionError):
        return
    for target in _texts_in(told.get("imports") if isinstance(told, dict) else None):
        place = Path(target.partition("*")[0] + "x").parent
        if any(_is_not_of_the_project(name) for name in place.parts):
            yield _within(package.parent, str(place))


def _texts_in(told: Any) -> Iterator[str]:
    """A target, or those under conditions."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict | list):
        for one in told.values() if isinstance(told, dict) else told:
            yield from _texts_in(one)


def _is_not_of_the_project(name: str) -> bool:
    return name.startswith(".") or name in _NOT_OF_THE_PROJECT


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(
            name
            for name in folders
            if not _is_not_of_the_project(name) and not Path(parent, name, "pyvenv.cfg").exists()
        )
        # A pipe would have its reader wait for ever.
        yield from (path for name in sorted(names) if (path := Path(parent, name)).is_file())


def _raise(error: OSError) -> None:
    raise error


def _source_of(file: Path, ending: str, endings_of_source: tuple[str, ...]) -> Iterator[Path]:
    if is_generated(file):
        yield from _with_ending(file.with_name(file.name.removesuffix(ending)), endings_of_source)


def _with_ending(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """The file of that name with the first of the endings that there is."""
    files = (path.with_name(f"{path.name}{ending}") for ending in endings)
    return [file for file in files if file.is_file()][:1]


def _python_of(file: Path) -> Iterator[Path]:
    for match in _OF_PYTHON.finditer(file.read_bytes()):
        named = _within(file.parent, os.fsdecode(match[1]))
        if named.is_file():
            yield named


def _typescript_of(file: Path, folder: Path) -> Iterator[Path]:
    """Modules that are no Python's, but a `.ts` beside the file or below the folder."""
    for match in _OF_PYTHON_MODULES.finditer(file.read_bytes()):
        from_module, names, modules = (os.fsdecode(part or b"") for part in match.groups())
        dotted = [name.split()[0] for name in modules.split(",") if name.split()]
        if from_module:
            relative = from_module if from_module.endswith(".") else f"{from_module}."
            listed = names.strip("()").split(",")
            dotted = [from_module, *(f"{relative}{name.split()[0]}" for name in listed if name.split())]
        for name in dotted:
            # `from . import` names no module itself.
            for base in _bases(name, file, folder) if name.strip(".") else []:
                path = base.joinpath(*name.strip(".").split("."))
                if not _is_python(path):
                    yield from _with_ending(path, TYPESCRIPT)


def _bases(dotted: str, file: Path, folder: Path) -> list[Path]:
    """Where a module of that name may be."""
    level = len(dotted) - len(dotted.lstrip("."))
    return [file.parent, folder] if level == 0 else [_within(file.parent, "../" * (level - 1))]


def _within(folder: Path, relative: str) -> Path:
    """As a name leads, without following symbolic links: the file is named as its folder is."""
    return Path(os.path.normpath(folder / relative))


def _is_python(path: Path) -> bool:
    """An importable module of Python's wins."""
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()

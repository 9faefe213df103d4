"""load(): a TypeScript module as an object, without any server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

from .children import NodeChild
from .config import watches
from .described import carried
from .described.description import Module
from .described.typescript_source import NoCompiler, describe
from .errors import PeerUnavailable
from .node_command import JAVASCRIPT, TYPESCRIPT
from .options import DEFAULT_TIMEOUT_S
from .routes import Route
from .stubs import fill, of_exports

_Kind = Literal["functions", "classes", "instances", "constants", "types"]

_NAMES: Final[tuple[_Kind, ...]] = ("functions", "classes", "instances", "constants", "types")
"""What a description has of names, by kind."""


def load(file: str | os.PathLike[str], *, timeout: float | None = DEFAULT_TIMEOUT_S) -> ModuleType:
    """Start Node for a TypeScript or JavaScript file, and give what it exports, as an import would.

    Functions are called and return as any of Python's: what is promised has been awaited, a generator is an iterator
    that can be closed. They have signatures and docstrings where TypeScript 5 or 6 is installed, else names alone. The
    process ends with this program, and loads whatever else that loads or imports. timeout: seconds for each call, None:
    for ever.

    Raises FileNotFoundError, ValueError for a file of another kind, PeerUnavailable where it cannot be run or throws
    when it is loaded, SyntaxError where it does not compile.
    """
    path = Path(file).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix not in (*TYPESCRIPT, *JAVASCRIPT):
        raise ValueError(f"{path} is neither TypeScript nor JavaScript ({', '.join((*TYPESCRIPT, *JAVASCRIPT))})")
    route = Route(path, in_child=True, timeout=timeout)
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    described = described_or_run(path, route)
    # Whoever writes a script wants to know at once.
    route.find()
    fill(module, described, route, describe_again(path, route))
    return module


def described_or_run(path: Path, route: Route) -> Module:
    """What the module has: as its compiler tells; where there is none, or no source, as a description that is carried
    tells; else as it says when it runs.
    """
    try:
        described = describe(path)
        # Of `exports.name = …` in JavaScript the compiler tells nothing.
        if path.suffix not in JAVASCRIPT or any(described[kind] for kind in _NAMES):
            return described
        child = route.find().child
        return described if child is None else _as_it_runs(path, child)
    except (NoCompiler, PeerUnavailable, FileNotFoundError) as missing:
        found = carried.read(path)
        if found is not None:
            return found
        if not isinstance(missing, NoCompiler):
            raise
        no_compiler = missing
    # Beyond the handler: what fails from here on has not failed because there is no compiler.
    child = route.find().child
    # Whoever listens does not say what its modules have.
    if child is None:
        raise no_compiler
    return _as_it_runs(path, child)


def describe_again(path: Path, route: Route) -> Callable[[], Module] | None:
    """What tells of the file as it is then, where files are watched."""
    return (lambda: described_or_run(path, route)) if watches() else None


def _as_it_runs(path: Path, child: NodeChild) -> Module:
    # Asked for now: it may have been loaded again meanwhile.
    return of_exports(path, child.load(path, fresh=False).exports)

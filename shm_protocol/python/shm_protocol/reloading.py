"""What a child that watches does: modules whose files have been edited are loaded again, and calls and connection stay.

Only children do so, and only with SHM_POLYGLOT_WATCH=1. What fails when it is loaded again leaves all as it was.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from types import ModuleType
from typing import Any, Final

from .between_calls import BetweenCalls
from .module_members import file_of

LOOK_EVERY_S: Final = 0.2
"""An editor is done with a file when two looks find the same."""

State = tuple[int, int, int, int]
"""Of a file: when it was changed, as it says and in truth, for a tool may set the first; its size, and which it is."""


class Reloading:
    """Loads again, between two calls, what has been edited meanwhile, and tells of it.

    expose_again: called when modules have been loaded again, to expose what they have now. What it raises leaves them
    as they were, too.
    """

    def __init__(self, between: BetweenCalls, expose_again: Callable[[], None]) -> None:
        self._between: Final = between
        self._expose_again: Final = expose_again
        self._watch: Final = FileWatch(self._tell_changed)

    def look(self) -> None:
        """Know what has just been imported as it is now."""
        self._watch.look()

    def _tell_changed(self) -> None:
        self._between.add(self._load_changed)

    def _load_changed(self) -> None:
        changed = self._watch.take()
        # It is told of again until it has been taken.
        if changed:
            self._load_again(changed)

    def _load_again(self, changed: set[str]) -> None:
        told = ", ".join(sorted(changed))
        try:
            load_again(changed, self._expose_again)
        except BaseException as error:  # noqa: BLE001  # whatever it is, SystemExit too, the old ones serve on
            shown = traceback.TracebackException.from_exception(error)
            # The frames of this library say nothing, nor do those of the imports.
            shown.stack = traceback.StackSummary.from_list(
                [frame for frame in shown.stack if frame.filename in files()]
            )
            sys.stderr.write("".join(shown.format()))
            sys.stderr.write(f"shm-polyglot: {told}: not loaded again, goes on as it was\n")
        else:
            sys.stderr.write(f"shm-polyglot: {told}: loaded again\n")


class FileWatch:
    """Looks at the files of all modules that have been imported, but those of Python and of installed packages.

    tell: called, in a thread beside the program's, when some have changed and are whole.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Final = tell
        self._known: Final[dict[str, State]] = {}
        self._seen: Final[dict[str, State]] = {}
        self._changed: Final[set[str]] = set()
        self._lock: Final = threading.Lock()
        threading.Thread(target=self._run, name="shm-polyglot watch", daemon=True).start()

    def look(self) -> None:
        """Know what has just been imported as it is now."""
        with self._lock:
            for file in files():
                state = _state_of(file)
                if state is not None:
                    self._known.setdefault(file, state)

    def take(self) -> set[str]:
        """The files that have changed since the last time."""
        with self._lock:
            taken = set(self._changed)
            self._changed.clear()
        return taken

    def _run(self) -> None:
        while True:
            sleep(LOOK_EVERY_S)
            self.look()
            if self._find_changed():
                self._tell()

    def _find_changed(self) -> bool:
        with self._lock:
            for file, known in self._known.items():
                state = _state_of(file)
                # It is away while an editor puts another in its place.
                if state is None or state == known:
                    self._seen.pop(file, None)
                elif self._seen.get(file) == state:
                    del self._seen[file]
                    self._known[file] = state
                    self._changed.add(file)
                else:
                    self._seen[file] = state
            return bool(self._changed)


def files() -> set[str]:
    """Of the modules that are watched."""
    return set(_watched().values())


def load_again(changed: Iterable[str], expose_again: Callable[[], None]) -> None:
    """Load the modules of these files again, and those that import from them. Raises what they raise, or what is called
    then, and then all is as it was.
    """
    watched = _watched()
    stale = _stale(watched, set(changed))
    old = {name: sys.modules[name] for name in watched if name in stale}
    importlib.invalidate_caches()
    for name in old:
        del sys.modules[name]
    try:
        for name in old:
            if name not in sys.modules:
                _import_anew(name, watched[name])
        _set_in_packages({name: sys.modules[name] for name in old})
        expose_again()
    except BaseException:
        sys.modules.update(old)
        _set_in_packages(old)
        raise


def _import_anew(name: str, file: str) -> None:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source", path=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _set_in_packages(modules: Mapping[str, ModuleType]) -> None:
    for name, module in modules.items():
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], last, module)


def _watched() -> dict[str, str]:
    """The files of modules by their names, in the order in which they were imported."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = file_of(module) if type(module) is ModuleType and name != "__main__" else None
        if file is not None and not file.startswith(_NOT_WATCHED):
            found[name] = file
    return found


def _folders() -> Iterator[str]:
    yield str(Path(__file__).parent)
    yield from (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from site.getsitepackages()
    yield site.getusersitepackages()


_NOT_WATCHED: Final = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in _folders())


def _state_of(file: str) -> State | None:
    with suppress(OSError):
        status = os.stat(file)  # noqa: PTH116  # so often
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
    return None


def _stale(watched: Mapping[str, str], changed: set[str]) -> set[str]:
    """The modules of these files, and those that import them or from them, however far."""
    # With whatever a name lies in: who imports `a.b` has what `a` made of itself, as has `a.b`.
    imports = {
        name: {each for one in (name, *_imports_of(name, file)) for each in _within(one)}
        for name, file in watched.items()
    }
    stale = {name for name, file in watched.items() if file in changed}
    while more := {name for name in watched if name not in stale and imports[name] & stale}:
        stale |= more
    return stale


def _within(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _imports_of(name: str, file: str) -> Iterator[str]:
    """The names of what a file imports, as it is now."""
    try:
        tree = ast.parse(Path(file).read_bytes(), file)
    except (OSError, SyntaxError, ValueError):
        # Whoever loads it is told.
        return
    spec: Any = getattr(sys.modules.get(name), "__spec__", None)
    package = getattr(spec, "parent", None) or name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                with suppress(ImportError):
                    base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)

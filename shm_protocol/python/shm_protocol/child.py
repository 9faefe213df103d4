"""A Python child of a Node program: `python -P -m shm_protocol.child SOCKET`, for what that imports or loads.

It attaches to its parent, by a socket of theirs alone, and loads what it is told to: each file once, so that modules
that import each other share their state. Plain functions run in the main thread, one at a time, those of an event loop
in a thread beside it. It ends with its parent, whatever it is doing then.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from . import config
from .between_calls import BetweenCalls
from .connection import Connection
from .dialing import dial
from .errors import PeerGone
from .exposables import functions_of, is_asynchronous
from .exposed import BUILT_IN, Exposed
from .module_members import members_of
from .parent import end_with_parent

if TYPE_CHECKING:
    from .calls import ServedCall
    from .child_loop import ChildLoop
    from .child_serving import ChildServing
    from .exposed import Answerer
    from .reloading import Reloading

LOAD: Final = f"{BUILT_IN}load"
NAME: Final = "python child"


class Child:
    """What has been loaded.

    exposed: the plain functions of that.
    """

    def __init__(self, path: str) -> None:
        self._path: Final = path
        self._modules: Final[dict[str, ModuleType]] = {}
        self._names: Final[dict[str, set[str]]] = {}
        self._loop: ChildLoop | None = None
        self._between: Final = BetweenCalls()
        self._reloading: Final = self._begin_to_watch() if config.watches() else None
        self._connection: Connection | None = None
        self._awaiting: ChildServing | None = None
        self.exposed: Final = Exposed()
        self.exposed.elsewhere = self
        self.exposed.built_in[LOAD] = self.load

    def load(self, file: str) -> str:
        """Import a file and expose what it has. Returns the key of its names. Raises what the file raises."""
        file = os.path.realpath(file)
        if file not in self._modules:
            self._require_distinct(file)
            self._expose({file: import_file(file)})
            if self._reloading is not None:
                self._reloading.look()
        return self._modules[file].__name__

    def serve(self, connection: Connection) -> None:
        """Until the parent ends. Raises PeerGone then."""
        self._connection = connection
        self._between.serve(connection)

    def respond(self, serving: Answerer, request: ServedCall, result: Any) -> None:
        """See exposed.Elsewhere."""
        if self._awaiting is None:
            # As late as the loop.
            from .child_serving import ChildServing

            assert self._connection is not None, "it is served by that"
            self._awaiting = ChildServing(self._in_loop(), self._between, self._connection)
        self._awaiting.respond(serving, request, result)

    def _in_loop(self) -> ChildLoop:
        if self._loop is None:
            # Not with the rest: asyncio makes an import longer by a third.
            from .child_loop import ChildLoop

            self._loop = ChildLoop(self._path)
        return self._loop

    def _require_distinct(self, file: str) -> None:
        folders = {Path(other): Path(_name_of(Path(other))[1]) for other in (*self._modules, file)}
        own = folders.pop(Path(file))
        others = [(other, folder) for other, folder in folders.items() if folder != own]
        if others:
            # Most programs have one folder.
            from .sibling_modules import require_distinct

            require_distinct(Path(file), own, others)

    def _begin_to_watch(self) -> Reloading:
        # Most children never do, and it would make each start later.
        from .reloading import Reloading

        return Reloading(self._between, self._expose_again)

    def _expose_again(self) -> None:
        now = {file: sys.modules.get(module.__name__, module) for file, module in self._modules.items()}
        self._expose({file: module for file, module in now.items() if module is not self._modules[file]})

    def _expose(self, modules: Mapping[str, ModuleType]) -> None:
        """Modules by their files, which are new or have been loaded again: then names that are gone are exposed no
        more. Raises what looking at one of them raises, and then all is as it was.
        """
        found_in = {file: _functions_in(module) for file, module in modules.items()}
        found = {key: function for functions in found_in.values() for key, function in functions.items()}
        awaited = {key: function for key, function in found.items() if is_asynchronous(function)}
        plain = {key: function for key, function in found.items() if key not in awaited}
        gone = {key for file in modules for key in self._names.get(file, ())} - set(found)
        if awaited:
            self._in_loop()
        if self._loop is not None:
            # What was once told of a connection may be asked of it for ever, whatever the function is now.
            also = {key: plain[key] for key in plain.keys() & self._loop.names}
            named = awaited.keys() & self.exposed.functions.keys()
            plain.update({key: self._loop.waiting(awaited[key]) for key in named})
            awaited.update(also)
            self._loop.expose(awaited, gone)
        self.exposed.insert(plain)
        self.exposed.remove(gone)
        self._names.update({file: set(functions) for file, functions in found_in.items()})
        self._modules.update(modules)


def _functions_in(module: ModuleType) -> dict[str, Any]:
    name = module.__name__
    found: dict[str, Any] = dict(functions_of(name, module))
    found.update({f"{name}.{member}": function for member, function in members_of(module).items()})
    return found


def import_file(file: str) -> ModuleType:
    """Import it under the name that it has by the packages it lies in. Raises what it raises."""
    name, top = _name_of(Path(file))
    if top not in sys.path:
        sys.path.insert(0, top)
    for loaded in list(sys.modules.values()):
        if os.path.realpath(getattr(loaded, "__file__", None) or "") == file:
            # Another has imported it before.
            return loaded
    if name in sys.modules:
        # A module of Python's own or of this library's, or one of the same name in another folder.
        name = f"{name}_{len(sys.modules)}"
    if "." in name:
        importlib.import_module(name.rpartition(".")[0])
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source", path=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    if "." in name:
        package, _, last = name.rpartition(".")
        setattr(sys.modules[package], last, module)
    return sys.modules[name]


def _name_of(file: Path) -> tuple[str, str]:
    """The module's full name, and the folder that it is imported from."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").exists() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), str(folder)


def main() -> None:
    """Be the child until the parent ends."""
    # Of a terminal it comes to the parent too, and that decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    # A pipe would keep what is printed until there is much of it, or for ever.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # Python's own
    # Behind all else, as for a program that is started there with -m.
    sys.path.append(str(Path.cwd()))
    path = sys.argv[1]
    if config.watches():
        # What is kept of a file tells only by the second when it was changed.
        sys.dont_write_bytecode = True
    child = Child(path)
    sys.argv = ["-c"]
    settings = config.read_settings(path)
    with dial(settings, role="worker", exposed=child.exposed, name=NAME) as connection:
        try:
            child.serve(connection)
        except PeerGone:
            # So a program ends, with what it has registered for then.
            pass


if __name__ == "__main__":
    main()

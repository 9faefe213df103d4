"""What the other side may call: a flat table of names, made once when something is exposed (PROTOCOL.md section 7).

Nothing is looked up by attribute or imported when a call comes, so a peer reaches what is in the table and nothing
else.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

from . import frames
from .exposables import Exposables, Function, functions_of, is_asynchronous, looked_at, named, nothing_in
from .module_members import file_of, file_of_all, in_project, members_of
from .options import shown

if TYPE_CHECKING:
    from .calls import ServedCall

BUILT_IN: Final = "shm_polyglot."
"""What begins so is the library's own (PROTOCOL.md section 7)."""

SOURCES: Final = f"{BUILT_IN}sources"

ANY_NUMBER: Final = range(sys.maxsize)
"""Of arguments."""

NEEDS_LOOP: Final = (
    "it needs an event loop: serve it with serve_async(), AsyncWorker or connect_async(role='worker'), or run it to "
    "its end in the function (asyncio.run)"
)
"""What is to be done about a coroutine function where there is none."""


class Namer(Protocol):
    """A connection that tells its peer the names of what is exposed."""

    def name_exposed(self, names: Sequence[str]) -> None:
        """The peer may call these from now on. Called in whichever thread exposes something."""


class Answerer(Protocol):
    """A connection's serving, as whoever runs something for it sees it."""

    @property
    def is_waiting(self) -> bool:
        """Whether what is served now is so while a call of ours waits for its answer."""
        ...

    def settle(self, request: ServedCall, result: object, failed: BaseException | None) -> None:
        """Answer with what was given in the end, or raised."""
        ...

    def post_item(self, request: ServedCall, value: object) -> bool:
        """Send an item. False: it cannot be sent, and the stream has been broken off."""
        ...


class Elsewhere(Protocol):
    """An event loop in another thread, for a connection that has none."""

    def respond(self, serving: Answerer, request: ServedCall, result: Any) -> None:
        """Have run there what a function has given that is to be awaited or iterated over, and settled here."""
        ...


class Exposed:
    """The functions one side exposes, by name. Several connections may share it.

    has_loop: they are served in an event loop, which coroutine functions and asynchronous generators need.
    argument_counts: of each function how many arguments it can take, read from its signature when it is exposed; a call
    with another number is answered with an error, and the function not run. built_in: the library's own functions.
    elsewhere: where what they give runs that needs a loop, if there is none; None: nowhere.
    """

    def __init__(self, functions: Exposables | None = None, *, has_loop: bool = False) -> None:
        self._has_loop: Final = has_loop
        self.functions: Final[dict[str, Function]] = {}
        self.argument_counts: Final[dict[str, range]] = {}
        self.built_in: Final[dict[str, Function]] = {SOURCES: self.sources}
        self.elsewhere: Elsewhere | None = None
        self._modules: Final[dict[str, ModuleType]] = {}
        self._mappings: Final[dict[str, dict[str, Function]]] = {}
        self._members: Final[set[str]] = set()
        # Not kept alive: a connection that nobody holds any more ends at once.
        self._namers: Final[dict[int, ref[Namer]]] = {}
        if functions is not None:
            self.add(functions)

    def add(self, functions: Exposables) -> None:
        """Expose more, all of it or nothing.

        Raises TypeError for what cannot be exposed, such as a coroutine function where there is no event loop;
        ValueError for a name that is taken, too long or private, and for more than 65,536 functions; ImportError for
        what is named and cannot be imported.
        """
        if not issubclass(type(functions), Mapping):
            raise TypeError(f"expose={shown(functions)}: must be a mapping of names to what is exposed")
        added: dict[str, Function] = {}
        modules: dict[str, ModuleType] = {}
        mappings: dict[str, dict[str, Function]] = {}
        for key, given in looked_at("expose", lambda: list(functions.items())):
            name, value = named(key, given)
            if issubclass(type(value), ModuleType):
                modules[name] = value  # type: ignore[assignment]  # as just seen
            for full_name, function in functions_of(name, value):
                if (full_name in self.functions and full_name not in self._members) or full_name in added:
                    raise ValueError(f"expose: {full_name} is exposed already")
                if full_name.startswith(BUILT_IN):
                    raise ValueError(f"expose: {full_name}: what begins with {BUILT_IN} is the library's own")
                if not _fits(full_name):
                    raise ValueError(
                        f"expose: {full_name!r}: a name must be 1 to {frames.MAX_METHOD_BYTES} bytes of UTF-8"
                    )
                if not self._has_loop and _is_asynchronous(full_name, function):
                    raise TypeError(
                        f"expose: {full_name} is a coroutine function or an asynchronous generator; {NEEDS_LOOP}"
                    )
                added[full_name] = function
                if issubclass(type(value), Mapping):
                    mappings.setdefault(name, {})[full_name.removeprefix(f"{name}.")] = function
        members = self._members_of(modules, added)
        added.update(members)
        self.insert(added)
        self._members.difference_update(added)
        self._members.update(members)
        self._modules.update(modules)
        self._mappings.update(mappings)
        for name, module in modules.items():
            _hold_against_declarations(module, f"{name}.", added)

    def insert(self, added: Mapping[str, Function]) -> None:
        """Expose functions by their full names, whose names and kinds are known to be right, in place of others of the
        same names. Raises ValueError for more than 65,536, TypeError.
        """
        if len(self.functions) + len(added) > frames.MAX_EXPOSED:
            raise ValueError(
                f"expose: {len(self.functions) + len(added)} functions: at most {frames.MAX_EXPOSED} are allowed"
            )
        counts = {
            name: looked_at(f"expose: {name}", partial(argument_counts, function)) for name, function in added.items()
        }
        self.argument_counts.update(counts)
        self.functions.update(added)
        for alive in list(self._namers.values()):
            namer = alive()
            if namer is not None:
                namer.name_exposed(list(added))

    def remove(self, names: Iterable[str]) -> None:
        """Expose these no more; a call of one is answered with UnknownMethod. Peers that know the name keep it."""
        for name in names:
            self.functions.pop(name, None)
            self.argument_counts.pop(name, None)

    def sources(self) -> list[dict[str, str | None]]:
        """Which file stands behind each module that is exposed, and each mapping of functions of one module, which
        functools.wraps may have wrapped (PROTOCOL.md section 7).
        """
        found = [(key, file_of(module)) for key, module in list(self._modules.items())]
        found += [(key, file_of_all(functions)) for key, functions in list(self._mappings.items())]
        return [{"key": key, "file": file, "project": in_project(file)} for key, file in found if file is not None]

    def _members_of(self, modules: Mapping[str, ModuleType], added: Mapping[str, Function]) -> dict[str, Function]:
        """What modules have beside their functions. It gives way to what has been exposed under its name, and is left
        out where it cannot be served.
        """
        found: dict[str, Function] = {}
        for name, module in modules.items():
            members = looked_at(f"expose: {name}", partial(members_of, module))
            if not members and not any(full_name.startswith(f"{name}.") for full_name in added):
                raise nothing_in(name, module)
            for member, function in members.items():
                full_name = f"{name}.{member}"
                is_free = full_name not in self.functions and full_name not in added
                if is_free and _fits(full_name) and (self._has_loop or not _is_asynchronous(full_name, function)):
                    found[full_name] = function
        return found

    def name_to(self, namer: Namer) -> None:
        """Tell a connection the names of what is exposed, now and whenever something is added."""
        key = id(namer)
        # First: what another thread adds meanwhile is told twice rather than not at all.
        self._namers[key] = ref(namer, lambda _: self._namers.pop(key, None))
        namer.name_exposed(list(self.functions))


def _is_asynchronous(name: str, function: Function) -> bool:
    return looked_at(f"expose: {name}", partial(is_asynchronous, function))


def _hold_against_declarations(module: ModuleType, before: str, added: Mapping[str, Function]) -> None:
    """Have it logged where the declarations that lie beside a module do not fit it. before: how the names of what is
    exposed of it begin.
    """
    file = file_of(module)
    declarations = f"{(file or '').removesuffix('.py')}.d.py.ts"
    if file is None or not os.access(declarations, os.F_OK):
        return
    # Here, because hardly anybody needs it.
    from .described.drift import log_drift

    own = {name.removeprefix(before): function for name, function in added.items() if name.startswith(before)}
    log_drift(Path(declarations), file, own)


def _fits(name: str) -> bool:
    try:
        return len(name.encode()) <= frames.MAX_METHOD_BYTES
    except UnicodeEncodeError:
        return False  # a lone surrogate


def argument_counts(function: Function) -> range:
    """How many positional arguments a function can take: there are no others in a call. Any number where it has no
    signature, as some built-in functions have none.
    """
    try:
        # Of a decorated function what counts is the wrapper, which may take other arguments than what it wraps.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ANY_NUMBER
    least = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = ANY_NUMBER.stop - 1
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
    return range(least, most + 1)


def wrong_count(method: str, counts: range, given: int) -> str:
    """What is wrong with a call that has another number of arguments than a function can take."""
    least, most = counts.start, counts.stop - 1
    if counts.stop == ANY_NUMBER.stop:
        takes, last = f"at least {least}", least
    elif least == most:
        takes, last = str(most) if most else "no", most
    else:
        takes, last = f"{least} to {most}", most
    return f"{method} takes {takes} {'argument' if last == 1 else 'arguments'}, and was given {given}"

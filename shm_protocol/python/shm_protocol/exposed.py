"""What the other side may call: a flat table of names, made once when something is exposed.

Nothing is looked up by attribute or imported when a call comes, so a peer reaches what is in the table and nothing
else.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from . import frames

Function = Callable[..., Any]

Exposable = Mapping[str, object]
"""By name: a module, a mapping of functions, a function, or an object whose public methods are meant.

A call whose number of arguments does not fit a function's signature is answered with a TypeError.
"""


BUILT_IN: Final = "shm_polyglot."
"""What begins so is the library's own (PROTOCOL.md section 7)."""

ANY_NUMBER: Final = range(sys.maxsize)
"""Of arguments."""


class Exposed:
    """The functions one side exposes, by name. Several connections may share it.

    argument_counts: of each function how many arguments it can take, read from its signature when it is exposed; a
    call with another number is answered with an error, and the function not run.
    """

    def __init__(self, functions: Exposable | None = None) -> None:
        self.functions: Final[dict[str, Function]] = {}
        self.argument_counts: Final[dict[str, range]] = {}
        if functions is not None:
            self.add(functions)

    def add(self, functions: Exposable) -> None:
        """Expose more, all of it or nothing.

        Raises TypeError for what cannot be exposed, ValueError for a name that is taken, too long or private.
        """
        added: dict[str, Function] = {}
        for name, value in functions.items():
            for full_name, function in _functions_of(name, value):
                if full_name in self.functions or full_name in added:
                    raise ValueError(f"{full_name} is exposed already")
                if full_name.startswith(BUILT_IN):
                    raise ValueError(f"{full_name}: what begins with {BUILT_IN} is the library's own")
                if len(full_name.encode()) > frames.METHOD_BYTES_MAX:
                    raise ValueError(f"{full_name}: a name may have at most {frames.METHOD_BYTES_MAX} bytes")
                added[full_name] = function
        self.argument_counts.update((name, argument_counts(function)) for name, function in added.items())
        self.functions.update(added)


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


def _functions_of(name: str, value: object) -> list[tuple[str, Function]]:
    if not name:
        raise ValueError(f"{name!r} is no name to expose something under; it must be a non-empty str")
    if isinstance(value, ModuleType):
        found = _of_module(value)
    elif isinstance(value, Mapping):
        found = _of_mapping(name, value)
    elif inspect.isroutine(value) or isinstance(value, functools.partial) or hasattr(value, "__wrapped__"):
        return [(name, _callable(value))]
    elif isinstance(value, type):
        raise TypeError(f"{name}: a class cannot be exposed; expose an instance, or its methods in a mapping")
    else:
        found = _of_object(value)
    if not found:
        raise TypeError(f"{name}: {value!r} has no public functions to expose")
    return [(f"{name}.{function_name}", function) for function_name, function in found.items()]


def _of_module(module: ModuleType) -> dict[str, Function]:
    """Public functions defined there: not what it imports, no classes, and only those in __all__ where there is one."""
    names = getattr(module, "__all__", None)
    return {
        name: _callable(value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (names is None or name in names)
        and (inspect.isroutine(value) or hasattr(value, "__wrapped__"))
        and getattr(value, "__module__", None) == module.__name__
    }


def _of_mapping(name: str, functions: Mapping[object, object]) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for key, value in functions.items():
        if not isinstance(key, str) or not key or key.startswith("_"):
            raise ValueError(f"{name}: {key!r} is no public name")
        if not callable(value) or isinstance(value, type):
            raise TypeError(f"{name}.{key}: {value!r} is no function")
        found[key] = value
    return found


def _of_object(instance: object) -> dict[str, Function]:
    """Public methods of its class and that class's bases, but not of built-in ones. No property is run."""
    methods: dict[str, Function] = {}
    for kind in type(instance).__mro__:
        for name, static in vars(kind).items() if kind.__module__ != "builtins" else ():
            if not name.startswith("_") and (inspect.isroutine(static) or hasattr(static, "__wrapped__")):
                methods[name] = getattr(instance, name)
    return methods


def _callable(value: object) -> Function:
    if not callable(value):
        raise TypeError(f"{value!r} is no function")
    return value

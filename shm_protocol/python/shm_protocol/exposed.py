"""What the other side may call: a flat table of names, made once when something is exposed.

Nothing is looked up by attribute or imported when a call comes, so a peer reaches what is in the table and nothing
else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from . import frames

Function = Callable[..., Any]

Exposable = Mapping[str, object]
"""By name: a module, a mapping of functions, a function, or an object whose public methods are meant."""


class Exposed:
    """The functions one side exposes, by name. Several connections may share it."""

    def __init__(self, functions: Exposable | None = None) -> None:
        self.functions: Final[dict[str, Function]] = {}
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
                if len(full_name.encode()) > frames.METHOD_BYTES_MAX:
                    raise ValueError(f"{full_name}: a name may have at most {frames.METHOD_BYTES_MAX} bytes")
                added[full_name] = function
        self.functions.update(added)


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

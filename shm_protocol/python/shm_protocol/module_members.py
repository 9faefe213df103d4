"""What a module has beside its functions: the methods of its objects and of its classes, and the classes' constructors
(PROTOCOL.md section 9).
"""

from __future__ import annotations

import os
import sys
from abc import ABCMeta
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from .exposables import Function, methods_of
from .project import project_folder

_NAMESPACE: Final[Any] = vars(type)["__dict__"]
_MRO: Final[Any] = vars(type)["__mro__"]
_METACLASSES: Final = (type, ABCMeta)
"""A class of any other does what that likes when it is called, as an enum's."""
_MAX_WRAPPERS: Final = 100
"""A wrapper may name itself."""
_VALUES: Final = (BaseException, tuple, list, dict, str, bytes, int, float, set, frozenset)
_NO_OBJECTS: Final = (*_VALUES, type, ModuleType, FunctionType)


def members_of(module: ModuleType) -> dict[str, Function]:
    """By name, such as `model.predict`, `Model.load`, and `Model` for the constructor: of public objects whose class is
    defined in the module, or that `__all__` names, and of public classes that are. What only happens to be there, such
    as a logger, is not meant.
    """
    attributes = vars(module)
    listed = attributes.get("__all__")
    found: dict[str, Function] = {}
    for name, value in list(attributes.items()):
        if name.startswith("_") or (listed is not None and name not in listed):
            continue
        kind = type(value)
        if kind in _METACLASSES:
            if _is_defined_in(module, value) and _stays(value):
                found[name] = value
                found.update({f"{name}.{method}": function for method, function in _static_methods(value).items()})
        elif not issubclass(kind, _NO_OBJECTS) and (listed is not None or _is_defined_in(module, kind)):
            found.update({f"{name}.{method}": function for method, function in methods_of(value).items()})
    return found


def file_of(module: ModuleType) -> str | None:
    """The file of its source, absolute and without links; None where there is none."""
    file = vars(module).get("__file__")
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    return os.path.realpath(file)


def file_of_all(functions: Mapping[str, Function]) -> str | None:
    """The same of the one module that has all of these functions under these names. By functools.wraps another may
    stand for one of its. None where there is no such module.
    """
    files = {_file_of_function(name, function) for name, function in functions.items()}
    return files.pop() if len(files) == 1 else None


def _file_of_function(name: str, function: Function) -> str | None:
    # As inspect.unwrap, but nothing of an object's own is run for it.
    for _ in range(_MAX_WRAPPERS):
        if type(function) is not FunctionType or "__wrapped__" not in vars(function):
            break
        function = vars(function)["__wrapped__"]
    if type(function) is not FunctionType or function.__qualname__ != name:
        return None
    module = sys.modules.get(function.__module__)
    return file_of(module) if module is not None and name in vars(module) else None


def in_project(file: str) -> str | None:
    """The same from the folder of this process's project; None where it does not lie in there."""
    folder = project_folder()
    if folder is None:
        return None
    folder = os.path.realpath(folder)
    return os.path.relpath(file, folder) if file.startswith(f"{folder.rstrip('/')}/") else None


def _is_defined_in(module: ModuleType, kind: type) -> bool:
    return bool(_NAMESPACE.__get__(kind).get("__module__") == module.__name__)


def _stays(kind: type) -> bool:
    """Whether its instances are no values, but stay where they are."""
    if issubclass(kind, _VALUES):
        return False
    return not any("__dataclass_fields__" in _NAMESPACE.__get__(base) for base in _MRO.__get__(kind))


def _static_methods(kind: type) -> dict[str, Function]:
    nearest: dict[str, Any] = {}
    for base in _MRO.__get__(kind):
        if base is not object:
            for name, static in list(_NAMESPACE.__get__(base).items()):
                nearest.setdefault(name, static)
    return {
        name: static.__get__(None, kind)
        for name, static in nearest.items()
        if not name.startswith("_") and type(static) in (staticmethod, classmethod)
    }

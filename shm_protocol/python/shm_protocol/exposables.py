"""What can be exposed, and which functions of it then are (PROTOCOL.md section 9).

What an object's methods are is read where Python keeps them, so that no code of the object's runs: no property, no
`__getattr__`, no descriptor.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import util
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, TypeGuard, TypeVar

from . import dotted_names, frames
from .errors import name_of
from .exits import is_interrupt
from .options import shown

Function = Callable[..., Any]
T = TypeVar("T")

Exposables = Mapping[str, object]
"""By name: a module, a mapping of functions, a function, or an object whose public methods are meant; or a string that
names one of them, "myapp.ml" or "myapp.ml:model", which is imported. In a mapping of functions a string names one, too.
Of a module its own public functions are meant, or those that it lists in `__all__`, wherever they come from.

A call whose number of arguments does not fit a function's signature is answered with a TypeError.
"""

_PLAIN_FUNCTIONS: Final = (FunctionType, BuiltinFunctionType, MethodType, functools.partial, type(functools.cache(len)))

_METHODS: Final = (
    *_PLAIN_FUNCTIONS,
    staticmethod,
    classmethod,
    functools.partialmethod,
    functools.singledispatchmethod,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    WrapperDescriptorType,
)
"""Python's own, whose `__get__` does nothing but bind."""

_MRO: Final[Any] = vars(type)["__mro__"]
_FLAGS: Final[Any] = vars(type)["__flags__"]
_NAMESPACE: Final[Any] = vars(type)["__dict__"]
_MISSING: Final = object()


def named(name: object, value: object) -> tuple[str, object]:
    """The name, and what stands under it: where that is named, it is imported. Raises TypeError, ValueError and
    ImportError.
    """
    if not isinstance(name, str):
        raise TypeError(f"expose: {shown(name)}: a name must be a string")
    if not name:
        raise ValueError(f"expose: {name!r}: a name must be 1 to {frames.MAX_METHOD_BYTES} bytes of UTF-8")
    if issubclass(type(value), str):
        value = dotted_names.resolve(name, str.__str__(value))
    return name, value


def functions_of(name: str, value: Any) -> list[tuple[str, Function]]:
    """What is exposed of `value` under `name`, with its full names; of a module, its functions. Raises TypeError,
    ValueError and ImportError.
    """
    kind = type(value)
    if issubclass(kind, ModuleType):
        return [(f"{name}.{function_name}", function) for function_name, function in _of_module(name, value).items()]
    if looked_at(f"expose: {name}", lambda: issubclass(kind, Mapping)):
        found = _of_mapping(name, value)
    elif is_function(value):
        return [(name, value)]
    elif issubclass(kind, type):
        raise TypeError(f"expose: {name} is a class; expose an instance or its functions")
    else:
        found = methods_of(value)
    if not found:
        raise TypeError(f"expose: {name} has no public functions")
    return [(f"{name}.{function_name}", function) for function_name, function in found.items()]


def _of_module(name: str, module: ModuleType) -> dict[str, Function]:
    """Public functions defined there, and not what it imports. Where there is an `__all__` it says what is
    meant, wherever that was defined.
    """
    # Not its attributes: a module may have a __getattr__ too.
    names = vars(module).get("__all__")
    if names is not None:
        _check_all(name, module, names)
    public = {key: value for key, value in vars(module).items() if not key.startswith("_") and is_function(value)}
    if names is not None:
        return {key: value for key, value in public.items() if key in names}
    return {key: value for key, value in public.items() if getattr(value, "__module__", None) == module.__name__}


def nothing_in(name: str, module: ModuleType) -> TypeError:
    """Why a module cannot be exposed that has nothing to call."""
    if any(not key.startswith("_") and is_function(value) for key, value in vars(module).items()):
        hint = " of its own; expose them one by one, or list them in `__all__`"
        if "__all__" not in vars(module):
            return TypeError(f"expose: {name} has no public functions{hint}")
    return TypeError(f"expose: {name} has no public functions")


def _check_all(name: str, module: ModuleType, names: object) -> None:
    """Raises TypeError for what is no list of names that the module has, as `from module import *` does."""
    if not issubclass(type(names), list | tuple | set | frozenset):
        raise TypeError(f"expose: {name}: its __all__ is {_brief(names)}, not a list of names")
    for listed in names:  # type: ignore[attr-defined]  # one of these
        if not issubclass(type(listed), str):
            raise TypeError(f"expose: {name}: its __all__ lists {_brief(listed)}, which is no name")
        if listed not in vars(module) and not _is_to_come(module, listed):
            raise TypeError(f"expose: {name}: its __all__ lists {_brief(listed)}, but the module has none of that name")


def _is_to_come(module: ModuleType, name: str) -> bool:
    """Whether the module need not have that name yet: its `__getattr__` may make it, or it is a package's module."""
    if "__getattr__" in vars(module):
        return True
    if "__path__" not in vars(module) or not name.isidentifier():
        return False
    return util.find_spec(f"{module.__name__}.{name}") is not None


def _of_mapping(name: str, functions: Mapping[object, Any]) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for key, value in looked_at(f"expose: {name}", lambda: list(functions.items())):
        if not isinstance(key, str):
            raise TypeError(f"expose: {name}: {shown(key)}: a name must be a string")
        if not key or key.startswith("_"):
            raise ValueError(f"expose: {name}: {key!r} is not a public name")
        if issubclass(type(value), str):
            found[key] = _named_function(f"{name}.{key}", str.__str__(value))
            continue
        if not callable(value) or issubclass(type(value), type):
            raise TypeError(f"expose: {name}.{key} is {_brief(value)}, not a function")
        found[key] = value
    return found


def _named_function(name: str, dotted: str) -> Function:
    function = dotted_names.resolve(name, dotted)
    if not is_function(function):
        raise TypeError(
            f"expose: {name}: {dotted!r} is {_brief(function)}, not a function: what has functions stands beside "
            f"the others, {name!r}: {dotted!r}"
        )
    return function


def methods_of(instance: object) -> dict[str, Function]:
    """Its public methods: those of its class and of that class's bases, but not of built-in ones, and its fields that
    are functions. Of several definitions the nearest counts, also where it is no method.
    """
    kind = type(instance)
    nearest: dict[str, object] = {}
    for base in _MRO.__get__(kind):
        if _FLAGS.__get__(base) & _IS_HEAP_TYPE:
            for name, static in _namespace(base):
                nearest.setdefault(name, static)
    methods = {name: _bind(static, instance) for name, static in nearest.items() if _is_method(static)}
    for name, value in _fields_of(instance, nearest):
        if is_function(value):
            methods[name] = value
        else:
            methods.pop(name, None)
    return {name: method for name, method in methods.items() if not name.startswith("_")}


_IS_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class made by Python code, and not a built-in one."""


def _fields_of(instance: object, nearest: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    """An instance's own attributes that win over its class's."""
    for name, static in nearest.items():
        if isinstance(static, MemberDescriptorType):
            # A slot that is empty has no value.
            value = _read(static, instance)
            if value is not _MISSING:
                yield name, value
    for base in _MRO.__get__(type(instance)):
        own = _NAMESPACE.__get__(base).get("__dict__")
        if type(own) is GetSetDescriptorType:
            fields = _read(own, instance)
            if type(fields) is dict:
                yield from ((name, value) for name, value in fields.items() if not _has_setter(nearest.get(name)))
            return


def _read(descriptor: MemberDescriptorType | GetSetDescriptorType, instance: object) -> object:
    try:
        return descriptor.__get__(instance, type(instance))
    except AttributeError:
        return _MISSING


def _has_setter(static: object) -> bool:
    """Whether it is a data descriptor, such as a property: it wins over a field of the instance."""
    return any("__set__" in _NAMESPACE.__get__(base) for base in _MRO.__get__(type(static)))


def _namespace(kind: type) -> list[tuple[str, object]]:
    return list(_NAMESPACE.__get__(kind).items())


def is_function(value: object) -> TypeGuard[Function]:
    """Whether a value is a function: by its type, or because it says what it wraps."""
    kind = type(value)
    if issubclass(kind, _PLAIN_FUNCTIONS):
        return True
    return callable(value) and not issubclass(kind, type) and _is_wrapper(value)


def _is_method(static: object) -> bool:
    """Whether what stands in a class is a method of its instances: something that can be called, and no property."""
    kind = type(static)
    if issubclass(kind, _METHODS):
        return True
    # Compiled functions and decorators that are classes: called they can be, and they bind or wrap.
    return callable(static) and not issubclass(kind, type) and (_binds(static) or _is_wrapper(static))


def _binds(static: object) -> bool:
    return any("__get__" in _NAMESPACE.__get__(base) for base in _MRO.__get__(type(static)))


def _is_wrapper(value: object) -> bool:
    return inspect.getattr_static(value, "__wrapped__", None) is not None


def _bind(static: Any, instance: object) -> Function:
    """The method of an instance. Binding runs code of a foreign descriptor: that is left for the call."""
    kind = type(static)
    as_it_stands: Function = static
    if issubclass(kind, _METHODS):
        # A partial or a built-in function has none.
        if not hasattr(kind, "__get__"):
            return as_it_stands
        bound: Function = static.__get__(instance, type(instance))
        return bound
    if not _binds(static):
        return as_it_stands

    def bind_and_call(*args: Any) -> Any:
        return static.__get__(instance, type(instance))(*args)

    return bind_and_call


def looked_at(of: str, look: Callable[[], T]) -> T:
    """What `look` finds at something of the program's, whose code may run for it and raise whatever it likes. Raises
    TypeError for that. of: what is looked at.
    """
    try:
        return look()
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        raise TypeError(f"{of}: looking at it raised {dotted_names.told(failed)}") from failed


def is_asynchronous(function: Function) -> bool:
    """Whether a call of it gives a coroutine or an asynchronous generator, as far as that shows beforehand."""
    call: Any = function
    while issubclass(type(call), functools.partial):
        call = call.func
    if not issubclass(type(call), (*_PLAIN_FUNCTIONS, type)):
        call = inspect.getattr_static(type(call), "__call__", call)
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def _brief(value: object) -> str:
    try:
        return repr(value)[:200]
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        return f"<{name_of(type(value))}>"

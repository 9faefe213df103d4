"""What a Python module's source tells of a function: what it takes, and what it gives."""

from __future__ import annotations

import ast

from .source_names import Scope, constant
from .source_types import Annotations

TYPE_CHECKING = False  # as in source_types
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final, Literal

    from .description import Function, Overload, Parameter, Type

    Kind = Literal["positional", "either", "var", "keyword", "var_keyword"]

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef

_OVERLOAD: Final = "typing.overload"


def functions(
    definitions: Iterable[AnyFunction], scope: Scope, own_class: str | None = None, *, is_method: bool = False
) -> list[Function]:
    """What these are, in order; several of one name are one with overloads. is_method: the first parameter is no
    caller's.
    """
    grouped: dict[str, list[AnyFunction]] = {}
    for definition in definitions:
        grouped.setdefault(definition.name, []).append(definition)
    return [_function(group, scope, own_class, is_method) for group in grouped.values()]


def _function(group: list[AnyFunction], scope: Scope, own_class: str | None, is_method: bool) -> Function:
    overloads = [one for one in group if has_decorator(one, scope, _OVERLOAD)]
    last = group[-1]
    annotations = Annotations(scope, own_class)
    docs = [doc for doc in map(ast.get_docstring, [last, *overloads]) if doc]
    return {
        "name": last.name,
        "doc": docs[0] if docs else None,
        "async": isinstance(last, ast.AsyncFunctionDef) or annotations.awaited(last.returns) is not None,
        "overloads": [overload(one, annotations, is_method=is_method) for one in overloads or [last]],
    }


def overload(function: AnyFunction, annotations: Annotations, *, is_method: bool) -> Overload:
    """One way to call it."""
    params = list(_parameters(function.args, annotations))
    return {"params": params[1:] if is_method else params, "result": _result(function, annotations)}


def _parameters(given: ast.arguments, annotations: Annotations) -> Iterator[Parameter]:
    by_place = [*given.posonlyargs, *given.args]
    required = len(by_place) - len(given.defaults)
    for place, one in enumerate(by_place):
        kind: Kind = "positional" if place < len(given.posonlyargs) else "either"
        default = given.defaults[place - required] if place >= required else None
        yield _parameter(one, kind, default, annotations)
    if given.vararg is not None:
        yield _parameter(given.vararg, "var", None, annotations)
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(one, "keyword", default, annotations)
    if given.kwarg is not None:
        yield _parameter(given.kwarg, "var_keyword", None, annotations)


def _parameter(given: ast.arg, kind: Kind, default: ast.expr | None, annotations: Annotations) -> Parameter:
    read: Parameter = {
        "name": given.arg,
        "type": annotations.read(given.annotation, "parameter"),
        "kind": kind,
        "optional": default is not None,
    }
    is_json, value = constant(default)
    if is_json:
        read["default"] = value
    return read


def _result(function: AnyFunction, annotations: Annotations) -> Type:
    is_async = isinstance(function, ast.AsyncFunctionDef)
    if function.returns is None and _yields(function):
        return {"kind": "iterator", "item": {"kind": "any"}, "async": is_async}
    return annotations.result(annotations.awaited(function.returns) or function.returns)


def _yields(function: AnyFunction) -> bool:
    """Whether it is a generator."""
    left: list[ast.AST] = [*function.body]
    while left:
        node = left.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            left.extend(ast.iter_child_nodes(node))
    return False


def has_decorator(definition: AnyFunction | ast.ClassDef, scope: Scope, *names: str) -> bool:
    """Whether one of these stands above it, with arguments or without."""
    for decorator in definition.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if scope.qualified(called) in names:
            return True
    return False

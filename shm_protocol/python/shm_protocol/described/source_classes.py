"""What a Python module's source tells of its classes: those that are values, and those whose instances stay there."""

from __future__ import annotations

import ast

from .source_functions import AnyFunction, functions, has_decorator, overload
from .source_names import Scope, constant
from .source_types import ANY, Annotations

TYPE_CHECKING = False  # as in source_types
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Literal

    from .description import Class, Field, Function, Member, Named, Overload

_ENUMS: Final = frozenset(f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"))
_DATACLASSES: Final = ("dataclasses.dataclass", "pydantic.dataclasses.dataclass")
_NOT_METHODS: Final = ("property", "functools.cached_property", "abc.abstractproperty")
_ABSTRACT: Final = "abc.abstractmethod"


def kind_of(definition: ast.ClassDef, scope: Scope) -> str:
    """enum, typed_dict, dataclass and tuple are values; class: its instances stay where they are; exception, protocol:
    neither.
    """
    if has_decorator(definition, scope, *_DATACLASSES):
        return "dataclass"
    for base in definition.bases:
        holder = base.value if isinstance(base, ast.Subscript) else base
        name = scope.qualified(holder)
        if name in _ENUMS:
            return "enum"
        if name == "typing.TypedDict":
            return "typed_dict"
        if name == "typing.NamedTuple":
            return "tuple"
        if name == "typing.Protocol":
            return "protocol"
        if name in ("BaseException", "Exception") or name.endswith(("Error", "Exception", "Warning")):
            return "exception"
        if name in scope.kinds and scope.kinds[name] != "class":
            return scope.kinds[name]
    return "class"


def named(definition: ast.ClassDef, scope: Scope) -> Named:
    """A class that is a value."""
    name, doc = definition.name, ast.get_docstring(definition)
    kind = scope.kinds[name]
    if kind == "enum":
        return {"name": name, "doc": doc, "shape": "enum", "members": list(_members(definition))}
    if kind == "tuple":
        items = [field["type"] for field in _fields(definition, scope)]
        return {"name": name, "doc": doc, "shape": "alias", "type": {"kind": "tuple", "items": items}}
    fields: dict[str, Field] = {}
    for one in reversed(_lineage(definition, scope)):
        fields |= {field["name"]: field for field in _fields(one, scope)}
    shape: Literal["dataclass", "typed_dict"] = "dataclass" if kind == "dataclass" else "typed_dict"
    return {"name": name, "doc": doc, "shape": shape, "fields": list(fields.values())}


def described(definition: ast.ClassDef, scope: Scope) -> Class:
    """A class whose instances stay where they are."""
    lineage = _lineage(definition, scope)
    static = _nearest(lineage, scope, ("staticmethod", "classmethod"))
    return {
        "name": definition.name,
        "doc": ast.get_docstring(definition),
        "init": _init(lineage, scope),
        "methods": methods(definition, scope),
        "static": [
            one
            for function in static
            for one in functions(
                [function], scope, definition.name, is_method=has_decorator(function, scope, "classmethod")
            )
        ],
    }


def methods(definition: ast.ClassDef, scope: Scope) -> list[Function]:
    """Those of its instances."""
    own_class = None if definition.name.startswith("_") else definition.name
    found = _nearest(_lineage(definition, scope), scope, None)
    return functions(found, scope, own_class, is_method=True) + [
        function
        for one in _nearest(_lineage(definition, scope), scope, ("staticmethod", "classmethod"))
        for function in functions([one], scope, own_class, is_method=has_decorator(one, scope, "classmethod"))
    ]


def _lineage(definition: ast.ClassDef, scope: Scope) -> list[ast.ClassDef]:
    """The class and those of this module that it is made of, the nearest first."""
    found = [definition]
    for one in found:
        for base in one.bases:
            holder = base.value if isinstance(base, ast.Subscript) else base
            above = scope.classes.get(holder.id) if isinstance(holder, ast.Name) else None
            if above is not None and above not in found:
                found.append(above)
    return found


def _nearest(lineage: list[ast.ClassDef], scope: Scope, decorators: tuple[str, ...] | None) -> list[AnyFunction]:
    """Public methods that have one of these decorators, or, None, are of instances."""
    found: dict[str, list[AnyFunction]] = {}
    for one in lineage:
        own: dict[str, list[AnyFunction]] = {}
        for statement in one.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and not statement.name.startswith("_"):
                own.setdefault(statement.name, []).append(statement)
        for name, definitions in own.items():
            found.setdefault(name, definitions)
    every = [definition for definitions in found.values() for definition in definitions]
    return [one for one in every if not _is_property(one, scope) and _is_of(one, scope, decorators)]


def _is_property(definition: AnyFunction, scope: Scope) -> bool:
    return has_decorator(definition, scope, *_NOT_METHODS) or any(
        isinstance(one, ast.Attribute) and one.attr in ("setter", "deleter") for one in definition.decorator_list
    )


def _is_of(definition: AnyFunction, scope: Scope, decorators: tuple[str, ...] | None) -> bool:
    if decorators is None:
        return not has_decorator(definition, scope, "staticmethod", "classmethod")
    return has_decorator(definition, scope, *decorators)


def _init(lineage: list[ast.ClassDef], scope: Scope) -> Overload | None:
    name = lineage[0].name
    if _is_abstract(lineage, scope):
        return None
    for one in lineage:
        for statement in one.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                made = overload(statement, Annotations(scope, name), is_method=True)
                return {"params": made["params"], "result": {"kind": "handle", "name": name}}
    foreign = [base for one in lineage for base in one.bases if scope.qualified(base) not in (*scope.kinds, "object")]
    rest: Overload = {"params": [], "result": {"kind": "handle", "name": name}}
    if any(scope.qualified(base) not in ("abc.ABC", "typing.Generic") for base in foreign):
        rest["params"] = [
            {"name": "args", "type": ANY, "kind": "var", "optional": False},
            {"name": "kwargs", "type": ANY, "kind": "var_keyword", "optional": False},
        ]
    return rest


def _is_abstract(lineage: list[ast.ClassDef], scope: Scope) -> bool:
    seen: set[str] = set()
    for one in lineage:
        for statement in one.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name not in seen:
                seen.add(statement.name)
                if has_decorator(statement, scope, _ABSTRACT):
                    return True
    return False


def _fields(definition: ast.ClassDef, scope: Scope) -> Iterator[Field]:
    annotations = Annotations(scope)
    is_dict = scope.kinds[definition.name] == "typed_dict"
    total = not any(
        one.arg == "total" and isinstance(one.value, ast.Constant) and one.value.value is False
        for one in definition.keywords
    )
    for place, statement in enumerate(definition.body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        outer = statement.annotation.value if isinstance(statement.annotation, ast.Subscript) else statement.annotation
        wrapper = scope.qualified(outer)
        if wrapper in ("typing.ClassVar", "dataclasses.InitVar") or statement.target.id.startswith("_"):
            continue
        optional = is_dict and (wrapper == "typing.NotRequired" or (not total and wrapper != "typing.Required"))
        yield {
            "name": statement.target.id,
            "type": annotations.read(statement.annotation, "result"),
            "optional": optional,
            "doc": doc_after(definition.body, place),
        }


def _members(definition: ast.ClassDef) -> Iterator[Member]:
    count = 0
    for statement in definition.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name = statement.targets[0].id
        is_json, value = constant(statement.value)
        if not is_json and ast.unparse(statement.value) in ("auto()", "enum.auto()"):
            is_text = any(ast.unparse(base).endswith("StrEnum") for base in definition.bases)
            is_json, value = True, name.lower() if is_text else count + 1
        if isinstance(value, int) and not isinstance(value, bool):
            count = value
        if not name.startswith("_") and is_json and isinstance(value, int | float | str):
            yield {"name": name, "value": value}


def doc_after(body: list[ast.stmt], place: int) -> str | None:
    """The text that stands behind what is defined at that place."""
    behind = body[place + 1] if place + 1 < len(body) else None
    if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant) and isinstance(behind.value.value, str):
        return behind.value.value.strip()
    return None

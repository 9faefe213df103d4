"""A module's description: one schema for Python's modules and TypeScript's, in JSON.

Stubs, declarations (`.d.py.ts`) and stub files (`.pyi`) are made from it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Plain(TypedDict):
    """A type without parts. none: None, null and undefined. any: whatever can be sent."""

    kind: Literal["none", "bool", "int", "float", "str", "bytes", "any", "datetime"]


class ListOf(TypedDict):
    """A list, an array."""

    kind: Literal["list"]
    item: Type


class TupleOf(TypedDict):
    """A list of so many items, each of its own type."""

    kind: Literal["tuple"]
    items: list[Type]


class DictOf(TypedDict):
    """A dict; a plain object, or a Map where the keys are no strings."""

    kind: Literal["dict"]
    key: Type
    value: Type


class UnionOf(TypedDict):
    """One of these."""

    kind: Literal["union"]
    options: list[Type]


class LiteralOf(TypedDict):
    """One of these values: None, bool, int, float or str."""

    kind: Literal["literal"]
    values: list[bool | int | float | str | None]


class ArrayOf(TypedDict):
    """An array of numbers. dtype: NumPy's name of their type, e.g. "float64"; None: any."""

    kind: Literal["array"]
    dtype: str | None


IteratorOf = TypedDict("IteratorOf", {"kind": Literal["iterator"], "item": "Type", "async": bool})
"""What is iterated over: as a function's result, a stream. async: it is one of an event loop, in its own language."""


class CallableOf(TypedDict):
    """A function. params: None: any."""

    kind: Literal["callable"]
    params: list[Type] | None
    result: Type


class RefTo(TypedDict):
    """A type of the same module, by its name."""

    kind: Literal["ref"]
    name: str


class HandleOf(TypedDict):
    """An instance of a class of the same module, which stays where it is."""

    kind: Literal["handle"]
    name: str


class Unknown(TypedDict):
    """A type that cannot be told. text: as the source has it."""

    kind: Literal["unknown"]
    text: str


Type = (
    Plain
    | ListOf
    | TupleOf
    | DictOf
    | UnionOf
    | LiteralOf
    | ArrayOf
    | IteratorOf
    | CallableOf
    | RefTo
    | HandleOf
    | Unknown
)


class Parameter(TypedDict):
    """kind: how it is given: by place, either way, all further ones by place, by name, all further ones by name.
    optional: it has a default. default: where that can be told.
    """

    name: str
    type: Type
    kind: Literal["positional", "either", "var", "keyword", "var_keyword"]
    optional: bool
    default: NotRequired[Any]


class Overload(TypedDict):
    """One way to call a function."""

    params: list[Parameter]
    result: Type


Function = TypedDict("Function", {"name": str, "doc": str | None, "async": bool, "overloads": list[Overload]})
"""overloads: at least one. async: whether it is one in its own language."""


class Class(TypedDict):
    """init: how an instance is made; None: it cannot be. methods: of its instances. static: of the class itself."""

    name: str
    doc: str | None
    init: Overload | None
    methods: list[Function]
    static: list[Function]


Instance = TypedDict("Instance", {"name": str, "class": str | None, "methods": list[Function], "doc": str | None})
"""An object of the module. class: one of its classes, or None."""


class Field(TypedDict):
    """optional: it may be missing."""

    name: str
    type: Type
    optional: bool
    doc: str | None


class Member(TypedDict):
    """Of an enum."""

    name: str
    value: int | float | str


class Record(TypedDict):
    """A type with fields."""

    name: str
    doc: str | None
    shape: Literal["interface", "typed_dict", "dataclass"]
    fields: list[Field]


class Enumeration(TypedDict):
    """An enum: its members are sent as their values."""

    name: str
    doc: str | None
    shape: Literal["enum"]
    members: list[Member]


class Alias(TypedDict):
    """A name for a type."""

    name: str
    doc: str | None
    shape: Literal["alias"]
    type: Type


Named = Record | Enumeration | Alias


class Constant(TypedDict):
    """value: what it is."""

    name: str
    type: Type
    value: Any
    doc: str | None


class Skipped(TypedDict):
    """What is public, and not described. why: for people."""

    name: str
    why: str


class Module(TypedDict):
    """file: absolute. sha256: of its bytes, in hexadecimal digits."""

    language: Literal["python", "typescript"]
    file: str
    sha256: str
    doc: str | None
    functions: list[Function]
    classes: list[Class]
    instances: list[Instance]
    types: list[Named]
    constants: list[Constant]
    skipped: list[Skipped]

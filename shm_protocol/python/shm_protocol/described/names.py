"""Names as the other language can have them."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Final

from .description import Function, Module

_RESERVED: Final = """
arguments await break case catch class const continue debugger default delete do else enum eval export extends false
finally for function if implements import in instanceof interface let new null package private protected public return
static super switch this throw true try typeof var void while with yield
"""
TYPESCRIPT_RESERVED: Final = frozenset(_RESERVED.split())
"""What a declaration or a parameter cannot be called."""

_TYPES: Final = "any bigint boolean never null number object string symbol undefined unknown void"
TYPESCRIPT_TYPES: Final = frozenset(_TYPES.split())
"""What a type cannot be called."""

_SPECIAL_MEMBERS: Final = frozenset(("constructor", "new", "__proto__"))
"""Without quotes they would mean something else in an interface."""


def for_typescript(name: str, taken: frozenset[str] | set[str] = frozenset(), *, is_type: bool = False) -> str:
    """The name, or one that may stand for it: with `_` behind it where it is reserved, or taken."""
    reserved = TYPESCRIPT_RESERVED | TYPESCRIPT_TYPES if is_type else TYPESCRIPT_RESERVED
    return _free(name, reserved | taken)


def for_python(name: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """The same for Python: its keywords get `_`, and so does what would be a name of the class's own."""
    cleaned = name.replace("$", "_")
    # Before a class's methods, a name like this would be changed by Python itself.
    if cleaned.startswith("__") and not cleaned.endswith("__"):
        cleaned = cleaned.lstrip("_") or "_"
    return _free(cleaned, frozenset(keyword.kwlist) | taken)


def member_of_enum(name: str) -> str:
    """The same for a member of an enum: `mro` is every class's, and `_order_` and its like are the enum's own."""
    if name.startswith("_") and name.endswith("_"):
        name = name.strip("_") or "underscore"
    return for_python(name, {"mro"})


def _free(name: str, reserved: frozenset[str] | set[str]) -> str:
    while name in reserved:
        name += "_"
    return name


def property_of(name: str) -> str:
    """A name of a property as TypeScript's declarations have it: in quotes where it must be."""
    if name in _SPECIAL_MEMBERS or not name.replace("$", "_").isidentifier():
        return quoted(name)
    return name


def quoted(text: str) -> str:
    """A string's literal, in TypeScript and in Python alike."""
    shown = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    escaped = "".join(shown.get(one, one if one.isprintable() else _escaped(one)) for one in text)
    return f'"{escaped}"'


def _escaped(one: str) -> str:
    """By its UTF-16 units where TypeScript needs them; what Python takes for two characters is not printable anyway."""
    code = ord(one)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return one


def declared_in(module: Module) -> Iterator[str]:
    """Every name that the module's declarations have, those of methods and fields as well."""

    def methods(functions: list[Function]) -> Iterator[str]:
        return (function["name"] for function in functions)

    yield from methods(module["functions"])
    for kind in module["classes"]:
        yield kind["name"]
        yield from methods(kind["methods"])
        yield from methods(kind["static"])
    for instance in module["instances"]:
        yield instance["name"]
        yield from methods(instance["methods"])
    for named in module["types"]:
        yield named["name"]
        if named["shape"] == "enum":
            yield from (member["name"] for member in named["members"])
        elif named["shape"] != "alias":
            yield from (field["name"] for field in named["fields"])
    for constant in module["constants"]:
        yield constant["name"]

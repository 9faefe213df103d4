"""`utils.pyi`, the types of a TypeScript module for Python's type checkers, from its description."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Final

from .description import Class, Constant, Enumeration, Function, Instance, Module, Named, Overload, Parameter, Record
from .names import for_python, member_of_enum, quoted
from .python_types import PythonTypes

INDENT: Final = "    "


def written(module: Module) -> tuple[str, list[str]]:
    """The text of the stub file, without a first line that says where it comes from; and which types are not known,
    each as it stands in the source.
    """
    writer = _Writer(module)
    return writer.text(), list(dict.fromkeys(writer.types.unknown))


class _Writer:
    def __init__(self, module: Module) -> None:
        self._module: Final = module
        self.types: Final = PythonTypes(module)

    def text(self) -> str:
        module = self._module
        parts = [self._named(named) for named in module["types"]]
        parts += [self._class(one) for one in module["classes"]]
        parts += [self._constant(constant) for constant in module["constants"]]
        parts += [self._instance(instance) for instance in module["instances"]]
        parts += [self._function(function, "") for function in module["functions"]]
        head = [_docstring(module["doc"], "")] if module["doc"] else []
        imports = self.types.import_lines()
        head += ["".join(f"{line}\n" for line in imports)] if imports else []
        return "\n".join([*head, *parts])

    def _named(self, named: Named) -> str:
        if named["shape"] == "enum":
            return self._enumeration(named)
        if named["shape"] == "alias":
            told = self.types.result(named["type"])
            return f"{for_python(named['name'])}: {self.types.imported('typing', 'TypeAlias')} = {told}\n"
        return self._record(named)

    def _record(self, named: Record) -> str:
        typed_dict = self.types.imported("typing", "TypedDict")
        name = for_python(named["name"])
        fields: list[tuple[str, str, str | None]] = []
        for field in named["fields"]:
            told = self.types.result(field["type"])
            if field["optional"]:
                told = f"{self.types.imported('typing', 'NotRequired')}[{told}]"
            fields.append((field["name"], told, field["doc"]))
        if all(key.isidentifier() and key == for_python(key) for key, _, _ in fields):
            body = _docstring(named["doc"], INDENT) + "".join(
                f"{INDENT}{key}: {told}\n{_docstring(doc, INDENT)}" for key, told, doc in fields
            )
            return f"class {name}({typed_dict}):\n{body or f'{INDENT}pass' + chr(10)}"
        items = "".join(f"{INDENT}{quoted(key)}: {told},\n" for key, told, _ in fields)
        return f"{name} = {typed_dict}({quoted(name)}, {{\n{items}}})\n"

    def _enumeration(self, named: Enumeration) -> str:
        values = [member["value"] for member in named["members"]]
        base = "Enum"
        if all(isinstance(value, str) for value in values):
            base = "StrEnum"
        elif all(isinstance(value, int) for value in values):
            base = "IntEnum"
        members = "".join(
            f"{INDENT}{member_of_enum(member['name'])} = {_literal(member['value'])}\n" for member in named["members"]
        )
        head = f"class {for_python(named['name'])}({self.types.imported('enum', base)}):\n"
        return head + (_docstring(named["doc"], INDENT) + members or f"{INDENT}pass\n")

    def _class(self, one: Class) -> str:
        # Not as a subclass of Handle, which has any name.
        body = _docstring(one["doc"], INDENT)
        if one["init"] is not None:
            made = [self._parameters(way, "self") for way in _ways([one["init"]])]
            overload = f"{INDENT}@{self.types.imported('typing', 'overload')}\n" if len(made) > 1 else ""
            body += "".join(f"{overload}{INDENT}def __init__({parameters}) -> None: ...\n" for parameters in made)
        body += self._methods(one["methods"])
        body += "".join(self._function(function, INDENT, is_static=True) for function in one["static"])
        body += f"{INDENT}def close(self) -> None: ...\n"
        body += f"{INDENT}def __enter__(self) -> {self.types.imported('typing', 'Self')}: ...\n"
        body += f"{INDENT}def __exit__(self, *error: {self.types.built_in('object')}) -> None: ...\n"
        return f"class {for_python(one['name'])}:\n{body}"

    def _methods(self, methods: Sequence[Function]) -> str:
        return "".join(self._function(method, INDENT, "self") for method in methods)

    def _instance(self, instance: Instance) -> str:
        # Not its class: that is of handles, which can be closed.
        name = f"_Of_{for_python(instance['name'])}"
        body = _docstring(instance["doc"], INDENT) + self._methods(instance["methods"]) or f"{INDENT}pass\n"
        final = self.types.imported("typing", "Final")
        return (
            f"class {name}({self.types.imported('typing', 'Protocol')}):\n{body}\n"
            f"{for_python(instance['name'])}: {final}[{name}]\n"
        )

    def _constant(self, constant: Constant) -> str:
        name, value = for_python(constant["name"]), constant["value"]
        final = self.types.imported("typing", "Final")
        if isinstance(value, str | bool | int):
            told = f"{name}: {final} = {_literal(value)}\n"
        else:
            told = f"{name}: {final}[{self.types.result(constant['type'])}]\n"
        return told + _docstring(constant["doc"], "")

    def _function(self, function: Function, indent: str, first: str = "", *, is_static: bool = False) -> str:
        name = for_python(function["name"])
        overloads = _ways(function["overloads"])
        decorators = f"{indent}@{self.types.built_in('staticmethod')}\n" if is_static else ""
        told = ""
        for place, overload in enumerate(overloads):
            if len(overloads) > 1:
                told += f"{indent}@{self.types.imported('typing', 'overload')}\n"
            signature = f"({self._parameters(overload, first)}) -> {self.types.result(overload['result'])}"
            doc = _docstring(function["doc"], indent + INDENT) if place == 0 else ""
            told += f"{decorators}{indent}def {name}{signature}:" + (f"\n{doc}" if doc else " ...\n")
        return told

    def _parameters(self, overload: Overload, first: str) -> str:
        params = overload["params"]
        kinds = [one["kind"] for one in params]
        by_place = [place for place, kind in enumerate(kinds) if kind in ("positional", "either")]
        last_required = max((place for place in by_place if not params[place]["optional"]), default=-1)
        taken = {first} if first else set()
        parts = [first] if first else []
        for place, one in enumerate(params):
            name = for_python(one["name"], taken)
            taken.add(name)
            if one["kind"] == "keyword" and "*" not in parts and "var" not in kinds:
                parts.append("*")
            parts.append(self._parameter(name, one, is_left_out=one["kind"] == "keyword" or place > last_required))
            if one["kind"] == "positional" and "positional" not in kinds[place + 1 :]:
                parts.append("/")
        return ", ".join(parts)

    def _parameter(self, name: str, one: Parameter, *, is_left_out: bool) -> str:
        """is_left_out: whether it may be, as far as its place goes."""
        told = f"{name}: {self.types.given(one['type'])}"
        if one["kind"] in ("var", "var_keyword"):
            return f"{'*' if one['kind'] == 'var' else '**'}{told}"
        return f"{told} = ..." if one["optional"] and is_left_out else told


def _ways(overloads: Sequence[Overload]) -> list[Overload]:
    """The same, in so many that each call of one is right. What is left out before something that is given is sent as
    its default: where that cannot be told, either it is given or nothing behind it.
    """
    found = [_without_gaps(one, len(one["params"])) for one in overloads]
    for one in overloads:
        params = one["params"]
        required = [place for place, param in enumerate(params) if not param["optional"] and param["kind"] != "var"]
        last = max(required, default=-1)
        found += [_without_gaps(one, place + 1) for place in _gaps(params) if place > last]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def _without_gaps(one: Overload, length: int) -> Overload:
    params = one["params"][:length]
    gaps = _gaps(params)
    return {
        "params": [{**param, "optional": False} if at in gaps else param for at, param in enumerate(params)],
        "result": one["result"],
    }


def _gaps(params: Sequence[Parameter]) -> list[int]:
    """Where something is optional, by a default that cannot be told, and stands before what may be given by name."""
    by_name = [at for at, param in enumerate(params) if param["kind"] in ("either", "keyword", "var_keyword")]
    return [
        at
        for at, param in enumerate(params)
        if param["kind"] == "either" and param["optional"] and "default" not in param and at < max(by_name)
    ]


def _literal(value: float | str) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def _docstring(doc: str | None, indent: str) -> str:
    lines = inspect.cleandoc(doc or "").strip().splitlines()
    if not lines:
        return ""
    safe = [line.rstrip().replace("\\", "\\\\").replace('"""', '\\"\\"\\"') for line in lines]
    if safe[-1].endswith('"'):
        safe[-1] = f'{safe[-1][:-1]}\\"'
    if len(safe) == 1:
        return f'{indent}"""{safe[0]}"""\n'
    inner = "".join(f"{indent}{line}".rstrip() + "\n" for line in safe[1:])
    return f'{indent}"""{safe[0]}\n{inner}{indent}"""\n'

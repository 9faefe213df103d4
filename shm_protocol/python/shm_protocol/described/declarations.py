"""`ml.d.py.ts`, the declarations of a Python module for TypeScript, from its description."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .description import Class, Constant, Enumeration, Function, Module, Named, Overload, Parameter
from .names import for_typescript, property_of, quoted
from .signatures import signature_lines
from .typescript_types import PACKAGE, TypeScriptTypes, alone

INDENT: Final = "  "


def written(module: Module) -> tuple[str, list[str]]:
    """The text of the declarations, without a first line that says where they come from; and which hints are not known,
    each as it stands in the source.
    """
    writer = _Writer(module)
    return writer.text(), list(dict.fromkeys(writer.types.unknown))


class _Name:
    """What something is called here. export: "" where it is exported under another name."""

    def __init__(self, name: str, export: str) -> None:
        self.name: Final = name
        self._export: Final = export

    def declared(self, what: str) -> str:
        return f"{self._export}{what}"


class _Writer:
    def __init__(self, module: Module) -> None:
        self._module: Final = module
        self.types: Final = TypeScriptTypes(module)
        # What is declared under another name than it is imported by: `export { delete_ as delete }`.
        self._renamed: Final[list[str]] = []

    def text(self) -> str:
        module = self._module
        parts = [self._named(named) for named in module["types"]]
        parts += [self._class(one) for one in module["classes"]]
        parts += [self._constant(constant) for constant in module["constants"]]
        parts += [
            self._value(instance["name"], self._instance_type(instance["class"], instance["methods"]), instance["doc"])
            for instance in module["instances"]
        ]
        parts += [self._function(function) for function in module["functions"]]
        head = [_comment(module["doc"], "")] if module["doc"] else []
        if self.types.imported:
            imported = ", ".join(
                name if name == here else f"{name} as {here}" for name, here in sorted(self.types.imported.items())
            )
            head.append(f'import type {{ {imported} }} from "{PACKAGE}";\n')
        # Makes it a module that exports nothing but what says so.
        exports = "".join(f"export {{ {renamed} }};\n" for renamed in self._renamed) or "export {};\n"
        return "\n".join([*head, *parts, exports, "".join(signature_lines(module))]).rstrip("\n") + "\n"

    def _named(self, named: Named) -> str:
        here = self._type_name(named["name"])
        doc = _comment(named["doc"], "")
        if named["shape"] == "enum":
            return doc + self._enumeration(named, here)
        if named["shape"] == "alias":
            return f"{doc}{here.declared('type')} {here.name} = {self.types.result(named['type'])};\n"
        # An object of a dataclass has all of its fields.
        may_be_missing = named["shape"] != "dataclass"
        fields = [
            f"{_comment(field['doc'], INDENT)}{INDENT}{property_of(field['name'])}"
            f"{'?' if field['optional'] and may_be_missing else ''}: {self.types.result(field['type'])};\n"
            for field in named["fields"]
        ]
        return f"{doc}{here.declared('interface')} {here.name} {{\n{''.join(fields)}}}\n"

    def _enumeration(self, named: Enumeration, here: _Name) -> str:
        members = "".join(
            f"{INDENT}readonly {property_of(member['name'])}: {_literal(member['value'])};\n"
            for member in named["members"]
        )
        declare = f"{here.declared('declare const')} {here.name}: {{\n{members}}};\n"
        values = " | ".join(dict.fromkeys(_literal(member["value"]) for member in named["members"])) or "never"
        return f"{declare}{here.declared('type')} {here.name} = {values};\n"

    def _class(self, one: Class) -> str:
        here = self._type_name(one["name"])
        doc = _comment(one["doc"], "")
        instance = f"{here.declared('interface')} {here.name} {self._methods(one['methods'])}\n"
        made: list[str] = []
        if one["init"] is not None:
            promise = self.types.everywhere("Promise")
            handle = self.types.result({"kind": "handle", "name": one["name"]})
            made = [f"new {self._parameters(one['init'])}: {promise}<{handle}>;"]
        of_class = self._methods(one["static"], made)
        return f"{doc}{instance}{doc}{here.declared('declare const')} {here.name}: {of_class};\n"

    def _constant(self, constant: Constant) -> str:
        value = constant["value"]
        is_plain = isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53)
        told = _literal(value) if is_plain else self.types.given(constant["type"])
        return self._value(constant["name"], told, constant["doc"])

    def _value(self, name: str, told: str, doc: str | None) -> str:
        here = self._value_name(name)
        return f"{_comment(doc, '')}{here.declared('declare const')} {here.name}: {told};\n"

    def _instance_type(self, class_name: str | None, methods: Sequence[Function]) -> str:
        known = class_name is not None and any(one["name"] == class_name for one in self._module["classes"])
        return self.types.type_names[class_name] if known and class_name is not None else self._methods(methods)

    def _methods(self, methods: Iterable[Function], before: Sequence[str] = ()) -> str:
        lines = [f"{INDENT}{line}\n" for line in before]
        for method in methods:
            lines.append(_comment(method["doc"], INDENT))
            lines += [f"{INDENT}{property_of(method['name'])}{self._signature(one)};\n" for one in method["overloads"]]
        return f"{{\n{''.join(lines)}}}"

    def _function(self, function: Function) -> str:
        here = self._value_name(function["name"])
        declare = here.declared("declare function")
        lines = [f"{declare} {here.name}{self._signature(overload)};\n" for overload in function["overloads"]]
        return _comment(function["doc"], "") + "".join(lines)

    def _signature(self, overload: Overload) -> str:
        result = overload["result"]
        parameters = self._parameters(overload)
        if result["kind"] == "iterator":
            iterated = self.types.everywhere("AsyncIterableIterator")
            return f"{parameters}: {iterated}<{self.types.result(result['item'])}>"
        return f"{parameters}: {self.types.everywhere('Promise')}<{self.types.awaited(result)}>"

    def _parameters(self, overload: Overload) -> str:
        """By place first, then one object with those by name."""
        by_place = [one for one in overload["params"] if one["kind"] in ("positional", "either")]
        further = next((one for one in overload["params"] if one["kind"] == "var"), None)
        options, must_be_given = self._options(overload["params"])
        taken: set[str] = set()
        told: list[str] = []
        for place, parameter in enumerate(by_place):
            name = for_typescript(parameter["name"], taken)
            taken.add(name)
            later_is_required = must_be_given or any(not one["optional"] for one in by_place[place + 1 :])
            told.append(self._parameter(name, parameter, later_is_required=later_is_required))
        last = for_typescript("options", taken | ({further["name"]} if further else set()))
        if further is None:
            told += [f"{last}{'' if must_be_given else '?'}: {options}"] if options else []
        else:
            items = f"{alone(self.types.given(further['type']))}[]"
            if options:
                # After any number of others nothing can be left out, so there are two forms.
                with_options = f"[...{items}, {options}]"
                items = with_options if must_be_given else f"{items} | {with_options}"
            told.append(f"...{for_typescript(further['name'], taken)}: {items}")
        return f"({', '.join(told)})"

    def _parameter(self, name: str, parameter: Parameter, *, later_is_required: bool) -> str:
        told = self.types.given(parameter["type"])
        if not parameter["optional"]:
            return f"{name}: {told}"
        if not later_is_required:
            return f"{name}?: {told}"
        return f"{name}: {alone(told) if '=>' in told else told} | undefined"

    def _options(self, params: Sequence[Parameter]) -> tuple[str, bool]:
        """The type of the object with what is given by name, "" where nothing is; and whether it must be given."""
        by_name = [one for one in params if one["kind"] == "keyword"]
        any_name = next((one for one in params if one["kind"] == "var_keyword"), None)
        told = [
            f"{property_of(one['name'])}{'?' if one['optional'] else ''}: {self.types.given(one['type'])}"
            for one in by_name
        ]
        if any_name is not None:
            types = [self.types.given(one["type"]) for one in (any_name, *by_name)]
            several = dict.fromkeys(alone(one) if "=>" in one else one for one in (*types, "undefined"))
            told.append(f"[name: string]: {'unknown' if 'unknown' in several else ' | '.join(several)}")
        return f"{{ {'; '.join(told)} }}" if told else "", any(not one["optional"] for one in by_name)

    def _type_name(self, name: str) -> _Name:
        return self._name(name, self.types.type_names[name])

    def _value_name(self, name: str) -> _Name:
        return self._name(name, self.types.here(name))

    def _name(self, name: str, here: str) -> _Name:
        if here == name:
            return _Name(name, "export ")
        self._renamed.append(f"{here} as {name}")
        return _Name(here, "")


def _literal(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _comment(doc: str | None, indent: str) -> str:
    """A doc comment with a line break behind it; "" where there is nothing to say."""
    lines = textwrap.dedent(_first_line_aligned(doc or "")).strip().splitlines()
    if not lines:
        return ""
    safe = [line.rstrip().replace("*/", "*\\/") for line in lines]
    if len(safe) == 1:
        return f"{indent}/** {safe[0]} */\n"
    return "".join([f"{indent}/**\n", *(f"{indent} * {line}".rstrip() + "\n" for line in safe), f"{indent} */\n"])


def _first_line_aligned(doc: str) -> str:
    """A docstring whose first line, which stands behind its quotes, has the others' indentation."""
    first, line_break, rest = doc.partition("\n")
    return first.strip() + line_break + textwrap.dedent(rest)

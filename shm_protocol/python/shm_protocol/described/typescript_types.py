"""Types of a description, as TypeScript writes them."""

from __future__ import annotations

import json
from typing import Final

from .description import CallableOf, DictOf, LiteralOf, Module, Type, UnionOf
from .names import declared_in, for_typescript, quoted

PACKAGE: Final = "@shm-polyglot/protocol"

TYPED_ARRAYS: Final = {
    "int8": "Int8Array",
    "uint8": "Uint8ClampedArray",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "int32": "Int32Array",
    "uint32": "Uint32Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int64": "BigInt64Array",
    "uint64": "BigUint64Array",
}
"""As PROTOCOL.md section 8 has them."""

_PLAIN: Final = {"none": "null", "bool": "boolean", "int": "number", "float": "number", "str": "string"}


class TypeScriptTypes:
    """Writes the types of one module. type_names: what a type of the module is called there. imported: of the library's
    package, what is used so far, each with the name that it has here. unknown: hints that are not known, in order.
    """

    def __init__(self, module: Module) -> None:
        self._taken: Final = frozenset(declared_in(module))
        names = [named["name"] for named in (*module["types"], *module["classes"])]
        self.type_names: Final = {name: self.here(name, is_type=True) for name in names}
        self.imported: Final[dict[str, str]] = {}
        self.unknown: Final[list[str]] = []

    def here(self, name: str, *, is_type: bool = False) -> str:
        """What something of the module is called in its declarations."""
        return for_typescript(name, self._taken - {name}, is_type=is_type)

    def result(self, of: Type) -> str:
        """What arrives from Python."""
        return self._written(of, is_given=False)

    def given(self, of: Type) -> str:
        """What may be sent to Python: more."""
        return self._written(of, is_given=True)

    def everywhere(self, name: str) -> str:
        """A type of JavaScript's own, also where the module has one of that name."""
        return f"globalThis.{name}" if name in self._taken else name

    def _library(self, name: str) -> str:
        return self.imported.setdefault(name, for_typescript(name, self._taken))

    def _written(self, of: Type, *, is_given: bool) -> str:  # one for each kind
        match of["kind"]:
            case "bytes":
                return self.everywhere("Uint8Array")
            case "datetime":
                return self.everywhere("Date")
            case "list":
                item = self._operand(of["item"], is_given=is_given)
                return f"readonly {item}[]" if is_given else f"{item}[]"
            case "tuple":
                items = f"[{', '.join(self._written(item, is_given=is_given) for item in of['items'])}]"
                return f"readonly {items}" if is_given else items
            case "dict":
                return self._dict(of, is_given=is_given)
            case "union":
                return self._union(of, is_given=is_given)
            case "literal":
                return self._literal(of)
            case "array":
                return self._array(of["dtype"])
            case "iterator" if is_given:
                return f"readonly {self._operand(of['item'], is_given=True)}[]"
            case "callable":
                return self._callable(of, is_given=is_given)
            case "ref":
                return self._ref(of["name"])
            case "handle":
                return f"{self._library('Handle')}<{self._ref(of['name'])}>"
            case "unknown":
                self.unknown.append(of["text"])
                return "unknown"
            case "any" | "iterator":
                return "unknown"
            case plain:
                return _PLAIN[plain]

    def _operand(self, of: Type, *, is_given: bool) -> str:
        """The same, where something is written around it."""
        return alone(self._written(of, is_given=is_given))

    def _ref(self, name: str) -> str:
        # What the description does not have is no type that anybody knows.
        if name not in self.type_names:
            self.unknown.append(name)
            return "unknown"
        return self.type_names[name]

    def _dict(self, of: DictOf, *, is_given: bool) -> str:
        value = self._written(of["value"], is_given=is_given)
        if _is_text(of["key"]):
            return f"{{ {'readonly ' if is_given else ''}[key: string]: {value} }}"
        name = self.everywhere("ReadonlyMap" if is_given else "Map")
        return f"{name}<{self._written(of['key'], is_given=is_given)}, {value}>"

    def _union(self, of: UnionOf, *, is_given: bool) -> str:
        # None last, as everybody writes it.
        options = sorted(of["options"], key=lambda option: option["kind"] == "none")
        written = [self._written(option, is_given=is_given) for option in options]
        if "unknown" in written:
            return "unknown"
        for place, one in enumerate(written):
            if "=>" in one:
                written[place] = f"({one})"
        return " | ".join(dict.fromkeys(written)) or "never"

    def _literal(self, of: LiteralOf) -> str:
        written = [quoted(value) if isinstance(value, str) else json.dumps(value) for value in of["values"]]
        return " | ".join(dict.fromkeys(written)) or "never"

    def _array(self, dtype: str | None) -> str:
        """With one dimension it is the bare array, with any other number of them it has a shape beside it."""
        if dtype not in TYPED_ARRAYS:
            return f"{self._library('NumberArray')} | {self._library('NdArray')}"
        data = self.everywhere(TYPED_ARRAYS[dtype])
        return f"{data} | {self._library('NdArray')}<{data}>"

    def _callable(self, of: CallableOf, *, is_given: bool) -> str:
        """A callback, which Python calls; or a function of Python's, which is called as any other."""
        params = of["params"]
        promise = self.everywhere("Promise")
        # To `never` every parameter may be assigned, so that any function fits.
        if not is_given:
            taken = "readonly unknown[]" if params is None else f"[{', '.join(self.given(param) for param in params)}]"
            return f"{self._library('Callback')}<{taken}, {self.awaited(of['result'])}>"
        # To `never` every parameter may be assigned, so that any function fits.
        told = "...args: never[]"
        if params is not None:
            told = ", ".join(f"arg{place}: {self.result(param)}" for place, param in enumerate(params))
        result = "unknown" if of["result"]["kind"] in ("none", "any") else self._operand(of["result"], is_given=True)
        return f"({told}) => {result}" if result == "unknown" else f"({told}) => {result} | {promise}<{result}>"

    def awaited(self, of: Type) -> str:
        """What a promise of a result gives."""
        return "void" if of["kind"] == "none" else self.result(of)


def alone(written: str) -> str:
    """A type that something may be written around."""
    is_several = written.startswith("readonly ") or any(sign in written for sign in ("|", "&", "=>"))
    return f"({written})" if is_several else written


def _is_text(of: Type) -> bool:
    if of["kind"] == "literal":
        return all(isinstance(value, str) for value in of["values"])
    if of["kind"] == "union":
        return all(_is_text(option) for option in of["options"])
    return of["kind"] == "str"

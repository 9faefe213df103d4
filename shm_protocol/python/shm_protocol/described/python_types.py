"""Types of a description, as Python writes them in a stub file."""

from __future__ import annotations

from typing import Final

from .description import CallableOf, LiteralOf, Module, Type, UnionOf
from .names import declared_in, for_python, quoted
from .typescript_types import TYPED_ARRAYS

_PLAIN: Final = {"none": "None", "bool": "bool", "int": "int", "float": "float", "str": "str"}


class PythonTypes:
    """Writes the types of one module. imports: what is used of other modules so far: by module and name, what it is
    called here. unknown: types that are not known, in order.
    """

    def __init__(self, module: Module) -> None:
        self._taken: Final = frozenset(for_python(name) for name in declared_in(module))
        self._known: Final = {named["name"] for named in (*module["types"], *module["classes"])}
        self._values_of_enums: Final[dict[str, LiteralOf]] = {
            named["name"]: {"kind": "literal", "values": [member["value"] for member in named["members"]]}
            for named in module["types"]
            if named["shape"] == "enum"
        }
        self.imports: Final[dict[tuple[str, str], str]] = {}
        self.unknown: Final[list[str]] = []

    def result(self, of: Type) -> str:
        """What arrives from TypeScript."""
        return self._written(of, is_given=False)

    def given(self, of: Type) -> str:
        """What may be sent to TypeScript: more."""
        return self._written(of, is_given=True)

    def built_in(self, name: str) -> str:
        """A type of Python's own, also where the module has something of that name."""
        return f"{self.imported('', 'builtins')}.{name}" if name in self._taken else name

    def imported(self, module: str, name: str) -> str:
        """A name of another module, or with `module` "" a module."""
        return self.imports.setdefault((module, name), for_python(name, self._taken))

    def import_lines(self) -> list[str]:
        """What makes the names that have been used so far."""
        lines = [
            f"import {name}" if name == here else f"import {name} as {here}"
            for (module, name), here in self.imports.items()
            if module == ""
        ]
        for module in sorted({module for module, _ in self.imports} - {""}):
            names = sorted(
                name if name == here else f"{name} as {here}"
                for (of_module, name), here in self.imports.items()
                if of_module == module
            )
            lines.append(f"from {module} import {', '.join(names)}")
        return sorted(lines)

    def _written(self, of: Type, *, is_given: bool) -> str:  # one for each kind
        match of["kind"]:
            case "bytes":
                kinds = ("bytes", "bytearray", "memoryview") if is_given else ("bytes",)
                return " | ".join(self.built_in(kind) for kind in kinds)
            case "datetime":
                return self.imported("datetime", "datetime")
            case "list":
                name = self.imported("collections.abc", "Sequence") if is_given else self.built_in("list")
                return f"{name}[{self._written(of['item'], is_given=is_given)}]"
            case "tuple":
                return self._tuple([self._written(item, is_given=is_given) for item in of["items"]], is_given=is_given)
            case "dict":
                name = self.imported("collections.abc", "Mapping") if is_given else self.built_in("dict")
                key, value = (self._written(part, is_given=is_given) for part in (of["key"], of["value"]))
                return f"{name}[{key}, {value}]"
            case "union":
                return self._union(of, is_given=is_given)
            case "literal":
                return self._literal(of)
            case "array":
                return self._array(of["dtype"])
            case "iterator":
                # What can be sent is a list.
                name = self.imported("collections.abc", "Sequence" if is_given else "Iterator")
                return f"{name}[{self._written(of['item'], is_given=is_given)}]"
            case "callable":
                return self._callable(of, is_given=is_given)
            case "ref" | "handle":
                return self._ref(of["name"], is_given=is_given)
            case "unknown":
                self.unknown.append(of["text"])
                return self.imported("typing", "Any")
            case "any":
                return self.imported("typing", "Any")
            case plain:
                return self.built_in(_PLAIN[plain]) if plain != "none" else "None"

    def _ref(self, name: str, *, is_given: bool) -> str:
        # What the description does not have is no type that anybody knows.
        if name not in self._known:
            self.unknown.append(name)
            return self.imported("typing", "Any")
        values = self._values_of_enums.get(name)
        if values is None:
            return for_python(name)
        # What arrives is the value of a member, and no member.
        return f"{for_python(name)} | {self._literal(values)}" if is_given else self._literal(values)

    def _tuple(self, items: list[str], *, is_given: bool) -> str:
        """A tuple can be sent; what arrives is a list, of whatever there is at each place."""
        if is_given:
            return f"{self.built_in('tuple')}[{', '.join(items) or '()'}]"
        return f"{self.built_in('list')}[{' | '.join(dict.fromkeys(items)) or self.imported('typing', 'Never')}]"

    def _union(self, of: UnionOf, *, is_given: bool) -> str:
        options = sorted(of["options"], key=lambda option: option["kind"] == "none")
        written = [self._written(option, is_given=is_given) for option in options]
        # As PEP 484 has it, a float may be an int. For people one of them is enough.
        float_name, int_name = self.built_in("float"), self.built_in("int")
        kept = [one for one in dict.fromkeys(written) if one != int_name or float_name not in written]
        return " | ".join(kept) or self.imported("typing", "Never")

    def _literal(self, of: LiteralOf) -> str:
        # A number may be any float, for which Python has no literal type.
        values = [value for value in of["values"] if not isinstance(value, float)]
        if len(values) < len(of["values"]):
            return self.built_in("float")
        written = [quoted(value) if isinstance(value, str) else repr(value) for value in values]
        if not written:
            return self.imported("typing", "Never")
        return f"{self.imported('typing', 'Literal')}[{', '.join(dict.fromkeys(written))}]"

    def _array(self, dtype: str | None) -> str:
        array = self.imported("numpy.typing", "NDArray")
        if dtype not in TYPED_ARRAYS:
            return f"{array}[{self.imported('typing', 'Any')}]"
        return f"{array}[{self.imported('numpy', dtype)}]"

    def _callable(self, of: CallableOf, *, is_given: bool) -> str:
        params = of["params"]
        told = "..."
        if params is not None:
            told = f"[{', '.join(self._written(param, is_given=not is_given) for param in params)}]"
        result = self._written(of["result"], is_given=is_given)
        if is_given and of["result"]["kind"] == "none":
            # Nobody looks at what it gives.
            result = self.built_in("object")
        return f"{self.imported('collections.abc', 'Callable')}[{told}, {result}]"

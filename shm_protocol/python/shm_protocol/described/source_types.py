"""The types that a Python module's source tells of: its annotations, read without importing anything."""

from __future__ import annotations

import ast

from .source_names import Scope

# Not from typing: this runs in a process that another program waits for, and to import that is a third of the time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    from .description import Type

    Place = Literal["parameter", "result"]

_PLAIN: Final[dict[str, Type]] = {
    "None": {"kind": "none"},
    "bool": {"kind": "bool"},
    "int": {"kind": "int"},
    "float": {"kind": "float"},
    "str": {"kind": "str"},
    "bytes": {"kind": "bytes"},
    "bytearray": {"kind": "bytes"},
    "memoryview": {"kind": "bytes"},
    "object": {"kind": "any"},
    "typing.Any": {"kind": "any"},
    "typing.Hashable": {"kind": "any"},
    "typing.LiteralString": {"kind": "str"},
    "typing.AnyStr": {"kind": "str"},
    "typing.Never": {"kind": "union", "options": []},
    "typing.NoReturn": {"kind": "union", "options": []},
    "datetime.datetime": {"kind": "datetime"},
    "collections.abc.Buffer": {"kind": "bytes"},
    "numpy.bool_": {"kind": "bool"},
}
_LISTS: Final = frozenset(("list", "collections.abc.Sequence", "collections.abc.MutableSequence"))
_TAKEN_AS_LISTS: Final = frozenset(
    (
        "set",
        "frozenset",
        "collections.abc.Set",
        "collections.abc.MutableSet",
        "collections.abc.Collection",
        "collections.abc.Iterable",
        "collections.abc.Container",
        "collections.abc.Reversible",
        "collections.deque",
    )
)
"""Of parameters, which are given a list; none of these is a value, and so no result."""
_DICTS: Final = frozenset(
    (
        "dict",
        "collections.abc.Mapping",
        "collections.abc.MutableMapping",
        "collections.defaultdict",
        "collections.OrderedDict",
        "collections.Counter",
    )
)
_ITERATORS: Final = frozenset(("collections.abc.Iterator", "collections.abc.Iterable", "collections.abc.Generator"))
_ASYNC_ITERATORS: Final = frozenset(
    ("collections.abc.AsyncIterator", "collections.abc.AsyncIterable", "collections.abc.AsyncGenerator")
)
_AWAITABLES: Final = frozenset(("collections.abc.Awaitable", "collections.abc.Coroutine"))
_WRAPPERS: Final = frozenset(
    (
        "typing.Annotated",
        "typing.ClassVar",
        "typing.Final",
        "typing.NotRequired",
        "typing.ReadOnly",
        "typing.Required",
        "typing.Unpack",
    )
)
_ARRAYS: Final = frozenset(("numpy.ndarray", "numpy.typing.NDArray", "numpy.typing.ArrayLike", "numpy.matrix"))
_INTEGERS: Final = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_FLOATS: Final = frozenset(("float16", "float32", "float64"))
_DTYPES: Final = frozenset(("bool", "bool_", *_INTEGERS, *_FLOATS))
ANY: Final[Type] = {"kind": "any"}
VALUES: Final = ("enum", "typed_dict", "dataclass", "tuple")
"""Kinds of classes whose instances are values."""


class Annotations:
    """Reads annotations. own_class: whose `Self` it is."""

    def __init__(self, scope: Scope, own_class: str | None = None) -> None:
        self._scope: Final = scope
        self._own_class: Final = own_class
        self._opened: Final[set[str]] = set()

    def read(self, node: ast.expr | None, place: Place) -> Type:
        """What an annotation means where it stands. None: there is none."""
        if node is None:
            return ANY
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self.read(ast.parse(node.value, mode="eval").body, place)
            except SyntaxError:
                return _unknown(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return union([*self._options(node.left, place), *self._options(node.right, place)])
        if isinstance(node, ast.Subscript):
            return self._subscripted(node, place)
        name = self._scope.qualified(node)
        if isinstance(node, ast.Name) and self._scope.is_own(node.id):
            return self._own(node.id, place, node)
        return self._bare(name, place, node)

    def result(self, node: ast.expr | None) -> Type:
        """The same of what a function gives. An object that stays where it is can be that, or an item of an iterator,
        and cannot be sent within another value.
        """
        read = self.read(node, "result")
        if node is None:
            return read
        if read["kind"] == "iterator":
            if self._holds_object(read["item"], False, set()):
                read["item"] = _unknown(node)
            return read
        return _unknown(node) if self._holds_object(read, False, set()) else read

    def _holds_object(self, of: Type, is_within: bool, seen: set[tuple[str, bool]]) -> bool:
        match of["kind"]:
            case "handle":
                return is_within
            case "union":
                return any(self._holds_object(option, is_within, seen) for option in of["options"])
            case "list":
                return self._holds_object(of["item"], True, seen)
            case "tuple":
                return any(self._holds_object(item, True, seen) for item in of["items"])
            case "dict":
                return self._holds_object(of["value"], True, seen)
            case "ref" if (of["name"], is_within) not in seen:
                seen.add((of["name"], is_within))
                return self._named_holds_object(of["name"], is_within, seen)
        return False

    def _named_holds_object(self, name: str, is_within: bool, seen: set[tuple[str, bool]]) -> bool:
        alias = self._scope.aliases.get(name)
        if alias is not None:
            return self._holds_object(self.read(alias, "result"), is_within, seen)
        fields = [one for one in self._scope.classes[name].body if isinstance(one, ast.AnnAssign)]
        return any(self._holds_object(self.read(one.annotation, "result"), True, seen) for one in fields)

    def awaited(self, node: ast.expr | None) -> ast.expr | None:
        """What is awaited of an annotation `Awaitable[T]`, `Coroutine[…, T]`; None for any other."""
        if isinstance(node, ast.Subscript) and self._scope.qualified(node.value) in _AWAITABLES:
            return _arguments(node)[-1]
        return None

    def _options(self, node: ast.expr, place: Place) -> list[Type]:
        read = self.read(node, place)
        return read["options"] if read["kind"] == "union" else [read]

    def _own(self, name: str, place: Place, node: ast.expr) -> Type:
        scope = self._scope
        kind = scope.kinds.get(name)
        if kind is not None:
            if kind == "class" and not name.startswith("_"):
                return {"kind": "handle", "name": name}
            return (
                {"kind": "ref", "name": name}
                if kind in ("enum", "typed_dict", "dataclass", "tuple")
                else _unknown(node)
            )
        if name in scope.aliases:
            if not name.startswith("_"):
                return {"kind": "ref", "name": name}
            if name in self._opened:
                return _unknown(node)
            self._opened.add(name)
            try:
                return self.read(scope.aliases[name], place)
            finally:
                self._opened.discard(name)
        bound = scope.type_variables[name]
        return ANY if bound is None else self.read(bound, place)

    def _bare(self, name: str, place: Place, node: ast.expr) -> Type:
        if name in _PLAIN:
            return _PLAIN[name]
        if name == "typing.Self" and self._own_class is not None:
            return {"kind": "handle", "name": self._own_class}
        if name in _ARRAYS:
            return {"kind": "array", "dtype": None}
        if name.startswith("numpy.") and name[6:] in _DTYPES:
            return {"kind": "float"} if name[6:] in _FLOATS else {"kind": "int"}
        if name == "collections.abc.Callable":
            return {"kind": "callable", "params": None, "result": ANY}
        if name == "tuple":
            return {"kind": "list", "item": ANY}
        if name in _WRAPPERS:
            return ANY
        return self._generic(name, [], place, node)

    def _subscripted(self, node: ast.Subscript, place: Place) -> Type:
        name = self._scope.qualified(node.value)
        arguments = _arguments(node)
        if name in _WRAPPERS:
            return self.read(arguments[0], place)
        if name == "typing.Optional":
            return union([*self._options(arguments[0], place), {"kind": "none"}])
        if name == "typing.Union":
            return union([one for argument in arguments for one in self._options(argument, place)])
        if name == "typing.Literal":
            return self._literal(arguments, node)
        if name == "tuple":
            if len(arguments) == 2 and _is_ellipsis(arguments[1]):
                return {"kind": "list", "item": self.read(arguments[0], place)}
            return {"kind": "tuple", "items": [self.read(one, place) for one in arguments if not _is_empty(one)]}
        if name == "collections.abc.Callable" and len(arguments) == 2:
            params = arguments[0]
            is_list = isinstance(params, ast.List)
            # What it is given comes as a result does, and the other way round.
            given = [self.read(one, "result") for one in params.elts] if isinstance(params, ast.List) else None
            return {
                "kind": "callable",
                "params": given if is_list else None,
                "result": self.read(arguments[1], "parameter"),
            }
        if name in _ARRAYS:
            return {"kind": "array", "dtype": self._dtype(arguments)}
        if name in _AWAITABLES:
            return self.read(arguments[-1], place)
        return self._generic(name, arguments, place, node)

    def _generic(self, name: str, arguments: list[ast.expr], place: Place, node: ast.expr) -> Type:
        def item(at: int) -> Type:
            return self.read(arguments[at], place) if at < len(arguments) else ANY

        if name in _LISTS or (place == "parameter" and name in _TAKEN_AS_LISTS):
            return {"kind": "list", "item": item(0)}
        if name == "collections.Counter":
            return {"kind": "dict", "key": item(0), "value": {"kind": "int"}}
        if name in _DICTS:
            return {"kind": "dict", "key": item(0) if arguments else {"kind": "str"}, "value": item(1)}
        if name in _ITERATORS or name in _ASYNC_ITERATORS:
            return {"kind": "iterator", "item": item(0), "async": name in _ASYNC_ITERATORS}
        return _unknown(node)

    def _literal(self, arguments: list[ast.expr], node: ast.expr) -> Type:
        values: list[bool | int | float | str | None] = []
        for argument in arguments:
            try:
                value = ast.literal_eval(argument)
            except ValueError:
                return self._enum_members(arguments, node)
            if value is not None and not isinstance(value, bool | int | str):
                return _unknown(node)
            values.append(value)
        return {"kind": "literal", "values": values}

    def _enum_members(self, arguments: list[ast.expr], node: ast.expr) -> Type:
        """`Literal[Colour.RED]`: which member is left out."""
        for argument in arguments:
            holder = argument.value if isinstance(argument, ast.Attribute) else None
            if isinstance(holder, ast.Name) and self._scope.kinds.get(holder.id) == "enum":
                return {"kind": "ref", "name": holder.id}
        return _unknown(node)

    def _dtype(self, arguments: list[ast.expr]) -> str | None:
        """`NDArray[np.float64]`, `np.ndarray[shape, np.dtype[np.float64]]`."""
        last = arguments[-1]
        while isinstance(last, ast.Subscript):
            last = _arguments(last)[-1]
        name = self._scope.qualified(last).removeprefix("numpy.")
        if name in ("float", "double"):
            return "float64"
        return name.removesuffix("_") if name in _DTYPES else None


def union(options: list[Type]) -> Type:
    """One of these: each once, and literals in one."""
    found: list[Type] = []
    for option in options:
        if option["kind"] == "literal":
            for other in found:
                if other["kind"] == "literal":
                    other["values"].extend(value for value in option["values"] if value not in other["values"])
                    break
            else:
                found.append({"kind": "literal", "values": list(option["values"])})
        elif option not in found:
            found.append(option)
    return found[0] if len(found) == 1 else {"kind": "union", "options": found}


def of_value(value: object, *, exact: bool) -> Type:
    """The type of a constant. exact: it never changes, so that it is its own type."""
    if value is None:
        return {"kind": "none"}
    if exact and isinstance(value, bool | int | str):
        return {"kind": "literal", "values": [value]}
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return _PLAIN[kind.__name__]
    if isinstance(value, list | tuple):
        return {"kind": "list", "item": union([of_value(one, exact=False) for one in value]) if value else ANY}
    if isinstance(value, dict):
        items = union([of_value(one, exact=False) for one in value.values()]) if value else ANY
        return {"kind": "dict", "key": {"kind": "str"}, "value": items}
    return ANY


def _arguments(node: ast.Subscript) -> list[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) and node.slice.elts else [node.slice]


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple) and not node.elts


def _unknown(node: ast.expr) -> Type:
    return {"kind": "unknown", "text": ast.unparse(node)}

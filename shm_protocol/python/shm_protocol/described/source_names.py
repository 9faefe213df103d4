"""What the names of a Python module's source stand for, and which of its statements count."""

from __future__ import annotations

import ast
import sys

TYPE_CHECKING = False  # as in source_types
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_ABC_ALIASES: Final = {
    "List": "list",
    "Dict": "dict",
    "Set": "set",
    "FrozenSet": "frozenset",
    "Tuple": "tuple",
    "Type": "type",
    "Deque": "collections.deque",
    "DefaultDict": "collections.defaultdict",
    "OrderedDict": "collections.OrderedDict",
    "Counter": "collections.Counter",
    "AbstractSet": "collections.abc.Set",
    "Text": "str",
}
_FROM_ABC: Final = frozenset(
    (
        "AsyncGenerator",
        "AsyncIterable",
        "AsyncIterator",
        "Awaitable",
        "Buffer",
        "Callable",
        "Collection",
        "Container",
        "Coroutine",
        "Generator",
        "Iterable",
        "Iterator",
        "Mapping",
        "MutableMapping",
        "MutableSequence",
        "MutableSet",
        "Reversible",
        "Sequence",
    )
)


class Scope:
    """What the names at a module's top level stand for.

    imported: by what is imported as it, with its module. classes, aliases, type_variables: what is defined there.
    kinds: what sort of class each is: see source_classes.
    """

    def __init__(self) -> None:
        self.imported: Final[dict[str, str]] = {}
        self.classes: Final[dict[str, ast.ClassDef]] = {}
        self.kinds: Final[dict[str, str]] = {}
        self.aliases: Final[dict[str, ast.expr]] = {}
        self.type_variables: Final[dict[str, ast.expr | None]] = {}

    def add_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Note what it imports."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                name = alias.asname or alias.name.partition(".")[0]
                self.imported[name] = alias.name if alias.asname else name
            return
        module = "." * statement.level + (statement.module or "")
        for alias in statement.names:
            self.imported[alias.asname or alias.name] = f"{module}.{alias.name}"

    def qualified(self, node: ast.expr) -> str:
        """A dotted name as it is imported from where it comes; "" for what is none."""
        if isinstance(node, ast.Attribute):
            holder = self.qualified(node.value)
            return _canonical(f"{holder}.{node.attr}") if holder else ""
        if isinstance(node, ast.Constant) and node.value is None:
            return "None"
        if not isinstance(node, ast.Name):
            return ""
        return _canonical(self.imported.get(node.id, node.id))

    def is_own(self, name: str) -> bool:
        """Whether the module defines it."""
        return name not in self.imported and (
            name in self.classes or name in self.aliases or name in self.type_variables
        )


def _canonical(name: str) -> str:
    module, _, last = name.rpartition(".")
    if module == "typing_extensions":
        module, name = "typing", f"typing.{last}"
    if module in ("typing", "collections.abc"):
        if last in _ABC_ALIASES:
            return _ABC_ALIASES[last]
        if last in _FROM_ABC:
            return f"collections.abc.{last}"
    return name


def constant(node: ast.expr | None) -> tuple[bool, object]:
    """Whether it is a value that JSON has, and which."""
    if node is None:
        return False, None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False, None
    return _is_json(value), value


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return abs(value) < 2**53
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, list | tuple):
        return all(_is_json(one) for one in value)
    return isinstance(value, dict) and all(type(key) is str and _is_json(one) for key, one in value.items())


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs at a module's top level, as far as it shows: of an `if` for versions the branch that this one takes."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            taken = _taken(statement.test)
            if taken is not False:
                yield from statements(statement.body)
            if taken is not True:
                yield from statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from statements(statement.body)
            for handler in statement.handlers:
                yield from statements(handler.body)
            yield from statements(statement.orelse)
            yield from statements(statement.finalbody)
        elif isinstance(statement, ast.With):
            yield from statements(statement.body)


def _taken(test: ast.expr) -> bool | None:
    """Which branch an `if` takes; None: that does not show."""
    text = ast.unparse(test)
    if text in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        return None
    if text.startswith("__name__ =="):
        return False
    if isinstance(test, ast.Compare) and ast.unparse(test.left) == "sys.version_info" and len(test.ops) == 1:
        is_tuple, asked = constant(test.comparators[0])
        if is_tuple and isinstance(asked, tuple):
            here = tuple(sys.version_info)
            answers = {ast.GtE: here >= asked, ast.Gt: here > asked, ast.Lt: here < asked, ast.LtE: here <= asked}
            return answers.get(type(test.ops[0]))
    return None

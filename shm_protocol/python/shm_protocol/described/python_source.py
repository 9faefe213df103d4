"""What a Python module has, read from its source: nothing is imported or run, so it takes 20 ms and has no effects.

Node runs it as a program, by a Python that need not have anything installed: main() with `python -P -S -E`, and the
package `described` as the only one of ours. What only running shows it does not see: `import *`, what decorators make
of a function, names that are made up. A live worker is held against it when it attaches.
"""

from __future__ import annotations

import ast
import sys

from .source_classes import described, doc_after, kind_of, methods, named
from .source_functions import functions
from .source_names import Scope, constant, statements
from .source_types import VALUES, Annotations, of_value

TYPE_CHECKING = False  # as in source_types
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Final

    from .description import Class, Module, Type

_WHY_NOT: Final = {
    "exception": "a class of exceptions: it arrives as a RemoteError, or as a class of your own that both sides "
    "register (registerError)",
    "protocol": "a protocol",
}
"""Of kinds of classes that are not described."""
_NOT_OF_HANDLES: Final = {
    "dispose": "what a handle has of that name is its own, and releases it",
    "then": "JavaScript would call it unasked, so that a handle has none",
    "toJSON": "JavaScript would call it unasked, so that a handle has none",
}
"""Names of methods."""
_TYPE_VARIABLES: Final = ("typing.TypeVar", "typing.ParamSpec", "typing.TypeVarTuple")
_MADE_OF_TYPES: Final = (
    "typing.Literal",
    "typing.Union",
    "typing.Optional",
    "typing.Annotated",
    "collections.abc.Callable",
    "numpy.typing.NDArray",
)


def describe(file: Path) -> Module:
    """What the module has for others. Raises OSError, SyntaxError, and ValueError for a source with zero bytes."""
    return _Reader(str(file), file.read_bytes()).module()


class _Reader:
    def __init__(self, file: str, source: bytes) -> None:
        self._file: Final = file
        self._source: Final = source
        self._tree: Final = ast.parse(source, file)
        self._scope: Final = Scope()
        self._body: Final = list(statements(self._tree.body))
        self._listed: list[str] | None = None
        self._assigned: Final[dict[str, int]] = {}
        self._look_around()

    def _look_around(self) -> None:
        """What names stand for, before anything is read that uses them."""
        scope = self._scope
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Global):
                self._assigned.update(dict.fromkeys(node.names, 2))
        for statement in self._body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                scope.add_import(statement)
        for statement in self._body:
            if isinstance(statement, ast.ClassDef) and statement.name not in scope.classes:
                scope.classes[statement.name] = statement
                scope.kinds[statement.name] = kind_of(statement, scope)
            elif sys.version_info >= (3, 12) and isinstance(statement, ast.TypeAlias):
                scope.aliases[statement.name.id] = statement.value
            for name, annotation, value in _assignments(statement):
                self._assigned[name] = self._assigned.get(name, 0) + 1
                self._note(name, annotation, value)

    def _note(self, name: str, annotation: ast.expr | None, value: ast.expr | None) -> None:
        scope = self._scope
        if name == "__all__" and value is not None:
            is_json, listed = constant(value)
            self._listed = [str(one) for one in listed] if is_json and isinstance(listed, list | tuple) else None
        elif value is None:
            return
        elif annotation is not None and scope.qualified(annotation) == "typing.TypeAlias":
            scope.aliases[name] = value
        elif isinstance(value, ast.Call) and scope.qualified(value.func) in _TYPE_VARIABLES:
            bounds = [one.value for one in value.keywords if one.arg == "bound"]
            scope.type_variables[name] = bounds[0] if bounds else None
        elif isinstance(value, ast.Call) and scope.qualified(value.func) == "typing.NewType" and len(value.args) == 2:
            scope.aliases[name] = value.args[1]
        elif annotation is None and self._is_type(value):
            scope.aliases[name] = value

    def _is_type(self, value: ast.expr) -> bool:
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
            return self._is_type(value.left) or self._is_type(value.right)
        if isinstance(value, ast.Subscript):
            name = self._scope.qualified(value.value)
            return name in ("dict", "list", "tuple") or name in _MADE_OF_TYPES or name.startswith("collections.abc.")
        return isinstance(value, ast.Name) and value.id in ("str", "int", "float", "bool", "bytes")

    def _is_public(self, name: str) -> bool:
        return not name.startswith("_") and (self._listed is None or name in self._listed)

    def module(self) -> Module:
        """All of it."""
        import hashlib

        scope = self._scope
        module: Module = {
            "language": "python",
            "file": self._file,
            "sha256": hashlib.sha256(self._source).hexdigest(),
            "doc": ast.get_docstring(self._tree),
            "functions": [],
            "classes": [],
            "instances": [],
            "types": [],
            "constants": [],
            "skipped": [],
        }
        definitions = [one for one in self._body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        public = [one for one in definitions if self._is_public(one.name)]
        module["functions"] = functions(public, scope)
        for name, definition in scope.classes.items():
            kind = scope.kinds[name]
            if kind in VALUES and not name.startswith("_"):
                # Also one that is not listed: a listed function may tell of it.
                module["types"].append(named(definition, scope))
            elif kind == "class" and self._is_public(name):
                self._add_class(described(definition, scope), module)
            elif kind in ("exception", "protocol") and self._is_public(name):
                module["skipped"].append({"name": name, "why": _WHY_NOT[kind]})
        for name, expression in scope.aliases.items():
            if not name.startswith("_"):
                read = Annotations(scope).read(expression, "result")
                module["types"].append({"name": name, "doc": None, "shape": "alias", "type": read})
        self._read_assignments(module)
        self._tell_missing(module)
        return module

    def _add_class(self, one: Class, module: Module) -> None:
        left_out = [method["name"] for method in one["methods"] if method["name"] in _NOT_OF_HANDLES]
        module["skipped"] += [{"name": f"{one['name']}.{name}", "why": _NOT_OF_HANDLES[name]} for name in left_out]
        module["classes"].append(
            {**one, "methods": [method for method in one["methods"] if method["name"] not in left_out]}
        )

    def _read_assignments(self, module: Module) -> None:
        scope = self._scope
        done = {one["name"] for one in module["functions"]} | set(scope.classes) | set(scope.aliases)
        done |= set(scope.type_variables)
        for place, statement in enumerate(self._body):
            for name, annotation, value in _assignments(statement):
                if not self._is_public(name) or name in done:
                    continue
                done.add(name)
                doc = doc_after(self._body, place)
                kept = self._class_of(annotation, value)
                is_json, known = constant(value)
                if kept is not None:
                    own = None if kept.startswith("_") else kept
                    module["instances"].append(
                        {"name": name, "class": own, "methods": methods(scope.classes[kept], scope), "doc": doc}
                    )
                elif is_json and self._assigned[name] == 1:
                    kind = self._type_of_constant(name, annotation, known)
                    module["constants"].append({"name": name, "type": kind, "value": known, "doc": doc})
                else:
                    why = "its value may change" if is_json else "what it is shows only when it runs"
                    module["skipped"].append({"name": name, "why": why})

    def _type_of_constant(self, name: str, annotation: ast.expr | None, value: object) -> Type:
        is_final = annotation is not None and self._scope.qualified(annotation) == "typing.Final"
        if annotation is None or is_final:
            return of_value(value, exact=is_final or name.isupper())
        return Annotations(self._scope).read(annotation, "result")

    def _class_of(self, annotation: ast.expr | None, value: ast.expr | None) -> str | None:
        """Which class of the module it is an instance of, that stays where it is."""
        scope = self._scope
        if annotation is not None:
            read = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
            if isinstance(read, ast.Name) and scope.kinds.get(read.id) == "class":
                return read.id
        if not isinstance(value, ast.Call):
            return None
        called = value.func
        if isinstance(called, ast.Name) and scope.kinds.get(called.id) == "class":
            return called.id
        for statement in self._body:
            if isinstance(statement, ast.FunctionDef) and isinstance(called, ast.Name) and statement.name == called.id:
                return self._class_of(statement.returns, None)
        return None

    def _tell_missing(self, module: Module) -> None:
        """What is listed in `__all__` and comes from elsewhere."""
        described = (module["functions"], module["classes"], module["instances"], module["types"], module["constants"])
        told = {one["name"] for part in (*described, module["skipped"]) for one in part}
        for name in self._listed or ():
            if name not in told and not name.startswith("_"):
                module["skipped"].append({"name": name, "why": "it comes from another module"})


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Names that it assigns, with annotation and value."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, None, statement.value
            elif isinstance(target, ast.Tuple):
                yield from ((one.id, None, None) for one in target.elts if isinstance(one, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, statement.annotation, statement.value
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, None, None


def main() -> None:
    """Print the description of the file that the arguments name, as JSON. What is wrong with the file is one line to
    stderr, and the exit code 1.
    """
    import json
    from pathlib import Path

    file = sys.argv[2]
    try:
        module = describe(Path(file))
    except SyntaxError as error:
        sys.exit(f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})")
    except (OSError, ValueError, RecursionError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(json.dumps(module).encode())

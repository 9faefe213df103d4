"""What Python has of a TypeScript module: functions, objects and constants that look like Python's own."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple, Protocol, TypedDict

from .arguments import Arguments
from .children import Export
from .described.description import Class, Enumeration, Function, Module, Named, Overload, Type
from .described.names import for_python, member_of_enum
from .described.python_types import PythonTypes
from .references import Handle, Method, class_of

_CALLED: Final = "__shm_called__"
_MAY_STAY: Final = {"any", "callable", "handle", "unknown"}
"""What may be no value, but an object or a function that stays where it is."""


class Caller(Protocol):
    """Who makes the calls."""

    def call(self, name: str, args: Sequence[object], *, handles: bool = False) -> Any:
        """A call, and what it gives. handles: it may be a Handle."""

    def stream(self, name: str, args: Sequence[object], as_object: Callable[[Any], Any] | None = None) -> Any:
        """A call of what gives an iterator. as_object: an item may be a Handle, and this is made of it."""


class Called(NamedTuple):
    """What a stub calls. handles: what it gives may stay there."""

    caller: Caller
    name: str
    arguments: Arguments
    is_stream: bool
    handles: bool


def called(stub: object) -> Called | None:
    """What a function calls, if it is one of these stubs."""
    found = vars(stub).get(_CALLED) if isinstance(stub, FunctionType) else None
    return found if isinstance(found, Called) else None


def dress(function: Callable[..., Any], stub: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function what a stub says of itself."""
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__signature__"):
        setattr(function, name, getattr(stub, name))
    return function


class TypeScriptObject:
    """An object that a TypeScript module exports: its methods are called where it is."""

    def __init__(self, name: str, module: str, doc: str | None) -> None:
        self.__doc__ = doc
        self._told: Final = f"<TypeScript object {name} of {module}>"

    def __repr__(self) -> str:
        return self._told


def fill(
    module: ModuleType, described: Module, caller: Caller, describe_again: Callable[[], Module] | None = None
) -> None:
    """Give a module what TypeScript's has, under the names that Python can have.

    describe_again: where the file may be edited meanwhile, asked before a name is said to be missing.
    """
    maker = _Maker(module.__name__, described, caller)
    found = maker.made()
    names = sorted(found)
    skipped = {one["name"]: one["why"] for one in described["skipped"]}

    def missing(name: str) -> object:
        """What is not there: from … import tells what there is."""
        if describe_again is not None and name[:2] != "__":
            new = describe_again()
            if new != described:
                for old in names:
                    vars(module).pop(old, None)
                fill(module, new, caller, describe_again)
                return getattr(module, name)
        why = f"{name} is {skipped[name]}" if name in skipped else f"there are {', '.join(names) or 'no names'}"
        told = f"cannot import name {name!r} from {module.__name__!r} ({described['file']}): {why}"
        # Only this way does an ImportError come of it that says so: an AttributeError is replaced.
        if name[:2] != "__" and _is_from_import(sys._getframe(1)):  # noqa: SLF001  # as the inspect module does
            raise ImportError(told, name=module.__name__, path=described["file"])
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}: {why}", name=name, obj=module)

    vars(module).update(found, __doc__=described["doc"], __all__=names, __getattr__=missing)


def of_exports(file: Path, exports: Sequence[Export]) -> Module:
    """A description without types, of what a module says itself when it runs."""

    def function(name: str, kind: str) -> Function:
        result: Type = (
            {"kind": "iterator", "item": {"kind": "any"}, "async": True} if kind == "stream" else {"kind": "any"}
        )
        overload: Overload = {
            "params": [
                {"name": "args", "type": {"kind": "any"}, "kind": "var", "optional": True},
                {"name": "options", "type": {"kind": "any"}, "kind": "var_keyword", "optional": True},
            ],
            "result": result,
        }
        return {"name": name, "doc": None, "async": False, "overloads": [overload]}

    return {
        "language": "typescript",
        "file": str(file),
        "sha256": "",
        "doc": None,
        "functions": [function(one.name, one.kind) for one in exports if one.kind in ("function", "stream")],
        "classes": [
            {
                "name": one.name,
                "doc": None,
                "init": function(one.name, "function")["overloads"][0],
                "methods": [],
                "static": [],
            }
            for one in exports
            if one.kind == "class"
        ],
        "instances": [
            {
                "name": one.name,
                "class": None,
                "doc": None,
                "methods": [function(name, "function") for name in one.methods],
            }
            for one in exports
            if one.kind == "object"
        ],
        "types": [],
        "constants": [],
        "skipped": [
            {
                "name": one.name,
                "why": "a value, which takes a compiler to be told: npm install --save-dev typescript@5.9",
            }
            for one in exports
            if one.kind == "value"
        ],
    }


def _is_from_import(frame: Any) -> bool:
    from opcode import opmap

    return bool(frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"])


def _terms(of: Type) -> list[Type]:
    return of["options"] if of["kind"] == "union" else [of]


def _is_stream(described: Function) -> bool:
    return any(term["kind"] == "iterator" for overload in described["overloads"] for term in _terms(overload["result"]))


def _given(described: Function) -> list[Type]:
    """What it gives, or its items are."""
    given = [term for overload in described["overloads"] for term in _terms(overload["result"])]
    return [part for term in given for part in (_terms(term["item"]) if term["kind"] == "iterator" else [term])]


def _may_stay(described: Function) -> bool:
    return any(term["kind"] in _MAY_STAY for term in _given(described))


def _gives(init: Overload) -> Overload:
    """A constructor gives an object, whatever the description says."""
    result: Type = init["result"] if init["result"]["kind"] == "handle" else {"kind": "handle", "name": ""}
    return {"params": init["params"], "result": result}


def _missing_in(described: Class) -> Callable[[Handle, str], object]:
    """What tells that an object of the class has no method of a name."""
    names = ", ".join(sorted(for_python(method["name"]) for method in described["methods"])) or "none"

    def missing(self: Handle, name: str) -> object:
        # One of a class that is derived from it has methods that nobody has described.
        if name.startswith("_") or class_of(self) != described["name"]:
            return Handle.__getattr__(self, name)
        why = f"{self!r} has no method {name!r}: there are {names}; what else it has is read where it is, by a method"
        raise AttributeError(why, name=name, obj=self)

    return missing


class _Maker:
    def __init__(self, name: str, described: Module, caller: Caller) -> None:
        self._name: Final = name
        self._described: Final = described
        self._caller: Final = caller
        self._types: Final = PythonTypes(described)
        self._classes: Final[dict[str, type[Handle]]] = {}

    def made(self) -> dict[str, object]:
        described = self._described
        found: dict[str, object] = {for_python(one["name"]): self._type(one) for one in described["types"]}
        found |= {for_python(one["name"]): one["value"] for one in described["constants"]}
        self._classes.update({one["name"]: self._class(one) for one in described["classes"]})
        found |= {for_python(name): made for name, made in self._classes.items()}
        for instance in described["instances"]:
            thing = TypeScriptObject(instance["name"], self._name, instance["doc"])
            for method in instance["methods"]:
                setattr(thing, for_python(method["name"]), self._function(method, f"{instance['name']}."))
            found[for_python(instance["name"])] = thing
        return found | {for_python(one["name"]): self._function(one, "") for one in described["functions"]}

    def _function(self, described: Function, owner: str) -> Callable[..., Any]:
        full_name = owner + described["name"]
        arguments = Arguments(described)
        of, caller = arguments.of, self._caller
        is_stream, may_stay = _is_stream(described), _may_stay(described)
        if is_stream:
            as_object = (lambda item: self._as_object(item, described)) if may_stay else None

            def stub(*args: Any, **kwargs: Any) -> Any:
                return caller.stream(full_name, of(args, kwargs), as_object)
        elif may_stay:

            def stub(*args: Any, **kwargs: Any) -> Any:
                return self._as_object(caller.call(full_name, of(args, kwargs), handles=True), described)
        else:

            def stub(*args: Any, **kwargs: Any) -> Any:
                return caller.call(full_name, of(args, kwargs))

        vars(stub)[_CALLED] = Called(caller, full_name, arguments, is_stream, may_stay)
        return self._dressed(stub, described, owner, arguments)

    def _class(self, described: Class) -> type[Handle]:
        """A class whose objects stay where they are. One that cannot be made there is for what functions give."""
        owner = f"{described['name']}."
        namespace: dict[str, Any] = {"__slots__": (), "__doc__": described["doc"], "__module__": self._name}
        for static in described["static"]:
            namespace[for_python(static["name"])] = staticmethod(self._function(static, owner))
        for method in described["methods"]:
            namespace[for_python(method["name"])] = self._method(method, owner)
        # What a module says of itself when it runs tells no methods.
        if self._described["sha256"]:
            namespace["__getattr__"] = _missing_in(described)
        init = described["init"]
        if init is not None:
            make = self._function(
                {"name": described["name"], "doc": None, "async": False, "overloads": [_gives(init)]}, ""
            )
            namespace["__new__"] = lambda _, *args, **kwargs: make(*args, **kwargs)
        else:
            told = f"{described['name']} is abstract, or its constructor is not public: functions give its objects"

            def refuse(*_: Any, **__: Any) -> Any:
                raise TypeError(told)

            namespace["__new__"] = refuse
        # What is made there is whole.
        namespace["__init__"] = lambda *_, **__: None
        return type(for_python(described["name"]), (Handle,), namespace)

    def _method(self, described: Function, owner: str) -> Callable[..., Any]:
        """Of an object that stays where it is: it is called by what stands for that."""
        name, arguments, is_stream = described["name"], Arguments(described), _is_stream(described)

        def stub(self_: Handle, *args: Any, **kwargs: Any) -> Any:
            method = Method(self_, name)
            sent = arguments.of(args, kwargs)
            return method.stream(*sent) if is_stream else self._as_object(method(*sent), described)

        return self._dressed(stub, described, owner, None)

    def _as_object(self, given: Any, described: Function) -> Any:
        """Of the class that the description tells."""
        if type(given) is Handle:
            for term in _given(described):
                if term["kind"] == "handle" and term["name"] in self._classes:
                    given.__class__ = self._classes[term["name"]]
                    break
        return given

    def _dressed(self, stub: Any, described: Function, owner: str, arguments: Arguments | None) -> Callable[..., Any]:
        name = for_python(described["name"])
        stub.__name__ = name
        stub.__qualname__ = owner + name
        stub.__module__ = self._name
        stub.__doc__ = described["doc"]
        if arguments is not None:
            signature = arguments.signature(self._types)
            stub.__signature__ = signature
            stub.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
            stub.__annotations__["return"] = signature.return_annotation
        made: Callable[..., Any] = stub
        return made

    def _type(self, named: Named) -> object:
        """What an annotation may name; an interface makes a dict, an enum has its members."""
        if named["shape"] == "enum":
            return self._enumeration(named)
        if named["shape"] == "alias":
            return Any
        fields = {field["name"]: object for field in named["fields"]}
        made: Any = TypedDict(for_python(named["name"]), fields, total=False)  # type: ignore[misc]  # told at run time
        made.__module__, made.__doc__ = self._name, named["doc"]
        return made

    def _enumeration(self, named: Enumeration) -> object:
        members = [(member_of_enum(member["name"]), member["value"]) for member in named["members"]]
        kind: Any = enum.Enum
        if all(isinstance(value, str) for _, value in members):
            kind = enum.StrEnum
        elif all(isinstance(value, int) for _, value in members):
            kind = enum.IntEnum
        made = kind(for_python(named["name"]), members, module=self._name)
        made.__doc__ = named["doc"]
        return made

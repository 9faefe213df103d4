"""What a call of Python's is in TypeScript: arguments by place, of which the last may be an object of options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .described.description import Function, Overload, Parameter
from .described.names import for_python
from .described.python_types import PythonTypes

_MISSING: Final = object()
_KINDS: Final = {
    "positional": inspect.Parameter.POSITIONAL_ONLY,
    "either": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "var": inspect.Parameter.VAR_POSITIONAL,
    "keyword": inspect.Parameter.KEYWORD_ONLY,
    "var_keyword": inspect.Parameter.VAR_KEYWORD,
}


class Arguments:
    """Makes the arguments of a function's calls; see the constructor's `function`, its description."""

    def __init__(self, function: Function) -> None:
        self._name: Final = function["name"]
        overloads = function["overloads"]
        self._ways: Final = [_Way(one, after) for one, after in zip(overloads, [*overloads[1:], None], strict=True)]
        # So many by place are right whichever they are.
        plain = [way for way in self._ways if not way.needs_options]
        self._least: Final = min((way.required for way in plain), default=-1)
        self._most: Final = max((way.most for way in self._ways), default=0.0)

    def of(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Sequence[object]:
        """What is sent. Raises TypeError, as a call of Python's own does."""
        if not kwargs and self._least <= len(args) <= self._most and not any(way.gives_options for way in self._ways):
            return args
        refused: list[tuple[bool, str]] = []
        for way in self._ways:
            made = way.bind(args, kwargs)
            if not isinstance(made, str):
                return made
            refused.append((way.may_do_without and not way.is_meant_by(kwargs), made))
        # That of the first way, which is the one that the signature shows, unless another is meant.
        raise TypeError(f"{self._name}() {min(refused, key=lambda one: one[0])[1]}")

    def signature(self, types: PythonTypes) -> inspect.Signature:
        """Of the first way to call it. types: of its module."""
        return self._ways[0].signature(types)


class _Way:
    """One overload. `after`: the next one, which, after one with keywords, has them as one object."""

    def __init__(self, overload: Overload, after: Overload | None) -> None:
        params = overload["params"]
        self._result: Final = overload["result"]
        taken: set[str] = set()
        self._params: Final[list[tuple[str, Parameter]]] = []
        for one in params:
            name = for_python(one["name"], taken)
            taken.add(name)
            self._params.append((name, one))
        self._by_place: Final = [pair for pair in self._params if pair[1]["kind"] in ("positional", "either")]
        self._keywords: Final = {name: one for name, one in self._params if one["kind"] == "keyword"}
        self._takes_any: Final = any(one["kind"] == "var_keyword" for one in params)
        self._has_rest: Final = any(one["kind"] == "var" for one in params)
        self.required: Final = max(
            (at for at, (_, one) in enumerate(self._by_place, 1) if not one["optional"]), default=0
        )
        self.most: Final = float("inf") if self._has_rest else len(self._by_place)
        self.needs_options: Final = any(not one["optional"] for one in self._keywords.values())
        # Neither fields nor object: the object is optional, and has fields that are not.
        self.may_do_without: Final = bool(self.needs_options and after and after["params"][-1]["optional"])
        # Without a keyword it is an object without fields, where the function asks for one.
        self.gives_options: Final = bool(self._keywords and after and not after["params"][-1]["optional"])

    def is_meant_by(self, kwargs: Mapping[str, object]) -> bool:
        """Whether one of its keywords is given."""
        return not self._keywords.keys().isdisjoint(kwargs)

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[object] | str:
        """The arguments, or why they cannot be."""
        if len(args) > self.most:
            return f"takes {len(self._by_place)} positional arguments but {len(args)} were given"
        made = list(args)
        options: dict[str, object] = {}
        places = {name: at for at, (name, _) in enumerate(self._by_place)}
        given: dict[int, object] = {}
        for name, value in kwargs.items():
            if name in self._keywords:
                options[self._keywords[name]["name"]] = value
            elif name in places and self._by_place[places[name]][1]["kind"] == "either":
                if places[name] < len(args):
                    return f"got multiple values for argument '{name}'"
                given[places[name]] = value
            elif self._takes_any:
                options[name] = value
            else:
                return f"got an unexpected keyword argument '{name}'"
        missing = [name for name, one in self._keywords.items() if not one["optional"] and one["name"] not in options]
        missing += [
            name for at, (name, _) in enumerate(self._by_place[: self.required]) if at >= len(args) and at not in given
        ]
        if missing:
            several = "s" if len(missing) > 1 else ""
            return f"missing {len(missing)} required argument{several}: {', '.join(map(repr, missing))}"
        has_options = bool(options) or self.gives_options
        last = len(self._by_place) if has_options and self._keywords else max(given, default=-1) + 1
        for at in range(len(args), last):
            value = given.get(at, self._by_place[at][1].get("default", _MISSING))
            if value is _MISSING:
                return f"cannot leave out '{self._by_place[at][0]}' where what comes after it is given: give it as well"
            made.append(value)
        return [*made, options] if has_options else made

    def signature(self, types: PythonTypes) -> inspect.Signature:
        """As Python shows it. A parameter that may be left out, before one that may not, has no default there."""
        found: list[inspect.Parameter] = []
        empty: Any = inspect.Parameter.empty
        for name, one in self._params:
            is_by_place = one["kind"] in ("positional", "either")
            is_left_out = one["kind"] == "keyword" or (is_by_place and self._place(name) >= self.required)
            is_optional = one["optional"] or (one["kind"] == "keyword" and self.may_do_without)
            default = one.get("default") if is_optional and is_left_out else empty
            kind = _KINDS[one["kind"]]
            found.append(inspect.Parameter(name, kind, default=default, annotation=types.given(one["type"])))
        return inspect.Signature(found, return_annotation=types.result(self._result))

    def _place(self, name: str) -> int:
        return next(at for at, (one, _) in enumerate(self._by_place) if one == name)

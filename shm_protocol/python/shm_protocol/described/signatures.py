"""What functions take, in one line each: as declarations keep it, to be held against what there is when they run.

`predict(text, times=, *rest, locale=, **others)`: by place what stands before `*`, by name what stands after it; `/`
ends what can be given by place only, and `=` is behind what has a default.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from .description import Function, Module, Overload

MARK: Final = "// takes: "

ANYTHING: Final = "..."
"""Of a function with overloads, because what runs is none of them; and of one that takes whatever it is given."""

_KINDS: Final = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.VAR_POSITIONAL: "var",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_KEYWORD: "var_keyword",
}


def signature_lines(module: Module) -> list[str]:
    """One for each function of the module and each method of its instances, under the name that it is called by."""
    told = dict(_told(module))
    return [f"{MARK}{name}({signature})\n" for name, signature in sorted(told.items())]


def _told(module: Module) -> Iterator[tuple[str, str]]:
    def those(functions: list[Function], before: str = "") -> Iterator[tuple[str, str]]:
        for function in functions:
            overloads = function["overloads"]
            yield before + function["name"], _of_overload(overloads[0]) if len(overloads) == 1 else ANYTHING

    yield from those(module["functions"])
    for instance in module["instances"]:
        yield from those(instance["methods"], f"{instance['name']}.")


def _of_overload(overload: Overload) -> str:
    return _joined([(one["name"], one["kind"], one["optional"]) for one in overload["params"]])


def of_live(signature: inspect.Signature) -> str:
    """The same of a function that is there."""
    nothing: Any = inspect.Parameter.empty
    if [one.kind for one in signature.parameters.values()] == [
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    ]:
        return ANYTHING
    return _joined([(name, _KINDS[one.kind], one.default is not nothing) for name, one in signature.parameters.items()])


def _joined(parameters: list[tuple[str, str, bool]]) -> str:
    parts: list[str] = []
    kinds = [kind for _, kind, _ in parameters]
    for place, (name, kind, optional) in enumerate(parameters):
        if kind == "keyword" and "*" not in parts and "var" not in kinds:
            parts.append("*")
        mark = {"var": "*", "var_keyword": "**"}.get(kind, "")
        parts.append(f"{mark}{name}{'=' if optional and not mark else ''}")
        if kind == "positional" and "positional" not in kinds[place + 1 :]:
            parts.append("/")
    return ", ".join(parts)


def read(text: str) -> dict[str, str]:
    """The signatures that declarations keep, by the functions' names."""
    lines = (line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK))
    return {name: rest.removesuffix(")") for name, _, rest in (line.partition("(") for line in lines)}


def difference(name: str, declared: str, live: str) -> str:
    """What has become of a function's signature, for people."""
    before, now = _parameters(declared), _parameters(live)
    gained = [one for one in now if one not in before]
    lost = [one for one in before if one not in now]
    if len(gained) + len(lost) == 1:
        what, [one] = ("gained", gained) if gained else ("lost", lost)
        return f'{name} {what} a parameter "{one}"'
    return f"{name} takes ({live}), not ({declared})"


def _parameters(signature: str) -> list[str]:
    parts = [part.removesuffix("=").lstrip("*") for part in signature.split(", ")]
    return [part for part in parts if part not in ("", "/")]

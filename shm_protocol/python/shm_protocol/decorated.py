"""The decorator @shm_protocol.expose, and what has been decorated: what a worker exposes unless it is told what."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, NamedTuple, TypeVar, overload

from .errors import name_of
from .exposables import Exposables, is_function
from .exposed import Exposed
from .options import shown

F = TypeVar("F", bound=Callable[..., Any])


class _Decorated(NamedTuple):
    function: Callable[..., Any]
    place: str
    code: CodeType | None


_decorated: Final[dict[str, _Decorated]] = {}


@overload
def expose(function: F, /) -> F: ...
@overload
def expose(*, name: str) -> Callable[[F], F]: ...
def expose(function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Decorate a function, a generator or a coroutine function, so that TypeScript may call it: by its own name, or by
    `name`. It stays what it was.

        @shm_protocol.expose
        def predict(text): ...

        @shm_protocol.expose(name="ml.train")
        async def train(rows): ...

    What is decorated in this process, in whatever module, is what serve(), attach(), Worker and the workers of asyncio
    expose when they are given no `expose` and begin. A method has no instance to be called on: expose an object
    instead, expose={"model": Model()}.

    Raises TypeError for what is no function, ValueError for a name that cannot be, and, telling both places, for one
    that another function has, which may have been made by the same lines. In an interactive session the later one
    takes the place of the other.
    """
    if function is not None:
        _add(function, None)
        return function
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name={shown(name)}: must be a string, the name under which TypeScript calls the function")

    def decorate(decorated: F) -> F:
        _add(decorated, name)
        return decorated

    return decorate


def exposables_of(expose: Exposables | None) -> Exposables:
    """What a worker exposes that was given `expose`. Raises TypeError where that is nothing at all."""
    if expose is not None:
        return expose
    found = functions()
    if not found:
        raise TypeError(
            "nothing is exposed: decorate functions with @shm_protocol.expose in a module that is imported by now, or "
            "give expose="
        )
    return found


def functions() -> dict[str, Callable[..., Any]]:
    """What has been decorated so far, by name."""
    return {name: decorated.function for name, decorated in list(_decorated.items())}


def _add(function: Any, name: str | None) -> None:
    kind = type(function)
    if issubclass(kind, type):
        raise TypeError(f"expose: {name_of(function)} is a class; expose an instance or its functions")
    if issubclass(kind, classmethod | property | functools.cached_property):
        what, or_else = ("class method", ", or the method of the class") if kind is classmethod else ("property", "")
        raise TypeError(
            f"expose: a {what} has no class and no instance here: below the class, expose an instance{or_else}, "
            "expose={'name': ...}"
        )
    if not is_function(function):
        raise TypeError(f"expose={shown(function)}: must be a function; @expose(name=...) names its argument")
    path = getattr(function, "__qualname__", None)
    if name is None:
        name = getattr(function, "__name__", None)
        if not isinstance(name, str) or name == "<lambda>":
            raise TypeError(f"expose={shown(function)}: has no name; use expose(name=...)")
    if isinstance(path, str) and "." in path.rpartition("<locals>.")[2] and kind is not staticmethod:
        raise TypeError(
            f"expose: {path} is defined in a class, and has no instance here: expose an instance, "
            "expose={'name': instance}, and a static method by @expose above @staticmethod"
        )
    # What else a name must be.
    Exposed({name: function}, has_loop=True)
    new = _Decorated(function, _place_of(function), _code_of(function))
    other = _decorated.get(name)
    if other is not None and other.function is not function and not _is_interactive(function):
        _check_is_other_run(name, other, new)
    _decorated[name] = new


def _check_is_other_run(name: str, other: _Decorated, new: _Decorated) -> None:
    """Raises ValueError unless the two are one function of a module that is executed anew, and so has been compiled
    anew.
    """
    if other.place != new.place:
        raise ValueError(
            f"expose: {name} is the name of two functions, of {other.place} and of {new.place}: give one of them "
            "another, @expose(name=...)"
        )
    if new.code is not None and new.code is other.code:
        raise ValueError(
            f"expose: {name} is the name of two functions, both made by {new.place}, which has run twice: give each of "
            "them another, @expose(name=...), or decorate it where that runs once"
        )


def _place_of(function: Callable[..., Any]) -> str:
    """The file and the line: the same when a module is executed anew, under another name too."""
    code = _code_of(function)
    if code is None:
        return f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', shown(function))}"
    return f"{code.co_filename}, line {code.co_firstlineno}"


def _code_of(function: Callable[..., Any]) -> CodeType | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _is_interactive(function: Callable[..., Any]) -> bool:
    """Whether it has been typed in, and not read from a file: then it is likely to be typed in again."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return module is not None and vars(module).get("__file__") is None

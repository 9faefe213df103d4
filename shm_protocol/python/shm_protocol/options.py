"""The options of calls, checked before anything is sent: TypeError for another type, ValueError for what cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Final

from . import frames
from .errors import name_of

DEFAULT_TIMEOUT_S: Final = 30.0
"""How long a call waits for its answer. Not sent to the peer, which need not know of a deadline nobody chose."""

DEFAULT_CREDIT: Final = 64
"""Items of a stream that the peer may send ahead."""

MAX_TIMEOUT_S: Final = 100 * 365 * 86400
"""A century. Longer is `None`, and fits into no clock's arithmetic."""


def seconds_of(timeout: object, *, name: str = "timeout") -> float:
    """A limit in seconds as a float; `inf` for None, which is none. Raises TypeError and ValueError."""
    if timeout is None or (type(timeout) is float and timeout == math.inf):
        return math.inf
    return finite_seconds_of(timeout, name=name, or_else=", or None")


def finite_seconds_of(timeout: object, *, name: str = "timeout", or_else: str = "") -> float:
    """The same where there must be a limit."""
    number: Any = timeout
    allowed = f"a number of seconds greater than 0 and at most {MAX_TIMEOUT_S}{or_else}"
    if isinstance(timeout, bool) or not isinstance(timeout, Real):
        raise TypeError(f"{name}={shown(timeout)}: must be {allowed}")
    # Compared before it is converted: an int may be too large for a float. A NaN is neither.
    if not 0 < number <= MAX_TIMEOUT_S:
        raise ValueError(f"{name}={shown(timeout)}: must be {allowed}")
    return float(number)


def check_traceparent(traceparent: object) -> None:
    """Raises TypeError."""
    if traceparent is not None and not isinstance(traceparent, str):
        raise TypeError(f"traceparent={shown(traceparent)}: must be a string or None")


def check_method(method: object) -> None:
    """Raises TypeError. What a name may be is frames.check_method's."""
    if not isinstance(method, str):
        raise TypeError(f"method={shown(method)}: must be a string, the name of a function")


def keywords_of(kwargs: object, keywords: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call's function: those in `kwargs`, of whatever name, and those beside the options of
    the call.

    Raises TypeError, also for one that is in both, and what `kwargs` raises when it is looked at.
    """
    if kwargs is None:
        return keywords
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs={shown(kwargs)}: must be a mapping of names to values, or None")
    given = dict(kwargs.items())
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"kwargs: the name {shown(name)}: must be a string")
        if name in keywords:
            raise TypeError(f"kwargs: {shown(name)} is given as a keyword argument as well")
    return {**given, **keywords}


def check_credit(credit: object) -> None:
    """Raises TypeError and ValueError."""
    check_whole_number("credit", credit, 1, frames.MAX_CREDIT)


def check_whole_number(name: str, value: object, least: int, most: int) -> None:
    """Raises TypeError unless it is an int, ValueError unless it is in its range."""
    if type(value) is not int:
        raise TypeError(f"{name}={shown(value)}: must be an integer from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{name}={shown(value)}: must be an integer from {least} to {most}")


def check_flag(name: str, value: object) -> None:
    """Raises TypeError."""
    if type(value) is not bool:
        raise TypeError(f"{name}={shown(value)}: must be True or False")


def shown(value: object) -> str:
    """A value in a message: short, and without asking an object of unknown kind for anything."""
    kind = type(value)
    if type(value) is int and value.bit_length() > 256:
        return "an int of more than 256 bits"
    text = repr(value) if kind in (int, float, str, bytes, bool, type(None)) else f"<{name_of(kind)}>"
    return text if len(text) <= 64 else f"{text[:64]}…"

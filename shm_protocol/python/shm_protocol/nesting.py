"""What a call made while serving another takes over from it: chain, deadline and trace (PROTOCOL.md section 7)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import frames, options
from .calls import ServedCall
from .errors import CallTimeout, CallTooDeep
from .options import DEFAULT_TIMEOUT_S


def make_meta(
    current: ServedCall | None,
    method: str,
    timeout: float | None,
    traceparent: str | None,
    *,
    tells_no_limit: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[dict[str, Any], float]:
    """What a request made while serving `current` tells beside its arguments, and the seconds to wait.

    tells_no_limit: that there is none is told as an infinite one: else the calls made for it would be bounded.

    Raises CallTooDeep, CallTimeout, and TypeError and ValueError for options that cannot be.
    """
    options.check_method(method)
    options.check_traceparent(traceparent)
    seconds = options.seconds_of(timeout)
    told = timeout is not DEFAULT_TIMEOUT_S and (tells_no_limit or seconds != math.inf)
    meta: dict[str, Any] = {}
    if current is not None:
        chain = [*current.chain, current.method]
        if len(chain) >= frames.MAX_CHAIN:
            raise too_deep(chain, method)
        meta["chain"] = chain
        if current.id:
            meta["within"] = current.id
        traceparent = traceparent if traceparent is not None else current.traceparent
        left = _left_for_nested(current, method, clock())
        if left < seconds:
            seconds, told = left, True
    if told:
        meta["deadline_ms"] = seconds * 1000
    if traceparent is not None:
        meta["traceparent"] = traceparent
    return meta, seconds


def _left_for_nested(current: ServedCall, method: str, now: float) -> float:
    """Seconds that the calls made while serving `current` may still take. Raises CallTimeout when there are none.

    Its caller waits no longer; and where it did not say how long, who made it wait is bounded all the same.
    """
    if current.nested_until is None:
        bound = math.inf if current.wants_stream else DEFAULT_TIMEOUT_S
        current.nested_until = now + bound
        # Not subtracted again: rounded, it can be less than the default, which would be told although nobody asked.
        return bound
    left = current.nested_until - now
    if left > 0:
        return left
    if current.deadline == math.inf:
        raise CallTimeout(
            f"{method}: {current.method}, called without a deadline, has made calls for {DEFAULT_TIMEOUT_S:g} s"
        )
    raise CallTimeout(f"{method}: the deadline of {current.method}, which calls it, has passed")


def too_deep(chain: Sequence[str], method: str) -> CallTooDeep:
    """The error for a call that would be the 33rd of a chain."""
    return CallTooDeep(f"more than {frames.MAX_CHAIN} nested calls: {' -> '.join((*chain, method))}")

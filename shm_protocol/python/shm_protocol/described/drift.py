"""Whether the declarations that TypeScript has of a module tell what there is now that it runs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..exits import is_interrupt
from ..log import log_plainly
from . import signatures

_MAX_FILE_BYTES: Final = 4 * 2**20
"""Of a file that anybody may have put there."""

_MAX_TOLD: Final = 5
"""Differences in one line."""


def drift_of(declarations: Path, source: str, exposed: Mapping[str, Callable[..., Any]]) -> str:
    """A line for the log, "" where the declarations fit, or were not generated.

    source: the module's file. exposed: what is exposed of it, by its names there. Raises OSError.
    """
    with declarations.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_MAX_FILE_BYTES)
    if "shm-polyglot types" not in text.partition("\n")[0]:
        return ""
    declared = signatures.read(text)
    found = list(_differences(declared, exposed))
    if not found:
        return ""
    more = f" and {len(found) - _MAX_TOLD} more" if len(found) > _MAX_TOLD else ""
    told = f"{'; '.join(found[:_MAX_TOLD])}{more}"
    if _is_as_written(declared, source):
        return (
            f"{declarations} tells what {Path(source).name} says, and not what runs: {told}; a decorator, or what puts "
            "another function in its place, shows only then"
        )
    return f"{declarations} is stale: {told}; run `shm-polyglot types`"


def log_drift(declarations: Path, source: str, exposed: Mapping[str, Callable[..., Any]]) -> None:
    """Log it in one line. Whatever is wrong with the file, it is no reason not to serve."""
    try:
        line = drift_of(declarations, source, exposed)
    except OSError as error:
        line = f"{declarations} cannot be held against what runs: {error.strerror}"
    if line:
        log_plainly(logging.WARNING, "%s", line)


def _differences(declared: Mapping[str, str], exposed: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    for name, signature in declared.items():
        function = exposed.get(name)
        if function is None:
            # Of an object's methods some are not served, such as coroutine functions without an event loop.
            if "." not in name:
                yield f"{name} is gone"
            continue
        live = _live(function)
        if signatures.ANYTHING not in (signature, live) and live != signature:
            yield signatures.difference(name, signature, live)
    for name, function in exposed.items():
        if name not in declared and "." not in name and not issubclass(type(function), type):
            yield f"{name} is not declared"


def _live(function: Callable[..., Any]) -> str:
    """What it takes; anything where that cannot be told. Its code may run for it."""
    try:
        # What counts is the wrapper, which may take other arguments than what it wraps: see exposed.argument_counts.
        return signatures.of_live(inspect.signature(function, follow_wrapped=False))
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        return signatures.ANYTHING


def _is_as_written(declared: Mapping[str, str], source: str) -> bool:
    """Whether the source says the same as the declarations."""
    from .python_source import describe

    try:
        module = describe(Path(source))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return signatures.read("".join(signatures.signature_lines(module))) == declared

"""Where the library writes what no caller can be told. It never fails, whatever it is that it writes about."""

from __future__ import annotations

import logging
import sys
from typing import Final

from .errors import has_usual_stack, name_of, stack_of
from .exits import is_interrupt, traceback_of

logger: Final = logging.getLogger("shm_protocol")


def log_raised(level: int, message: str, *args: object, raised: BaseException) -> None:
    """Log `message % args` with the traceback of `raised`.

    Where the traceback cannot be formatted, or a handler of the program's fails, it is written more plainly, at last to
    stderr. Raises only what exits.is_interrupt tells of.
    """
    if not has_usual_stack(raised):
        log_plainly(level, f"{message}\n%s", *args, stack_of(raised))
        return
    try:
        logger.log(level, message, *args, exc_info=(type(raised), raised, traceback_of(raised)))
    except BaseException as failed:
        # Any, out of the exception's own hooks or out of a handler.
        if is_interrupt(failed):
            raise
        log_plainly(level, f"{message}; its traceback cannot be logged: {name_of(type(raised))}", *args)


def log_plainly(level: int, message: str, *args: object) -> None:
    """Log `message % args`, whatever the program's handlers do. Raises only what exits.is_interrupt tells of."""
    try:
        logger.log(level, message, *args)
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        try:
            sys.stderr.write(f"shm_protocol: {message % args} (logging raised {name_of(type(failed))})\n")
        except BaseException as again:
            # There is nowhere left to tell it.
            if is_interrupt(again):
                raise

"""What ends the program, told from what an object of the program's does while the library looks at it.

A function that is served may end the program: by KeyboardInterrupt, and by SystemExit, once its caller has been told.
What only stands in a value, such as a `__str__` or an `__iter__`, may not: with it everybody else would be gone whom
the worker serves.
"""

from __future__ import annotations

import functools
import inspect
import signal
from threading import current_thread, main_thread
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any, Final

_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"]


def traceback_of(raised: BaseException) -> TracebackType | None:
    """By the base class: a subclass may have another idea of it."""
    trace: TracebackType | None = _TRACEBACK.__get__(raised)
    return trace


def ends_program(raised: BaseException) -> bool:
    """Whether a function that raised it ends the program, after its caller has been told."""
    return issubclass(type(raised), KeyboardInterrupt | SystemExit)


def is_interrupt(raised: BaseException) -> bool:
    """Whether what was raised while the library looked at something of the program's goes on and ends the program,
    because it is not that thing's doing but struck meanwhile: any KeyboardInterrupt, and the SystemExit of a signal
    handler, as SIGTERM's often is.

    Whatever else is raised there is a failure of what was looked at, a SystemExit of its own included, and told to
    whoever asked for it. Nothing but the traceback tells the two apart: a handler's frame is in it, and it has the code
    of a handler that is set, or has been given the frame that it interrupted, which is the one it was called from (many
    a handler sets another one before it exits). Every look at a value, an exception or an iterator asks this.
    """
    kind = type(raised)
    if issubclass(kind, KeyboardInterrupt):
        return True
    # Python runs handlers in the main thread alone.
    if not issubclass(kind, SystemExit) or current_thread() is not main_thread():
        return False
    handlers = [_code_of(signal.getsignal(number)) for number in signal.valid_signals()]
    trace = traceback_of(raised)
    while trace is not None:
        frame = trace.tb_frame
        # Not by equality: that is said of two functions alike.
        if any(code is frame.f_code for code in handlers) or _was_given_its_caller(frame):
            return True
        trace = trace.tb_next
    return False


def _code_of(handler: object) -> CodeType | None:
    """What a signal handler runs first. None: it is none, or compiled."""
    while not isinstance(handler, FunctionType):
        if isinstance(handler, MethodType):
            handler = handler.__func__
        elif isinstance(handler, functools.partial):
            handler = handler.func
        else:
            handler = inspect.getattr_static(type(handler), "__call__", None)
            return handler.__code__ if isinstance(handler, FunctionType) else None
    return handler.__code__


def _was_given_its_caller(frame: FrameType) -> bool:
    code = frame.f_code
    # A class's body may keep its names in an object of its own.
    if frame.f_back is None or not code.co_flags & inspect.CO_OPTIMIZED:
        return False
    count = code.co_argcount + code.co_kwonlyargcount
    named, starred = code.co_varnames[:count], code.co_varnames[count : count + 1]
    given = [frame.f_locals.get(name) for name in named]
    if code.co_flags & inspect.CO_VARARGS:
        more = frame.f_locals.get(starred[0])
        given += more if type(more) is tuple else ()
    return any(one is frame.f_back for one in given)

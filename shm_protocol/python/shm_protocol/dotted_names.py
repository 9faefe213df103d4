"""What is exposed by its name: "myapp.ml" is a module, "myapp.ml:model" something in one. It is imported once, when it
is exposed; a call imports nothing.
"""

from __future__ import annotations

import importlib
from types import TracebackType
from typing import Final

from .errors import name_of, text_of
from .exits import is_interrupt, traceback_of

_INTERPRETER: Final = ("<frozen ", importlib.__file__, __file__)
"""Where the frames of an import itself are: they say nothing of where it failed."""


def resolve(name: str, dotted: str) -> object:
    """The module or what is in it, to be exposed as `name`.

    Raises ValueError for what cannot be such a name, and ImportError, which tells the file and the line, where the
    import fails or the module has nothing of that name.
    """
    module_name, colon, path = dotted.partition(":")
    parts = path.split(".") if colon else []
    if not all(part.isidentifier() for part in [*module_name.split("."), *parts]):
        raise ValueError(
            f"expose: {name}={dotted[:200]!r}: must be the name of a module, such as 'myapp.ml', or of something in "
            "one, such as 'myapp.ml:model'"
        )
    found: object = _import(name, module_name)
    for part in parts:
        found = _attribute(name, dotted, found, part)
    return found


def _import(name: str, module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except BaseException as failed:
        # Whatever a module does while it is imported, sys.exit() too, it is this name that cannot be exposed.
        if is_interrupt(failed):
            raise
        what = f"expose: {name}: the module {module_name!r} cannot be imported"
        raise ImportError(f"{what}: {told(failed)}{_hint(module_name, failed)}", name=module_name) from failed


def told(failed: BaseException) -> str:
    """What was raised by something of the program's, and where: the file and the line."""
    text = text_of(failed)
    if issubclass(type(failed), SyntaxError):
        # Its text ends in "(ml.py, line 3)", without the folder.
        text = f"{getattr(failed, 'msg', text)}"
        place = f"{getattr(failed, 'filename', None)}, line {getattr(failed, 'lineno', None)}"
    else:
        place = _place_of(traceback_of(failed))
    told = f"{name_of(type(failed))}: {text}" if text else name_of(type(failed))
    return f"{told} ({place})" if place else told


def _place_of(trace: TracebackType | None) -> str:
    """The innermost line that is no part of the interpreter's own; "" where there is none."""
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(_INTERPRETER):
            place = f"{file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _hint(module_name: str, failed: BaseException) -> str:
    """What may be meant where there is no such module at all."""
    missing = getattr(failed, "name", None) if type(failed) is ModuleNotFoundError else None
    if missing is None or not f"{module_name}.".startswith(f"{missing}."):
        return ""
    parent, dot, last = module_name.rpartition(".")
    if dot and missing == module_name:
        return f"; for something in {parent!r} write '{parent}:{last}'"
    return f"; no folder of sys.path has it: start the program where {missing!r} is, or set PYTHONPATH"


def _attribute(name: str, dotted: str, holder: object, part: str) -> object:
    try:
        return getattr(holder, part)
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        raise ImportError(f"expose: {name}: {dotted!r} has nothing of the name {part!r}: {told(failed)}") from failed

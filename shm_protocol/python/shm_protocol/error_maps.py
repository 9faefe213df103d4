"""The error of a response (PROTOCOL.md section 9): what is sent of an exception, and what is raised of what was sent.

An exception goes with its cause and, if it is a group, with its parts, each of which is such a map again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from . import errors, values
from .errors import (
    BridgeError,
    RemoteError,
    attempt,
    look,
    name_of,
    section_of,
    sendable,
    stack_of,
    text_of,
)
from .registered_errors import is_registered, registered_name, remote_error

MAX_PARTS: Final = 64
"""Of an exception with more causes and parts, so many are sent beside its stack, which tells of all."""

MAX_PART_DEPTH: Final = 8
"""Of causes of causes, and parts of parts, so many."""

MAX_PART_BYTES: Final = 8 * 1024
"""A longer stack or message of a cause or a part is cut in the middle."""

_CAUSE: Final[Any] = vars(BaseException)["__cause__"]
_FIELDS: Final[Any] = vars(BaseException)["__dict__"]

ErrorMap = dict[str, Any]
"""An error as it is sent."""


def error_to_map(raised: BaseException) -> ErrorMap:
    """What an exposed function raised, as the error of a response. Whether `data` can be encoded shows when it is.

    Whatever the exception does while it is looked at, this tells what could be told and raises nothing but what is not
    the exception's doing: see exits.is_interrupt.
    """
    error = _map_of(raised, stack_of(raised), errors.MAX_TEXT_BYTES)
    _add_parts(error, raised)
    return error


def error_from_map(error: Mapping[str, Any]) -> BridgeError:
    """The error that a response carries, as an exception to raise. It has been checked: see `fault_of`.

    A code this side does not know is a RemoteError.
    """
    code, message = error["code"], error["message"]
    known = errors.ERRORS.get(code)
    if known is not None and known is not RemoteError:
        raised = known(message)
    else:
        kind = error.get("type", "Error" if known is RemoteError else code)
        parts = [_part_from(part) for part in error.get("errors", ())]
        raised = remote_error(kind, message, error.get("data"), error.get("stack", ""), parts)
    if "cause" in error:
        # By the base class: a registered one may have another idea of it.
        _CAUSE.__set__(raised, _part_from(error["cause"]))
    object.__setattr__(raised, "from_peer", True)
    return raised


def fault_of(error: Mapping[Any, Any]) -> str | None:
    """What is wrong with the error of a response, or None. That it is a map has been seen."""
    counted = [0]
    return _fault_at(error, "", 0, counted)


def shorter(error: Mapping[str, Any]) -> Iterator[ErrorMap]:
    """An error with always less around it, for where it cannot be encoded or is too large: first without the data of
    its causes and parts, then without these, or without its own data, at last without either. Its texts stay.
    """
    yield dict(error)
    bare = {key: value for key, value in error.items() if key not in ("cause", "errors")}
    has_parts, has_data = len(bare) < len(error), bare.get("data") is not None
    without_data = {"data": None} if "data" in error else {}
    if has_parts:
        parts = _without_data({key: error[key] for key in ("cause", "errors") if key in error})
        yield {**bare, **parts}
        yield bare
        if has_data:
            yield {**bare, **without_data, **parts}
    if has_data:
        yield {**bare, **without_data}


def _part_from(error: Mapping[str, Any]) -> BridgeError:
    """Without the note of its stack, which that of the whole has: a traceback shows all of them."""
    part = error_from_map(error)
    _FIELDS.__get__(part).pop("__notes__", None)
    return part


def _map_of(raised: BaseException, stack: str, most: int) -> ErrorMap:
    # Not isinstance, which asks an exception for its __class__.
    kind = type(raised)
    is_remote = issubclass(kind, RemoteError)
    has_data = is_remote or not issubclass(kind, BridgeError)
    # An error from deeper in the chain keeps its name; its note keeps the deeper stack below ours.
    remote: Any = raised
    name = attempt(lambda: sendable(remote.type)) if is_remote else None
    message = attempt(lambda: sendable(remote.message, most)) if is_remote else None
    return {
        "code": RemoteError.code,
        "message": sendable(text_of(raised), most) if message is None else message,
        "type": _name_of(kind) if name is None else name,
        "stack": sendable(_with_remote_stack(raised, stack), most),
        "data": look(raised, "data") if has_data else None,
    }


def _with_remote_stack(raised: BaseException, stack: str) -> str:
    """Of a part that has been raised by itself, which has no note."""
    if not issubclass(type(raised), RemoteError) or look(raised, "__notes__") is not None:
        return stack
    remote = look(raised, "stack")
    return f"{stack}--- remote stack ---\n{remote}" if type(remote) is str and remote else stack


def _name_of(kind: type) -> str:
    name = registered_name(kind)
    if name is not None:
        return name
    own = sendable(name_of(kind))
    # Else it would arrive as the class that is registered under its name.
    return f"{own} (another class)" if is_registered(own) else own


def _add_parts(error: ErrorMap, raised: BaseException) -> None:
    """Nearest first: of a large tree what is next to the exception itself is sent."""
    left = MAX_PARTS
    waiting: list[tuple[ErrorMap, BaseException, tuple[BaseException, ...]]] = [(error, raised, ())]
    for where, one, above in waiting:
        line = (*above, one)
        cause = _cause_of(one)
        members = BaseExceptionGroup.exceptions.__get__(one) if issubclass(type(one), BaseExceptionGroup) else ()
        related = ([] if cause is None else [cause]) + list(members[:left])
        for other in related if len(line) <= MAX_PART_DEPTH else ():
            # One that is its own cause has been told.
            if left == 0 or any(other is known for known in line):
                continue
            left -= 1
            part = _map_of(other, section_of(other), MAX_PART_BYTES)
            if part["data"] is None:
                del part["data"]
            if other is cause:
                where["cause"] = part
            else:
                where.setdefault("errors", []).append(part)
            waiting.append((part, other, line))


def _cause_of(raised: BaseException) -> BaseException | None:
    """What `raise … from` named, else what was being handled, as `traceback` has it: JavaScript has one for both."""
    cause = look(raised, "__cause__")
    if cause is None and look(raised, "__suppress_context__") is not True:
        cause = look(raised, "__context__")
    return cause if issubclass(type(cause), BaseException) else None


def _fault_at(error: Mapping[Any, Any], at: str, depth: int, counted: list[int]) -> str | None:
    for key, needed in (("code", True), ("message", True), ("type", False), ("stack", False)):
        if (needed or key in error) and type(error.get(key)) is not str:
            told = values.brief(error.get(key))
            where = f"error{at}.{key} is" if at else f"error has a {key} that is"
            return f"{where} not a string: {told}"
    parts = [(f"{at}.cause", error["cause"])] if "cause" in error else []
    if "errors" in error:
        members = error["errors"]
        if type(members) is not list:
            return f"error{at}.errors is not an array: {values.brief(members)}"
        parts += [(f"{at}.errors[{index}]", member) for index, member in enumerate(members)]
    counted[0] += len(parts)
    if counted[0] > MAX_PARTS:
        return f"error has more than {MAX_PARTS} causes and parts"
    if parts and depth == MAX_PART_DEPTH:
        return f"error has causes and parts more than {MAX_PART_DEPTH} deep"
    for where, part in parts:
        if type(part) is not dict:
            return f"error{where} is not a map: {values.brief(part)}"
        fault = _fault_at(part, where, depth + 1, counted)
        if fault is not None:
            return fault
    return None


def _without_data(error: Mapping[str, Any]) -> ErrorMap:
    bare: ErrorMap = {key: value for key, value in error.items() if key != "data"}
    if "cause" in bare:
        bare["cause"] = _without_data(bare["cause"])
    if "errors" in bare:
        bare["errors"] = [_without_data(part) for part in bare["errors"]]
    return bare

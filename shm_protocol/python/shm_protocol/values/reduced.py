"""What a value is sent as whose type is not one of the plain ones: a subclass as what it is based on, a datetime or an
array as an ext, an object of a dataclass as its fields, a member of an enum as its value.

Here user code is run, and it is looked at once: whatever it does, what is sent is whole, or the value is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any, Final

from ..errors import cut, name_of, text_of
from ..exits import is_interrupt
from .ext_types import NdArray, is_ndarray, ndarray, ndarray_of_ours, of_dlpack, timestamp
from .reference import Held, Holding, Reference
from .tables import is_table, of_arrow_stream, table_ext
from .wire import KEY_TYPES, MAX_VALUES, PLAIN, SCALARS, Ext, Unsendable, is_one_of

_HINTS: Final = {
    "set": "; send a list",
    "frozenset": "; send a list",
    "generator": "; send a list, or call it with stream()",
    "async_generator": "; send a list, or call it with stream()",
    "coroutine": "; await it, and send what it gives",
}
_ALLOWED_KEYS: Final = "a key must be None, bool, int, float, str or bytes"
_MAX_MESSAGE_BYTES: Final = 200
_MAX_PAIRS: Final = MAX_VALUES // 2
_QUALNAME: Final = vars(type)["__qualname__"]
_MODULE: Final = vars(type)["__module__"]
_MRO: Final[Any] = vars(type)["__mro__"]
_NAMESPACE: Final[Any] = vars(type)["__dict__"]


def reduced(value: object, holding: Holding | None = None) -> Any:
    """A value of a plain type, or an Ext. Raises Unsendable. holding: see Encoder."""
    try:
        return _reduced(value, holding)
    except Unsendable:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raised = cut(f"{name_of(type(error))}: {text_of(error)}", _MAX_MESSAGE_BYTES)
        raise Unsendable(f"looking at it raised {raised}") from None


def reduced_key(key: object) -> Any:
    """The same for a key of a map: one of the exact types in SCALARS. Raises Unsendable."""
    kind = type(key)
    if is_one_of(kind, SCALARS):
        return key
    if not issubclass(kind, KEY_TYPES):
        raise Unsendable(f"a dict with a key that is {_described(kind)} cannot be encoded; {_ALLOWED_KEYS}")
    return reduced(key)


def full_name_of(kind: type) -> str:
    """The name of a type with its module's, whatever its metaclass says."""
    name = str.__str__(_QUALNAME.__get__(kind))
    try:
        module = _MODULE.__get__(kind)
    except AttributeError:
        module = None
    return name if type(module) is not str or module == "builtins" else f"{module}.{name}"


def _described(kind: type) -> str:
    """What a value of the type is called in a message: a set, an object of class shop.Order."""
    name = full_name_of(kind)
    if "." in name:
        return f"an object of class {name}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _reduced(value: Any, holding: Holding | None) -> Any:
    # By the type: an object may lie about its __class__, and a value of its own methods.
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, bytes):
        return bytes.__getitem__(value, slice(None))
    if issubclass(kind, bytearray):
        return bytes(bytearray.__getitem__(value, slice(None)))
    if issubclass(kind, memoryview):
        if not value.c_contiguous:
            raise Unsendable("a memoryview that is not C-contiguous cannot be encoded")
        return bytes(value)
    if issubclass(kind, datetime):
        return timestamp(value)
    if issubclass(kind, NdArray):
        return ndarray_of_ours(value)
    if is_ndarray(kind):
        return ndarray(value)
    if is_table(kind):
        return _table(table_ext, value, holding)
    if issubclass(kind, Held):
        if holding is None:
            raise Unsendable("what stands for a thing of the peer's cannot be encoded here")
        return holding.returned(value).to_ext()
    if kind is Reference:
        return Reference.to_ext(value)
    name = full_name_of(kind)
    # msgpack's own ext types are tuples; sent as arrays they would mean something else.
    if issubclass(kind, list | tuple) and not name.startswith("msgpack."):
        # As it shows itself to whoever iterates over it; one more than can be sent, where it never ends.
        return list(islice(value, MAX_VALUES + 1))
    if issubclass(kind, dict):
        return _dict_of(value)
    if issubclass(kind, Enum):
        member = object.__getattribute__(value, "_value_")
        return member if is_one_of(type(member), PLAIN) else _reduced(member, holding)
    if any("__dataclass_fields__" in _NAMESPACE.__get__(base) for base in _MRO.__get__(kind)):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__arrow_c_stream__"):
        return _table(of_arrow_stream, value, holding)
    if hasattr(kind, "__dlpack__") and not name.startswith("numpy."):
        return of_dlpack(value)
    hint = "; send value.item()" if name.startswith("numpy.") and hasattr(kind, "item") else _HINTS.get(name, "")
    raise Unsendable(f"{_described(kind)} cannot be encoded{hint}")


def _table(ext_of: Callable[[Any], Ext], value: Any, holding: Holding | None) -> Ext:
    if holding is not None:
        holding.require_tables()
    return ext_of(value)


def _dict_of(value: dict[Any, Any]) -> dict[Any, Any]:
    """As it shows itself to whoever asks for its items; one more than can be sent, where they never end."""
    plain: dict[Any, Any] = {}
    pairs = 0
    for key, item in islice(value.items(), _MAX_PAIRS + 1):
        plain[reduced_key(key)] = item
        pairs += 1
    # The encoder refuses as many keys. The same ones again and again would look like all there is.
    if pairs > _MAX_PAIRS and len(plain) < pairs:
        raise Unsendable(f"a dict whose items() gives more than {_MAX_PAIRS} cannot be encoded")
    return plain

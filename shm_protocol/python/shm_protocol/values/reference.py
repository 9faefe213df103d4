"""What a function or an object that stays with its owner is sent as: ext 2 (PROTOCOL.md section 8). Which one it is,
references.py knows.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

from .wire import EXT_REFERENCE, Ext, Undecodable

FUNCTION: Final = 1
OBJECT: Final = 2
RETURNED: Final = 3
"""The kinds. RETURNED: the receiver's own, which comes back to it."""

MAX_NAME_BYTES: Final = 128
"""Of the name of a function or of an object's class."""

MAX_REFERENCE_ID: Final = 2**53 - 1

_HEAD: Final = struct.Struct("<BQ")


class Reference:
    """A reference as it stands in a message. name: of the function or the object's class; "" where it comes back."""

    __slots__ = ("id", "kind", "name")
    __hash__ = None  # type: ignore[assignment]  # as a list: not a key of a map

    def __init__(self, kind: int, reference_id: int, name: str = "") -> None:
        self.kind = kind
        self.id = reference_id
        self.name = name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return (self.kind, self.id, self.name) == (other.kind, other.id, other.name)

    def __repr__(self) -> str:
        return f"Reference({self.kind}, {self.id}, {self.name!r})"

    def to_ext(self) -> Ext:
        """As it is written."""
        return Ext(EXT_REFERENCE, _HEAD.pack(self.kind, self.id) + self.name.encode())


class Holding(Protocol):
    """What an encoder asks when it meets what stands for a thing of the peer's."""

    def returned(self, held: Any) -> Reference:
        """It goes back. Raises Unsendable where it may not."""
        ...

    def require_tables(self) -> None:
        """Raise Unsendable where the peer does not know Arrow tables."""
        ...


class Held:
    """What stands for a function or an object of the peer's: it can be sent back, on the connection it came by."""

    __slots__ = ("__weakref__",)


def unpack_reference(data: bytearray) -> Reference:
    """The reference in an ext of that type. Raises Undecodable."""
    if len(data) < _HEAD.size:
        raise Undecodable(f"a reference of {len(data)} bytes")
    kind, reference_id = _HEAD.unpack_from(data)
    name = bytes(data[_HEAD.size :])
    if kind not in (FUNCTION, OBJECT, RETURNED):
        raise Undecodable(f"a reference of the unknown kind {kind}")
    if not 1 <= reference_id <= MAX_REFERENCE_ID:
        raise Undecodable(f"a reference with id {reference_id}")
    if len(name) > (0 if kind == RETURNED else MAX_NAME_BYTES):
        raise Undecodable(f"a reference of kind {kind} with a name of {len(name)} bytes")
    try:
        return Reference(kind, reference_id, name.decode())
    except UnicodeDecodeError:
        raise Undecodable("a reference whose name is not UTF-8") from None

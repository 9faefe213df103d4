"""What encoder and decoder share of PROTOCOL.md section 8: limits, ext types, and why something is refused."""

from __future__ import annotations

from collections.abc import Collection
from types import NoneType
from typing import Any, Final, Protocol

MAX_DEPTH_SENT: Final = 500
MAX_DEPTH_RECEIVED: Final = 512
"""PROTOCOL.md section 11."""

MAX_VALUES: Final = 1_048_576
"""A message has at most so many values: the frame, each of its parts, and each item, key and value in them. It bounds
what decoding costs, which grows with the values and not with the bytes.
"""

TOO_MANY_VALUES: Final = (
    f"the message has more than {MAX_VALUES} values: send numbers as a NumPy array, or several messages"
)

CUT_SHORT: Final = "it is cut short, or goes on after its value"
NO_MESSAGEPACK: Final = "0xc1 is not MessagePack"
NO_UTF8: Final = "a string that is not UTF-8"
TOO_DEEP: Final = f"nested more than {MAX_DEPTH_RECEIVED} deep"
TOO_MANY: Final = f"more than {MAX_VALUES} values"
UNSUITABLE_KEY: Final = "a map key that is not a scalar"
"""What is wrong with a message that does not decode."""

MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1

MAX_BYTES: Final = 2**32 - 1
"""Of a str, of bytes and of an ext: MessagePack has no longer ones."""

EXT_ARRAY: Final = 1
EXT_REFERENCE: Final = 2
EXT_BUFFER: Final = 3
EXT_TIMESTAMP: Final = -1

TABLE: Final = 11
"""In the place of an array's dtype: the bytes are an Arrow table's."""

SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})
"""Exact types that can be sent, as values and as keys, unless a value is out of range."""

KEY_TYPES: Final = (NoneType, bool, int, float, str, bytes)
"""Of a key of a map; also of types derived from them."""

PLAIN: Final = SCALARS | {list, tuple, dict}
"""Exact types that are written as they are. Of any other type it is for `reduced` to say what is sent."""


class Unsendable(ValueError):  # an answer of the encoder's rooms to one another, and no error of a user's
    """Why a value itself, not what it contains, cannot be sent."""


class Undecodable(ValueError):  # as above
    """Why a message is not one value."""


class HasReferences(Undecodable):
    """A message is not as plain as most: it has references, which somebody has to look at, or buffers outside of it, or
    something missing.
    """


class Unreadable(ValueError):  # an answer to whoever puts values in their places, and no error of a user's
    """Why what has arrived cannot be given to the program."""


class Missing:
    """Stands in a message for what has arrived and cannot be given to the program."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why: Final = why


class Scattered(Protocol):
    """The elements of a buffer, which have to be put together."""

    @property
    def nbytes(self) -> int:
        """How many bytes they are."""
        ...

    def write_into(self, room: Any, /) -> None:
        """Put them one behind the other, into a buffer of so many bytes."""
        ...

    def tobytes(self) -> bytes | bytearray:
        """The same in memory of their own."""
        ...


class Ext:
    """An ext to be written: its type, and its bytes in two parts, so that a large second one need not be copied.

    scattered: what the second part is to be made of, where its bytes do not lie one behind the other; see gather.
    """

    __slots__ = ("body", "code", "head", "scattered")

    def __init__(
        self, code: int, head: bytes, body: bytes | memoryview = b"", scattered: Scattered | None = None
    ) -> None:
        self.code = code
        self.head = head
        self.body = body
        self.scattered = scattered

    def gather(self) -> None:
        """Have all bytes in the two parts."""
        if self.scattered is not None:
            self.body = memoryview(self.scattered.tobytes())
            self.scattered = None


class Lender(Protocol):
    """Takes large buffers out of messages and puts them back: buffers.py. threshold: bytes of the smallest."""

    @property
    def threshold(self) -> int:
        """Smaller ones stay in the message."""
        ...

    def begin(self) -> None:
        """A message is begun."""
        ...

    def take_back(self) -> None:
        """It is not sent."""
        ...

    def place(self, head: bytes, body: Any, /) -> bytes | None:
        """What stands for the buffer in the message; None: the buffer itself."""
        ...

    def place_scattered(self, head: bytes, scattered: Scattered, /) -> bytes | None:
        """The same for what has to be put together."""
        ...

    def take_bytes(self, number: int, offset: int, size: int, /) -> bytes:
        """The buffer that lies there, copied. Raises Undecodable, and Unreadable where it cannot be had now."""
        ...

    def take_view(self, number: int, offset: int, size: int, /) -> Any:
        """The same as it lies there: a buffer that can only be read."""
        ...


def is_one_of(kind: type, kinds: Collection[type]) -> bool:
    """Whether a type is one of these. By identity: a metaclass may have an equality of its own, and no hash."""
    return any(kind is one for one in kinds)

"""MessagePack to values, in Python, where nothing is compiled. _codec.pyx does the same in the same order, and finds
the same faults.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ..errors import ProtocolError
from .ext_types import unpack_ext
from .wire import (
    CUT_SHORT,
    EXT_ARRAY,
    EXT_BUFFER,
    EXT_REFERENCE,
    MAX_DEPTH_RECEIVED,
    MAX_VALUES,
    NO_MESSAGEPACK,
    NO_UTF8,
    TABLE,
    TOO_DEEP,
    TOO_MANY,
    UNSUITABLE_KEY,
    HasReferences,
    Lender,
    Missing,
    Undecodable,
)

_NUMBERS: Final = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_TABLE: Final = bytes([TABLE])
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class _Container:
    """A list or dict that is being filled. left: how many of its values, and keys, are still to come."""

    __slots__ = ("filled", "key", "left")

    def __init__(self, filled: list[Any] | dict[Any, Any], left: int) -> None:
        self.filled = filled
        self.left = left
        self.key: Any = None


class Reader:
    """Reads the one value in a message. is_plain: one with references is left to others."""

    def __init__(self, message: bytes, is_plain: bool = False) -> None:
        self._message = message
        self._is_plain = is_plain
        self._at = 0
        # Of values that containers have announced: those still to come, each of which takes a byte at least, so that no
        # container is believed that announces more than the message can hold; and all so far.
        self._announced = 0
        self._values = 1

    def read(self) -> Any:
        """The value. Raises Undecodable."""
        # A stack of our own: Python's would overflow before 512 levels.
        root = _Container([], 1)
        stack = [root]
        self._announced = 1
        while stack:
            container = stack[-1]
            if container.left == 0:
                stack.pop()
                continue
            is_map = type(container.filled) is dict
            is_key = is_map and container.left % 2 == 0
            # A pair at a time.
            if not is_map or is_key:
                self._announced -= 2 if is_map else 1
            container.left -= 1
            value = self._value(is_key, len(stack) - 1)
            if is_key:
                container.key = value
                continue
            inner = value if type(value) is _Container else None
            if inner is not None:
                stack.append(inner)
                value = inner.filled
            if isinstance(container.filled, dict):
                container.filled[container.key] = value
            else:
                container.filled.append(value)
        if self._at != len(self._message):
            raise Undecodable(CUT_SHORT)
        return root.filled[0]

    def _value(self, is_key: bool, depth: int) -> Any:
        """The next value, or of a list or dict a container that is empty yet."""
        head = self._take(1)[0]
        is_container = 0x80 <= head < 0xA0 or 0xDC <= head <= 0xDF
        is_ext = 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8
        if is_key and (is_container or is_ext):
            raise Undecodable(UNSUITABLE_KEY)
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _NUMBERS:
            number = _NUMBERS[head]
            return number.unpack(self._take(number.size))[0]
        if is_container:
            return self._container(head, depth)
        if is_ext:
            length = 1 << head - 0xD4 if head >= 0xD4 else self._length(head - 0xC7)
            body = bytearray(self._take(1 + length))
            code = body.pop(0)
            if self._is_plain and (code in (EXT_REFERENCE, EXT_BUFFER) or (code == EXT_ARRAY and body[:1] == _TABLE)):
                raise HasReferences
            value = unpack_ext(code - 0x100 if code >= 0x80 else code, body)
            if self._is_plain and type(value) is Missing:
                raise HasReferences
            return value
        if 0xC4 <= head <= 0xC6:
            return self._take(self._length(head - 0xC4))
        if head == 0xC1:
            raise Undecodable(NO_MESSAGEPACK)
        return self._text(head & 0x1F if head < 0xC0 else self._length(head - 0xD9))

    def _text(self, length: int) -> str:
        text = self._take(length)
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise Undecodable(NO_UTF8) from None

    def _container(self, head: int, depth: int) -> _Container:
        is_map = head < 0x90 or head >= 0xDE
        count = head & 0x0F if head < 0xA0 else self._length(1 + (head & 1))
        count *= 2 if is_map else 1
        if depth >= MAX_DEPTH_RECEIVED:
            raise Undecodable(TOO_DEEP)
        if self._announced + count > len(self._message) - self._at:
            raise Undecodable(CUT_SHORT)
        self._announced += count
        self._values += count
        if self._values > MAX_VALUES:
            raise Undecodable(TOO_MANY)
        return _Container({} if is_map else [], count)

    def _length(self, power: int) -> int:
        return int.from_bytes(self._take(1 << power), "big")

    def _take(self, count: int) -> bytes:
        """So many bytes, and go past them."""
        end = self._at + count
        if end > len(self._message):
            raise Undecodable(CUT_SHORT)
        taken = self._message[self._at : end]
        self._at = end
        return taken


def decode(message: bytes | memoryview, lender: Lender | None = None) -> Any:  # noqa: ARG001  # as the compiled one
    """The one value in `message`. Raises ProtocolError for anything else."""
    return _decode(message, False)


def decode_plain(message: bytes | memoryview) -> Any:
    """The same, for a message without references. Raises HasReferences for one that has some."""
    return _decode(message, True)


def _decode(message: bytes | memoryview, is_plain: bool) -> Any:
    try:
        return Reader(bytes(message), is_plain).read()
    except HasReferences:
        raise
    except Undecodable as fault:
        raise ProtocolError(f"a message of {len(message)} bytes cannot be decoded: {fault}") from None

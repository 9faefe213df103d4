"""Values to MessagePack, in Python: the encoder where nothing is compiled, and everywhere the one that knows which
value is to blame. _codec.pyx writes the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from ..errors import EncodeError, MessageTooLarge
from .brief import brief
from .reduced import reduced, reduced_key
from .reference import Holding
from .wire import (
    KEY_TYPES,
    MAX_BYTES,
    MAX_DEPTH_SENT,
    MAX_INT,
    MAX_VALUES,
    MIN_INT,
    PLAIN,
    TOO_MANY_VALUES,
    Ext,
    Lender,
    Unsendable,
    is_one_of,
)

_MAX_PATH_CHARACTERS: Final = 200


class Encoder:
    """Encodes values, one at a time.

    busy: whether it is at it. So it is found by the code of a value that is being encoded. holding: who knows what the
    peer has lent; without it nothing of that can be sent.
    """

    __slots__ = ("busy", "holding")

    def __init__(self, holding: Holding | None = None) -> None:
        self.busy = False
        self.holding = holding

    def pack(self, value: object, names: Sequence[str] = (), levels: int = MAX_DEPTH_SENT) -> bytes:
        """The bytes of `value`.

        names: of the items of the value, a frame, for the path in errors; "" for a map whose keys are such names
        themselves. levels: how deep it may be nested. Raises EncodeError, which names the path to the bad value, and
        MessageTooLarge where there are too many values.
        """
        before, self.busy = self.busy, True
        try:
            return encode(value, names, levels, self.holding)
        finally:
            self.busy = before

    def lend_by(self, lender: Lender) -> None:
        """Nothing: where nothing is compiled there is no memory to lend."""

    def take_back(self) -> None:
        """Nothing has been lent."""


class _Level:
    """A container that is being written. items: of a map its keys and values by turns."""

    __slots__ = ("is_map", "items", "next")

    def __init__(self, items: list[Any], is_map: bool) -> None:
        self.items = items
        self.is_map = is_map
        self.next = 0


class _Looks:
    """What values are sent as whose code is run for it. before: each of those that have been looked at already, and
    what it is sent as, or why it is not: that counts, because a second time it may be another.
    """

    def __init__(self, holding: Holding | None, before: Sequence[object]) -> None:
        self._holding = holding
        self._before = before
        self._next = 0

    def look(self, value: object) -> Any:
        """What it is sent as. Raises Unsendable."""
        if self._next < len(self._before) and self._before[self._next] is value:
            seen = self._before[self._next + 1]
            self._next += 2
            if isinstance(seen, Unsendable):
                raise seen
            return seen
        return reduced(value, self._holding)


def encode(
    value: object,
    names: Sequence[str],
    levels: int,
    holding: Holding | None = None,
    looked_at: Sequence[object] = (),
) -> bytes:
    """See Encoder.pack. looked_at: as _Looks has it."""
    looks = _Looks(holding, looked_at)
    out = bytearray()
    count = 1
    # A stack of our own: Python's would overflow before 500 levels.
    stack = [_Level([value], is_map=False)]
    while stack:
        level = stack[-1]
        if level.next == len(level.items):
            stack.pop()
            continue
        item = level.items[level.next]
        level.next += 1
        try:
            if level.is_map and level.next % 2:
                inner = _write(out, reduced_key(item))
            else:
                inner = _write(out, item if is_one_of(type(item), PLAIN) else looks.look(item))
            if inner is None:
                continue
            if len(stack) > levels:
                raise Unsendable(f"a value nested more than {MAX_DEPTH_SENT} deep (or in itself) cannot be encoded")
        except Unsendable as fault:
            raise EncodeError(f"{_blamed(stack, names)}: {fault}") from None
        count += len(inner.items)
        if count > MAX_VALUES:
            raise MessageTooLarge(TOO_MANY_VALUES)
        stack.append(inner)
    return bytes(out)


def _write(out: bytearray, value: Any) -> _Level | None:
    """Write a scalar or an ext, or the head of a container: what that contains is returned."""
    kind = type(value)
    if value is None:
        out += b"\xc0"
    elif kind is bool:
        out += b"\xc3" if value else b"\xc2"
    elif kind is int:
        out += _int(value)
    elif kind is float:
        out += struct.pack(">Bd", 0xCB, value)
    elif kind is str:
        _write_str(out, value)
    elif kind is bytes:
        out += _head(len(value), None, 0xC4, "bytes")
        out += value
    elif kind is Ext:
        _write_ext(out, value)
    elif kind is dict:
        pairs = list(value.items())
        out += _head(len(pairs), (0x80, 16), 0xDD, "a dict")
        return _Level([one for pair in pairs for one in pair], is_map=True)
    else:
        items = list(value)
        out += _head(len(items), (0x90, 16), 0xDB, "a list")
        return _Level(items, is_map=False)
    return None


def _int(value: int) -> bytes:
    if 0 <= value < 0x80:
        return bytes([value])
    if -0x20 <= value < 0:
        return bytes([value + 0x100])
    if not MIN_INT <= value <= MAX_INT:
        raise Unsendable("an int of more than 64 bits cannot be encoded")
    size = next(size for size in (0, 1, 2, 3) if _fits(value, 1 << size))
    return bytes([(0xCC if value >= 0 else 0xD0) + size]) + value.to_bytes(1 << size, "big", signed=value < 0)


def _fits(value: int, size: int) -> bool:
    return value < 1 << 8 * size if value >= 0 else value >= -(1 << 8 * size - 1)


def _write_str(out: bytearray, value: str) -> None:
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise Unsendable(f"a str with a lone surrogate at index {error.start} cannot be encoded") from None
    out += _head(len(encoded), (0xA0, 32), 0xD9, "a str")
    out += encoded


def _write_ext(out: bytearray, value: Ext) -> None:
    value.gather()
    length = len(value.head) + len(value.body)
    if length in (1, 2, 4, 8, 16):
        out.append(0xD4 + length.bit_length() - 1)
    else:
        out += _head(length, None, 0xC7, "an array")
    out += struct.pack("b", value.code)
    out += value.head
    out += value.body


def _head(length: int, fixed: tuple[int, int] | None, eight: int, what: str) -> bytes:
    """The shortest head. fixed: the type that has the length in itself, and below which length. eight: the type with a
    length of 8 bits; of a container, which has none, the one below that of 16.
    """
    if fixed is not None and length < fixed[1]:
        return bytes([fixed[0] | length])
    if length < 0x100 and eight not in (0xDB, 0xDD):
        return bytes([eight, length])
    if length < 0x10000:
        return struct.pack(">BH", eight + 1, length)
    if length <= MAX_BYTES:
        return struct.pack(">BI", eight + 2, length)
    raise Unsendable(f"{what} of {length} bytes; at most 2**32 - 1 can be sent")


def _blamed(stack: Sequence[_Level], names: Sequence[str]) -> str:
    """The path to the value that was taken last, or to the map and the key."""
    path = "" if names else "value"
    for depth, level in enumerate(stack[1:], start=1):
        at = level.next - 1
        if level.is_map and at % 2 == 0:
            key = level.items[at]
            # Of a key that is of no type for keys, the fault has the type.
            is_scalar = issubclass(type(key), KEY_TYPES)
            return f"{_shortened(path)}: key {_shortened(brief(reduced_key(key)))}" if is_scalar else _shortened(path)
        if level.is_map:
            path += _step(level.items[at - 1])
            path = path.removeprefix(".")
        elif depth == 1 and names:
            path = names[at]
        else:
            path += f"[{at}]"
    return _shortened(path)


def _step(key: object) -> str:
    plain = reduced_key(key)
    return f".{plain}" if type(plain) is str and plain.isidentifier() else f"[{brief(plain)}]"


def _shortened(path: str) -> str:
    if len(path) <= _MAX_PATH_CHARACTERS:
        return path
    return f"{path[: _MAX_PATH_CHARACTERS // 2]}…{path[-_MAX_PATH_CHARACTERS // 2 :]}"

"""What this project uses of msgpack, which ships no types."""

from collections.abc import Callable
from typing import Any, NamedTuple

class ExtType(NamedTuple):
    code: int
    data: bytes

class Timestamp:
    def __init__(self, seconds: int, nanoseconds: int = 0) -> None: ...

class Packer:
    def __init__(self, *, default: Callable[[object], object] | None = None) -> None: ...
    def pack(self, obj: object) -> bytes: ...

def packb(obj: object) -> bytes: ...
def unpackb(
    packed: bytes, *, timestamp: int = 0, strict_map_key: bool = True, ext_hook: Callable[[int, bytes], object] = ...
) -> Any: ...

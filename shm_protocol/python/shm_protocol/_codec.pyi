"""Values to MessagePack and back; values/encoder.py and values/decoder.py say what each does."""

from collections.abc import Sequence
from typing import Any, Self

from typing_extensions import disjoint_base

from .values.reference import Holding

__all__ = ["DECLINED", "Encoder", "decode", "decode_plain", "read_result"]

@disjoint_base
class Encoder:
    def __new__(cls, holding: Holding | None = None) -> Self: ...
    @property
    def busy(self) -> bool: ...
    def pack(self, value: object, names: Sequence[str] = ..., levels: int = ...) -> bytes: ...

def decode(message: bytes | memoryview) -> Any: ...
def decode_plain(message: bytes | memoryview) -> Any: ...
def read_result(message: bytes, call_id: int) -> Any: ...

DECLINED: object

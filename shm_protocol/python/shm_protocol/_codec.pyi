"""Values to MessagePack and back; values/encoder.py and values/decoder.py say what each does."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import disjoint_base

__all__ = ["DECLINED", "Encoder", "decode", "read_result"]

@disjoint_base
class Encoder:
    @property
    def busy(self) -> bool: ...
    def pack(self, value: object, names: Sequence[str] = ..., levels: int = ...) -> bytes: ...

def decode(message: bytes) -> Any: ...
def read_result(message: bytes, call_id: int) -> Any: ...

DECLINED: object

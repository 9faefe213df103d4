"""Calls in one step; direct_calls.py says what each does."""

from collections.abc import Sequence, Sized
from contextvars import ContextVar
from typing import Any

from typing_extensions import disjoint_base

from ._binding import Channel
from ._codec import Encoder

__all__ = ["DirectCalls", "Unfinished", "compile_call"]

@disjoint_base
class Unfinished:
    @property
    def sent(self) -> bool: ...
    @property
    def message(self) -> bytes | None: ...
    @property
    def began(self) -> float: ...

@disjoint_base
class DirectCalls:
    def __init__(
        self, channel: Channel, encoder: Encoder, under_way: tuple[Sized, ...], stale_after_s: float
    ) -> None: ...
    @property
    def sent(self) -> int: ...
    def call(self, call_id: int, method: str, args: Sequence[Any], timeout: float, told: bool) -> Any: ...
    def answer(self, request_id: int, result: object) -> bool | None: ...

def compile_call(
    client_class: type[Any], being_served: ContextVar[Any], stale: type[Exception], default_timeout: float
) -> None: ...

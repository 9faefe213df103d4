"""What jspybridge.ts has Python import."""

from __future__ import annotations

from bench.json_value import unwrap, wrap
from bench.workload import FUNCTIONS

__all__ = ["FUNCTIONS", "call_with_bytes"]


def call_with_bytes(function: str, argument: object) -> object:
    """A call with bytes, which are sent as base64."""
    return wrap(FUNCTIONS[function](unwrap(argument)))

"""Values in messages about them."""

from __future__ import annotations

import reprlib
from typing import Final

_BRIEF: Final = reprlib.Repr()
_BRIEF.maxlevel = 2
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 64


def brief(value: object) -> str:
    """The beginning of the repr of a value that was decoded, of any size and nested in any way, or of a scalar."""
    if type(value) is int and value.bit_length() > 512:
        # Python refuses to write thousands of digits.
        return f"<an int of {value.bit_length()} bits>"
    return _BRIEF.repr(value)

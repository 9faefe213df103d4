"""A value that was decoded, as text that is the same in both languages: `node/test/fuzz/canonical.ts` writes it too.

What PROTOCOL.md section 8 says is lost on the way is lost here: a float that is integral is an int, a date has
milliseconds, a map has no order, and of keys that Python takes for one, such as true and 1, it is not said what they
stand for.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Final

from shm_protocol.values import ARRAY_DTYPES, Reference, TableBytes

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE: Final = 2**53


def describe(value: Any) -> str:
    """The text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return f"i{value}"
        case float():
            return _describe_float(value)
        case str():
            return f"s{value.encode().hex()}"
        case bytes():
            return f"b{value.hex()}"
        case datetime():
            return f"t{(value - _EPOCH) // timedelta(milliseconds=1)}"
        case list():
            items = []
            # A loop, not a comprehension, which would take a second frame for each level.
            for item in value:
                items.append(describe(item))  # noqa: PERF401
            return f"[{','.join(items)}]"
        case dict():
            entries = {}
            for key, item in value.items():
                # Of twins one language has the last value, the other both.
                if _may_have_twin(key):
                    entries[f"i{int(key)}"] = "?"
                else:
                    entries[describe(key)] = describe(item)
            return "{" + ",".join(f"{key}:{entries[key]}" for key in sorted(entries)) + "}"
        case Reference():
            return f"r{value.kind}:{value.id}:{value.name.encode().hex()}"
        case TableBytes():
            return f"T{bytes(value.data).hex()}"
    shape = ",".join(map(str, value.shape))
    return f"a{1 + ARRAY_DTYPES.index(value.dtype.name)}[{shape}]{value.tobytes().hex()}"


def _may_have_twin(key: Any) -> bool:
    """Whether an equal key of another type, or another zero, would be the same key in Python and not in JavaScript."""
    return isinstance(key, bool | int | float) and (key in (0, 1) or _SAFE <= abs(key) < inf)


def _describe_float(value: float) -> str:
    if value.is_integer() and abs(value) < _SAFE and (value != 0 or str(value) == "0.0"):
        return f"i{int(value)}"
    return "fnan" if value != value else f"f{struct.pack('>d', value).hex()}"

"""Numbers as people read them: three significant digits, with a unit where one is not in the heading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

DIGITS: Final = 3
NOTHING: Final = "–"
"""What stands where nothing was measured."""


def number(value: float | None) -> str:
    """Three significant digits, thousands set off: `4.21`, `52.3`, `12,300`."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    decimals = DIGITS - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    # 9.996 has become 10.0: one place fewer.
    decimals = DIGITS - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}"


def interval(bounds: Sequence[float] | None) -> str:
    """A 95 % interval as `4.10 – 4.33`."""
    return NOTHING if bounds is None else f"{number(bounds[0])} – {number(bounds[1])}"


def duration(us: float | None) -> str:
    """Microseconds in the unit that suits them: `0.280 µs`, `1.23 ms`, `2.10 s`."""
    if us is None:
        return NOTHING
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{number(us / size)} {unit}"
    return f"{number(us)} µs"


def tick(us: float) -> str:
    """A power of ten of microseconds, as an axis has it: `100 ns`, `1 µs`, `10 ms`."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if us >= size:
            return f"{us / size:g} {unit}"
    return f"{us * 1e3:g} ns"


def short(value: float) -> str:
    """A count for an axis: `500`, `20k`, `1M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def times(ratio: float | None) -> str:
    """A ratio: `14.2×`."""
    return NOTHING if ratio is None else f"{number(ratio)}×"


def size(payload_bytes: int) -> str:
    """`null`, `64 B`, `16 KiB`, `4 MiB`."""
    if payload_bytes == 0:
        return "null"
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if payload_bytes >= factor and payload_bytes % factor == 0:
            return f"{payload_bytes // factor} {unit}"
    return f"{payload_bytes} B"


def listing(items: Sequence[str], most: int = 0) -> str:
    """`a`, `a and b`, `a, b and c`; of more than `most`, where that is given, the first and how many more."""
    if most and len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def count(amount: int, one: str, many: str = "") -> str:
    """`1 row`, `12 rows`."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"

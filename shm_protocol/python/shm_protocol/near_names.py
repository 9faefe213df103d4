"""Names that somebody may have meant who has written another, for an error's text. It costs little for many, too."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

MOST_SEEN: Final = 4096
MOST_COMPARED: Final = 64
MOST_NAMED: Final = 3
LONGEST: Final = 64
FAR: Final = 3
"""So many letters wrong, missing, too many or in each other's place are another name."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` (did you mean a, b?)`, or nothing where no name is near."""
    found: list[tuple[int, str]] = []
    compared = 0
    if len(name) > LONGEST:
        return ""
    for other in islice(names, MOST_SEEN):
        if abs(len(other) - len(name)) >= FAR or compared == MOST_COMPARED or not _looks_alike(name, other):
            continue
        compared += 1
        distance = _distance(name, other)
        # Of a short name, most of it is to be right.
        if distance < FAR and distance * 3 <= len(name):
            found.append((distance, other))
    if not found:
        return ""
    return f" (did you mean {', '.join(other for _, other in sorted(found)[:MOST_NAMED])}?)"


def _looks_alike(name: str, other: str) -> bool:
    return name[:1] == other[:1] or name[-1:] == other[-1:]


def _distance(a: str, b: str) -> int:
    before, row = list[int](), list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]

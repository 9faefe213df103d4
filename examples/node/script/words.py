"""What main.ts imports. Nothing in here knows of TypeScript."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 1000


@dataclass
class Spread:
    """How long the words of a text are."""

    shortest: int
    longest: int
    mean: float


class Vocabulary:
    """Words that somebody has learnt. It stays in Python, with what it knows."""

    def __init__(self, *, lower_case: bool = False) -> None:
        self._lower_case = lower_case
        self._known: Counter[str] = Counter()

    def learn(self, text: str) -> int:
        """How many words are known now."""
        self._known.update(words(text.lower() if self._lower_case else text))
        return len(self._known)

    def usual(self, count: int = 3) -> list[str]:
        """The words that came most often."""
        return [word for word, _ in self._known.most_common(count)]


def words(text: str) -> Iterator[str]:
    """The words of a text, one by one."""
    for match in re.finditer(r"\w+", text[:LONGEST]):
        yield match[0]


def spread(text: str, *, at_least: int = 1) -> Spread | None:
    """None where it has no word that is as long as `at_least`."""
    lengths = [len(word) for word in words(text) if len(word) >= at_least]
    return Spread(min(lengths), max(lengths), sum(lengths) / len(lengths)) if lengths else None

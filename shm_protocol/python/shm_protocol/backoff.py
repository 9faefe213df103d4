"""Pauses between attempts to dial."""

from __future__ import annotations

import random
from typing import Final

BACKOFF_FIRST_S: Final = 0.01
BACKOFF_MOST_S: Final = 0.5
WAITING_MOST_S: Final = 0.1
"""Where somebody waits for a peer that starts."""


class Backoff:
    """Pauses between attempts: 10 ms, doubling to `most` seconds, each shortened at random by up to half, so that many
    do not come at once.
    """

    def __init__(self, most: float = BACKOFF_MOST_S) -> None:
        self._most: Final = most
        self._pause = BACKOFF_FIRST_S

    def next(self) -> float:
        """Seconds until the next attempt."""
        pause = self._pause
        self._pause = min(self._most, pause * 2)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._pause = BACKOFF_FIRST_S

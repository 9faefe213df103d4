"""When a side that has ended is started again, and when it is not any more: pure, no process is known here."""

from __future__ import annotations

from typing import Final

FIRST_DELAY_S: Final = 0.5
QUICK_END_S: Final = 10.0
"""Who serves for less has ended quickly."""
MAX_QUICK_ENDS: Final = 5
"""After so many quick ends, one after the other, a side will not stay up."""


class Backoff:
    """Of one side."""

    def __init__(self) -> None:
        self._quick_ends = 0

    def after_end(self, served_s: float) -> float | None:
        """How many seconds to wait before the next start, None: it will not stay up. served_s: from ready to the end,
        0 where it has not become ready. The delay doubles with each quick end.
        """
        self._quick_ends = self._quick_ends + 1 if served_s < QUICK_END_S else 0
        if self._quick_ends >= MAX_QUICK_ENDS:
            return None
        return FIRST_DELAY_S * (1 << max(0, self._quick_ends - 1))

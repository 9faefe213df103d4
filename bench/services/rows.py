"""What every row about a whole service says: what was measured, or why it was not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.services.build import BuildFailed
from bench.services.load import LoadFailed
from bench.services.running import ServiceFailed


@dataclass(kw_only=True)
class Row:
    """The part that all have."""

    skipped: str = ""
    """Why it is not measured, and what to do about it."""
    failed: str = ""
    """How it crashed, hung or answered wrongly. Such a row is left out of further rounds."""
    missed: str = "the run ended before this was measured"
    """Why there is nothing, where it is neither."""

    @property
    def wanted(self) -> bool:
        """Whether it is to be measured in the next round."""
        return not self.skipped and not self.failed

    def outcome(self, *, measured: bool) -> dict[str, str | None]:
        """As results.json has it; `measured`: whether some round gave a figure."""
        skipped = self.missed if self.wanted and not measured else self.skipped
        return {"skipped": skipped or None, "failed": self.failed or None}


@contextlib.contextmanager
def failures_of(rows: Iterable[Row]) -> Iterator[None]:
    """What goes wrong in the block is the result of these rows, and the run goes on."""
    try:
        yield
    except (BuildFailed, ServiceFailed, LoadFailed, OSError) as error:
        for row in rows:
            row.failed = row.failed or str(error)

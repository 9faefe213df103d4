"""What came of the strikes, and what is promised of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

GONE_LIMIT_S: Final = 0.1
"""From the death of a peer to the PeerGone of those that wait for it, 99 of 100."""

LATE_LIMIT_S: Final = 0.1
"""From the deadline of a call to a peer that is stopped to its CallTimeout, 99 of 100."""

BACK_LIMIT_S: Final = 1.0
"""From the return of a peer until all that failed meanwhile works again, 99 of 100."""

WAITED_LIMIT_S: Final = 2.0
"""What others may wait while functions or clients misbehave.

Less than any time that a server waits for a client or a caller for an answer, so that whoever is held until such a time
is over is found out; more than what a busy machine takes to give a process its turn.
"""

SHOWN: Final = 20


@dataclass
class Figures:
    """Of one strike, or of many.

    verified: right answers. gone, late, back, waited: seconds, see the limits above; waited: each lane's longest.
    failures: how often each error was met. swept: names of segments that a victim killed in its handshake left, and
    that the next one to dial removed. wrong: answers that were not those of their question. left: names, descriptors
    and processes that stayed. broken: whatever else is not as promised.
    """

    strikes: int = 0
    verified: int = 0
    swept: int = 0
    gone: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __iadd__(self, other: Figures) -> Self:
        self.strikes += other.strikes
        self.verified += other.verified
        self.swept += other.swept
        self.gone += other.gone
        self.late += other.late
        self.back += other.back
        self.waited += other.waited
        self.failures += other.failures
        self.wrong += other.wrong
        self.left += other.left
        self.broken += other.broken
        return self

    @property
    def faults(self) -> list[str]:
        """What is not as promised, whatever the times."""
        return [*self.wrong, *self.left, *self.broken]

    def over_limits(self) -> list[str]:
        """Which of the times are longer than promised."""
        over = [
            f"{what}: p99 is {1000 * percentile(times, 99):.1f} ms, the limit {1000 * limit:.0f} ms"
            for what, times, limit in (
                ("from death to PeerGone", self.gone, GONE_LIMIT_S),
                ("from deadline to CallTimeout", self.late, LATE_LIMIT_S),
                ("from return to recovery", self.back, BACK_LIMIT_S),
            )
            if times and percentile(times, 99) > limit
        ]
        if self.waited and max(self.waited) > WAITED_LIMIT_S:
            over.append(f"another waited for {max(self.waited):.1f} s, the limit {WAITED_LIMIT_S:.0f} s")
        return over


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def line(name: str, figures: Figures) -> str:
    """One cell, for the progress."""
    parts = [f"{name:<36}", f"{figures.verified:>9,} verified"]
    for label, times in (("PeerGone", figures.gone), ("CallTimeout", figures.late), ("back", figures.back)):
        if times:
            parts.append(
                f"{label} {1000 * percentile(times, 50):.1f}/{1000 * percentile(times, 99):.1f} ms ({len(times)})"
            )
    if figures.waited:
        parts.append(f"others waited for {1000 * max(figures.waited):.1f} ms at most")
    if figures.faults:
        parts.append(f"BROKEN: {len(figures.faults)}")
    return "  ".join(parts)


def summary(figures: Figures) -> str:
    """All of it, as it goes into tests/RELIABILITY.md."""
    rows = [
        f"strikes               {figures.strikes:,}",
        f"verified calls        {figures.verified:,}",
        f"wrong answers         {len(figures.wrong):,}",
        f"left behind           {len(figures.left):,}"
        + (f" (names swept after a kill in the handshake: {figures.swept:,})" if figures.swept else ""),
        f"death to PeerGone     {_times(figures.gone)}",
        f"deadline to timeout   {_times(figures.late)}",
        f"return to recovery    {_times(figures.back)}",
        f"others waited         {f'{1000 * max(figures.waited):.1f} ms at most' if figures.waited else 'not measured'}",
        "failures              " + (", ".join(f"{n:,} {what}" for what, n in figures.failures.most_common()) or "none"),
    ]
    faults = [*figures.over_limits(), *figures.faults]
    rows += [f"BROKEN: {fault}" for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        rows.append(f"BROKEN: and {len(faults) - SHOWN} more")
    return "\n".join(rows)


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    p50, p99 = (1000 * percentile(seconds, percent) for percent in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {1000 * max(seconds):.1f} ms, of {len(seconds):,}"

"""From times to the figures that are printed: percentiles within a round, medians and intervals over rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram

LONGEST_NS: Final = 600_000_000_000
"""Longer than any time-out of the bench, so nothing is cut off."""
SIGNIFICANT_DIGITS: Final = 3
CHART_DIGITS: Final = 1
"""A chart shows no more; the file would be ten times as large."""
NS_PER_US: Final = 1000

RESAMPLES: Final = 2_000
SEED: Final = 20260101
"""Any: the same figures from the same file each time."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Percentiles:
    """Microseconds."""

    p50: float
    p95: float
    p99: float
    p999: float


def percentiles(times_ns: Iterable[float]) -> Percentiles:
    """The percentiles of these times, nanoseconds each, to three significant digits. Raises ValueError for none."""
    histogram = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
    for time_ns in times_ns:
        histogram.record_value(_recordable(time_ns))
    if histogram.total_count == 0:
        raise ValueError("no times to take percentiles of")
    return Percentiles(*(histogram.get_value_at_percentile(share) / NS_PER_US for share in (50, 95, 99, 99.9)))


class Distribution:
    """The times of all rounds together, for a chart."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, LONGEST_NS, CHART_DIGITS)

    def add(self, times_ns: Iterable[float]) -> None:
        """More of them, nanoseconds each."""
        for time_ns in times_ns:
            self._histogram.record_value(_recordable(time_ns))

    def bars(self) -> list[tuple[float, int]]:
        """Upper bound in microseconds and number of calls, ascending; no empty ones."""
        return [
            (item.value_iterated_to / NS_PER_US, item.count_added_in_this_iter_step)
            for item in self._histogram.get_recorded_iterator()
        ]


def median_interval(values: Sequence[float]) -> tuple[float, Interval | None]:
    """The median, and its bootstrap 95 % interval by percentiles; None instead for a single value.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3. Raises StatisticsError for no value.
    """
    median = statistics.median(values)
    if len(values) < 2:
        return median, None
    drawn = np.random.default_rng(SEED).choice(np.asarray(values, dtype=float), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return median, (float(low), float(high))


def ratios(these: Sequence[float | None], those: Sequence[float | None]) -> list[float]:
    """One over the other within each round that has both; a round that one of them lacks is left out."""
    return [a / b for a, b in zip(these, those, strict=False) if a is not None and b is not None and b > 0]


def _recordable(time_ns: float) -> int:
    return min(max(int(time_ns), 1), LONGEST_NS)

"""Percentiles of call times, by HdrHistogram: three significant digits over the whole range."""

from __future__ import annotations

import array
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

LONGEST_NS = 2**32 - 1
SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True)
class Percentiles:
    """Microseconds."""

    p50: float
    p95: float
    p99: float


def of(samples: array.array[int]) -> Percentiles:
    """The percentiles of `samples`, nanoseconds each."""
    histogram = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
    for sample in samples:
        histogram.record_value(sample)
    p50, p95, p99 = (histogram.get_value_at_percentile(p) / 1000 for p in (50, 95, 99))
    return Percentiles(p50, p95, p99)

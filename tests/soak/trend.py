"""The slope of a figure over time, with the interval that it lies in."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SECONDS_PER_HOUR: Final = 3600.0
LEAST_SAMPLES: Final = 10
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Trend:
    """By least squares, per hour; `low` and `high` are the ends of the 95 % interval."""

    per_hour: float
    low: float
    high: float


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend | None:
    """The trend of values taken at these times; None for fewer than 10 of them, which tell nothing.

    What a process holds at one moment is much like what it held a moment ago, so n samples count for fewer than n that
    were independent: the interval is wider by what the correlation of neighbouring residuals says.
    """
    count = len(values)
    if count < LEAST_SAMPLES:
        return None
    slope, intercept = statistics.linear_regression(times_s, values)
    residuals = [value - (intercept + slope * time) for time, value in zip(times_s, values, strict=True)]
    squares = sum(residual**2 for residual in residuals)
    error = 0.0
    if squares > 0.0:
        neighbours = sum(one * other for one, other in itertools.pairwise(residuals)) / squares
        alike = min(max(0.0, neighbours), 1 - 2 / count)
        independent = max(3.0, count * (1 - alike) / (1 + alike))
        mean = statistics.fmean(times_s)
        spread = sum((time - mean) ** 2 for time in times_s) * independent / count
        variance = squares / count * independent / (independent - 2)
        error = _student_t(independent - 2) * math.sqrt(variance / spread)
    return Trend(*(SECONDS_PER_HOUR * per_second for per_second in (slope, slope - error, slope + error)))


def _student_t(freedom: float) -> float:
    """The quantile for a two-sided interval, by the first terms of its expansion (Abramowitz and Stegun 26.7.5)."""
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2

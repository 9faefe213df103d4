"""The figures of the bench are what statistics says they are."""

from __future__ import annotations

import random

import pytest

from bench import statistics


def test_percentiles_of_a_known_distribution_are_right_to_three_digits() -> None:
    result = statistics.percentiles(range(1000, 100_001_000, 1000))
    assert result.p50 == pytest.approx(50_000, rel=2e-3)
    assert result.p95 == pytest.approx(95_000, rel=2e-3)
    assert result.p99 == pytest.approx(99_000, rel=2e-3)
    assert result.p999 == pytest.approx(99_900, rel=2e-3)


def test_one_slow_call_in_a_hundred_is_in_the_tail_and_not_in_the_median() -> None:
    result = statistics.percentiles([1_000.0] * 980 + [1_000_000.0] * 20)
    assert result.p50 == pytest.approx(1, rel=1e-2)
    assert result.p99 == pytest.approx(1000, rel=1e-2)


def test_percentiles_of_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match="no times"):
        statistics.percentiles([])


def test_no_outlier_is_cut_off() -> None:
    assert statistics.percentiles([30_000_000_000.0]).p50 == pytest.approx(30_000_000, rel=1e-2)


def test_a_distribution_counts_every_call_once_in_ascending_bars() -> None:
    distribution = statistics.Distribution()
    distribution.add([1_000.0] * 10)
    distribution.add([2_000_000.0] * 3)
    bars = distribution.bars()
    assert [count for _, count in bars] == [10, 3]
    assert bars[0][0] == pytest.approx(1, rel=0.1)
    assert bars[1][0] == pytest.approx(2000, rel=0.1)


def test_the_interval_of_a_median_holds_the_true_median_about_95_times_in_100() -> None:
    numbers = random.Random(7)
    held = 0
    for _ in range(200):
        _, interval = statistics.median_interval([numbers.gauss(100, 10) for _ in range(15)])
        assert interval is not None
        held += interval[0] <= 100 <= interval[1]
    assert 175 <= held <= 200


def test_the_interval_narrows_with_more_rounds() -> None:
    numbers = random.Random(7)
    few = statistics.median_interval([numbers.gauss(100, 10) for _ in range(8)])[1]
    many = statistics.median_interval([numbers.gauss(100, 10) for _ in range(200)])[1]
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]


def test_the_same_rounds_give_the_same_interval_each_time() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    assert statistics.median_interval(values) == statistics.median_interval(values)


def test_a_single_round_has_no_interval() -> None:
    assert statistics.median_interval([5.0]) == (5.0, None)


def test_a_ratio_is_taken_within_a_round_and_not_between_rounds() -> None:
    # The machine was ten times slower in the second round; the third has nothing for one of them.
    assert statistics.ratios([20.0, 200.0, 30.0, 40.0], [10.0, 100.0, None, 20.0]) == [2.0, 2.0, 2.0]

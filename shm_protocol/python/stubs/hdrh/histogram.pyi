from collections.abc import Iterator
from typing import Protocol

class IterationValue(Protocol):
    value_iterated_to: int
    count_added_in_this_iter_step: int

class HdrHistogram:
    total_count: int
    def __init__(
        self, lowest_trackable_value: int, highest_trackable_value: int, significant_figures: int
    ) -> None: ...
    def record_value(self, value: int) -> bool: ...
    def get_value_at_percentile(self, percentile: float) -> int: ...
    def get_recorded_iterator(self) -> Iterator[IterationValue]: ...

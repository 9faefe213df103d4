"""What TypeScript may call in this process, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from python_side import benchmark, counters, ml_service
from python_side.counters import Counter
from python_side.ml_service import Prediction


def predict(text: str) -> Prediction:
    """ml_service.predict, counted: /stats tells of every prediction, whoever asked."""
    prediction = ml_service.predict(text)
    counters.service.add(Counter.PREDICTIONS)
    return prediction


def predict_batch(texts: Sequence[str]) -> list[Prediction]:
    """ml_service.predict_batch, counted."""
    predictions = ml_service.predict_batch(texts)
    counters.service.add(Counter.PREDICTIONS, len(predictions))
    return predictions


EXPOSED: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "ml_service": {"predict": predict, "predict_batch": predict_batch},
    "benchmark": {"time_typescript_calls": benchmark.time_typescript_calls},
}

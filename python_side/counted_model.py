"""The model, with every prediction counted, whoever asked for it: /stats tells of all of them."""

from collections.abc import Sequence
from functools import wraps

from python_side import counters, ml_service
from python_side.counters import Counter
from python_side.ml_service import Prediction


# To TypeScript they are those of ml_service.py, which it imports.
@wraps(ml_service.predict)
def predict(text: str) -> Prediction:
    """ml_service.predict, counted."""
    prediction = ml_service.predict(text)
    counters.service.add(Counter.PREDICTIONS)
    return prediction


@wraps(ml_service.predict_batch)
def predict_batch(texts: Sequence[str]) -> list[Prediction]:
    """ml_service.predict_batch, counted."""
    predictions = ml_service.predict_batch(texts)
    counters.service.add(Counter.PREDICTIONS, len(predictions))
    return predictions

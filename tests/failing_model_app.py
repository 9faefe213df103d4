"""The app with a model that fails on the text "x", to see who is told what."""

from collections.abc import Sequence
from typing import Never

from python_side import ml_service
from python_side.app import create_app
from python_side.ml_service import Prediction

app = create_app()
works = ml_service.predict


def predict(text: str) -> Prediction:
    """Fails, but not for the health check."""
    if text == "x":
        raise LookupError("the model is broken")
    return works(text)


def predict_batch(texts: Sequence[str]) -> Never:
    """Fails."""
    raise LookupError("the model is broken")


ml_service.predict = predict
ml_service.predict_batch = predict_batch

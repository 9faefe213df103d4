"""The routes that answer with the model: /api/predict and /api/batch."""

from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from python_side import counters, ml_service
from python_side.counters import Counter
from python_side.json_body import json_object, required_text

MAX_BATCH: Final = 100

routes: Final = Blueprint("predictions", __name__)


@routes.post("/api/predict")
def predict() -> ResponseReturnValue:
    """The sentiment of one text."""
    text = required_text(json_object("Missing text field"))
    prediction = ml_service.predict(text)
    counters.service.add(Counter.PREDICTIONS)
    return jsonify(text=text, prediction=prediction, model=ml_service.MODEL, timestamp=_now())


@routes.post("/api/batch")
def batch() -> ResponseReturnValue:
    """The sentiment of each of up to MAX_BATCH texts."""
    texts = _texts(json_object("Missing texts array"))
    predictions = ml_service.predict_batch(texts)
    counters.service.add(Counter.PREDICTIONS, len(texts))
    results = [{"text": text, "prediction": prediction} for text, prediction in zip(texts, predictions, strict=True)]
    return jsonify(results=results, count=len(results), model=ml_service.MODEL, timestamp=_now())


def _texts(body: dict[str, object]) -> list[str]:
    if "texts" not in body:
        raise BadRequest("Missing texts array")
    values = body["texts"]
    if not isinstance(values, list):
        raise BadRequest("texts must be an array")
    if len(values) > MAX_BATCH:
        raise BadRequest(f"Maximum {MAX_BATCH} texts per batch")
    texts = []
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise BadRequest(f"texts[{index}] must be a string")
        texts.append(value)
    return texts


def _now() -> str:
    return datetime.now(UTC).isoformat()

"""The routes that answer with the model: /api/predict and /api/batch."""

from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from python_side import counted_model, ml_service
from python_side.json_body import as_text, json_object, required_text

MAX_BATCH: Final = 100

routes: Final = Blueprint("predictions", __name__)


@routes.post("/api/predict")
def predict() -> ResponseReturnValue:
    """The sentiment of one text."""
    text = required_text(json_object("Missing text field"))
    if not text:
        raise BadRequest("Missing text field")
    return jsonify(text=text, prediction=counted_model.predict(text), model=ml_service.MODEL, timestamp=_now())


@routes.post("/api/batch")
def batch() -> ResponseReturnValue:
    """The sentiment of each of up to MAX_BATCH texts."""
    texts = _texts(json_object("Missing texts array"))
    predictions = counted_model.predict_batch(texts)
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
    return [as_text(value, f"texts[{index}]") for index, value in enumerate(values)]


def _now() -> str:
    return datetime.now(UTC).isoformat()

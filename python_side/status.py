"""The routes that tell about the service itself: /, /stats and /health."""

import platform
import time
from typing import Final

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from python_side import bridge, counters, health
from python_side.counters import Counter

ENDPOINTS: Final = {
    "POST /api/predict": "Sentiment of one text",
    "POST /api/batch": "Sentiment of up to 100 texts",
    "POST /api/format": "A number or date as TypeScript's Intl writes it",
    "POST /api/segment": "Words, sentences or graphemes by TypeScript's Intl.Segmenter",
    "POST /api/slugify": "A text as a part of a URL, by TypeScript",
    "GET /stats": "Counters of the service",
    "GET /health": "Checks of the model, memory, latency and bridge",
    "GET /hello": "The quick start",
}

routes: Final = Blueprint("status", __name__)


@routes.get("/")
def index() -> ResponseReturnValue:
    """What this service is and what it offers."""
    return jsonify(
        service="shm-polyglot Flask API",
        runtime=platform.python_implementation(),
        python_version=platform.python_version(),
        wsgi=request.environ.get("SERVER_SOFTWARE", "unknown"),
        status="healthy",
        endpoints=ENDPOINTS,
    )


@routes.get("/stats")
def stats() -> ResponseReturnValue:
    """The service's counters. Reading them is not counted, so that two readings differ by what happened between."""
    return jsonify(
        total_requests=counters.service.total(Counter.REQUESTS),
        predictions_made=counters.service.total(Counter.PREDICTIONS),
        model_loaded=_model_works(),
        uptime_info=f"up {time.monotonic() - counters.service.started_at:.1f} s",
    )


@routes.get("/health")
def report_health() -> ResponseReturnValue:
    """200 when every check passes, 503 otherwise; a check that fails says why."""
    checks = health.run(bridge.SETTINGS.memory_limit_mib)
    healthy = all(outcome == "ok" for outcome in checks.values())
    return jsonify(status="healthy" if healthy else "unhealthy", checks=checks), 200 if healthy else 503


@routes.before_app_request
def count_request() -> None:
    """Counts every request but those for the counters."""
    if request.endpoint != "status.stats":
        counters.service.add(Counter.REQUESTS)


def _model_works() -> bool:
    try:
        health.check_model()
    except health.CheckFailed:
        return False
    return True

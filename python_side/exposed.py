"""What TypeScript may call in a worker, by name: `shm_expose` of gunicorn_conf.py."""

from collections.abc import Callable
from typing import Any, Final

from python_side import benchmark, counted_model

EXPOSED: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    "ml_service": {"predict": counted_model.predict, "predict_batch": counted_model.predict_batch},
    "benchmark": {"time_typescript_calls": benchmark.time_typescript_calls},
}

ML_SERVICE: Final = EXPOSED["ml_service"]
BENCHMARK: Final = EXPOSED["benchmark"]

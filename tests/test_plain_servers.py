"""The Flask app without BridgeWorker: `flask run` and plain gunicorn serve it, and call TypeScript through a pool."""

import signal
import sys
from collections.abc import Iterator

import http_client
import pytest
from services import Services

FLASK = (sys.executable, "-m", "flask", "--app", "python_side.app", "run", "--port", "{port}")
GUNICORN = (sys.executable, "-m", "gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}")
SERVERS = {
    "flask-run": FLASK,
    "sync": (*GUNICORN, "--workers", "2", "python_side.app:app"),
    "gthread": (*GUNICORN, "--threads", "4", "python_side.app:app"),
    "preload": (*GUNICORN, "--workers", "2", "--preload", "python_side.app:app"),
}


@pytest.fixture(scope="module", params=list(SERVERS))
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """Node, and the Flask app under another server. Its workers do not attach."""
    with Services(gunicorn=SERVERS[request.param], attaches=False) as running:
        yield running
        if request.param == "flask-run":
            # It knows no SIGTERM.
            assert running.stop_side("python", signal.SIGINT) == 0


def test_flask_calls_typescript(services: Services) -> None:
    for _ in range(10):
        answer = http_client.post(f"{services.python_url}/api/slugify", {"text": "Hello, World"})
        assert (answer.status, answer.json()) == (200, {"slug": "hello-world"})


def test_flask_is_healthy(services: Services) -> None:
    answer = http_client.get(f"{services.python_url}/health")
    assert (answer.status, answer.json()["status"]) == (200, "healthy")


def test_index_names_the_server_that_runs(services: Services, request: pytest.FixtureRequest) -> None:
    wsgi = http_client.get(f"{services.python_url}/").json()["wsgi"]
    server = "Werkzeug" if request.node.callspec.params["services"] == "flask-run" else "gunicorn"
    assert wsgi.startswith(f"{server}/")


def test_flask_answers_with_the_model(services: Services) -> None:
    answer = http_client.post(f"{services.python_url}/api/predict", {"text": "love"})
    assert answer.json()["prediction"]["sentiment"] == "positive"


def test_node_has_no_worker_to_call(services: Services) -> None:
    assert http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 503

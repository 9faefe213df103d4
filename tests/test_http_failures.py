"""What HTTP clients are told when the other side is not there, goes away, or does not answer."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import http_client
import pytest
from services import Services, freeze

TO_TYPESCRIPT = (
    ("/api/format", {"value": 1, "locale": "de-DE"}),
    ("/api/segment", {"text": "x"}),
    ("/api/slugify", {"text": "x"}),
)
TO_PYTHON = (("/api/predict", {"text": "x"}), ("/api/batch", {"texts": ["x"]}))


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    value = request.param
    assert isinstance(value, str)
    return value


def test_flask_without_node_serves_what_needs_no_node_and_is_unhealthy() -> None:
    with Services(sides=["python"], workers=1) as services:
        for path, body in TO_TYPESCRIPT:
            answer = http_client.post(services.python_url + path, body)
            assert (answer.status, answer.json()) == (503, {"error": "The TypeScript server is not there"})
            assert answer.headers["retry-after"] == "1"
        assert http_client.post(f"{services.python_url}/api/predict", {"text": "x"}).status == 200
        health = http_client.get(f"{services.python_url}/health")
        assert (health.status, health.json()["status"]) == (503, "unhealthy")
        checks = health.json()["checks"]
        assert checks["bridge"].startswith("failed: PeerUnavailable: ")
        assert {checks["model"], checks["memory"], checks["latency"]} == {"ok"}


def test_health_fails_when_a_worker_uses_more_memory_than_it_may() -> None:
    with Services(workers=1, env={"SHM_POLYGLOT_MEMORY_LIMIT_MIB": "1"}) as services:
        health = http_client.get(f"{services.python_url}/health")
        assert health.status == 503
        checks = health.json()["checks"]
        assert checks.pop("memory").endswith(" MiB resident, the limit is 1 MiB")
        assert set(checks.values()) == {"ok"}


def test_node_without_a_worker_is_unhealthy_and_says_so() -> None:
    with Services(sides=["node"]) as services:
        for path in ("/", "/health"):
            answer = http_client.get(services.node_url + path)
            body = answer.json()
            assert (answer.status, body["status"], body["languages"]) == (503, "unhealthy", ["typescript"])
            assert body["features"] == {"wsgi": False, "cross_language_calls": False, "shared_memory": False}
        for path, sent in TO_PYTHON:
            answer = http_client.post(services.node_url + path, sent)
            assert (answer.status, answer.json()) == (503, {"error": "No Python worker is attached"})
            assert answer.headers["retry-after"] == "1"
        assert http_client.get(f"{services.node_url}/api/benchmark").status == 503
        stats = http_client.get(f"{services.node_url}/api/stats").json()
        assert (stats["crossLanguageCalls"], stats["memory_shared"]) == (0, False)


def test_workers_attach_when_node_comes_later_and_again_after_it_has_gone(transport: str) -> None:
    with Services(sides=["python"], workers=2, transport=transport) as services:
        for how in (signal.SIGTERM, signal.SIGKILL):
            services.start_node()
            services.wait_attached()
            assert http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200
            assert http_client.post(f"{services.python_url}/api/slugify", {"text": "x"}).status == 200
            services.stop_side("node", how)
            for _ in range(4):
                assert http_client.post(f"{services.python_url}/api/slugify", {"text": "x"}).status == 503
                assert http_client.post(f"{services.python_url}/api/predict", {"text": "x"}).status == 200


def test_a_worker_that_does_not_answer_is_a_504(transport: str) -> None:
    with Services(workers=1, transport=transport, env={"SHM_POLYGLOT_CALL_TIMEOUT": "0.3"}) as services:
        (worker,) = services.worker_pids()
        freeze(worker)
        for path, body in TO_PYTHON:
            answer = http_client.post(services.node_url + path, body)
            assert (answer.status, answer.json()) == (504, {"error": "Python did not answer in time"})
        os.kill(worker, signal.SIGCONT)
        services.wait_until(
            lambda: http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200,
            "the worker answers again",
        )


def test_a_node_that_does_not_answer_is_a_504(transport: str) -> None:
    with Services(workers=1, transport=transport, env={"SHM_POLYGLOT_CALL_TIMEOUT": "0.3"}) as services:
        freeze(services.node_pid)
        for path, body in TO_TYPESCRIPT:
            answer = http_client.post(services.python_url + path, body)
            assert (answer.status, answer.json()) == (504, {"error": "The TypeScript server did not answer in time"})
        health = http_client.get(f"{services.python_url}/health")
        assert health.status == 503
        assert health.json()["checks"]["bridge"].startswith("failed: CallTimeout: ")
        os.kill(services.node_pid, signal.SIGCONT)
        for path, body in TO_TYPESCRIPT:
            services.wait_until(
                lambda path=path, body=body: http_client.post(services.python_url + path, body).status == 200,  # type: ignore[misc]  # bound now
                "Node answers again",
            )


def test_a_worker_that_dies_mid_call_fails_that_call_and_the_next_goes_elsewhere(transport: str) -> None:
    with Services(workers=1, transport=transport) as services, ThreadPoolExecutor(1) as pool:
        (worker,) = services.worker_pids()
        freeze(worker)
        call = pool.submit(http_client.post, f"{services.node_url}/api/predict", {"text": "x"})
        services.wait_until(lambda: services.calls_under_way() == 1, "the call is under way")
        os.kill(worker, signal.SIGKILL)
        answer = call.result()
        assert (answer.status, answer.json()) == (503, {"error": "The Python worker went away during the call"})
        services.wait_until(
            lambda: http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200,
            "another worker answers",
        )


def test_the_remote_stack_goes_to_the_log_and_not_to_the_client() -> None:
    with Services(workers=1, gunicorn_args=["--pythonpath", "tests", "slow_app:app"]) as services:
        answer = http_client.get(f"{services.python_url}/broken")
        assert (answer.status, answer.json()) == (500, {"error": "Internal server error"})
        (line,) = [line for line in services.logs("python").splitlines() if "call to TypeScript failed" in line]
        assert "ERROR [worker 1] " in line
        assert "RemoteError: TypeError: " in line
        assert "typescript_utils.ts" in line


def test_a_python_stack_goes_to_the_log_of_node_and_not_to_its_client() -> None:
    with Services(workers=1, gunicorn_args=["--pythonpath", "tests", "failing_model_app:app"]) as services:
        for path, sent in TO_PYTHON:
            answer = http_client.post(services.node_url + path, sent)
            assert (answer.status, answer.json()) == (500, {"error": "Internal server error"})
        lines = [line for line in services.logs("node").splitlines() if "call to Python failed" in line]
        assert len(lines) == len(TO_PYTHON)
        for line in lines:
            assert "ERROR [node] " in line
            assert "the model is broken" in line
            assert "failing_model_app.py" in line


def test_every_line_of_the_log_has_its_level_and_its_process() -> None:
    with Services(workers=1, sides=["python"]) as services:
        http_client.post(f"{services.python_url}/api/slugify", {"text": "x"})
        services.stop_side("python")
        lines = services.logs("python").splitlines()
    assert lines
    for line in lines:
        time, level, rest = line.split(" ", 2)
        assert time.endswith("Z"), line
        assert level in ("INFO", "WARNING", "ERROR"), line
        assert rest.startswith(("[master] ", "[worker 1] ")), line
    assert any("ERROR [worker 1] python_side.bridge_errors: call to TypeScript failed" in line for line in lines)

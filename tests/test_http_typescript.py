"""The HTTP contract of the TypeScript server, by Node and gunicorn that really run: every route and every error."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import http_client
import pytest
from services import Services, every_pair

services = every_pair

LIMIT = 1 << 20
PATHS = {
    "/": "GET",
    "/health": "GET",
    "/api/stats": "GET",
    "/api/benchmark": "GET",
    "/api/predict": "POST",
    "/api/batch": "POST",
}
POSITIVE = {"sentiment": "positive", "confidence": 0.8, "positive_words": 2, "negative_words": 0}


def check_cors(answer: http_client.Answer) -> None:
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "Content-Type"


def error_of(answer: http_client.Answer) -> str:
    check_cors(answer)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    message = body["error"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health_tells_the_truth_about_the_run(services: Services, path: str, request: pytest.FixtureRequest) -> None:
    answer = http_client.get(services.node_url + path)
    body = answer.json()
    check_cors(answer)
    assert answer.status == 200
    assert list(body) == ["status", "service", "runtime", "polyglot", "languages", "features"]
    assert body["status"] == "healthy"
    assert body["runtime"].startswith("Node.js 2")
    assert body["polyglot"] is True
    assert body["languages"] == ["typescript", "python"]
    transport, _ = request.node.callspec.params["services"]
    assert body["features"] == {"wsgi": True, "cross_language_calls": True, "shared_memory": transport == "shm"}


def test_predict_answers_with_python_s_model(services: Services) -> None:
    answer = http_client.post(f"{services.node_url}/api/predict", {"text": "I love this great product"})
    body = answer.json()
    check_cors(answer)
    assert answer.status == 200
    assert list(body) == ["text", "prediction", "model", "timestamp"]
    assert body["text"] == "I love this great product"
    assert body["prediction"] == POSITIVE
    assert body["model"] == "sentiment-v1"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None


def test_both_servers_give_the_same_prediction(services: Services) -> None:
    for text in ("good great excellent amazing", "hate HATE Hate", "love hate", "best worst poor", "İ bad", "x"):
        answers = [
            http_client.post(f"{url}/api/predict", {"text": text}).json()
            for url in (services.node_url, services.python_url)
        ]
        assert answers[0]["prediction"] == answers[1]["prediction"], text


def test_predict_keeps_unicode_and_needs_no_content_type(services: Services) -> None:
    text = "naïve 😀 你好 \u0000"
    answer = http_client.request(
        "POST", f"{services.node_url}/api/predict", body='{"text":"naïve 😀 你好 \\u0000"}'.encode()
    )
    assert (answer.status, answer.json()["text"]) == (200, text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Missing text field"),
        (b"{}", "Missing text field"),
        (b'{"texts":["x"]}', "Missing text field"),
        (b'{"text":""}', "Missing text field"),
        (b'{"text":5}', "text must be a string"),
        (b'{"text":null}', "text must be a string"),
        (b"[]", "The body must be a JSON object"),
        (b'"text"', "The body must be a JSON object"),
        (b"null", "The body must be a JSON object"),
        (b'{"text":', "Malformed JSON: Unexpected end of JSON input"),
        (b'{"text":"\xff"}', "Malformed JSON: not UTF-8"),
        (b'{"text":"\\ud800"}', "text must not contain a lone surrogate"),
    ],
)
def test_predict_says_what_is_wrong_with_a_body(services: Services, body: bytes, message: str) -> None:
    answer = http_client.request("POST", f"{services.node_url}/api/predict", body=body)
    assert (answer.status, error_of(answer)) == (400, message)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_the_limit_is_taken_and_a_larger_one_is_refused(services: Services, chunked: bool) -> None:
    def send(path: str, length: int) -> http_client.Answer:
        body = b'{"text":"' + b"x" * (length - 11) + b'"}'
        sent = (body[at : at + 65536] for at in range(0, length, 65536)) if chunked else body
        return http_client.request("POST", services.node_url + path, body=sent)

    assert send("/api/predict", LIMIT).status == 200
    for path in ("/api/predict", "/api/batch"):
        answer = send(path, LIMIT + 1)
        assert (answer.status, error_of(answer)) == (413, f"The request body is larger than {LIMIT} bytes")


def test_a_client_that_sends_far_too_much_still_gets_its_answer(services: Services) -> None:
    answer = http_client.request("POST", f"{services.node_url}/api/predict", body=b"x" * (20 * LIMIT))
    assert answer.status == 413


def test_batch_answers_for_each_text_in_order(services: Services) -> None:
    texts = ["I love this great product", "", "bad"]
    answer = http_client.post(f"{services.node_url}/api/batch", {"texts": texts})
    body = answer.json()
    check_cors(answer)
    assert answer.status == 200
    assert list(body) == ["results", "count", "model", "timestamp"]
    assert [result["text"] for result in body["results"]] == texts
    assert [result["prediction"]["sentiment"] for result in body["results"]] == ["positive", "neutral", "negative"]
    assert body["results"][0]["prediction"] == POSITIVE
    assert (body["count"], body["model"]) == (3, "sentiment-v1")


@pytest.mark.parametrize("count", [0, 100])
def test_batch_takes_up_to_100_texts(services: Services, count: int) -> None:
    answer = http_client.post(f"{services.node_url}/api/batch", {"texts": ["x"] * count})
    assert (answer.status, answer.json()["count"]) == (200, count)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Missing texts array"),
        (b"{}", "Missing texts array"),
        (b'{"texts":"x"}', "texts must be an array"),
        (b'{"texts":null}', "texts must be an array"),
        (b'{"texts":{"0":"x"}}', "texts must be an array"),
        (b'{"texts":["a","b",7]}', "texts[2] must be a string"),
        (b'{"texts":[' + b'"x",' * 100 + b'"x"]}', "Maximum 100 texts per batch"),
        (b"[]", "The body must be a JSON object"),
    ],
)
def test_batch_says_what_is_wrong_with_a_body(services: Services, body: bytes, message: str) -> None:
    answer = http_client.request("POST", f"{services.node_url}/api/batch", body=body)
    assert (answer.status, error_of(answer)) == (400, message)


def test_stats_count_requests_calls_and_latencies(services: Services, request: pytest.FixtureRequest) -> None:
    def stats() -> dict[str, object]:
        answer = http_client.get(f"{services.node_url}/api/stats")
        check_cors(answer)
        assert answer.status == 200
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def growth(name: str) -> int:
        values = (before[name], after[name])
        assert isinstance(values[0], int)
        assert isinstance(values[1], int)
        return values[1] - values[0]

    before = stats()
    for _ in range(3):
        http_client.post(f"{services.node_url}/api/predict", {"text": "good"})
    http_client.get(f"{services.node_url}/health")
    after = stats()
    # The first reading of the statistics is itself a request that the second one counts.
    assert growth("pythonRequests") == 3
    assert growth("typescriptRequests") == 2
    assert growth("totalRequests") == 5
    assert growth("crossLanguageCalls") == 3
    for name in ("averageLatency", "uptime", "cross_language_overhead_ms"):
        value = after[name]
        assert isinstance(value, int | float)
        assert value > 0
    percentiles = after["latency_percentiles"]
    assert isinstance(percentiles, dict)
    assert list(percentiles) == ["p50", "p95", "p99"]
    assert 0 < percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"]
    transport, _ = request.node.callspec.params["services"]
    assert after["memory_shared"] is (transport == "shm")


def test_benchmark_measures_both_directions(services: Services) -> None:
    answer = http_client.get(f"{services.node_url}/api/benchmark?iterations=500")
    body = answer.json()
    check_cors(answer)
    assert answer.status == 200
    assert list(body) == [
        "iterations",
        "typescript_only_ms",
        "typescript_per_call_ms",
        "polyglot_total_ms",
        "polyglot_per_call_ms",
        "overhead_ms",
        "target_overhead_ms",
        "note",
        "typescript_to_python",
        "python_to_typescript",
    ]
    assert (body["iterations"], body["target_overhead_ms"]) == (500, 1)
    assert body["polyglot_per_call_ms"] == pytest.approx(body["polyglot_total_ms"] / 500)
    assert body["typescript_per_call_ms"] == pytest.approx(body["typescript_only_ms"] / 500)
    assert body["overhead_ms"] == pytest.approx(body["polyglot_per_call_ms"] - body["typescript_per_call_ms"])
    for direction in ("typescript_to_python", "python_to_typescript"):
        percentiles = body[direction]
        assert list(percentiles) == ["p50_us", "p95_us", "p99_us"]
        assert 0 < percentiles["p50_us"] <= percentiles["p95_us"] <= percentiles["p99_us"]


@pytest.mark.parametrize("iterations", ["0", "-1", "100001", "1.5", "many", ""])
def test_benchmark_refuses_iterations_out_of_range(services: Services, iterations: str) -> None:
    answer = http_client.get(f"{services.node_url}/api/benchmark?iterations={iterations}")
    assert (answer.status, error_of(answer)) == (400, "iterations must be a whole number from 1 to 100000")


def test_one_benchmark_at_a_time_and_others_are_served_meanwhile(services: Services) -> None:
    answers: dict[int, http_client.Answer] = {}

    def ask_until_one_is_answered_and_one_refused(_: int) -> None:
        # However quick one is: two clients that go on asking meet at last.
        while not answers.keys() >= {200, 429}:
            answer = http_client.get(f"{services.node_url}/api/benchmark?iterations=2000")
            answers[answer.status] = answer

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask_until_one_is_answered_and_one_refused, number) for number in range(2)]
        while not all(client.done() for client in asking):
            assert http_client.get(f"{services.node_url}/health").status == 200
            assert http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200
            assert http_client.get(f"{services.python_url}/hello").status == 200
    for client in asking:
        client.result()
    assert answers.keys() == {200, 429}
    assert error_of(answers[429]) == "A benchmark is running"


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_options_on_any_path_is_200_and_empty(services: Services, path: str) -> None:
    answer = http_client.request("OPTIONS", services.node_url + path)
    check_cors(answer)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/predict/", "/api//predict", "//", "/hello"])
def test_anything_else_is_a_404(services: Services, method: str, path: str) -> None:
    answer = http_client.request(method, services.node_url + path)
    assert (answer.status, error_of(answer)) == (404, "Not found")


@pytest.mark.parametrize("path", PATHS)
def test_another_method_on_a_known_path_is_a_405(services: Services, path: str) -> None:
    right = PATHS[path]
    for method in {"GET", "POST", "PUT", "DELETE"} - {right}:
        answer = http_client.request(method, services.node_url + path)
        assert (answer.status, error_of(answer)) == (405, "Method not allowed")
        assert right in answer.headers["allow"].split(", ")
        assert method not in answer.headers["allow"].split(", ")


def test_head_is_get_without_a_body(services: Services) -> None:
    answer = http_client.request("HEAD", f"{services.node_url}/health")
    check_cors(answer)
    assert (answer.status, answer.body) == (200, b"")


def test_a_malformed_request_gets_a_json_answer(services: Services) -> None:
    answer = http_client.request("GET", f"{services.node_url}/health", headers={"Content-Length": "many"})
    assert (answer.status, error_of(answer)) == (400, "Malformed request: Invalid character in Content-Length")

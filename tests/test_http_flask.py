"""The HTTP contract of the Flask app, by gunicorn and Node that really run: every route and every error."""

import platform
from datetime import datetime
from importlib.metadata import version

import http_client
import pytest
from services import Services, every_pair

from python_side import status
from python_side.app import app

services = every_pair

LIMIT = 1 << 20
POSTS = ("/api/predict", "/api/batch", "/api/format", "/api/segment", "/api/slugify")
POSITIVE = {"sentiment": "positive", "confidence": 0.8, "positive_words": 2, "negative_words": 0}
NEUTRAL = {"sentiment": "neutral", "confidence": 0.5, "positive_words": 0, "negative_words": 0}


def error_of(answer: http_client.Answer) -> str:
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    message = body["error"]
    assert isinstance(message, str)
    return message


def test_index_tells_the_truth_about_the_runtime(services: Services) -> None:
    answer = http_client.get(f"{services.python_url}/")
    body = answer.json()
    assert answer.status == 200
    assert list(body) == ["service", "runtime", "python_version", "wsgi", "status", "endpoints"]
    assert body["status"] == "healthy"
    assert body["runtime"] == platform.python_implementation()
    assert body["python_version"] == platform.python_version()
    assert body["wsgi"] == f"gunicorn/{version('gunicorn')}"


def test_every_endpoint_that_index_names_exists(services: Services) -> None:
    for endpoint in http_client.get(f"{services.python_url}/").json()["endpoints"]:
        method, path = endpoint.split()
        assert http_client.request(method, services.python_url + path).status not in (404, 405), endpoint


def test_index_names_every_route_and_no_other() -> None:
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint not in ("static", "status.index")
    }
    assert set(status.ENDPOINTS) == routes


def test_predict_answers_with_the_model(services: Services) -> None:
    answer = http_client.post(f"{services.python_url}/api/predict", {"text": "I love this great product"})
    body = answer.json()
    assert answer.status == 200
    assert list(body) == ["text", "prediction", "model", "timestamp"]
    assert body["text"] == "I love this great product"
    assert body["prediction"] == POSITIVE
    assert body["model"] == "sentiment-v1"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None


def test_predict_takes_a_text_without_a_word_that_it_knows(services: Services) -> None:
    answer = http_client.post(f"{services.python_url}/api/predict", {"text": " "})
    assert (answer.status, answer.json()["prediction"]) == (200, NEUTRAL)


def test_predict_keeps_any_unicode(services: Services) -> None:
    text = "naïve 😀 你好 \u0000"
    answer = http_client.post(f"{services.python_url}/api/predict", {"text": text})
    assert (answer.status, answer.json()["text"]) == (200, text)


def test_predict_takes_a_content_type_with_parameters(services: Services) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = http_client.request("POST", f"{services.python_url}/api/predict", body=b'{"text":"x"}', headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Missing text field"),
        (b"{}", "Missing text field"),
        (b'{"texts":["x"]}', "Missing text field"),
        (b'{"text":5}', "text must be a string"),
        (b'{"text":null}', "text must be a string"),
        (b'{"text":["x"]}', "text must be a string"),
        (b"[]", "The body must be a JSON object"),
        (b'"text"', "The body must be a JSON object"),
        (b"null", "The body must be a JSON object"),
        (b'{"text":', "Malformed JSON: Expecting value: line 1 column 9 (char 8)"),
        (b'{"text":NaN}', "Malformed JSON: NaN is not JSON"),
        (b'{"text":"\xff"}', "Malformed JSON: not UTF-8 at byte 9"),
        (b"[" * 100_000, "Malformed JSON: nested deeper than 500 levels"),
    ],
)
def test_predict_says_what_is_wrong_with_a_body(services: Services, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http_client.request("POST", f"{services.python_url}/api/predict", body=body, headers=headers)
    assert (answer.status, error_of(answer)) == (400, message)


def test_predict_without_body_or_content_type_misses_the_text(services: Services) -> None:
    answer = http_client.request("POST", f"{services.python_url}/api/predict")
    assert (answer.status, error_of(answer)) == (400, "Missing text field")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_another_content_type_is_refused(services: Services, path: str, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = http_client.request("POST", services.python_url + path, body=b'{"text":"x"}', headers=headers)
    assert (answer.status, error_of(answer)) == (415, "The content type must be application/json")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_the_limit_is_taken_and_a_larger_one_is_refused(services: Services, chunked: bool) -> None:
    headers = {"Content-Type": "application/json"}

    def send(path: str, length: int) -> http_client.Answer:
        body = b'{"text":"' + b"x" * (length - 11) + b'"}'
        assert len(body) == length
        sent = (body[at : at + 65536] for at in range(0, length, 65536)) if chunked else body
        return http_client.request("POST", services.python_url + path, body=sent, headers=headers)

    assert send("/api/predict", LIMIT).status == 200
    for path in POSTS:
        answer = send(path, LIMIT + 1)
        assert (answer.status, error_of(answer)) == (413, f"The request body is larger than {LIMIT} bytes"), path


def test_a_client_that_sends_far_too_much_still_gets_its_answer(services: Services) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http_client.request(
        "POST", f"{services.python_url}/api/predict", body=b"x" * (20 * LIMIT), headers=headers
    )
    assert answer.status == 413


def test_batch_answers_for_each_text_in_order(services: Services) -> None:
    texts = ["I love this great product", "", "bad"]
    answer = http_client.post(f"{services.python_url}/api/batch", {"texts": texts})
    body = answer.json()
    assert answer.status == 200
    assert list(body) == ["results", "count", "model", "timestamp"]
    assert [result["text"] for result in body["results"]] == texts
    assert [result["prediction"]["sentiment"] for result in body["results"]] == ["positive", "neutral", "negative"]
    assert body["results"][0]["prediction"] == POSITIVE
    assert (body["count"], body["model"]) == (3, "sentiment-v1")
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None


@pytest.mark.parametrize("count", [0, 100])
def test_batch_takes_up_to_100_texts(services: Services, count: int) -> None:
    answer = http_client.post(f"{services.python_url}/api/batch", {"texts": ["x"] * count})
    assert (answer.status, answer.json()["count"]) == (200, count)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Missing texts array"),
        (b"{}", "Missing texts array"),
        (b'{"text":"x"}', "Missing texts array"),
        (b'{"texts":"x"}', "texts must be an array"),
        (b'{"texts":null}', "texts must be an array"),
        (b'{"texts":{"0":"x"}}', "texts must be an array"),
        (b'{"texts":["a","b",7]}', "texts[2] must be a string"),
        (b'{"texts":[' + b'"x",' * 100 + b'"x"]}', "Maximum 100 texts per batch"),
        (b"[]", "The body must be a JSON object"),
    ],
)
def test_batch_says_what_is_wrong_with_a_body(services: Services, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http_client.request("POST", f"{services.python_url}/api/batch", body=body, headers=headers)
    assert (answer.status, error_of(answer)) == (400, message)


def test_batch_says_that_json_is_malformed(services: Services) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http_client.request("POST", f"{services.python_url}/api/batch", body=b"{", headers=headers)
    assert answer.status == 400
    assert error_of(answer).startswith("Malformed JSON: ")


def test_stats_has_the_contract_s_keys(services: Services) -> None:
    answer = http_client.get(f"{services.python_url}/stats")
    body = answer.json()
    assert answer.status == 200
    assert list(body) == ["total_requests", "predictions_made", "model_loaded", "uptime_info"]
    assert body["model_loaded"] is True


def test_health_checks_the_model_memory_latency_and_bridge(services: Services) -> None:
    answer = http_client.get(f"{services.python_url}/health")
    checks = {"model": "ok", "memory": "ok", "latency": "ok", "bridge": "ok"}
    assert (answer.status, answer.json()) == (200, {"status": "healthy", "checks": checks})


def test_hello_is_the_quick_start(services: Services) -> None:
    answer = http_client.get(f"{services.python_url}/hello")
    runtime = f"{platform.python_implementation()} {platform.python_version()}"
    assert answer.status == 200
    expected = {"message": "Hello from Flask", "runtime": runtime, "languages": ["python", "typescript"]}
    assert answer.json() == expected


@pytest.mark.parametrize(
    ("body", "formatted"),
    [
        ({"value": 1234567.891, "locale": "de-DE"}, "1.234.567,891"),
        ({"value": 1234567.891, "locale": "de-DE", "style": "decimal"}, "1.234.567,891"),
        ({"value": 0.256, "locale": "en-US", "style": "percent"}, "26%"),
        ({"value": 1234.5, "locale": "de-DE", "style": "currency", "currency": "EUR"}, "1.234,50\u00a0€"),
        ({"value": 2**63, "locale": "en-US"}, "9,223,372,036,854,775,808"),
        ({"value": -7, "locale": "en-IN", "currency": None}, "-7"),
        ({"date": "2024-01-31T13:05:00Z", "locale": "de-DE"}, "31. Januar 2024 um 13:05"),
        ({"date": "2024-01-31T13:05:00", "locale": "de-DE"}, "31. Januar 2024 um 13:05"),
        ({"date": "2024-01-31T13:05:00+01:00", "locale": "de-DE"}, "31. Januar 2024 um 12:05"),
        ({"date": "2024-01-31", "locale": "fr-FR", "timeZone": "Asia/Tokyo"}, "31 janvier 2024 à 09:00"),
    ],
)
def test_format_answers_with_node_s_intl(services: Services, body: dict[str, object], formatted: str) -> None:
    answer = http_client.post(f"{services.python_url}/api/format", body)
    assert (answer.status, answer.json()) == (200, {"formatted": formatted, "locale": body["locale"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"value": 1, "locale": "not a locale"}, "Incorrect locale information provided"),
        ({"value": 1, "locale": ""}, "Incorrect locale information provided"),
        ({"value": 1, "locale": "de-DE", "style": "currency", "currency": "EURO"}, "Invalid currency code : EURO"),
        ({"value": 1, "locale": "de-DE", "style": "currency"}, "Currency code is required with currency style."),
        (
            {"value": 1, "locale": "de-DE", "style": "roman"},
            "Value roman out of range for Intl.NumberFormat options property style",
        ),
        ({"date": "2024-01-31", "locale": "de-DE", "timeZone": "Mars/Base"}, "Invalid time zone specified: Mars/Base"),
    ],
)
def test_a_typescript_exception_is_a_400_with_its_message(
    services: Services, body: dict[str, object], message: str
) -> None:
    answer = http_client.post(f"{services.python_url}/api/format", body)
    assert (answer.status, error_of(answer)) == (400, message)


def test_what_intl_refuses_is_no_error_in_a_log_and_has_no_stack_there() -> None:
    with Services(workers=1) as services:
        for url, body in (
            ("format", {"value": 1, "locale": "not a locale"}),
            ("segment", {"text": "a b", "locale": "not a locale"}),
            ("slugify", {"text": "x" * 10_001}),
        ):
            assert http_client.post(f"{services.python_url}/api/{url}", body).status == 400
        logs = services.logs()
    assert logs.count(" INFO [node] a request was refused method=typescript_utils.") == 3
    assert "ERROR" not in logs
    assert "    at " not in logs
    assert "Traceback" not in logs


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing value or date field"),
        ({"locale": "de-DE"}, "Missing value or date field"),
        ({"value": 1, "date": "2024-01-31", "locale": "de-DE"}, "Give either value or date, not both"),
        ({"value": 1}, "Missing locale field"),
        ({"value": "1", "locale": "de-DE"}, "value must be a number"),
        ({"value": True, "locale": "de-DE"}, "value must be a number"),
        ({"value": 1, "locale": 5}, "locale must be a string"),
        ({"value": 1, "locale": "de-DE", "style": 5}, "style must be a string"),
        ({"date": 5, "locale": "de-DE"}, "date must be a string"),
        ({"date": "yesterday", "locale": "de-DE"}, "date must be ISO 8601, not 'yesterday'"),
        ({"value": 2**64, "locale": "de-DE"}, None),
    ],
)
def test_format_says_what_is_wrong_with_a_body(
    services: Services, body: dict[str, object], message: str | None
) -> None:
    answer = http_client.post(f"{services.python_url}/api/format", body)
    assert answer.status == 400
    if message is None:
        assert "args[0]" in error_of(answer)
    else:
        assert error_of(answer) == message


@pytest.mark.parametrize(
    ("body", "segments"),
    [
        ({"text": "Hello, World"}, ["Hello", ",", " ", "World"]),
        ({"text": "你好世界", "locale": "zh"}, ["你好", "世界"]),
        ({"text": "こんにちは世界", "locale": "ja", "granularity": "word"}, ["こんにちは", "世界"]),
        ({"text": "สวัสดีชาวโลก", "locale": "th"}, ["สวัสดี", "ชาว", "โลก"]),
        ({"text": "One. Two!", "granularity": "sentence"}, ["One. ", "Two!"]),
        ({"text": "e\u0301👩‍👩‍👧", "granularity": "grapheme"}, ["e\u0301", "👩‍👩‍👧"]),
        ({"text": ""}, []),
    ],
)
def test_segment_answers_with_node_s_segmenter(
    services: Services, body: dict[str, object], segments: list[str]
) -> None:
    answer = http_client.post(f"{services.python_url}/api/segment", body)
    assert (answer.status, answer.json()) == (200, {"segments": segments, "count": len(segments)})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"locale": "en"}, "Missing text field"),
        ({"text": 5}, "text must be a string"),
        ({"text": "x", "locale": "not a locale"}, "Incorrect locale information provided"),
        (
            {"text": "x", "granularity": "byte"},
            "Value byte out of range for Intl.Segmenter options property granularity",
        ),
    ],
)
def test_segment_says_what_is_wrong_with_a_body(services: Services, body: dict[str, object], message: str) -> None:
    answer = http_client.post(f"{services.python_url}/api/segment", body)
    assert (answer.status, error_of(answer)) == (400, message)


@pytest.mark.parametrize(
    ("text", "slug"),
    [("Hello, World", "hello-world"), ("  Crème brûlée!  ", "creme-brulee"), ("你好 世界", "你好-世界"), ("?!", "")],
)
def test_slugify_answers_with_typescript(services: Services, text: str, slug: str) -> None:
    answer = http_client.post(f"{services.python_url}/api/slugify", {"text": text})
    assert (answer.status, answer.json()) == (200, {"slug": slug})


def test_slugify_misses_the_text(services: Services) -> None:
    answer = http_client.post(f"{services.python_url}/api/slugify", {})
    assert (answer.status, error_of(answer)) == (400, "Missing text field")


def test_a_text_that_cannot_cross_the_bridge_is_a_400_that_names_it(services: Services) -> None:
    answer = http_client.post(f"{services.python_url}/api/slugify", {"text": "\ud800"})
    assert (answer.status, error_of(answer)) == (400, "text must not contain a lone surrogate")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            "/api/segment",
            {"text": "a" * 150_000, "granularity": "grapheme"},
            "text must have at most 100000 characters",
        ),
        ("/api/segment", {"text": "中" * 1001}, "text must have a space or a mark of punctuation after at most 1000"),
        ("/api/slugify", {"text": "a" * 10_001}, "text must have at most 10000 characters, this one has 10001"),
        ("/api/slugify", {"text": "\u0301\u0316" * 5_000}, "text must have at most 100 accents on a letter"),
        ("/api/format", {"value": 1, "locale": "x" * 100_000}, "locale must have at most 255 characters"),
    ],
)
def test_what_would_hold_node_is_a_400_that_names_the_limit(
    services: Services, path: str, body: dict[str, object], message: str
) -> None:
    answer = http_client.post(services.python_url + path, body)
    assert answer.status == 400
    assert error_of(answer).startswith(message)


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/predict/", "/api//predict"])
def test_an_unknown_path_is_a_404(services: Services, path: str) -> None:
    answer = http_client.get(services.python_url + path)
    assert (answer.status, error_of(answer)) == (404, "Not found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [(m, p, {"POST", "OPTIONS"}) for p in POSTS for m in ("GET", "PUT")]
    + [(m, p, {"GET", "HEAD", "OPTIONS"}) for p in ("/", "/stats", "/health", "/hello") for m in ("POST", "DELETE")],
)
def test_another_method_is_a_405_that_names_those_allowed(
    services: Services, method: str, path: str, allowed: set[str]
) -> None:
    answer = http_client.request(method, services.python_url + path)
    assert (answer.status, error_of(answer)) == (405, "Method not allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed

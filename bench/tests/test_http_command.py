"""The load generator counts what clients would wait, checks every answer, and measures whatever build it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from contract_server import ContractServer
from services import free_ports

from bench.services.endpoints import CONTRACT, HEALTH, PREDICT, Answer
from bench.services.load import Generator, Load
from bench.services.urls import UrlError, measure_urls
from bench.statistics import percentiles

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "bench" / "results.schema.json").read_text())
REQUESTS = 300
STALL_S = 2.0
"""Longer than a busy machine stands still."""


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as running:
        yield running


def measured(urls: Mapping[str, str], rounds: int) -> list[dict[str, Any]]:
    """The rows of services that run already."""
    rows: list[dict[str, Any]] = []
    measure_urls(urls, rounds, 0.05, quiet, rows)
    return rows


def quiet(_: str) -> None:
    """No progress."""


def rows_of(rows: list[dict[str, Any]], service: str, endpoint: str = "") -> list[dict[str, Any]]:
    return [row for row in rows if row["service"] == service and endpoint in row["endpoint"]]


def test_a_stall_shows_in_the_open_loop_and_hides_in_the_closed_loop(generator: Generator) -> None:
    """One connection: to a client that sends only when it has its answer, one request of 300 was slow."""
    with ContractServer(stall_at=100, stall_s=STALL_S) as server:
        closed = generator.run(server.url, HEALTH, Load("closed", 1, seconds=60, most=REQUESTS))
    with ContractServer(stall_at=100, stall_s=STALL_S) as server:
        opened = generator.run(server.url, HEALTH, Load("rate", 1, seconds=1.5, rate_per_s=REQUESTS / 1.5))
    assert len(closed.times_ns) == len(opened.times_ns) == REQUESTS
    assert max(closed.times_ns) > STALL_S * 1e9
    # Those that were due in the first part of the stall waited for the rest of it, sent or not.
    assert percentiles(opened.times_ns).p99 > STALL_S * 0.9 * 1e6 > percentiles(closed.times_ns).p99


def test_every_answer_is_checked(generator: Generator) -> None:
    with ContractServer(wrong_every=10) as server:
        loaded = generator.run(server.url, PREDICT, Load("closed", 4, seconds=60, most=200))
    assert (len(loaded.times_ns), loaded.errors, loaded.wrong) == (200, 20, 20)
    assert "prediction.confidence: 0.123, not 0.8" in loaded.first_error


def test_requests_that_nobody_answers_are_given_up_and_counted(generator: Generator) -> None:
    with ContractServer(hang_at=11) as server:
        loaded = generator.run(server.url, HEALTH, Load("rate", 4, seconds=0.1, rate_per_s=300))
    assert (len(loaded.times_ns), loaded.hung, loaded.errors) == (10, 20, 20)
    assert "not answered" in loaded.first_error


def test_a_load_without_a_server_ends_and_says_why(generator: Generator) -> None:
    loaded = generator.run(f"http://127.0.0.1:{free_ports(1)[0]}", HEALTH, Load("closed", 4, seconds=60))
    assert loaded.times_ns == []
    assert loaded.errors > 0
    assert "ECONNREFUSED" in loaded.first_error


def test_every_endpoint_a_service_has_is_measured_and_the_others_are_skipped() -> None:
    with ContractServer() as server:
        rows = measured({"one": server.url}, rounds=2)
    jsonschema.validate(json.loads(json.dumps(rows)), {**SCHEMA["properties"]["http"], "$defs": SCHEMA["$defs"]})
    assert {row["endpoint"] for row in rows} == {str(endpoint) for endpoint in CONTRACT}
    for row in rows:
        there = row["endpoint"] in ("GET /health", "POST /api/predict", "POST /api/batch")
        assert (row["skipped"] is None) == there, row
        assert (row["rounds"], row["agrees"], row["failed"]) == ((2, True, None) if there else (0, None, None)), row
    assert "status 404" in rows_of(rows, "one", "/hello")[0]["skipped"]


def test_answers_that_differ_are_reported_and_not_timed() -> None:
    with ContractServer() as right, ContractServer(wrong_every=1) as wrong:
        rows = measured({"right": right.url, "wrong": wrong.url}, rounds=1)
    assert all(row["agrees"] and row["rounds"] for row in rows_of(rows, "right", "/api/predict"))
    for row in rows_of(rows, "wrong", "/api/predict"):
        assert (row["agrees"], row["requests"]) == (False, 0)
        assert "prediction.confidence: 0.123, not 0.8" in row["failed"]
    assert all(row["agrees"] for row in rows_of(rows, "wrong", "/health"))


def test_a_service_that_goes_away_is_reported_and_the_others_are_measured() -> None:
    # However slow the machine, so many requests are due: 285 at the rates of the endpoints, in two rounds.
    with ContractServer() as well, ContractServer(close_at=200) as leaving:
        urls = {"leaving": leaving.url, "well": well.url}
        rows = measured(urls, rounds=2)
    assert any(row["failed"] for row in rows_of(rows, "leaving"))
    for row in rows_of(rows, "well"):
        assert row["skipped"] or (row["rounds"], row["errors"], row["failed"]) == (2, 0, None)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:3000",
        "https://127.0.0.1:3000",
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:3000/api",
        "http://127.0.0.1:3000/?x=1",
    ],
)
def test_what_is_no_url_of_a_server_is_named_before_anything_is_measured(url: str) -> None:
    with ContractServer() as server:
        with pytest.raises(UrlError) as raised:
            measured({"right": server.url, "wrong": url}, rounds=1)
        assert url in str(raised.value)
        assert server.count == 0


def test_a_service_that_does_not_answer_is_named_before_anything_is_measured() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(UrlError, match=f"absent does not answer at {url}"):
        measured({"absent": url}, rounds=1)


@pytest.mark.parametrize(
    ("status", "body", "difference"),
    [
        (500, "{}", "status 500, not 200"),
        (200, "<html>", "not JSON"),
        (200, "[]", "no JSON object"),
        (200, '{"text": "x"}', "without prediction, model, timestamp"),
    ],
)
def test_an_answer_that_is_none_of_the_contract_is_told_apart(status: int, body: str, difference: str) -> None:
    assert difference in PREDICT.difference(Answer(status, body))


def test_values_that_describe_the_runtime_or_the_time_may_differ() -> None:
    right = {**(PREDICT.answer or {}), "timestamp": "yesterday", "engine": "whatever"}
    assert PREDICT.difference(Answer(200, json.dumps(right))) == ""

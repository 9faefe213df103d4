"""The Flask app's counters: the whole service's, exact with any number of workers."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import http_client
from services import Services, every_pair

services = every_pair


def counts(services: Services) -> tuple[int, int]:
    """total_requests and predictions_made."""
    body = http_client.get(f"{services.python_url}/stats").json()
    return body["total_requests"], body["predictions_made"]


def test_1000_requests_to_any_number_of_workers_count_as_exactly_1000(services: Services) -> None:
    def send(_: int) -> int:
        return http_client.post(f"{services.python_url}/api/predict", {"text": "good"}).status

    requests, predictions = counts(services)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(1000))) == {200}
    assert counts(services) == (requests + 1000, predictions + 1000)


def test_errors_count_as_requests_and_reading_the_counters_does_not(services: Services) -> None:
    requests, predictions = counts(services)
    assert http_client.get(f"{services.python_url}/nothing").status == 404
    assert http_client.get(f"{services.python_url}/api/predict").status == 405
    assert http_client.post(f"{services.python_url}/api/predict", {}).status == 400
    assert http_client.get(f"{services.python_url}/health").status == 200
    assert counts(services) == (requests + 4, predictions)
    assert counts(services) == (requests + 4, predictions)


def test_each_text_is_a_prediction_whoever_asks(services: Services) -> None:
    _, predictions = counts(services)
    http_client.post(f"{services.python_url}/api/batch", {"texts": ["a", "b", "c"]})
    http_client.post(f"{services.node_url}/api/batch", {"texts": ["a", "b"]})
    http_client.post(f"{services.node_url}/api/predict", {"text": "a"})
    assert counts(services)[1] == predictions + 6


def test_nothing_is_forgotten_when_workers_are_killed_or_reloaded() -> None:
    with Services(workers=2) as services:
        for total in (50, 100, 150, 200):
            for _ in range(50):
                assert http_client.post(f"{services.python_url}/api/predict", {"text": "good"}).status == 200
            assert counts(services) == (total, total)
            old = services.worker_pids()
            if total < 150:
                os.kill(old[0], signal.SIGKILL)
                services.wait_replaced(old[:1])
            else:
                os.kill(services.python_pid, signal.SIGHUP)
                services.wait_replaced(old)
        assert counts(services) == (200, 200)

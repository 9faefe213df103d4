"""What gunicorn asks of a worker class: preload, max_requests, reload, time-out, draining, and a lost arbiter."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import http_client
import pytest
from services import Services

SLOW_APP = ("--pythonpath", "tests", "slow_app:app")


def both_directions_work(services: Services) -> bool:
    return (
        http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200
        and http_client.post(f"{services.python_url}/api/slugify", {"text": "x"}).status == 200
    )


def test_one_thread_handles_everything() -> None:
    with Services(workers=2, gunicorn_args=SLOW_APP) as services:
        body = http_client.get(f"{services.python_url}/server").json()
        assert (body["multithread"], body["multiprocess"]) == (False, True)
        assert body["pid"] in services.worker_pids()


def test_the_app_may_be_loaded_before_the_fork() -> None:
    with Services(workers=2, gunicorn_args=["--preload"]) as services:
        for _ in range(10):
            assert both_directions_work(services)


def test_workers_are_replaced_after_max_requests_without_a_failed_http_request() -> None:
    with Services(workers=2, gunicorn_args=["--max-requests", "20"]) as services:
        first = services.worker_pids()
        for _ in range(100):
            assert http_client.get(f"{services.python_url}/hello").status == 200
        services.wait_replaced(first)
        services.wait_until(lambda: both_directions_work(services), "the new workers are attached")


def test_a_reload_fails_no_http_request() -> None:
    with Services(workers=2) as services:
        reloaded = threading.Event()

        def send_until_reloaded(_: int) -> set[int]:
            statuses = set()
            while not reloaded.is_set():
                statuses.add(http_client.post(f"{services.python_url}/api/predict", {"text": "x"}).status)
            return statuses

        with ThreadPoolExecutor(2) as pool:
            results = pool.map(send_until_reloaded, range(2))
            try:
                for _ in range(2):
                    first = services.worker_pids()
                    os.kill(services.python_pid, signal.SIGHUP)
                    services.wait_replaced(first)
            finally:
                reloaded.set()
            assert set.union(*results) == {200}
        services.wait_until(lambda: both_directions_work(services), "the new workers are attached")


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_no_call_of_typescripts_fails_while_one_worker_of_two_is_replaced(transport: str) -> None:
    stopped = threading.Event()

    def predict_until_stopped(_: int) -> set[int]:
        statuses = set()
        while not stopped.is_set():
            statuses.add(http_client.post(f"{services.node_url}/api/predict", {"text": "good"}).status)
        return statuses

    with Services(workers=2, transport=transport) as services, ThreadPoolExecutor(3) as pool:
        results = pool.map(predict_until_stopped, range(3))
        try:
            for number in range(6):
                oldest, other = services.worker_pids()
                os.kill(oldest, signal.SIGTERM)
                services.wait_attached(3 + number)
                assert other in services.worker_pids()
        finally:
            stopped.set()
        assert set.union(*results) == {200}


def test_a_worker_that_hangs_is_replaced() -> None:
    with Services(workers=1, gunicorn_args=["--timeout", "2", *SLOW_APP]) as services:
        first = services.worker_pids()
        with pytest.raises(OSError, match="."):
            http_client.get(f"{services.python_url}/sleep/60.0")
        services.wait_replaced(first)
        services.wait_until(lambda: both_directions_work(services), "the new worker is attached")


def test_an_idle_worker_is_not_taken_for_hung() -> None:
    with Services(workers=1, gunicorn_args=["--timeout", "3"]) as services:
        first = services.worker_pids()
        time.sleep(5)
        assert services.worker_pids() == first


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_that_has_begun_is_finished_when_the_worker_stops(how: signal.Signals) -> None:
    with Services(workers=1, gunicorn_args=SLOW_APP) as services, ThreadPoolExecutor(1) as pool:
        (worker,) = services.worker_pids()
        mark = services.directory / "begun"
        slow = pool.submit(http_client.get, f"{services.python_url}/sleep/1.0?mark={mark}")
        services.wait_until(mark.exists, "the request has begun")
        if how is signal.SIGTERM:
            assert services.stop_side("python") == 0
        else:
            os.kill(services.python_pid, how)
        answer = slow.result()
        assert (answer.status, answer.json()["pid"]) == (200, worker)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("sides", [["node", "python"], ["python"]])
def test_a_stop_ends_every_process_and_leaves_no_name(how: signal.Signals, sides: list[str]) -> None:
    with Services(workers=2, sides=sides) as services:  # type: ignore[arg-type]
        assert services.stop_side("python", how) == 0


def test_workers_end_when_their_arbiter_is_killed() -> None:
    with Services(workers=2) as services:
        workers = services.worker_pids()
        os.kill(services.python_pid, signal.SIGKILL)
        services.wait_for_end("python")
        services.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers ended")


def test_tls_is_refused_with_a_reason() -> None:
    services = Services(workers=1, gunicorn_args=["--certfile", "LICENSE", "--keyfile", "LICENSE"], sides=["python"])
    with pytest.raises(AssertionError, match=r"BridgeWorker serves plain HTTP/1\.1"):
        services.start()
    services.discard()

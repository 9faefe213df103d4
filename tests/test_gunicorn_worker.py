"""What gunicorn asks of a worker class: preload, max_requests, reload, time-out, draining, and a lost arbiter."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import http_client
import pytest
import shm_protocol
from raw_http import connect, read_answer
from services import Services
from shm_protocol import counters

SLOW_APP = ("--pythonpath", "tests", "slow_app:app")


def both_directions_work(services: Services) -> bool:
    return (
        http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200
        and http_client.post(f"{services.python_url}/api/slugify", {"text": "x"}).status == 200
    )


def test_a_script_that_serves_something_else_takes_none_of_the_calls_that_are_not_its() -> None:
    with Services(workers=2) as services:
        script = "import shm_protocol, sys; shm_protocol.serve(expose={'mine': {'f': lambda: 'mine'}})"
        environment = {**os.environ, "SHM_POLYGLOT_DIR": str(services.bridge_directory)}
        mine = subprocess.Popen([sys.executable, "-c", script], env=environment)
        try:
            with shm_protocol.connect(services.bridge_directory / "node.sock") as client:
                services.wait_until(lambda: workers_known(client) == 3, "the script is attached as well")
            answers = [http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status for _ in range(9)]
            assert answers == [200] * 9
        finally:
            mine.terminate()
            mine.wait(60)


def workers_known(client: shm_protocol.Client) -> int:
    return sum(one.role == "worker" for one in counters.parse(client.call(counters.METHOD)))


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_handlers_run_at_once_as_there_are_threads(threads: int) -> None:
    with Services(workers=1, gunicorn_args=["--threads", str(threads), *SLOW_APP]) as services:
        body = http_client.get(f"{services.python_url}/server").json()
        assert (body["multithread"], body["multiprocess"]) == (threads > 1, False)
        with ThreadPoolExecutor(4 * threads) as clients:
            peaks = clients.map(
                lambda _: http_client.get(f"{services.python_url}/together/{threads}").json()["running"],
                range(4 * threads),
            )
            assert max(peaks) == threads
        assert both_directions_work(services)


def test_handlers_that_sleep_hold_neither_calls_of_typescripts_nor_a_handler_that_has_a_thread() -> None:
    with Services(workers=1, gunicorn_args=["--threads", "3", *SLOW_APP]) as services, ThreadPoolExecutor(2) as pool:
        marks = [services.directory / f"begun-{number}" for number in range(2)]
        slow = [pool.submit(http_client.get, f"{services.python_url}/until-removed?mark={mark}") for mark in marks]
        services.wait_until(lambda: all(mark.exists() for mark in marks), "both sleep")
        assert both_directions_work(services)
        for mark in marks:
            mark.unlink()
        assert [answer.result().status for answer in slow] == [200, 200]


def test_calls_of_typescripts_are_answered_while_every_thread_sleeps() -> None:
    with Services(workers=1, gunicorn_args=["--threads", "1", *SLOW_APP]) as services, ThreadPoolExecutor(1) as pool:
        mark = services.directory / "begun"
        slow = pool.submit(http_client.get, f"{services.python_url}/until-removed?mark={mark}")
        services.wait_until(mark.exists, "the handler sleeps")
        assert http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200
        mark.unlink()
        assert slow.result().status == 200


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("SystemExit", True),
        ("KeyboardInterrupt", True),
        ("GeneratorExit", True),
        ("FileNotFoundError", True),
        ("BrokenPipeError", True),
        ("untellable", True),
        ("generator", False),
        ("close", False),
        ("generator-SystemExit", False),
    ],
)
def test_whatever_a_handler_raises_ends_its_own_request_alone(threads: int, how: str, told: bool) -> None:
    with Services(workers=1, gunicorn_args=["--threads", str(threads), *SLOW_APP]) as services:
        workers = services.worker_pids()
        with connect(services.python_url) as sock:
            sock.sendall(b"GET /raises/%b HTTP/1.1\r\nHost: x\r\n\r\n" % how.encode())
            if told:
                assert read_answer(sock)[0] == 500
            else:
                received = b"".join(iter(lambda: sock.recv(65536), b""))
                assert received.startswith(b"HTTP/1.1 200")
                assert received.count(b"HTTP/1.1") == 1
        assert both_directions_work(services)
        assert services.worker_pids() == workers


EXITING_MODEL = ("--pythonpath", "tests", "exiting_model_app:app")


def test_what_exits_while_it_is_looked_at_ends_no_worker_and_a_function_that_exits_has_it_replaced() -> None:
    with Services(workers=1, gunicorn_args=EXITING_MODEL) as services:
        workers = services.worker_pids()
        for how, status in (("raises", 500), ("gives", 502)):
            assert http_client.post(f"{services.node_url}/api/predict", {"text": how}).status == status
            assert both_directions_work(services)
        assert services.worker_pids() == workers
        assert http_client.post(f"{services.node_url}/api/predict", {"text": "exits"}).status == 500
        services.wait_replaced(workers)
        services.wait_until(lambda: both_directions_work(services), "the new worker is attached")
        assert "a function that Node called ends this worker: SystemExit(3)" in services.logs("python")


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("how", "code"), [("exits", 3), ("raises", 1), ("returns", 1)])
def test_a_child_that_a_handler_has_forked_takes_no_part_in_the_worker(threads: int, how: str, code: int) -> None:
    with Services(workers=1, gunicorn_args=["--threads", str(threads), *SLOW_APP]) as services:
        workers = services.worker_pids()
        with connect(services.python_url) as sock:
            for _ in range(3):
                sock.sendall(b"GET /fork/%b HTTP/1.1\r\nHost: x\r\n\r\n" % how.encode())
                status, _, body = read_answer(sock)
                assert (status, json.loads(body)) == (200, {"code": code})
        assert both_directions_work(services)
        assert services.worker_pids() == workers


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_child_that_a_function_of_typescripts_call_has_forked_becomes_no_worker(transport: str) -> None:
    with Services(workers=1, transport=transport, gunicorn_args=SLOW_APP) as services:
        workers = services.worker_pids()
        for _ in range(3):
            assert http_client.post(f"{services.node_url}/api/predict", {"text": "fork"}).status == 200
        assert both_directions_work(services)
        assert services.worker_pids() == workers
        assert services.logs("node").count("role=worker") == 1


def test_a_stream_that_never_ends_leaves_the_only_thread_to_others() -> None:
    with Services(workers=1, gunicorn_args=["--threads", "1", *SLOW_APP]) as services:
        with connect(services.python_url) as reader, connect(services.python_url) as idler:
            for sock in (reader, idler):
                sock.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(sock)[0] == 200
            answers = []
            other = threading.Thread(target=lambda: answers.append(both_directions_work(services)))
            other.start()
            while other.is_alive():
                assert reader.recv(1 << 20)
            assert answers == [True]
        assert both_directions_work(services)


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


def test_a_function_that_exits_ends_its_worker_which_finishes_its_requests_and_is_replaced() -> None:
    with Services(workers=1, gunicorn_args=SLOW_APP) as services, ThreadPoolExecutor(1) as pool:
        first = services.worker_pids()
        mark = services.directory / "begun"
        slow = pool.submit(http_client.get, f"{services.python_url}/until-removed?mark={mark}")
        services.wait_until(mark.exists, "the request has begun")
        assert http_client.post(f"{services.node_url}/api/predict", {"text": "exit"}).status >= 500
        mark.unlink()
        assert slow.result().status == 200
        services.wait_replaced(first)
        services.wait_until(lambda: both_directions_work(services), "the new worker is attached")


def last_sign_of_life(worker: int) -> float:
    """When a worker has last told its arbiter that it lives: the time of a file that both have open."""
    (file,) = (path for path in Path(f"/proc/{worker}/fd").iterdir() if path.readlink().name.startswith("wgunicorn-"))
    return file.stat().st_mtime


def wait_for_signs_of_life(services: Services, worker: int, count: int) -> None:
    """Waits until a worker has told so many times, from now on, that it lives."""
    for _ in range(count):
        last = last_sign_of_life(worker)
        services.wait_until(lambda last=last: last_sign_of_life(worker) > last, "the worker says that it lives")  # type: ignore[misc]  # bound now


def test_a_worker_that_hangs_is_replaced() -> None:
    # Loaded before the fork: on a slow machine a worker that loads the app takes longer than the time-out.
    with Services(workers=1, gunicorn_args=["--timeout", "5", "--preload", *SLOW_APP]) as services:
        first = services.worker_pids()
        with pytest.raises(OSError, match="."):
            http_client.get(f"{services.python_url}/hold-interpreter")
        services.wait_replaced(first)
        services.wait_until(lambda: both_directions_work(services), "the new worker is attached")


def test_a_worker_whose_threads_are_all_taken_is_not_taken_for_hung() -> None:
    with Services(workers=1, gunicorn_args=["--threads", "1", *SLOW_APP]) as services, ThreadPoolExecutor(5) as pool:
        (worker,) = services.worker_pids()
        mark = services.directory / "begun"
        slow = pool.submit(http_client.get, f"{services.python_url}/until-removed?mark={mark}")
        services.wait_until(mark.exists, "the handler sleeps")
        others = [pool.submit(http_client.get, f"{services.python_url}/hello") for _ in range(4)]
        wait_for_signs_of_life(services, worker, 3)
        mark.unlink()
        assert [answer.result().status for answer in (slow, *others)] == [200] * 5
        assert services.worker_pids() == [worker]


def test_an_idle_worker_is_not_taken_for_hung() -> None:
    with Services(workers=1) as services:
        (worker,) = services.worker_pids()
        wait_for_signs_of_life(services, worker, 3)
        assert services.worker_pids() == [worker]


def test_a_kept_alive_request_that_came_while_the_loop_could_not_look_is_answered() -> None:
    keep_alive_s = 2
    arguments = ["--threads", "1", "--keep-alive", str(keep_alive_s), *SLOW_APP]
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    with Services(workers=1, gunicorn_args=arguments) as services, ThreadPoolExecutor(1) as pool:
        was_in_time = False
        while not was_in_time:
            with connect(services.python_url) as sock:
                sock.sendall(request)
                assert read_answer(sock)[0] == 200
                mark = services.directory / "begun"
                url = f"{services.python_url}/hold-interpreter/{keep_alive_s + 1:.1f}?mark={mark}"
                slow = pool.submit(http_client.get, url)
                services.wait_until(mark.exists, "the interpreter is held")
                # On a slow machine the connection may be idle for too long before.
                was_in_time = not select.select([sock], [], [], 0)[0]
                if was_in_time:
                    sock.sendall(request)
                mark.unlink()
                assert slow.result().status == 200
                if was_in_time:
                    assert read_answer(sock)[0] == 200


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

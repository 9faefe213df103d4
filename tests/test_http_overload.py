"""When there is too much to do, clients are told to come again, and both services stay up."""

import json
import os
import select
import signal
import socket
import struct
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import http_client
import msgpack
import pytest
from raw_http import LENGTH, POST, REQUEST, connect, read_answer
from services import HANG_S, Services, freeze

MAX_OUTSTANDING = 1024
"""Calls to one worker: PROTOCOL.md, section 11."""

MAX_CONNECTIONS = 256
"""Of a bridge that does not say otherwise."""

GUNICORN = (
    sys.executable,
    "-m",
    "gunicorn",
    "--no-control-socket",
    "--bind",
    "127.0.0.1:{port}",
    "python_side.app:app",
)
HANDSHAKE = struct.Struct("<4sHHI")


def test_calls_past_what_may_wait_for_a_worker_are_a_503_at_once_and_the_others_are_answered() -> None:
    too_many = 20  # more answers behind those that wait, and Node would stop reading from this client
    with Services(workers=1, env={"SHM_POLYGLOT_CALL_TIMEOUT": "60"}) as services:
        (worker,) = services.worker_pids()
        freeze(worker)
        with connect(services.node_url) as sock:
            sock.sendall(REQUEST * (MAX_OUTSTANDING + too_many))
            services.wait_until(
                lambda: http_client.get(f"{services.node_url}/api/stats").json()["pythonRequests"] >= too_many,
                "what is too much has been refused",
            )
            # Who comes now is told at once, while the others still wait.
            refused = http_client.post(f"{services.node_url}/api/predict", {"text": "x"})
            assert (refused.status, refused.json()) == (503, {"error": "Too many calls to Python are waiting"})
            assert refused.headers["retry-after"] == "1"
            os.kill(worker, signal.SIGCONT)
            answers = [read_answer(sock) for _ in range(MAX_OUTSTANDING + too_many)]
        assert Counter(status for status, _, _ in answers) == {200: MAX_OUTSTANDING, 503: too_many}
        for status, headers, body in answers:
            if status == 200:
                assert json.loads(body)["prediction"]["sentiment"] == "positive"
            else:
                assert headers["retry-after"] == "1"
        assert http_client.post(f"{services.node_url}/api/predict", {"text": "x"}).status == 200


def hello(name: str) -> bytes:
    """What a dialer says first."""
    body = {"role": "client", "transport": "socket", "language": "none", "library": "0", "max_message": 65536}
    packed = msgpack.packb({"name": name, **body})
    return HANDSHAKE.pack(b"SHMP", 1, 0, len(packed)) + packed


def answer_of(connection: socket.socket) -> dict[str, Any]:
    """Node's welcome or refusal."""
    header = connection.recv(HANDSHAKE.size, socket.MSG_WAITALL)
    body: dict[str, Any] = msgpack.unpackb(connection.recv(HANDSHAKE.unpack(header)[3], socket.MSG_WAITALL))
    return body


def dial(path: Path) -> socket.socket:
    """A bare connection to Node."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(HANG_S)
    connection.connect(str(path))
    return connection


def test_a_flood_of_connections_gets_so_many_and_the_rest_is_refused_and_both_services_stay_up() -> None:
    # A pool dials when it is first used, so this side has no connection yet.
    with Services(gunicorn=GUNICORN, attaches=False) as services, ExitStack() as stack:
        path = services.directory / "run" / "node.sock"
        flood = [stack.enter_context(dial(path)) for _ in range(MAX_CONNECTIONS + 100)]
        for number, connection in enumerate(flood):
            connection.sendall(hello(f"stranger {number}"))
        answers = [answer_of(connection) for connection in flood]
        welcome = [connection for connection, body in zip(flood, answers, strict=True) if body["status"] == "welcome"]
        refusals = [body for body in answers if body["status"] != "welcome"]
        assert len(welcome) == MAX_CONNECTIONS
        assert {(body["status"], body["code"]) for body in refusals} == {("refused", "Busy")}
        assert {body["message"] for body in refusals} == {
            "as many connections as allowed (maxConnections) are open already"
        }
        full = http_client.post(f"{services.python_url}/api/slugify", {"text": "x"})
        assert (full.status, full.json()) == (503, {"error": "Too many calls to the TypeScript server are waiting"})
        assert full.headers["retry-after"] == "1"
        assert http_client.post(f"{services.python_url}/api/predict", {"text": "x"}).status == 200
        assert http_client.get(f"{services.node_url}/api/stats").status == 200
        welcome[0].close()
        services.wait_until(
            lambda: http_client.post(f"{services.python_url}/api/slugify", {"text": "x"}).status == 200,
            "one may come when one has gone",
        )


def test_large_requests_that_are_never_finished_are_shed_before_they_cost_the_worker_its_health() -> None:
    text = b'{"text":"' + b"x" * ((1 << 20) - 11) + b'"}'
    post = POST.replace(LENGTH, b"Content-Length: %d" % len(text)) + b"\r\n" + text
    clients = 300  # three times the memory limit
    # So that none of them has to go for its slowness, or the machine's.
    limits = {"SHM_POLYGLOT_MEMORY_LIMIT_MIB": "150", "SHM_POLYGLOT_REQUEST_TIMEOUT": "3600"}
    with Services(workers=1, env=limits) as services, ExitStack() as stack:
        socks = []
        for number in range(clients):
            sock = stack.enter_context(connect(services.python_url))
            sock.sendall(post[:-1])
            socks.append(sock)
            if number % 50 == 49:
                assert http_client.get(f"{services.python_url}/health").status == 200
                # The newest large request is not the one that has to go.
                assert (
                    http_client.request(
                        "POST",
                        f"{services.python_url}/api/predict",
                        body=text,
                        headers={"Content-Type": "application/json"},
                    ).status
                    == 200
                )
        statuses = Counter[int]()
        for sock in socks:
            # The others may be finished yet, one after the other.
            if not select.select([sock], [], [], 0)[0]:
                sock.sendall(post[-1:])
            status, headers, _ = read_answer(sock)
            statuses[status] += 1
            assert status == 200 or (status == 503 and headers["retry-after"] == "1")
        assert statuses[503] > clients / 2
        assert http_client.get(f"{services.python_url}/health").status == 200


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", REQUEST, REQUEST[:40], REQUEST[:-1]], ids=lambda sent: f"{len(sent)} bytes"
)
def test_as_many_silent_clients_as_a_worker_takes_connections_keep_nobody_out(sent: bytes) -> None:
    arguments = ["--worker-connections", "20", "--keep-alive", "3600"]
    env = {"SHM_POLYGLOT_REQUEST_TIMEOUT": "3600"}
    with Services(workers=1, gunicorn_args=arguments, env=env) as services, ExitStack() as stack:
        silent = [stack.enter_context(connect(services.python_url)) for _ in range(40)]
        for sock in silent:
            sock.sendall(sent)
        for _ in range(5):
            assert http_client.get(f"{services.python_url}/hello").status == 200
        if sent == REQUEST:
            assert read_answer(silent[0])[0] == 200
        if len(sent) > 2 and sent != REQUEST:
            # Who had begun is told.
            status, headers, _ = read_answer(silent[0])
            assert (status, headers["retry-after"]) == (503, "1")
        assert silent[0].recv(1) == b""


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_a_refusal_reaches_plain_clients_that_send_all_before_they_read(size: int) -> None:
    with Services(workers=1) as services, ThreadPoolExecutor(8) as clients:

        def post(_: int) -> int:
            headers = {"Content-Type": "application/json"}
            url = f"{services.python_url}/api/predict"
            return http_client.request("POST", url, body=b"x" * size, headers=headers).status

        assert list(clients.map(post, range(8))) == [413] * 8


def test_a_request_with_a_body_of_the_limit_is_taken_by_each_of_many_at_once() -> None:
    text = b'{"text":"' + b"x" * ((1 << 20) - 11) + b'"}'
    post = POST.replace(LENGTH, b"Content-Length: %d" % len(text)) + b"\r\n" + text
    with Services(workers=1) as services:
        for url in (services.python_url, services.node_url):
            with ExitStack() as stack:
                socks = [stack.enter_context(connect(url)) for _ in range(8)]
                for sock in socks:
                    sock.sendall(post[:-1])
                for sock in socks:
                    sock.sendall(post[-1:])
                assert [read_answer(sock)[0] for sock in socks] == [200] * len(socks)

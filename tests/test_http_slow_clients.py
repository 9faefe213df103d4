"""No client may occupy a thread of a BridgeWorker: with one worker and one thread, others are served meanwhile."""

import contextlib
import json
import socket
from collections.abc import Iterator

import http_client
import pytest
from raw_http import BODY, LENGTH, POST, REQUEST, connect, is_at_end, is_held, post_until_in_time, read_answer
from services import Services


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """One worker, with the routes of slow_app, that waits for the rest of a request as long as it takes."""
    patience = {"SHM_POLYGLOT_REQUEST_TIMEOUT": "3600"}
    arguments = ["--threads", "1", "--pythonpath", "tests", "slow_app:app"]
    with Services(workers=1, env=patience, gunicorn_args=arguments) as running:
        yield running


def others_are_served(services: Services) -> bool:
    return (
        http_client.get(f"{services.python_url}/hello").status == 200
        and post_until_in_time(services, f"{services.node_url}/api/predict", {"text": "x"}) == 200
    )


CHUNKED = POST.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        *((REQUEST, sent) for sent in (0, 1, 40, len(POST), len(POST) + 2, len(REQUEST) - 1)),
        *((CHUNKED, sent) for sent in (len(CHUNKED) - len(BODY) - 5, len(CHUNKED) - 2)),
    ],
)
def test_an_unfinished_request_holds_nobody_up(services: Services, request_: bytes, sent: int) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(request_[:sent])
        assert others_are_served(services)
        sock.sendall(request_[sent:])
        assert read_answer(sock)[0] == 200


LARGE_TEXT = b'{"text":"' + b"x" * 1_000_000 + b'"}'
LARGE_POST = POST.replace(LENGTH, b"Content-Length: %d" % len(LARGE_TEXT)) + b"\r\n" + LARGE_TEXT
MORE_THAN_IS_COLLECTED = b"POST /read-all HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n"
CHUNKED_POST = POST.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Expect: 100-continue\r\n\r\n",
        CHUNKED_POST + b"10\r\nabcd\r\n\r\n",
        CHUNKED_POST + b"ff\r\n\r\n\r\n",
        CHUNKED_POST + b"%x\r\n%b\r\n0\r\nX: y\r\n" % (len(BODY), BODY),
        POST.replace(LENGTH, b"Content-Length: 0000000000000000000036") + b"\r\n",
        POST.replace(LENGTH, b"Transfer-Encoding: gzip, chunked") + b"\r\n",
        MORE_THAN_IS_COLLECTED + b"x" * 1000,
        MORE_THAN_IS_COLLECTED.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        LARGE_POST * 8,
        b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /large/50000000 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /large-file HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
    ],
    ids=lambda sent: sent[:20].decode() + f"... {len(sent)} bytes",
)
def test_many_clients_that_neither_send_on_nor_read_hold_nobody_up(services: Services, sent: bytes) -> None:
    # So many that others wait for longer than they do here, should each hold the thread for as long as it can.
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(connect(services.python_url, receive_bytes=4096))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.send(sent)
        assert others_are_served(services)


def test_a_large_body_may_come_slowly(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(MORE_THAN_IS_COLLECTED)
        for _ in range(16):
            sock.sendall(b"x" * (2097152 // 16))
            assert others_are_served(services)
        assert json.loads(read_answer(sock)[2]) == {"length": 2097152}


def test_a_stream_may_be_read_slowly(services: Services) -> None:
    with connect(services.python_url, receive_bytes=4096) as sock:
        sock.sendall(b"GET /large-file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        others_are_served(services)
        received = sum(len(data) for data in iter(lambda: sock.recv(1 << 16), b""))
        assert received > 10_000_000


@pytest.mark.parametrize(("size", "offset"), [(0, 0), (3, 3), (3, 5), (3, 1), (20_000, 0)])
def test_a_file_is_an_answer_like_any_other(services: Services, size: int, offset: int) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(b"GET /file/%d/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (size, offset))
        sock.sendall(b"GET /large/5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    file, end, other = received.partition(b"0\r\n\r\n")
    assert end
    assert file.count(b"\0") == max(0, size - offset)
    assert other.startswith(b"HTTP/1.1 200 ")
    assert other.endswith(b"\r\n\r\nxxxxx")


def test_a_file_that_is_shorter_than_promised_ends_its_connection(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(b"GET /file/3/1?promised=10 HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        assert received.endswith(b"\r\n\r\n\0\0")


def test_a_request_may_come_byte_by_byte(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST:
            sock.sendall(bytes([byte]))
        assert read_answer(sock)[0] == 200


def test_a_chunked_request_may_come_in_any_pieces(services: Services) -> None:
    head = POST.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:9], BODY[9:]))
    request = head + chunks + b"0\r\n\r\n"
    for cut in range(len(head) - 2, len(request), 3):
        with connect(services.python_url) as sock:
            sock.sendall(request[:cut])
            sock.sendall(request[cut:])
            assert read_answer(sock)[0] == 200, cut


def test_requests_sent_at_once_are_answered_in_order(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(REQUEST + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" + REQUEST[:50])
        assert b"positive" in read_answer(sock)[2]
        assert b"Hello" in read_answer(sock)[2]
        assert others_are_served(services)
        sock.sendall(REQUEST[50:])
        assert b"positive" in read_answer(sock)[2]


def test_a_connection_is_kept_alive(services: Services) -> None:
    with connect(services.python_url) as sock:
        for _ in range(5):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0] == 200
            assert others_are_served(services)


def test_a_client_that_expects_100_continue_gets_it(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert read_answer(sock)[0] == 200


def test_a_client_that_does_not_close_its_end_holds_nobody_up(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_answer(sock)[0] == 200
        assert sock.recv(1) == b""
        assert others_are_served(services)


def test_a_body_that_the_app_does_not_read_does_not_become_the_next_request(services: Services) -> None:
    with connect(services.python_url) as sock:
        unread = REQUEST.replace(b"/api/predict", b"/unread")
        sock.sendall(unread + unread + REQUEST)
        for _ in range(2):
            assert b"pid" in read_answer(sock)[2]
        assert b"positive" in read_answer(sock)[2]


def test_a_body_that_the_app_does_not_read_and_that_has_not_come_ends_the_connection(services: Services) -> None:
    with connect(services.python_url) as sock:
        # Too large to be collected first.
        sock.sendall(POST.replace(b"/api/predict", b"/unread").replace(b"%d" % len(BODY), b"9000000") + b"\r\n")
        assert b"pid" in read_answer(sock)[2]
        sock.sendall(REQUEST)
        assert is_at_end(sock), "a part of the body is taken for a request"
    assert others_are_served(services)


@pytest.fixture(scope="module")
def impatient() -> Iterator[Services]:
    """Servers that give a client one second for its request."""
    with Services(workers=1, env={"SHM_POLYGLOT_REQUEST_TIMEOUT": "1"}) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        REQUEST[:20],
        REQUEST[:-1],
        # These the worker reads while it waits.
        POST + b"Expect: 100-continue\r\n\r\n" + BODY[:-1],
        POST.replace(b"%d" % len(BODY), b"900000") + b"\r\n",
        POST.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n5\r\nab\r\n",
    ],
)
def test_a_client_that_never_finishes_gets_a_408(impatient: Services, sent: bytes) -> None:
    with connect(impatient.python_url) as sock:
        sock.sendall(sent)
        status, _, body = read_answer(sock)
        if status == 100:
            status, _, body = read_answer(sock)
        assert status == 408
        assert list(json.loads(body)) == ["error"]
        assert sock.recv(1) == b""
    assert others_are_served(impatient)


def test_a_connection_that_never_begins_is_closed(impatient: Services) -> None:
    with connect(impatient.python_url) as sock:
        assert sock.recv(1) == b""


@pytest.mark.parametrize("sent", [REQUEST[:20], REQUEST[:-1]])
def test_the_typescript_server_gives_a_408_too(impatient: Services, sent: bytes) -> None:
    with connect(impatient.node_url) as sock:
        sock.sendall(sent)
        status, _, body = read_answer(sock)
        assert (status, json.loads(body)) == (408, {"error": "The request did not arrive in time"})


def test_a_client_that_does_not_take_its_answer_is_dropped(services: Services) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(b"GET /large/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert others_are_served(services)
        ports = (int(services.python_url.rpartition(":")[2]), sock.getsockname()[1])
        services.wait_until(lambda: not is_held(*ports), "the worker has let go of the connection")
        received = 0
        while data := sock.recv(1 << 20):
            received += len(data)
        assert received < 50_000_000


def test_a_client_that_leaves_in_the_middle_is_forgotten(services: Services) -> None:
    port, clients = int(services.python_url.rpartition(":")[2]), list[int]()
    for sent in (b"", REQUEST[:20], REQUEST[:-1], b"\x00\xff garbage \r\n\r\n"):
        with connect(services.python_url) as sock:
            sock.sendall(sent)
            clients.append(sock.getsockname()[1])
    services.wait_until(lambda: not any(is_held(port, client) for client in clients), "the worker has let go of all")
    assert others_are_served(services)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (POST.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\nzz\r\n\r\n\r\n", 400),
    ],
)
def test_a_malformed_request_gets_a_json_answer_and_the_worker_stays(
    services: Services, request_: bytes, status: int
) -> None:
    workers = services.worker_pids()
    with connect(services.python_url) as sock:
        sock.sendall(request_)
        answered, _, body = read_answer(sock)
        assert answered == status
        assert list(json.loads(body)) == ["error"]
        assert sock.recv(1) == b""
    assert others_are_served(services)
    assert services.worker_pids() == workers

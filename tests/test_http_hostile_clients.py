"""What HTTP clients may not do to either service: be endless, be ambiguous, or keep others from being served."""

import contextlib
import itertools
import json
import os
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Literal

import http_client
import pytest
import raw_http
from raw_http import BODY, LENGTH, POST, REQUEST, connect, is_at_end, is_held, read_answer
from services import Services, read

Service = Literal["flask", "node"]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Servers that wait for a request as long as it takes, so that a slow machine is not refused for its slowness."""
    with Services(workers=1, env={"SHM_POLYGLOT_REQUEST_TIMEOUT": "3600"}) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Services]:
    """Servers that give a client one second for its request."""
    with Services(workers=1, env={"SHM_POLYGLOT_REQUEST_TIMEOUT": "1"}) as running:
        yield running


@pytest.fixture(params=["flask", "node"])
def url(request: pytest.FixtureRequest, services: Services) -> str:
    """Each test runs against both."""
    return services.python_url if request.param == "flask" else services.node_url


@pytest.fixture(params=["flask", "node"])
def impatient_url(request: pytest.FixtureRequest, impatient: Services) -> str:
    """Of both of them."""
    return impatient.python_url if request.param == "flask" else impatient.node_url


def others_are_served(services: Services) -> bool:
    return all(
        raw_http.post_until_in_time(services, f"{url}/api/predict", {"text": "x"}) == 200
        for url in (services.python_url, services.node_url)
    )


# Slow clients.


@pytest.mark.parametrize(
    ("at_once", "drop"),
    [(b"", REQUEST), (POST, b"X: " + b"x" * 8000), (POST.replace(LENGTH, b"Content-Length: 9000") + b"\r\n", b" ")],
    ids=["request line", "headers", "body"],
)
def test_a_client_that_sends_a_byte_now_and_then_gets_no_more_time(
    impatient: Services, impatient_url: str, at_once: bytes, drop: bytes
) -> None:
    with connect(impatient_url) as sock:
        sock.sendall(at_once)
        for byte in itertools.cycle(drop):
            if select.select([sock], [], [], 0.05)[0]:
                break
            sock.sendall(bytes([byte]))
        status, _, body = read_answer(sock)
        assert (status, list(json.loads(body))) == (408, ["error"])
        assert is_at_end(sock)
    assert others_are_served(impatient)


def test_a_client_that_never_begins_is_not_waited_for(impatient: Services, impatient_url: str) -> None:
    with connect(impatient_url) as sock:
        while sock.recv(1024):
            pass
    assert others_are_served(impatient)


def test_hundreds_of_slow_clients_keep_nobody_out(impatient: Services, impatient_url: str) -> None:
    with ExitStack() as stack:
        socks = []
        for _ in range(300):
            # Each has its second for itself: a slow machine takes longer than that for all of them.
            sock = stack.enter_context(connect(impatient_url))
            sock.sendall(POST)
            socks.append(sock)
        assert others_are_served(impatient)
        for sock in socks:
            assert read_answer(sock)[0] == 408


def test_a_client_that_does_not_take_its_answer_is_dropped_by_node(impatient: Services) -> None:
    text = b'{"text":"' + b"x" * 1_000_000 + b'"}'
    post = POST.replace(LENGTH, b"Content-Length: %d" % len(text)) + b"\r\n" + text
    answers = 8  # more than the system buffers between the two
    with connect(impatient.node_url, receive_bytes=4096) as sock:
        ports = (int(impatient.node_url.rpartition(":")[2]), sock.getsockname()[1])
        # Node reads no more from it than what it serves at a time, so it may be dropped while it sends.
        with contextlib.suppress(ConnectionError):
            for _ in range(answers):
                sock.sendall(post)
        impatient.wait_until(lambda: not is_held(*ports), "Node has let go of the connection")
        received = 0
        try:
            while data := sock.recv(1 << 20):
                received += len(data)
        except ConnectionResetError:
            pass
        assert received < answers * len(text)
    assert others_are_served(impatient)


@pytest.mark.parametrize(("sent", "status"), [(b"nonsense\r\n\r\n", 400), (REQUEST[:-1], 408)])
def test_a_client_that_is_refused_and_does_not_close_its_end_is_let_go(
    impatient: Services, impatient_url: str, sent: bytes, status: int
) -> None:
    with connect(impatient_url) as sock:
        sock.sendall(sent)
        assert read_answer(sock)[0] == status
        assert is_at_end(sock)
        ports = (int(impatient_url.rpartition(":")[2]), sock.getsockname()[1])
        impatient.wait_until(lambda: not is_held(*ports), "the server has let go of the connection")


# Large ones.


@pytest.mark.parametrize(
    ("head", "flask", "node"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n", 414, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n", 431, 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1234567890123456789\r\n" % n for n in range(1000)), 431, 431),
    ],
    ids=["request line", "one header", "many headers"],
)
def test_a_head_that_is_too_large_is_refused(services: Services, url: str, head: bytes, flask: int, node: int) -> None:
    with connect(url) as sock:
        sock.sendall(head + b"\r\n")
        status, _, body = read_answer(sock)
        assert (status, list(json.loads(body))) == (flask if url == services.python_url else node, ["error"])
        assert is_at_end(sock)
    assert others_are_served(services)


def test_a_head_that_never_ends_is_refused(services: Services, url: str) -> None:
    with connect(url) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        try:
            # More than the sockets between hold.
            for number in range(16_000):
                if select.select([sock], [], [], 0)[0]:
                    break
                sock.sendall(b"X-%d: x\r\n" % number * 100)
            else:
                pytest.fail("it takes everything")
            assert read_answer(sock)[0] == 431
        except (BrokenPipeError, ConnectionResetError):
            # Closed with something unread: the answer may be lost on the way.
            pass
    assert others_are_served(services)


@pytest.mark.parametrize("size", [2 << 20, 20 << 20])
def test_a_client_that_reads_nothing_before_it_has_sent_too_much_sees_that_it_was_too_much(
    services: Services, url: str, size: int
) -> None:
    head = POST.replace(LENGTH, b"Content-Length: %d\r\nConnection: close" % size) + b"\r\n"

    def post() -> int:
        with connect(url) as sock:
            sock.sendall(head + b"x" * size)
            return read_answer(sock)[0]

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(post) for _ in range(8)]
        assert others_are_served(services)
        assert [answer.result() for answer in answers] == [413] * 8


def test_unfinished_bodies_of_hundreds_of_clients_keep_nobody_out_of_node(impatient: Services) -> None:
    head = POST.replace(LENGTH, b"Content-Length: %d" % (1 << 20)) + b"\r\n"
    with ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(connect(impatient.node_url))
            with contextlib.suppress(ConnectionError):
                sock.sendall(head + b" " * ((1 << 20) - 1))
        assert http_client.get(f"{impatient.node_url}/health").status == 200
        assert others_are_served(impatient)
        resident = int(read(impatient.node_pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 600 << 20, resident


# Ambiguous ones: where two servers in a row understand a request differently, one of them takes the end of it for the
# next request.

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SHORT = b"Content-Length: 5"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (LENGTH + b"\r\n" + CHUNKED, CHUNKS),
        (CHUNKED + b"\r\n" + LENGTH, CHUNKS),
        (CHUNKED + b"\r\n" + SHORT, BODY),
        (LENGTH + b"\r\n" + SHORT, BODY),
        (SHORT + b"\r\n" + LENGTH, BODY),
        (LENGTH + b", %d" % len(BODY), BODY),
        (b"Content-Length: +%d" % len(BODY), BODY),
        (b"Content-Length: -1", BODY),
        (b"Content-Length: 0x24", BODY),
        (b"Content-Length: 3 6", BODY),
        (b"Content-Length: 3\xb2", BODY),
        (b"Content-Length: 99999999999999999999999999", BODY),
        (LENGTH.replace(b":", b" :"), BODY),
        (CHUNKED.replace(b":", b" :"), CHUNKS),
        (b"Transfer-Encoding: xchunked", CHUNKS),
        (b"Transfer-Encoding: chunked, identity", CHUNKS),
        (CHUNKED + b"\r\nTransfer-Encoding: identity", CHUNKS),
        (b"Transfer-Encoding: \x0bchunked", CHUNKS),
        (b"X: a\0b\r\n" + LENGTH, BODY),
        (b"X: a\rContent-Length: 0\r\n" + LENGTH, BODY),
        (CHUNKED, b"-1\r\n" + BODY),
        (CHUNKED, b"0x24\r\n%b\r\n0\r\n\r\n" % BODY),
        (CHUNKED, b"24\r\n%bxx0\r\n\r\n" % BODY),
        (CHUNKED, b"fffffffffffffffff\r\n%b\r\n0\r\n\r\n" % BODY),
    ],
)
def test_a_request_whose_length_is_ambiguous_is_refused_and_nothing_behind_it_is_a_request(
    services: Services, url: str, framing: bytes, body: bytes
) -> None:
    with connect(url) as sock:
        sock.sendall(POST.replace(LENGTH, framing) + b"\r\n" + body + HIDDEN)
        status, _, answer = read_answer(sock)
        assert 400 <= status <= 501, status
        assert list(json.loads(answer)) == ["error"]
        assert is_at_end(sock), "there is a second answer"
    assert others_are_served(services)


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: x\r\nHost: y\r\n", b"Host: x\r\nHost: x\r\n"], ids=["none", "two", "same"]
)
@pytest.mark.parametrize("method", [b"POST", b"OPTIONS"])
def test_a_request_that_does_not_have_one_host_is_refused(
    services: Services, url: str, method: bytes, hosts: bytes
) -> None:
    with connect(url) as sock:
        sock.sendall(REQUEST.replace(b"POST", method).replace(b"Host: x\r\n", hosts))
        status, headers, body = read_answer(sock)
        assert (status, headers["content-type"]) == (400, "application/json")
        assert "host" in json.loads(body)["error"].lower()
    assert others_are_served(services)


def test_a_host_may_be_missing_from_http_1_0_and_may_be_empty(url: str) -> None:
    for request in (
        REQUEST.replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0"),
        REQUEST.replace(b"Host: x", b"Host:"),
    ):
        with connect(url) as sock:
            sock.sendall(request)
            assert b"positive" in read_answer(sock)[2]


def test_an_expectation_that_cannot_be_met_is_refused(services: Services, url: str) -> None:
    with connect(url) as sock:
        sock.sendall(REQUEST.replace(b"Host: x", b"Host: x\r\nExpect: a miracle"))
        status, _, body = read_answer(sock)
        assert status == 417
        assert "a miracle" in json.loads(body)["error"]
    assert others_are_served(services)


def test_who_takes_the_server_for_a_proxy_is_refused(services: Services, url: str) -> None:
    with connect(url) as sock:
        sock.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        status, _, body = read_answer(sock)
        assert status in {404, 405}
        assert list(json.loads(body)) == ["error"]
    assert others_are_served(services)


def test_a_body_that_is_shorter_than_announced_takes_nothing_from_the_next_connection(
    services: Services, url: str
) -> None:
    with connect(url) as first, connect(url) as second:
        first.sendall(REQUEST[:-5])
        first.shutdown(socket.SHUT_WR)
        second.sendall(REQUEST)
        assert b"positive" in read_answer(second)[2]

"""When a BridgeWorker takes a request for complete."""

import pytest

from python_side.request_buffer import RequestBuffer

LIMIT = 1000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("request_", [GET, POST, CHUNKED, POST.replace(b"Content-Length:", b"content-LENGTH: \t")])
def test_a_request_is_complete_with_its_last_byte_however_it_is_cut(request_: bytes) -> None:
    for size in (1, 2, 3, 7, len(request_) - 1):
        buffer = RequestBuffer(LIMIT)
        pieces = [request_[at : at + size] for at in range(0, len(request_), size)]
        assert [buffer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert buffer.take() == request_
        assert not buffer


def test_what_follows_a_request_is_kept_with_it() -> None:
    buffer = RequestBuffer(LIMIT)
    assert buffer.feed(POST + GET[:5])
    assert len(buffer) == len(POST) + 5
    assert buffer.take() == POST + GET[:5]


def test_a_buffer_starts_anew_after_take() -> None:
    buffer = RequestBuffer(LIMIT)
    assert buffer.feed(POST)
    buffer.take()
    assert not buffer.feed(POST[:-1])
    assert buffer.feed(POST[-1:])


def test_a_request_that_announces_more_than_the_limit_is_left_to_the_parser_at_once() -> None:
    assert RequestBuffer(LIMIT).feed(POST.replace(b": 5", b": 1000"))
    assert not RequestBuffer(LIMIT).feed(POST.replace(b": 5", b": 900"))


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4] + b"fffff\r\n"])
def test_a_head_or_a_chunked_body_beyond_the_limit_is_left_to_the_parser(start: bytes) -> None:
    buffer = RequestBuffer(LIMIT)
    assert not buffer.feed(start + b"x" * (LIMIT - len(start)))
    assert buffer.feed(b"x")


def test_a_client_that_waits_for_100_continue_is_left_to_the_parser_with_its_head() -> None:
    buffer = RequestBuffer(LIMIT)
    assert buffer.feed(POST.replace(b"Host: x", b"Expect: 100-continue")[: -len(b"hello")])


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nContent-Length: 500",
        b"Content-Length: 500\r\nContent-Length: 5",
        b"Content-Length: 500\r\nTransfer-Encoding: chunked",
        b"transfer-encoding: chunked\r\nX: y\r\ncontent-length : 500",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ],
)
def test_a_head_that_tells_two_lengths_is_left_to_the_parser_at_once(headers: bytes) -> None:
    assert RequestBuffer(LIMIT).feed(b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")


def test_a_header_is_not_taken_from_the_body() -> None:
    buffer = RequestBuffer(LIMIT)
    assert buffer.feed(GET + b"\r\nContent-Length: 100\r\n\r\n")

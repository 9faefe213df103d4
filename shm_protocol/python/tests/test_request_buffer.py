"""When a BridgeWorker takes a request for complete."""

import pytest
from shm_protocol.gunicorn.request_buffer import MAX_LINE_BYTES, RequestBuffer

LIMIT = 1000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n\r\n"
MANY_CHUNKS = CHUNKED_HEAD + b"1\r\n\n\r\n4;a=b\r\n\r\n\r\n\r\nA \t;c\r\n0123456789\r\n000\r\nX: y\r\nZ: z\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        POST,
        CHUNKED,
        MANY_CHUNKS,
        CHUNKED.replace(b": chunked", b": gzip, CHUNKED "),
        POST.replace(b"Content-Length:", b"content-LENGTH: \t"),
        POST.replace(b": 5", b": 000000000000000000000000000005"),
        POST.replace(b"Host: x", b"Expect: 100-continue"),
    ],
)
def test_a_request_is_complete_with_its_last_byte_however_it_is_cut(request_: bytes) -> None:
    for size in (1, 2, 3, 7, len(request_) - 1):
        buffer = RequestBuffer(LIMIT, LIMIT)
        pieces = [request_[at : at + size] for at in range(0, len(request_), size)]
        assert [buffer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert buffer.take() == request_
        assert len(buffer) == 0


def test_what_follows_a_request_is_kept_with_it() -> None:
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert buffer.feed(POST + GET[:5])
    assert len(buffer) == len(POST) + 5
    assert buffer.take() == POST + GET[:5]


def test_a_buffer_starts_anew_after_take() -> None:
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert buffer.feed(POST)
    buffer.take()
    assert not buffer.feed(POST[:-1])
    assert buffer.feed(POST[-1:])


def test_a_request_that_announces_more_than_the_limit_is_left_to_the_parser_at_once() -> None:
    assert RequestBuffer(LIMIT, LIMIT).feed(POST.replace(b": 5", b": 1000"))
    assert not RequestBuffer(LIMIT, LIMIT).feed(POST.replace(b": 5", b": 900"))


def test_a_head_beyond_its_limit_is_left_to_the_parser() -> None:
    buffer = RequestBuffer(10_000, LIMIT)
    start = b"GET / HTTP/1.1\r\nX: "
    assert not buffer.feed(start + b"x" * (LIMIT + MAX_LINE_BYTES - len(start)))
    assert buffer.feed(b"x")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_head_of_too_many_lines_is_refused_with_the_first_line_too_many_however_it_is_cut(size: int) -> None:
    def feed(head: bytes) -> RequestBuffer:
        buffer = RequestBuffer(LIMIT, LIMIT, None, 10)
        for at in range(0, len(head), size):
            if buffer.feed(head[at : at + size]):
                break
        return buffer

    most = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10 + b"\r\n"
    assert not feed(most).has_too_many_lines
    assert feed(most).take() == most
    assert not feed(POST.replace(b"hello", b"\r\n" * 20)).has_too_many_lines
    for end in (b"", b"\r\n"):
        refused = feed(most[:-2] + b"a: b\r\n" + b"c: d\r\n" + end)
        assert refused.has_too_many_lines
        assert size > 3 or len(refused) < len(most) + 9
        refused.take()
        assert not refused.has_too_many_lines


def test_a_chunked_body_beyond_the_limit_is_left_to_the_parser_at_once() -> None:
    assert RequestBuffer(LIMIT, LIMIT).feed(CHUNKED_HEAD + b"fffff\r\n")
    assert RequestBuffer(LIMIT, LIMIT).feed(CHUNKED_HEAD + b"1\r\nx\r\n" * 160)


def test_a_size_line_that_is_too_long_is_refused_however_it_arrives() -> None:
    long = CHUNKED_HEAD + b"5;" + b"a" * 20_000 + b"\r\nhello\r\n0\r\n\r\n"
    for length in (1000, 7000, len(long)):
        buffer = RequestBuffer(100_000, 100_000)
        assert any(buffer.feed(long[at : at + length]) for at in range(0, len(long), length))
        assert buffer.is_broken


@pytest.mark.parametrize(
    "start",
    [
        b"nonsense\r\n",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: x\n",
        b"G" * (MAX_LINE_BYTES + 1),
        CHUNKED_HEAD + b"z",
        CHUNKED_HEAD + b"-",
        CHUNKED_HEAD + b"5\r\nhello0",
        CHUNKED_HEAD + b"5\r\nhello\r0",
        CHUNKED_HEAD + b"0\r\nX: y\n",
        POST.replace(b": 5", b": +5"),
        POST.replace(b": 5", b": " + b"9" * 30),
    ],
)
def test_what_the_parser_refuses_whatever_comes_is_left_to_it_at_once_however_it_is_cut(start: bytes) -> None:
    assert RequestBuffer(LIMIT, LIMIT).feed(start)
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert any(buffer.feed(bytes([byte])) for byte in start)


def test_empty_lines_before_a_request_are_nothing() -> None:
    buffer = RequestBuffer(LIMIT, LIMIT)
    for piece in (b"\r\n", b"\r\n\r", b"\n", b"\n", b"\n\r\n"):
        assert not buffer.feed(piece)
    assert not buffer.has_begun
    assert buffer.feed(b"\r\n\n" + GET)
    assert buffer.take() == GET


def test_a_client_that_waits_for_100_continue_is_told_of_once() -> None:
    head = POST.replace(b"Host: x", b"expect: 100-Continue")[: -len(b"hello")]
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert not buffer.feed(head)
    assert [buffer.take_expectation() for _ in range(2)] == [True, False]
    assert buffer.feed(b"hello")


@pytest.mark.parametrize(
    "request_",
    [
        POST[:-1],
        POST.replace(b"Host: x", b"Expect: 100-continue")[:-1],
        POST.replace(b"Host: x", b"Expect: 100-continue").replace(b"1.1", b"1.0")[:-5],
    ],
)
def test_a_client_that_does_not_wait_for_100_continue_is_not_told_to_go_on(request_: bytes) -> None:
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert not buffer.feed(request_)
    assert not buffer.take_expectation()


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
    assert RequestBuffer(LIMIT, LIMIT).feed(b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")


def test_a_header_is_not_taken_from_the_body() -> None:
    buffer = RequestBuffer(LIMIT, LIMIT)
    assert buffer.feed(GET + b"\r\nContent-Length: 100\r\n\r\n")


def test_a_head_with_a_bare_line_feed_is_left_to_the_parser_at_once() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 500\r\nA: b\nC: d\r\n\r\n"
    assert RequestBuffer(LIMIT, LIMIT).feed(head)

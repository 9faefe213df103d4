"""The same bytes sent to both servers, and the one answer that both have to give.

Each row says which answer is right, and by what: RFC 9110 and 9112 (HTTP), 8259 (JSON), or the HTTP contract. Where a
message is given, both give that one. What is not here, because the servers differ on purpose or by their parsers:

- Two spaces in the request line, `RTSP/1.0` for a version, `PRI`: RFC 9112 section 3 lets a server take the first.
  Node's parser takes the first two, and says nothing of the line's bytes to JavaScript; Flask refuses them.
- A chunk of more than a body may have: Flask refuses it when it sees its size; Node is told of data only, and refuses
  it when so much has come, or does not come in time.
- `Expect: 100-continue` where no body is wanted: Node closes the connection, because it does not know whether one
  follows; Flask has the body by then. Node answers 404 before a body has come, Flask after it.
- OPTIONS for an unknown path: 200 by the contract of the TypeScript server, 404 by Flask's.
- `Content-Length: 15<tab>`, `Transfer-Encoding: chunked<tab>`, spaces around a chunk's extension: Node's parser refuses
  what RFC 9112 wants to be taken. It takes an extension with no name or no value, and trailers that gunicorn refuses.
- A chunk's extension of 8 to 16 KiB: gunicorn refuses it, Node takes it.
- A length past 64 bits where no body is read: Node's parser refuses it with 413 for any path and method.
- How large a head may be as a whole: 64 KiB in Node, in gunicorn as many fields of 8190 bytes as there may be.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from raw_http import connect, is_at_end, read_answer
from services import Services

GOOD: Final = b'{"text":"good"}'
JSON: Final = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """One pair for all rows."""
    with Services(workers=1) as running:
        yield running


@dataclass(frozen=True)
class Row:
    """What is sent, the statuses of the answers, and why."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    why: str
    message: str | None = None
    closes: bool | None = None


def get(
    target: bytes = b"/health", *, method: bytes = b"GET", version: bytes = b"HTTP/1.1", fields: bytes = b"Host: x\r\n"
) -> bytes:
    return b"%b %b %b\r\n%b\r\n" % (method, target, version, fields)


def post(
    body: bytes = GOOD,
    *,
    path: bytes = b"/api/predict",
    version: bytes = b"HTTP/1.1",
    content_type: bytes = JSON,
    fields: bytes = b"",
) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b %b\r\nHost: x\r\n%b%b%b\r\n%b" % (path, version, content_type, fields, length, body)


def chunked(chunks: bytes, *, coding: bytes = b"Transfer-Encoding: chunked\r\n", version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /api/predict %b\r\nHost: x\r\n%b%b\r\n%b" % (version, JSON, coding, chunks)


def typed(content_type: bytes) -> bytes:
    return post(content_type=b"Content-Type: %b\r\n" % content_type)


def announced(length: bytes) -> bytes:
    return post().replace(b": 15\r\n", b":%b\r\n" % length)


def nested(depth: int) -> bytes:
    return post(b'{"text":"good","x":%b%b}' % (b"[" * (depth - 1), b"]" * (depth - 1)))


def number(text: bytes) -> bytes:
    return post(b'{"text":"good","x":%b}' % text)


CHUNKS: Final = b"f\r\n%b\r\n0\r\n\r\n" % GOOD
CLOSING: Final = b"Host: x\r\nConnection: %b\r\n"
NO_TARGET: Final = "The request target is neither a path nor an http URL"
NO_HOST: Final = "The Host header is not the name of a host"
NO_TYPE: Final = "The content type must be application/json"
OUT_OF_RANGE: Final = "Malformed JSON: a number is out of a double's range"
LARGE: Final = "The request body is larger than 1048576 bytes"

REQUEST_LINES: Final = (
    Row("a path", get(), (200,), "9112 section 3"),
    Row("HTTP/1.0", get(version=b"HTTP/1.0"), (200,), "9110 section 2.5"),
    Row("HTTP/1.0 without Host", get(version=b"HTTP/1.0", fields=b""), (200,), "9112 section 3.2"),
    Row("HTTP/2.0", get(version=b"HTTP/2.0"), (505,), "9110 section 2.5: another major version is another language"),
    Row("HTTP/3.0", get(version=b"HTTP/3.0"), (505,), "9110 section 2.5"),
    Row("HTTP/0.9", get(version=b"HTTP/0.9"), (505,), "9110 section 2.5"),
    Row("HTTP/1.2", get(version=b"HTTP/1.2"), (505,), "there is none; Node's parser refuses it"),
    Row("HTTP/1.10", get(version=b"HTTP/1.10"), (400,), "9112 section 2.3: one digit"),
    Row("http/1.1", get(version=b"http/1.1"), (400,), "9112 section 2.3: case-sensitive"),
    Row("no version", b"GET /health\r\n\r\n", (400,), "9112 section 3"),
    Row("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,), "9113 section 3.4"),
    Row("absolute form", get(b"http://example.test/health"), (200,), "9112 section 3.2.2"),
    Row("absolute form, https", get(b"HTTPS://x/health?a=b"), (200,), "9112 section 3.2.2; 3986: any case"),
    Row("absolute form with a port", get(b"http://x:99/health"), (200,), "9112 section 3.2.2"),
    Row("absolute form without a path", get(b"http://x"), (200,), "9110 section 4.2.3: the path is /"),
    Row("absolute form with a query alone", get(b"http://x?y"), (200,), "9110 section 4.2.3"),
    Row("absolute form, unknown path", get(b"http://x/nothing"), (404,), "the contract", "Not found"),
    Row("absolute form without Host", get(b"http://x/health", fields=b""), (400,), "9112 section 3.2"),
    Row("absolute form, no host", get(b"http://[::1/health"), (400,), "9110 section 4.2.3"),
    Row("absolute form, half a host", get(b"http://a^b/health"), (400,), "9110 section 4.2.3"),
    Row("absolute form, another scheme", get(b"ftp://x/health"), (400,), "9110 section 7.4", NO_TARGET),
    Row("absolute form with a user", get(b"http://u@x/health"), (400,), "9110 section 4.2.4", NO_TARGET),
    Row("authority form", get(b"x:80"), (400,), "9112 section 3.2.3: for CONNECT only"),
    Row("no slash", get(b"health"), (400,), "9112 section 3.2.1"),
    Row("GET *", get(b"*"), (400,), "9112 section 3.2.4: for OPTIONS only"),
    Row("OPTIONS *", get(b"*", method=b"OPTIONS"), (200,), "9112 section 3.2.4"),
    Row("a fragment", get(b"/health#x"), (400,), "9112 section 3.2: not part of a target", NO_TARGET),
    Row("a query", get(b"/health?x=1?y"), (200,), "9112 section 3.2.1"),
    Row("a path in percent-encoding", get(b"/he%61lth"), (200,), "3986 section 6.2.2.2: the same path"),
    Row("a slash in percent-encoding", get(b"/api%2Fpredict"), (405,), "WSGI decodes it, so both do"),
    Row("percent and no number", get(b"/health%zz"), (404,), "the contract", "Not found"),
    Row("percent and NUL", get(b"/health%00"), (404,), "the contract", "Not found"),
    Row("percent and a question mark", get(b"/health%3Fx"), (404,), "3986: it is part of the path", "Not found"),
    Row("a slash at the end", get(b"/health/"), (404,), "the contract", "Not found"),
    Row("two slashes", get(b"//health"), (404,), "3986: another path", "Not found"),
    Row("dot segments", get(b"/api/../health"), (404,), "3986: for the client to remove", "Not found"),
    Row("UTF-8 in the target", get("/hé".encode()), (400,), "9112 section 3.2"),
    Row("a control character in the target", get(b"/he\x01alth"), (400,), "9112 section 3.2"),
    Row("tabs for spaces", b"GET\t/health\tHTTP/1.1\r\nHost: x\r\n\r\n", (400,), "9112 section 3"),
    Row("a space before the method", b" " + get(), (400,), "9112 section 2.2"),
    Row("a space after the version", get(version=b"HTTP/1.1 "), (400,), "9112 section 3"),
    Row("a long line", get(b"/health?" + b"x" * 8000), (200,), "9112 section 3: 8000 bytes at least"),
    Row("too long a line", get(b"/health?" + b"x" * 8200), (414,), "9112 section 3"),
    Row("a far too long line", get(b"/health?" + b"x" * 20_000), (414,), "9112 section 3"),
    Row("an empty line before", b"\r\n" + get(), (200,), "9112 section 2.2"),
    Row("three empty lines before", b"\r\n\r\n\r\n" + get(), (200,), "9112 section 2.2: at least one"),
    Row("LF before", b"\n" + get(), (200,), "9112 section 2.2: a robust server ignores it"),
    Row("LF behind a body", post() + b"\n" + get(), (200, 200), "9112 section 2.2: of clients from before HTTP/1.1"),
    Row("an empty line between", get() + b"\r\n" + get(), (200, 200), "9112 section 2.2"),
    Row("bare LF", b"GET /health HTTP/1.1\nHost: x\n\n", (400,), "9112 section 2.2 lets us"),
    Row("a header that ends with LF", get(fields=b"Host: x\n"), (400,), "9112 section 2.2 lets us"),
    Row("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100, (400,), "no request"),
    Row("no request at all", b"\x00\x01\x02\r\n\r\n", (400,), "no request"),
    Row("the PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(), (400,), "nobody has agreed on it"),
)

HEADS_THAT_END_A_CONNECTION: Final = tuple(
    Row(name, sent, statuses, "who sends it may mean another framing, too", closes=True)
    for name, sent, statuses in (
        ("HTTP/1.2", get(version=b"HTTP/1.2"), (505,)),
        ("HTTP/1.9", get(version=b"HTTP/1.9"), (505,)),
        ("two Hosts", get(fields=b"Host: x\r\nHost: x\r\n"), (400,)),
        ("no Host", get(fields=b""), (400,)),
        ("a Host of two words", get(fields=b"Host: a b\r\n"), (400,)),
        ("a bad Host and an absolute target", get(b"http://x/health", fields=b"Host: a b\r\n"), (400,)),
        ("a Host with an empty label", get(fields=b"Host: a..b\r\n"), (400,)),
        ("a Host of a dot", get(fields=b"Host: .\r\n"), (400,)),
        ("a Host with a long label", get(fields=b"Host: %b.test\r\n" % (b"x" * 64)), (400,)),
        ("a fragment", get(b"/health#x"), (400,)),
        ("a fragment of nothing", get(b"/health#"), (400,)),
        ("a fragment of a POST", post(path=b"/api/predict#x"), (400,)),
        ("a user", get(b"http://u@x/health"), (400,)),
        ("another scheme", get(b"ftp://x/health"), (400,)),
        ("no authority", get(b"http:///health"), (400,)),
        ("no port", get(b"http://x:a/health"), (400,)),
        ("FOO", get(method=b"FOO"), (501,)),
        ("PROPFIND", get(method=b"PROPFIND"), (501,)),
        ("DESCRIBE, of RTSP", get(method=b"DESCRIBE"), (501,)),
        ("1GET", get(method=b"1GET"), (501,)),
        ("---", get(method=b"---"), (501,)),
        ("FOO with a body", post().replace(b"POST", b"FOO"), (501,)),
    )
)

METHODS: Final = (
    Row("HEAD", get(method=b"HEAD"), (200,), "9110 section 9.3.2"),
    Row("HEAD for POST", get(b"/api/predict", method=b"HEAD"), (405,), "the contract"),
    Row("OPTIONS", get(method=b"OPTIONS"), (200,), "9110 section 9.3.7"),
    Row("DELETE", get(method=b"DELETE"), (405,), "the contract", "Method not allowed"),
    Row("TRACE", get(method=b"TRACE"), (405,), "the contract", "Method not allowed"),
    Row("PATCH of nothing", get(b"/nothing", method=b"PATCH"), (404,), "the contract", "Not found"),
    Row("CONNECT", get(b"x:443", method=b"CONNECT"), (405,), "9110 section 9.3.6", "Method not allowed"),
    Row("FOO", get(method=b"FOO"), (501,), "9110 section 9.1", "The method FOO is not implemented"),
    Row("FOO of nothing", get(b"/nothing", method=b"FOO"), (501,), "9110 section 9.1"),
    Row("PROPFIND", get(method=b"PROPFIND"), (501,), "9110 section 9.1", "The method PROPFIND is not implemented"),
    Row("get", get(method=b"get"), (400,), "9110 section 9.1: case-sensitive, and none is in lower case"),
    Row("a long method", get(method=b"A" * 30), (400,), "gunicorn takes 20 characters"),
    Row("no token", get(method=b"G@T"), (400,), "9110 section 9.1"),
)

FIELDS: Final = (
    Row("no Host", get(fields=b""), (400,), "9112 section 3.2", "A request must have one Host header, this one has 0"),
    Row("two Hosts", get(fields=b"Host: x\r\nHost: x\r\n"), (400,), "9112 section 3.2"),
    Row("an empty Host", get(fields=b"Host:\r\n"), (200,), "9112 section 3.2"),
    Row("a Host with a port", get(fields=b"Host: x:99\r\n"), (200,), "9110 section 7.2"),
    Row("an IPv6 Host", get(fields=b"Host: [::1]:80\r\n"), (200,), "9110 section 7.2"),
    Row("a Host of two words", get(fields=b"Host: a b\r\n"), (400,), "9112 section 3.2", NO_HOST),
    Row("a Host with a path", get(fields=b"Host: a/b\r\n"), (400,), "9112 section 3.2", NO_HOST),
    Row("a Host with a user", get(fields=b"Host: u@x\r\n"), (400,), "9112 section 3.2", NO_HOST),
    Row("a space before the colon", get(fields=b"Host : x\r\n"), (400,), "9112 section 5.1"),
    Row("a folded field", get(fields=b"Host: x\r\nA: b\r\n c\r\n"), (400,), "9112 section 5.2"),
    Row("a field that is folded first", get(fields=b" A: b\r\nHost: x\r\n"), (400,), "9112 section 2.2"),
    Row("a field without a colon", get(fields=b"Host: x\r\nAB\r\n"), (400,), "9112 section 5"),
    Row("a field without a name", get(fields=b"Host: x\r\n: b\r\n"), (400,), "9112 section 5"),
    Row("a name that is no token", get(fields=b"Host: x\r\nA(: b\r\n"), (400,), "9110 section 5.1"),
    Row("NUL in a value", get(fields=b"Host: x\r\nA: \0\r\n"), (400,), "9110 section 5.5"),
    Row("a control character in a value", get(fields=b"Host: x\r\nA: \x01\r\n"), (400,), "9110 section 5.5"),
    Row("CR in a value", get(fields=b"Host: x\rA: b\r\n"), (400,), "9112 section 2.2"),
    Row("Latin-1 in a value", get(fields=b"Host: x\r\nA: \xe9\r\n"), (200,), "9110 section 5.5: obs-text"),
    Row("too long a field", get(fields=b"Host: x\r\nA: %b\r\n" % (b"x" * 8200)), (431,), "6585 section 5"),
    Row("a hundred fields", get(fields=b"Host: x\r\n" + b"A: b\r\n" * 99), (200,), "gunicorn's limit"),
    Row("too many fields", get(fields=b"Host: x\r\n" + b"A: b\r\n" * 100), (431,), "6585 section 5"),
    Row("close", get(fields=CLOSING % b"close"), (200,), "9112 section 9.6"),
    Row("CLOSE", get(fields=CLOSING % b"CLOSE"), (200,), "9110 section 7.6.1: any case"),
    Row("TE, close", get(fields=CLOSING % b"TE, close" + b"TE: trailers\r\n"), (200,), "9112 section 9.6"),
    Row("close, x", get(fields=CLOSING % b"close, x"), (200,), "9112 section 9.6"),
    Row("keep-alive, close", get(fields=CLOSING % b"keep-alive, close"), (200,), "9112 section 9.6"),
    Row("keep-alive and close", get(fields=CLOSING % b"keep-alive" + b"Connection: close\r\n"), (200,), "9110 5.3"),
    Row("closex", get(fields=CLOSING % b"closex"), (200,), "another option, not known"),
    *(
        Row(
            f"HTTP/1.{minor} {options!r}",
            get(version=b"HTTP/1.%d" % minor, fields=CLOSING % options),
            (200,),
            "9.3",
            closes=True,
        )
        for options in (b"keep-alive, close", b"close, keep-alive", b"\tclose\t", b"x,close")
        for minor in (0, 1)
    ),
    Row("the longest field", get(fields=b"Host: x\r\nA: %b\r\n" % (b"x" * 8185)), (200,), "8190 bytes with its end"),
    Row("a byte more", get(fields=b"Host: x\r\nA: %b\r\n" % (b"x" * 8186)), (431,), "6585 section 5", closes=True),
    Row("HTTP/1.0 keep-alive", get(version=b"HTTP/1.0", fields=CLOSING % b"keep-alive"), (200,), "9112 C.2.2"),
    Row("an upgrade", get(fields=CLOSING % b"Upgrade" + b"Upgrade: websocket\r\n"), (200,), "9110 section 7.8"),
    Row("an upgrade to HTTP/2", get(fields=CLOSING % b"Upgrade" + b"Upgrade: h2c\r\n"), (200,), "9110 section 7.8"),
    Row("SCRIPT_NAME as a field", get(fields=b"Host: x\r\nSCRIPT_NAME: /nope\r\n"), (200,), "nobody's field"),
    Row("PATH_INFO as a field", get(fields=b"Host: x\r\nPATH_INFO: /nope\r\n"), (200,), "nobody's field"),
    Row(
        "schemes that contradict each other",
        get(fields=b"Host: x\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on\r\n"),
        (200,),
        "nobody's field",
    ),
    Row("an overridden method", get(fields=b"Host: x\r\nX-HTTP-Method-Override: PUT\r\n"), (200,), "nobody's field"),
)

EXPECTATIONS: Final = (
    Row("100-continue", post(fields=b"Expect: 100-continue\r\n"), (200,), "9110 section 10.1.1"),
    Row("100-Continue", post(fields=b"Expect: 100-Continue\r\n"), (200,), "9110 section 10.1.1: any case"),
    Row("of HTTP/1.0", post(version=b"HTTP/1.0", fields=b"Expect: 100-continue\r\n"), (200,), "9110 section 10.1.1"),
    Row("another", post(fields=b"Expect: x\r\n"), (417,), "9110 section 10.1.1"),
    Row("another of HTTP/1.0", post(version=b"HTTP/1.0", fields=b"Expect: x\r\n"), (417,), "9110 section 10.1.1"),
    Row("two", post(fields=b"Expect: 100-continue, x\r\n"), (417,), "9110 section 10.1.1"),
    *(
        Row(f"{name}, {row}", sent, (417,), "9110 section 10.1.1: one way to say it", closes=True)
        for name, fields in {
            "twice": b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
            "a list": b"Expect: 100-continue, 100-continue\r\n",
            "empty": b"Expect:\r\n",
            "one of two": b"Expect: x\r\nExpect: 100-continue\r\n",
        }.items()
        for row, sent in {
            "a body": post(fields=fields),
            "no body yet": post(fields=fields)[: -len(GOOD)],
            "no body": get(fields=b"Host: x\r\n" + fields),
            "HTTP/1.0": post(version=b"HTTP/1.0", fields=fields),
        }.items()
    ),
    Row("for nothing", post(path=b"/nothing", fields=b"Expect: 100-continue\r\n"), (404,), "the contract"),
)

FRAMES: Final = (
    Row("tab before a length", announced(b"\t15"), (200,), "9112 section 5: OWS"),
    Row("no space before a length", announced(b"15"), (200,), "9112 section 5: OWS"),
    Row("a length with zeros", announced(b" 0015"), (200,), "9110 section 8.6: 1*DIGIT"),
    Row(
        "no length and no body", get(b"/api/predict", method=b"POST"), (400,), "9112 section 6.3", "Missing text field"
    ),
    Row("a body of GET", get(fields=b"Host: x\r\nContent-Length: 3\r\n") + b"abc", (200,), "9112 section 6"),
    Row("+15", announced(b" +15"), (400,), "9110 section 8.6"),
    Row("-1", announced(b" -1"), (400,), "9110 section 8.6"),
    Row("0xf", announced(b" 0xf"), (400,), "9110 section 8.6"),
    Row("1_5", announced(b" 1_5"), (400,), "9110 section 8.6"),
    Row("15, 15", announced(b" 15, 15"), (400,), "9112 section 6.3 lets us"),
    Row("no digits", announced(b" "), (400,), "9110 section 8.6"),
    Row("two lengths", post(fields=b"Content-Length: 15\r\n"), (400,), "9112 section 6.3 lets us"),
    Row("too large", announced(b" 2000000"), (413,), "the contract", LARGE),
    Row("19 digits", announced(b" 1000000000000000000"), (413,), "9110 section 8.6: beware of overflow", LARGE),
    Row("25 digits", announced(b" 1000000000000000000000000"), (413,), "9110 section 8.6", LARGE),
    Row("chunks", chunked(CHUNKS), (200,), "9112 section 7.1"),
    Row("a chunk size with zeros", chunked(b"000" + CHUNKS), (200,), "9112 section 7.1"),
    Row("a chunk extension", chunked(CHUNKS.replace(b"f\r", b'f;a="b;c"\r', 1)), (200,), "9112 section 7.1.1"),
    Row("a trailer", chunked(CHUNKS[:-2] + b"A: b\r\n\r\n"), (200,), "9112 section 7.1.2"),
    Row("CHUNKED", chunked(CHUNKS, coding=b"Transfer-Encoding: CHUNKED\r\n"), (200,), "9112 section 7: any case"),
    Row("a chunk size zz", chunked(b"zz" + CHUNKS), (400,), "9112 section 7.1"),
    Row("a chunk size -1", chunked(b"-1\r\n" + GOOD), (400,), "9112 section 7.1"),
    Row("a chunk size 0xf", chunked(b"0x" + CHUNKS), (400,), "9112 section 7.1"),
    Row("no chunk size", chunked(b"\r\n" + GOOD), (400,), "9112 section 7.1"),
    Row("a space after a chunk size", chunked(CHUNKS.replace(b"f\r", b"f \r", 1)), (400,), "9112 section 7.1"),
    Row("a chunk size of 17 digits", chunked(b"f" * 17 + b"\r\n" + GOOD), (400,), "9112 section 7.1: overflow"),
    Row("a chunk longer than its size", chunked(CHUNKS.replace(b"f\r", b"5\r", 1)), (400,), "9112 section 7.1"),
    Row("chunks that end with LF", chunked(CHUNKS.replace(b"\r\n", b"\n")), (400,), "9112 section 7.1"),
    Row("a far too long extension", chunked(CHUNKS.replace(b"f\r", b"f;%b\r" % (b"a" * 20_000), 1)), (400,), "7.1.1"),
    Row("LF in an extension", chunked(CHUNKS.replace(b"f\r", b"f;a\nb\r", 1)), (400,), "9112 section 7.1.1"),
    Row("a trailer without a colon", chunked(CHUNKS[:-2] + b"A b\r\n\r\n"), (400,), "9112 section 5"),
    Row("chunks of HTTP/1.0", chunked(CHUNKS, version=b"HTTP/1.0"), (400,), "9112 section 6.1: faulty"),
    Row(
        "chunks and a length",
        chunked(CHUNKS, coding=b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n"),
        (400,),
        "6.1",
    ),
    Row("gzip, chunked", chunked(CHUNKS, coding=b"Transfer-Encoding: gzip, chunked\r\n"), (501,), "9112 section 6.1"),
    Row("gzip", chunked(GOOD, coding=b"Transfer-Encoding: gzip\r\n"), (400,), "9112 section 6.3"),
    Row("identity", chunked(GOOD, coding=b"Transfer-Encoding: identity\r\n"), (400,), "9112 section 6.3"),
    Row(
        "chunked, chunked",
        chunked(CHUNKS, coding=b"Transfer-Encoding: chunked, chunked\r\n"),
        (400,),
        "9112 section 7.1",
    ),
    *(
        Row(f"{coding.decode()!r} of HTTP/1.{minor}", sent, (answered,), "9112 sections 6.1, 6.3", closes=True)
        for status, codings in {
            400: (
                b"",
                b" ",
                b" x",
                b" chunked;q=1",
                b" chunked ;q=1",
                b" chunkedx",
                b" xchunked",
                b" chunked,",
                b" ,",
                b" chunked, identity",
                b" chunked, x",
                b' "chunked"',
                b" chunked\r\nTransfer-Encoding:",
                b" chunked\r\nTransfer-Encoding: chunked",
            ),
            501: (
                b" identity, chunked",
                b" x, chunked",
                b" ,chunked",
                b" gzip;q=1, chunked",
                b" x\r\nTransfer-Encoding: chunked",
                b" gzip\r\nTransfer-Encoding: chunked",
            ),
        }.items()
        for coding in codings
        for minor, sent, answered in (
            (1, chunked(CHUNKS, coding=b"Transfer-Encoding:%b\r\n" % coding), status),
            (0, chunked(CHUNKS, coding=b"Transfer-Encoding:%b\r\n" % coding, version=b"HTTP/1.0"), 400),
        )
    ),
    Row(
        "chunked, chunked before a body", chunked(b"", coding=b"Transfer-Encoding: chunked, chunked\r\n"), (400,), "6.3"
    ),
    Row("x, chunked before a body", chunked(b"", coding=b"Transfer-Encoding: x, chunked\r\n"), (501,), "6.1"),
    Row("a byte too many", post()[:-15].replace(b": 15", b": 1048577"), (413,), "the contract", LARGE, closes=True),
    Row("CR in a trailer", chunked(CHUNKS[:-2] + b"\rx"), (400,), "9112 section 2.2"),
    Row("garbage behind a request", post() + b"\x00garbage\r\n\r\n", (200, 400), "9112 section 9.3.2: in order"),
    Row("another behind a request", post() + get(b"/nothing"), (200, 404), "9112 section 9.3.2: in order"),
    Row("a bad chunk behind a request", post() + chunked(b"zz\r\n"), (200, 400), "9112 section 9.3.2: in order"),
)

TYPES: Final = (
    Row("none", post(content_type=b""), (200,), "9110 section 8.3 lets us look"),
    Row("an empty one", typed(b""), (200,), "9110 section 8.3 lets us look"),
    Row("with charset", typed(b"application/json; charset=utf-8"), (200,), "9110 section 8.3.1"),
    Row("in any case", typed(b"Application/JSON"), (200,), "9110 section 8.3.1"),
    Row("a suffix", typed(b"application/problem+json"), (200,), "6839 section 3.1"),
    Row("a space before the parameter", typed(b"application/json ;a=b"), (200,), "9110 section 5.6.6"),
    *(
        Row(kind.decode(), typed(kind), (415,), "the contract", NO_TYPE)
        for kind in (
            b"text/plain",
            b"text/json",
            b"application/jsonx",
            b"application/x-www-form-urlencoded",
            b"multipart/form-data; boundary=x",
            b"application/json, text/plain",
        )
    ),
    Row("two", typed(b"application/json\r\nContent-Type: text/plain"), (400,), "9110 section 5.3"),
    Row(
        "another of no body",
        post(b"", content_type=b"Content-Type: a/b\r\n"),
        (400,),
        "the contract",
        "Missing text field",
    ),
    Row("another of no JSON", post(b"{", content_type=b"Content-Type: a/b\r\n"), (415,), "the contract", NO_TYPE),
    Row(
        "another of too large a body", typed(b"a/b")[:-15].replace(b": 15", b": 2000000"), (413,), "the contract", LARGE
    ),
    Row("gzip", post(fields=b"Content-Encoding: gzip\r\n"), (415,), "9110 section 8.4"),
    Row("identity", post(fields=b"Content-Encoding: identity\r\n"), (200,), "9110 section 8.4.1"),
)

BODIES: Final = (
    Row("no text", post(b'{"TEXT":"x"}'), (400,), "the contract", "Missing text field"),
    Row("an empty object", post(b"{}"), (400,), "the contract", "Missing text field"),
    Row("an empty text", post(b'{"text":""}'), (400,), "the contract", "Missing text field"),
    Row("null", post(b'{"text":null}'), (400,), "the contract", "text must be a string"),
    Row("a number", post(b'{"text":5}'), (400,), "the contract", "text must be a string"),
    Row("a list", post(b"[]"), (400,), "the contract", "The body must be a JSON object"),
    Row("no object", post(b"null"), (400,), "the contract", "The body must be a JSON object"),
    Row("a lone surrogate", post(b'{"text":"\\ud800"}'), (400,), "8259 8.2", "text must not contain a lone surrogate"),
    Row("a pair of surrogates", post(b'{"text":"\\ud83d\\ude00"}'), (200,), "8259 section 7"),
    Row("a lone surrogate elsewhere", post(b'{"text":"x","\\ud800":1}'), (200,), "nobody looks at it"),
    Row("NUL", post(b'{"text":"\\u0000"}'), (200,), "8259 section 7"),
    Row("an integer of 300 digits", number(b"9" * 300), (200,), "8259 section 6: a double holds it"),
    Row("an integer of 400 digits", number(b"9" * 400), (400,), "8259 section 6 lets us", OUT_OF_RANGE),
    Row("an integer of 4300 digits", number(b"9" * 4300), (400,), "8259 section 6 lets us", OUT_OF_RANGE),
    Row("an integer of 4301 digits", number(b"-" + b"9" * 4301), (400,), "8259 section 6 lets us", OUT_OF_RANGE),
    Row("1e400", number(b"1e400"), (400,), "8259 section 6 lets us", OUT_OF_RANGE),
    Row("-1e400 within", number(b'[{"y":-1e400}]'), (400,), "8259 section 6 lets us", OUT_OF_RANGE),
    Row("1e-400", number(b"1e-400"), (200,), "8259 section 6: it is 0"),
    Row("-0", number(b"-0"), (200,), "8259 section 6"),
    *(
        Row(text.decode(), number(text), (400,), "8259 section 6")
        for text in (b"NaN", b"Infinity", b"01", b".5", b"+1", b"1.", b"0x1")
    ),
    Row("500 levels", nested(500), (200,), "both can"),
    Row("501 levels", nested(501), (400,), "8259 section 9 lets us", "Malformed JSON: nested deeper than 500 levels"),
    Row("1100 levels", nested(1100), (400,), "8259 section 9", "Malformed JSON: nested deeper than 500 levels"),
    Row("100,000 levels", nested(100_000), (400,), "8259 section 9", "Malformed JSON: nested deeper than 500 levels"),
    Row("a name twice", post(b'{"text":5,"text":"good"}'), (200,), "8259 section 4: the last, in both"),
    Row("__proto__", post(b'{"__proto__":{"text":"x"}}'), (400,), "a name as any", "Missing text field"),
    Row("space around", post(b' \t\r\n{"text":"x"} '), (200,), "8259 section 2"),
    Row("U+2028", post('{"text":"\u2028"}'.encode()), (200,), "8259 section 7"),
    *(
        Row(name, post(body), (400,), "8259")
        for name, body in {
            "a byte order mark": b'\xef\xbb\xbf{"text":"x"}',
            "no UTF-8": b'{"text":"\xff"}',
            "UTF-16": '{"text":"x"}'.encode("utf-16"),
            "a surrogate in UTF-8": b'{"text":"\xed\xa0\x80"}',
            "an overlong form": b'{"text":"\xc0\xaf"}',
            "a control character": b'{"text":"\x01"}',
            "a tab": b'{"text":"\t"}',
            "a comma at the end": b'{"text":"x",}',
            "single quotes": b"{'text':'x'}",
            "a comment": b'{"text":"x"}//',
            "two values": b'{"text":"x"}{}',
            "a form feed before": b'\x0c{"text":"x"}',
            "a no-break space before": b'\xc2\xa0{"text":"x"}',
            "spaces only": b"   ",
            "a bad escape": b'{"text":"\\x41"}',
            "a short escape": b'{"text":"\\u00e"}',
            "half of it": b'{"text":',
        }.items()
    ),
)

BATCHES: Final = (
    Row("none", post(b"{}", path=b"/api/batch"), (400,), "the contract", "Missing texts array"),
    Row("no texts", post(b'{"texts":[]}', path=b"/api/batch"), (200,), "the contract"),
    Row("an empty text", post(b'{"texts":[""]}', path=b"/api/batch"), (200,), "the contract"),
    Row("null", post(b'{"texts":null}', path=b"/api/batch"), (400,), "the contract", "texts must be an array"),
    Row(
        "an object", post(b'{"texts":{"0":"x"}}', path=b"/api/batch"), (400,), "the contract", "texts must be an array"
    ),
    Row(
        "a number", post(b'{"texts":["a",1]}', path=b"/api/batch"), (400,), "the contract", "texts[1] must be a string"
    ),
    Row(
        "101",
        post(b'{"texts":[%b1]}' % (b"1," * 100), path=b"/api/batch"),
        (400,),
        "the contract",
        "Maximum 100 texts per batch",
    ),
    Row(
        "a lone surrogate",
        post(b'{"texts":["a","\\udc00"]}', path=b"/api/batch"),
        (400,),
        "8259 section 8.2",
        "texts[1] must not contain a lone surrogate",
    ),
)

TABLES: Final = {
    "request line": REQUEST_LINES,
    "ends": HEADS_THAT_END_A_CONNECTION,
    "method": METHODS,
    "field": FIELDS,
    "expectation": EXPECTATIONS,
    "framing": FRAMES,
    "content type": TYPES,
    "body": BODIES,
    "batch": BATCHES,
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{table}: {row.name}") for table, rows in TABLES.items() for row in rows]
)
@pytest.mark.parametrize("server", ["flask", "node"])
def test_the_same_bytes_get_the_same_answer(services: Services, server: str, row: Row) -> None:
    with connect(services.python_url if server == "flask" else services.node_url) as sock:
        sock.sendall(row.sent)
        headers: dict[str, str] = {}
        body = b""
        for status in row.statuses:
            # `read_answer` waits for the body that HEAD announces and does not send.
            answered, headers, body = read_answer(sock, has_body=not row.sent.startswith(b"HEAD"))
            while answered == 100:
                answered, headers, body = read_answer(sock)
            assert answered == status, (row.why, body)
            if body:
                assert body.endswith((b"}\n", b"]\n")), "a line without an end"
            if status >= 400 and not row.sent.startswith(b"HEAD"):
                assert headers["content-type"] == "application/json"
                assert list(json.loads(body)) == ["error"]
        if row.message is not None:
            assert json.loads(body) == {"error": row.message}
        closes = headers.get("connection", "").lower() == "close"
        assert row.closes in (None, closes)
        if closes:
            assert is_at_end(sock)
        else:
            sock.sendall(get())
            assert read_answer(sock)[0] == 200, "the connection is out of step"


@pytest.mark.parametrize("server", ["flask", "node"])
@pytest.mark.parametrize(
    ("fields", "closes"),
    [(CLOSING % b"TE, close", True), (CLOSING % b"close, x", True), (CLOSING % b"x", False), (b"Host: x\r\n", False)],
)
def test_an_answer_after_which_the_connection_closes_says_so(
    services: Services, server: str, fields: bytes, closes: bool
) -> None:
    with connect(services.python_url if server == "flask" else services.node_url) as sock:
        sock.sendall(get(fields=fields))
        _, headers, _ = read_answer(sock)
        assert (headers.get("connection", "").lower() == "close") == closes


@pytest.mark.parametrize("server", ["flask", "node"])
@pytest.mark.parametrize(
    ("sent", "status"),
    [(post(), 200), (get(), 200), (chunked(CHUNKS), 200), (post()[:-3], 400), (post()[:30], 400)],
    ids=["a POST", "a GET", "chunks", "half a body", "half a head"],
)
def test_a_client_that_closes_its_half_is_answered(services: Services, server: str, sent: bytes, status: int) -> None:
    with connect(services.python_url if server == "flask" else services.node_url) as sock:
        sock.sendall(sent)
        sock.shutdown(1)
        assert read_answer(sock)[0] == status
        assert is_at_end(sock)


@pytest.mark.parametrize("size", [b"100001", b"110000", b"ffffffff", b"f" * 16])
@pytest.mark.parametrize(("path", "status"), [(b"/api/predict", 413), (b"/nothing", 404)])
def test_a_chunk_of_more_than_a_body_may_have_is_refused_before_it_comes(
    services: Services, path: bytes, status: int, size: bytes
) -> None:
    with connect(services.python_url) as sock:
        sock.sendall(chunked(b"%b\r\n%b" % (size, GOOD)).replace(b"/api/predict", path))
        assert read_answer(sock)[0] == status


@pytest.mark.parametrize("server", ["flask", "node"])
def test_a_body_that_is_too_large_is_not_asked_for(services: Services, server: str) -> None:
    with connect(services.python_url if server == "flask" else services.node_url) as sock:
        sock.sendall(post(fields=b"Expect: 100-continue\r\n")[:-15].replace(b": 15", b": 3000000"))
        assert read_answer(sock)[0] == 413


@pytest.mark.parametrize("server", ["flask", "node"])
def test_what_follows_an_upgrade_in_one_packet_is_answered_or_its_sender_told_that_it_is_not(
    services: Services, server: str
) -> None:
    with connect(services.python_url if server == "flask" else services.node_url) as sock:
        sock.sendall(get(fields=CLOSING % b"Upgrade" + b"Upgrade: h2c\r\n") + get(fields=CLOSING % b"close"))
        status, headers, _ = read_answer(sock)
        assert status == 200
        if headers.get("connection", "").lower() != "close":
            assert read_answer(sock)[0] == 200
        assert is_at_end(sock)

"""Hello, welcome and refusal: what is taken and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import Busy, ProtocolError, VersionMismatch, handshake, values
from shm_protocol.handshake import HEADER, Header, Hello, Refusal, Welcome

SEGMENT = "/shm-polyglot-" + "0123456789abcdef" * 2
HELLO = {
    "role": "worker",
    "transport": "shm",
    "name": "w",
    "language": "python 3.12.1",
    "library": "0.1.0",
    "max_message": 1000,
    "segment": SEGMENT,
}
WELCOME = {"status": "welcome", "name": "n", "language": "typescript 5.9", "library": "0.1.0", "max_message": 1000}


def body(fields: Any) -> bytes:
    return values.Encoder().pack(fields)


def test_a_hello_is_these_bytes() -> None:
    hello = Hello("client", "socket", "me", 9, language="python 3.12.1", library="0.1.0")
    encoded = handshake.encode_hello(hello)
    assert encoded[:12] == bytes.fromhex("53484d50 0100 0200") + (len(encoded) - 12).to_bytes(4, "little")
    assert values.decode(encoded[12:]) == {
        "role": "client",
        "transport": "socket",
        "name": "me",
        "max_message": 9,
        "language": "python 3.12.1",
        "library": "0.1.0",
    }


@pytest.mark.parametrize(
    "hello",
    [
        Hello("client", "socket", "me", 1),
        Hello("worker", "shm", "x" * 128, 2**32 - 1, segment=SEGMENT),
        Hello("worker", "socket", "\U0001f600" * 128, 1, exposes=65536, project="\U0001f600" * 256),
        Hello("worker", "socket", "me", 1, exposes=0, project=""),
        Hello("client", "socket", "me", 1, attends=False),
    ],
)
def test_a_hello_is_read_as_it_was_written(hello: Hello) -> None:
    encoded = handshake.encode_hello(hello)
    assert handshake.decode_header(encoded[: HEADER.size]) == Header(1, 2, len(encoded) - HEADER.size)
    assert handshake.decode_hello(encoded[HEADER.size :]) == hello


@pytest.mark.parametrize("answer", [Welcome("n", 5), Welcome("n", 5, project="/home/me/shop"), Refusal("Busy", "full")])
def test_an_answer_is_read_as_it_was_written(answer: Welcome | Refusal) -> None:
    assert handshake.decode_answer(handshake.encode_answer(answer)[HEADER.size :]) == answer


def test_unknown_keys_are_ignored() -> None:
    assert handshake.decode_hello(body({**HELLO, "future": [1]})).name == "w"
    assert handshake.decode_answer(body({**WELCOME, "future": None})) == Welcome("n", 1000, "typescript 5.9", "0.1.0")


@pytest.mark.parametrize(
    "change",
    [
        {"role": "boss"},
        {"role": None},
        {"transport": "tcp"},
        {"name": ""},
        {"name": "x" * 129},
        {"name": 5},
        {"language": None},
        {"library": 1},
        {"max_message": 0},
        {"max_message": "1000"},
        {"max_message": True},
        {"exposes": -1},
        {"exposes": 65537},
        {"exposes": None},
        {"exposes": True},
        {"exposes": 1.0},
        {"project": None},
        {"project": 1},
        {"project": "x" * 257},
        {"segment": None},
        {"segment": "/shm-polyglot-xyz"},
        {"segment": "/../etc/passwd"},
        {"segment": SEGMENT + "\n"},
        {"segment": SEGMENT.upper()},
    ],
    ids=str,
)
def test_a_hello_with_a_bad_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match=next(iter(change))):
        handshake.decode_hello(body({**HELLO, **change}))


@pytest.mark.parametrize("key", HELLO)
def test_a_hello_without_a_field_is_refused(key: str) -> None:
    with pytest.raises(ProtocolError, match=key):
        handshake.decode_hello(body({k: v for k, v in HELLO.items() if k != key}))


@pytest.mark.parametrize(
    "fields",
    [[], None, {}, {1: 2}, {"status": "maybe"}, {"status": "refused"}, {**WELCOME, "max_message": -1}],
    ids=str,
)
def test_a_bad_answer_is_refused(fields: Any) -> None:
    with pytest.raises(ProtocolError):
        handshake.decode_answer(body(fields))


@given(st.binary(min_size=12, max_size=12))
def test_any_twelve_bytes_are_a_header_or_refused(data: bytes) -> None:
    try:
        handshake.decode_header(data)
    except ProtocolError:
        return
    assert data.startswith(b"SHMP")


@given(st.binary())
def test_any_body_is_read_or_refused(data: bytes) -> None:
    for decode in (handshake.decode_hello, handshake.decode_answer):
        try:
            decode(data)
        except ProtocolError:
            continue


def test_bytes_that_are_not_ours_are_named() -> None:
    with pytest.raises(ProtocolError, match="GET / HTTP/1"):
        handshake.decode_header(b"GET / HTTP/1")


def test_a_body_past_4096_bytes_is_refused_before_it_is_read() -> None:
    assert handshake.decode_header(HEADER.pack(b"SHMP", 1, 0, 4096)).body_bytes == 4096
    with pytest.raises(ProtocolError, match="4097 bytes"):
        handshake.decode_header(HEADER.pack(b"SHMP", 1, 0, 4097))


def test_another_major_version_is_a_mismatch_that_names_both() -> None:
    with pytest.raises(VersionMismatch, match=r"protocol 2\.3, this side 1\.2"):
        handshake.decode_header(HEADER.pack(b"SHMP", 2, 3, 0))
    assert handshake.decode_header(HEADER.pack(b"SHMP", 1, 9, 0)) == Header(1, 9, 0)


def test_another_major_version_is_told_before_its_body_is_looked_at() -> None:
    with pytest.raises(VersionMismatch):
        handshake.decode_header(HEADER.pack(b"SHMP", 2, 0, 2**32 - 1))


def test_a_refusal_becomes_the_error_of_its_code() -> None:
    assert isinstance(Refusal("Busy", "m").to_error(), Busy)
    assert isinstance(Refusal("VersionMismatch", "m").to_error(), VersionMismatch)
    for code in ("RemoteError", "FutureError"):
        assert type(Refusal(code, "m").to_error()) is ProtocolError


def test_a_field_nested_deep_is_refused_also_where_little_of_the_stack_is_left() -> None:
    def below(frames: int) -> object:
        return below(frames - 1) if frames > 0 else handshake.decode_answer(b"\x81\xa6status" + b"\x91" * 510 + b"\xc0")

    with pytest.raises(ProtocolError, match="status is not a string"):
        below(600)

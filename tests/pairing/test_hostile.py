"""Whoever sends garbage is shown the door; nobody else notices, and both sides stay up."""

from __future__ import annotations

import os
import random
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
import shm_protocol
from peers import HANG_S, Pair
from shm_protocol import counters
from shm_protocol.handshake import PROTOCOL_MAJOR, PROTOCOL_MINOR
from shm_protocol.transports import segment_names

HEADER = struct.Struct("<4sHHI")
FRAME_LENGTH = struct.Struct("<I")
RING_BYTES = 4096
SEGMENT_BYTES = 4096 + 2 * RING_BYTES
COUNTERS_AT = 0x480
HEADER_WORDS = struct.Struct("<QIIQ")
MAGIC = int.from_bytes(b"SHMPOLYG", "little")


@pytest.fixture(autouse=True)
def nobody_else_notices(node: shm_protocol.Client) -> Iterator[None]:
    """A call that is under way all the while gets its answer."""
    answers: list[object] = []
    bystander = threading.Thread(target=lambda: answers.append(node.call("functions.after", 100, "undisturbed")))
    bystander.start()
    yield
    bystander.join(HANG_S)
    assert answers == ["undisturbed"]
    assert node.call("functions.echo", 1) == 1


over_shm = pytest.mark.parametrize("transport", ["shm"], indirect=True, scope="module")
over_socket = pytest.mark.parametrize("transport", ["socket"], indirect=True, scope="module")


GARBAGE = random.Random(20261127)
"""The same bytes in each run."""


def dial(pair: Pair) -> socket.socket:
    """A bare connection to Node."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(HANG_S)
    connection.connect(str(pair.path))
    return connection


def hello(major: int = 1, **changes: Any) -> bytes:
    """A hello that is right but for `changes`; a key changed to None is left out."""
    body = {
        "role": "client",
        "transport": "socket",
        "name": "stranger",
        "language": "none",
        "library": "0",
        "max_message": 65536,
        **changes,
    }
    packed = msgpack.packb({key: value for key, value in body.items() if value is not None})
    return HEADER.pack(b"SHMP", major, 0, len(packed)) + packed


def answer(connection: socket.socket) -> dict[str, Any] | None:
    """Node's welcome or refusal; None if it closed the connection without a word."""
    header = connection.recv(HEADER.size, socket.MSG_WAITALL)
    if len(header) < HEADER.size:
        return None
    body: dict[str, Any] = msgpack.unpackb(connection.recv(HEADER.unpack(header)[3], socket.MSG_WAITALL))
    return body


def is_closed(connection: socket.socket) -> bool:
    """Whether Node closes the connection; what it says before is read."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 12,
        GARBAGE.randbytes(64),
        HEADER.pack(b"SHMP", 1, 0, 4097),
        HEADER.pack(b"SHMP", 1, 0, 3) + b"\xc1\xc1\xc1",
    ],
    ids=["http", "zeros", "random", "too long", "not MessagePack"],
)
def test_garbage_instead_of_a_hello_is_closed(pair: Pair, garbage: bytes) -> None:
    with dial(pair) as connection:
        connection.sendall(garbage)
        assert is_closed(connection)


def test_the_log_names_the_first_bytes_of_a_stranger(pair: Pair) -> None:
    with dial(pair) as connection:
        connection.sendall(b"GET /favicon.ico HTTP/1.1\r\n\r\n")
        assert is_closed(connection)
    pair.wait_until(lambda: "GET /" in pair.log(), "the log names the first bytes")


def test_a_peer_of_another_major_version_is_refused_and_both_versions_are_logged(pair: Pair) -> None:
    with dial(pair) as connection:
        connection.sendall(hello(major=9))
        refusal = answer(connection)
        assert refusal is not None
        assert (refusal["status"], refusal["code"]) == ("refused", "VersionMismatch")
        assert is_closed(connection)
    both = f"speaks protocol 9.0, this side {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}"
    pair.wait_until(lambda: both in pair.log(), "the log names both versions")


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "king"},
        {"role": None},
        {"transport": "pigeon"},
        {"name": ""},
        {"name": "x" * 129},
        {"max_message": -1},
        {"max_message": "large"},
        {"transport": "shm"},
        {"transport": "shm", "segment": "/etc/passwd"},
        {"transport": "shm", "segment": "/shm-polyglot-" + "0" * 31},
        {"transport": "shm", "segment": "/shm-polyglot-" + "0" * 32},
    ],
    ids=str,
)
def test_a_hello_with_a_bad_field_gets_no_welcome(pair: Pair, changes: dict[str, Any]) -> None:
    with dial(pair) as connection:
        connection.sendall(hello(**changes))
        refusal = answer(connection)
        assert refusal is None or refusal["status"] == "refused"
        assert is_closed(connection)


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    fd: int


@contextmanager
def segment_of(contents: bytes) -> Iterator[Segment]:
    """A segment with these bytes in it."""
    name = f"/shm-polyglot-{secrets.token_hex(16)}"
    fd = segment_names.create(name)
    try:
        os.truncate(fd, SEGMENT_BYTES)
        os.pwrite(fd, contents, 0)
        yield Segment(name, fd)
    finally:
        os.close(fd)
        segment_names.unlink(name)


@over_shm
@pytest.mark.parametrize(
    "contents",
    [
        GARBAGE.randbytes(SEGMENT_BYTES),
        b"",
        HEADER_WORDS.pack(MAGIC, 0, RING_BYTES, SEGMENT_BYTES),
        HEADER_WORDS.pack(MAGIC, 99, RING_BYTES, SEGMENT_BYTES),
        HEADER_WORDS.pack(MAGIC, 1, 2 * RING_BYTES, SEGMENT_BYTES),
        HEADER_WORDS.pack(MAGIC, 1, RING_BYTES, 2**60),
    ],
    ids=["random", "zeros", "not ready", "other layout", "larger rings", "larger segment"],
)
def test_a_garbage_segment_is_refused(pair: Pair, contents: bytes) -> None:
    with segment_of(contents) as segment, dial(pair) as connection:
        connection.sendall(hello(transport="shm", segment=segment.name))
        refusal = answer(connection)
        assert refusal is not None
        assert refusal["status"] == "refused"
        assert is_closed(connection)


@over_shm
@pytest.mark.parametrize(
    "attack", ["tail too far", "tail unaligned", "bad length", "bad flags", "bad frame", "bad doorbell", "truncated"]
)
def test_a_peer_that_spoils_its_ring_is_closed(pair: Pair, attack: str) -> None:
    contents = HEADER_WORDS.pack(MAGIC, 1, RING_BYTES, SEGMENT_BYTES)
    with segment_of(contents) as segment, dial(pair) as connection:
        connection.sendall(hello(transport="shm", segment=segment.name))
        welcome = answer(connection)
        assert welcome is not None
        assert welcome["status"] == "welcome"
        length, flags, payload, tail = 8, 0, b"\xc1" * 8, 16
        if attack == "tail too far":
            tail = 2**40
        elif attack == "tail unaligned":
            tail = 13
        elif attack == "bad length":
            length = 2**32 - 1
        elif attack == "bad flags":
            flags = 0x80
        os.pwrite(segment.fd, struct.pack("<II", length, flags) + payload, 0x1000)
        os.pwrite(segment.fd, struct.pack("<Q", tail), 0x80)
        if attack == "truncated":
            os.ftruncate(segment.fd, 0)
        connection.sendall(b"\x02" if attack == "bad doorbell" else b"\x01")
        assert is_closed(connection)


@over_shm
def test_what_a_peer_stores_into_the_counters_does_not_keep_the_others_from_being_told(pair: Pair) -> None:
    contents = HEADER_WORDS.pack(MAGIC, 1, RING_BYTES, SEGMENT_BYTES)
    with segment_of(contents) as segment, dial(pair) as connection, pair.connect(name="honest") as honest:
        os.pwrite(segment.fd, b"\xff" * 0x800, COUNTERS_AT)
        connection.sendall(hello(transport="shm", segment=segment.name))
        assert answer(connection) is not None
        told = {one.name: one for one in counters.parse(honest.call(counters.METHOD))}
    spoilt, side = told["stranger"].dialer, told["honest"].dialer
    assert spoilt is not None
    assert side is not None
    assert (spoilt.parks, max(spoilt.latency), side.messages_sent) == (2**53 - 1, 2**53 - 1, 1)


@over_socket
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x94\x09\x01\xa1a\x90",
        b"\x94\x01\x63\xc0\xc0",
        b"\x94\x00\x01\xa1a\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 4000,
    ],
    ids=[
        "empty",
        "never used byte",
        "empty array",
        "unknown type",
        "answer to no call",
        "args not an array",
        "huge array",
        "nested",
    ],
)
def test_a_bad_frame_ends_that_connection_only(pair: Pair, frame: bytes) -> None:
    with dial(pair) as connection:
        connection.sendall(hello())
        welcome = answer(connection)
        assert welcome is not None
        assert welcome["status"] == "welcome"
        connection.sendall(FRAME_LENGTH.pack(len(frame)) + frame)
        assert is_closed(connection)


@over_socket
def test_a_message_longer_than_node_accepts_is_not_waited_for(pair: Pair) -> None:
    with dial(pair) as connection:
        connection.sendall(hello())
        assert answer(connection) is not None
        connection.sendall(FRAME_LENGTH.pack(2**31))
        assert is_closed(connection)


class FalseNode:
    """An acceptor that answers a hello with whatever it is told to. hello: what it was told, once it has ended."""

    def __init__(self, directory: Any, reply: bytes) -> None:
        directory.chmod(0o700)
        self.hello: dict[str, Any] = {}
        self.path = directory / "node.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o600)
        self.listener.listen()
        self.thread = threading.Thread(target=self._answer, args=(reply,))
        self.thread.start()

    def _answer(self, reply: bytes) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(HANG_S)
            length = HEADER.unpack(connection.recv(HEADER.size, socket.MSG_WAITALL))[3]
            self.hello = msgpack.unpackb(connection.recv(length, socket.MSG_WAITALL))
            connection.sendall(reply)

    def close(self) -> None:
        """End it."""
        self.thread.join(HANG_S)
        self.listener.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", shm_protocol.ProtocolError),
        (b"", shm_protocol.BridgeError),
        (HEADER.pack(b"SHMP", 7, 3, 1) + b"\x80", shm_protocol.VersionMismatch),
        (HEADER.pack(b"SHMP", 1, 0, 1) + b"\x80", shm_protocol.ProtocolError),
        (HEADER.pack(b"SHMP", 1, 0, 5000), shm_protocol.ProtocolError),
    ],
    ids=["http", "nothing", "other version", "empty welcome", "too long"],
)
def test_python_names_what_is_wrong_with_an_acceptor_and_leaves_no_segment(
    pair: Pair, tmp_path: Any, reply: bytes, error: type[Exception]
) -> None:
    false_node = FalseNode(tmp_path, reply)
    try:
        with pytest.raises(error):
            shm_protocol.connect(false_node.path, transport=pair.transport)
    finally:
        false_node.close()
    assert ("segment" in false_node.hello) == (pair.transport == "shm")
    if "segment" in false_node.hello:
        assert not Path(f"/dev/shm{false_node.hello['segment']}").exists()

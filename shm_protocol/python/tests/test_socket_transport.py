"""Messages on a socket: whole, in order, without blocking."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from shm_protocol import ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError
from shm_protocol.transports.socket import SocketTransport

MAX_MESSAGE = 1 << 26
HANG_NS = 200 * 10**9


@pytest.fixture
def ends() -> Iterator[tuple[SocketTransport, SocketTransport]]:
    a, b = socket.socketpair()
    one, other = SocketTransport(a, max_message=MAX_MESSAGE), SocketTransport(b, max_message=MAX_MESSAGE)
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def raw() -> Iterator[tuple[SocketTransport, socket.socket]]:
    a, b = socket.socketpair()
    transport = SocketTransport(a, max_message=1000)
    yield transport, b
    transport.close()
    b.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, other = ends
    messages = [b"", b"a", b"b" * 1000]
    assert all(one.send(message) for message in messages)
    assert [other.receive(HANG_NS) for _ in messages] == messages
    assert other.try_receive() is None
    assert other.receive(1) is None


def test_a_readable_descriptor_ends_a_wait_for_a_message_after_what_has_come(
    ends: tuple[SocketTransport, SocketTransport],
) -> None:
    one, other = ends
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(b"x")
        one.send(b"a")
        assert [other.receive_or_wake(reader.fileno()) for _ in range(3)] == [b"a", None, None]
        assert other.receive(1) is None
        one.close()
        with pytest.raises(PeerGone):
            other.receive_or_wake(reader.fileno())


def test_a_message_is_length_and_bytes(raw: tuple[SocketTransport, socket.socket]) -> None:
    transport, peer = raw
    transport.send(b"abc")
    assert peer.recv(100) == b"\x03\0\0\0abc"


def test_a_message_that_comes_byte_by_byte_is_assembled(raw: tuple[SocketTransport, socket.socket]) -> None:
    transport, peer = raw
    for byte in b"\x03\0\0\0abc":
        assert transport.try_receive() is None
        peer.send(bytes([byte]))
    assert transport.try_receive() == b"abc"


def test_a_message_larger_than_the_socket_is_kept_and_flushed(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, other = ends
    message = bytes(range(256)) * 40_000
    assert not one.send(message)
    assert one.sending
    with pytest.raises(ValueError, match="partly sent"):
        one.send(b"x")
    received = None
    while received is None:
        one.flush()
        received = other.try_receive()
    assert received == message
    assert one.flush()
    assert not one.sending


def test_a_large_message_goes_through_while_both_sides_wait(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, other = ends
    message = b"x" * (8 << 20)
    received: list[bytes | None] = []
    thread = threading.Thread(target=lambda: received.append(other.receive(HANG_NS)))
    thread.start()
    one.send(message)
    while not one.flush():
        assert one.wait(HANG_NS)
    thread.join()
    assert received == [message]


def test_a_message_past_the_limit_is_refused_on_both_sides(raw: tuple[SocketTransport, socket.socket]) -> None:
    transport, peer = raw
    with pytest.raises(MessageTooLarge, match="1001 bytes, max_message is 1000"):
        transport.send(b"x" * 1001)
    assert transport.send(b"x" * 1000)
    peer.send(struct.pack("<I", 1001))
    with pytest.raises(ProtocolError, match="1001 bytes; max_message is 1000"):
        transport.receive(HANG_NS)


def test_at_the_end_what_had_come_is_received_first(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, other = ends
    one.send(b"a")
    one.send(b"b")
    one.close()
    assert other.wait(HANG_NS)
    other.drain()
    assert [other.receive(HANG_NS), other.try_receive()] == [b"a", b"b"]
    for look in (other.try_receive, lambda: other.receive(-1), other.drain):
        with pytest.raises(PeerGone):
            look()
    assert other.poll(0) == 1


def test_a_message_cut_short_by_the_end_is_the_end(raw: tuple[SocketTransport, socket.socket]) -> None:
    transport, peer = raw
    peer.send(b"\x05\0\0\0ab")
    peer.close()
    with pytest.raises(PeerGone):
        transport.receive(-1)


def test_what_is_sent_to_a_peer_that_is_gone_is_lost_and_what_it_sent_is_not(
    ends: tuple[SocketTransport, SocketTransport],
) -> None:
    one, other = ends
    other.send(b"last words")
    other.close()
    assert one.send(b"x")
    assert one.receive(HANG_NS) == b"last words"
    with pytest.raises(PeerGone):
        one.receive(HANG_NS)


def test_polling_tells_messages_and_room(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, other = ends
    assert other.poll(0) == -1
    assert other.park()
    one.send(b"a")
    assert other.poll(0) == 1
    assert not other.park()
    other.unpark()
    assert not one.send(b"x" * (8 << 20))
    assert one.poll(0) == 0
    while other.try_receive() is None:
        one.flush()
    assert one.stats()["messages_sent"] == 2


def test_a_thread_that_waits_comes_up_when_another_interrupts(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, _ = ends
    caught: list[BaseException] = []
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        try:
            one.receive(-1)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait()
    one.interrupt("closed by a test")
    thread.join()
    assert [type(error) for error in caught] == [ConnectionClosed]


def test_every_method_after_close_says_that_it_is_closed(ends: tuple[SocketTransport, SocketTransport]) -> None:
    one, _ = ends
    one.close("because of a test")
    one.close()
    one.interrupt("too late")
    for call in (
        lambda: one.send(b""),
        one.flush,
        lambda: one.receive(0),
        one.try_receive,
        lambda: one.receive_or_wake(0),
        lambda: one.wait(0),
        lambda: one.poll(0),
        one.park,
        one.unpark,
        one.drain,
        lambda: one.set_busy(True),
        one.stats,
        one.fileno,
    ):
        with pytest.raises(ConnectionClosed, match="because of a test"):
            call()

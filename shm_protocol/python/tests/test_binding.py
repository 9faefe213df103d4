"""The compiled channel as Python sees it. What the ring itself does is tested in core/tests."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError, VersionMismatch
from shm_protocol._binding import Channel, segment_bytes

RING = 4096
MAX_MESSAGE = 1 << 20
HANG_NS = 200 * 10**9
PARKED = 2


class Ends:
    """A dialer's and an acceptor's channel over one segment."""

    def __init__(self, spin_us: int = 0) -> None:
        self.memory = os.memfd_create("segment")
        os.posix_fallocate(self.memory, 0, segment_bytes(RING))
        self.sockets = socket.socketpair()
        self.dialer = Channel(
            self.memory, self.sockets[0].fileno(), ring_capacity=RING, max_message=MAX_MESSAGE, spin_us=spin_us
        )
        self.acceptor = Channel(self.memory, self.sockets[1].fileno(), max_message=MAX_MESSAGE, spin_us=spin_us)

    def close_sockets(self) -> None:
        for end in self.sockets:
            end.close()

    def close(self) -> None:
        self.dialer.close()
        self.acceptor.close()
        self.close_sockets()
        os.close(self.memory)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_messages_arrive_whole_and_in_order_both_ways(ends: Ends) -> None:
    messages = [b"", b"a", b"b" * 1000]
    for sender, receiver in ((ends.dialer, ends.acceptor), (ends.acceptor, ends.dialer)):
        assert all(sender.send(message) for message in messages)
        assert [receiver.try_receive() for _ in messages] == messages
        assert receiver.try_receive() is None
        assert receiver.receive(1) is None


def test_a_full_ring_keeps_the_message_and_goes_on_with_it(ends: Ends) -> None:
    message = bytes(range(256)) * 100
    assert not ends.dialer.send(message)
    assert ends.dialer.sending
    with pytest.raises(ValueError, match="partly sent"):
        ends.dialer.send(b"x")
    received = None
    while received is None:
        ends.dialer.flush()
        received = ends.acceptor.try_receive()
    assert received == message
    assert ends.dialer.flush()
    assert not ends.dialer.sending


def test_receiving_goes_on_with_the_message_that_is_kept(ends: Ends) -> None:
    message = b"x" * 50_000
    assert not ends.dialer.send(message)
    assert not ends.acceptor.send(message)
    received: list[bytes | memoryview | None] = []

    def receive_and_send_the_rest(end: Channel) -> None:
        received.append(end.receive(HANG_NS))
        while not end.flush():
            assert end.wait(HANG_NS)

    thread = threading.Thread(target=receive_and_send_the_rest, args=(ends.acceptor,))
    thread.start()
    receive_and_send_the_rest(ends.dialer)
    thread.join()
    assert received == [message, message]


def test_a_large_message_stays_as_it_came_for_as_long_as_it_is_held(ends: Ends) -> None:
    def carry(message: bytes) -> bytes | memoryview:
        is_sent = ends.dialer.send(message)
        while True:
            received = ends.acceptor.try_receive()
            is_sent = is_sent or ends.dialer.flush()
            if received is not None:
                assert is_sent
                return received

    messages = [bytes([number]) * 100_000 for number in range(4)]
    held = [carry(message) for message in messages[:3]]
    assert held == messages[:3]
    with pytest.raises(TypeError, match="read-only"):
        memoryview(held[0])[0] = 1
    del held[1]
    assert carry(messages[3]) == messages[3]
    assert held == [messages[0], messages[2]]
    ends.acceptor.close()
    assert held == [messages[0], messages[2]]


def test_a_message_past_the_limit_is_refused(ends: Ends) -> None:
    ends.dialer.max_message = 100
    assert ends.dialer.max_message == 100
    with pytest.raises(MessageTooLarge, match="the message has 101 bytes, max_message is 100"):
        ends.dialer.send(b"x" * 101)
    assert ends.dialer.send(b"x" * 100)


def test_a_message_past_the_receivers_limit_breaks_the_protocol(ends: Ends) -> None:
    ends.acceptor.max_message = 100
    ends.dialer.send(b"x" * 101)
    with pytest.raises(ProtocolError, match="larger than max_message"):
        ends.acceptor.receive(HANG_NS)


def test_what_was_sent_before_the_end_is_received_first(ends: Ends) -> None:
    ends.dialer.send(b"last")
    ends.dialer.close()
    ends.sockets[0].close()
    assert ends.acceptor.receive(-1) == b"last"
    for look in (lambda: ends.acceptor.receive(-1), lambda: ends.acceptor.wait(-1), ends.acceptor.drain):
        with pytest.raises(PeerGone):
            look()


def test_a_byte_that_is_no_doorbell_breaks_the_protocol(ends: Ends) -> None:
    ends.sockets[0].send(b"\x02")
    with pytest.raises(ProtocolError):
        ends.acceptor.drain()


@pytest.mark.parametrize("spin_us", [0, 100])
def test_a_parked_channel_is_woken(spin_us: int) -> None:
    ends = Ends(spin_us)
    received: list[bytes | memoryview | None] = []
    thread = threading.Thread(target=lambda: received.extend(ends.acceptor.receive(HANG_NS) for _ in range(100)))
    thread.start()
    for i in range(100):
        ends.dialer.send(str(i).encode())
    thread.join()
    assert received == [str(i).encode() for i in range(100)]
    ends.close()


def test_an_event_loop_polls_parks_and_is_woken_through_the_descriptor(ends: Ends) -> None:
    # The spin budget is 0.
    assert ends.acceptor.poll(0) == -1
    ends.dialer.send(b"a")
    ends.sockets[1].setblocking(True)
    assert ends.dialer.stats()["doorbells_rung"] == 1
    ends.acceptor.unpark()
    ends.acceptor.drain()
    assert ends.acceptor.poll(0) == 1
    assert not ends.acceptor.park()
    assert ends.acceptor.try_receive() == b"a"
    assert ends.acceptor.park()
    assert ends.dialer.peer_state() == PARKED
    ends.acceptor.unpark()
    assert ends.dialer.peer_state() == 0
    ends.acceptor.set_busy(True)
    assert ends.dialer.peer_state() == 1
    assert ends.acceptor.fileno() >= 0


def test_a_readable_descriptor_ends_a_wait_for_a_message_after_what_has_come(ends: Ends) -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(b"x")
        ends.dialer.send(b"a")
        assert [ends.acceptor.receive_or_wake(reader.fileno()) for _ in range(3)] == [b"a", None, None]
        assert ends.acceptor.receive(1) is None


def test_the_stats_count(ends: Ends) -> None:
    ends.dialer.send(b"abc")
    ends.acceptor.try_receive()
    sent, received = ends.dialer.stats(), ends.acceptor.stats()
    assert (sent["messages_sent"], sent["bytes_sent"]) == (1, 3)
    assert (received["messages_received"], received["bytes_received"]) == (1, 3)


METHODS: dict[str, Callable[[Channel], object]] = {
    "send": lambda channel: channel.send(b""),
    "flush": lambda channel: channel.flush(),
    "receive": lambda channel: channel.receive(0),
    "receive_or_wake": lambda channel: channel.receive_or_wake(0),
    "try_receive": lambda channel: channel.try_receive(),
    "wait": lambda channel: channel.wait(0),
    "poll": lambda channel: channel.poll(0),
    "park": lambda channel: channel.park(),
    "unpark": lambda channel: channel.unpark(),
    "drain": lambda channel: channel.drain(),
    "set_busy": lambda channel: channel.set_busy(True),
    "peer_state": lambda channel: channel.peer_state(),
    "stats": lambda channel: channel.stats(),
    "fileno": lambda channel: channel.fileno(),
    "max_message": lambda channel: setattr(channel, "max_message", 5),
}
HARMLESS = {"buffers", "close", "close_in_child", "count_call", "interrupt", "kind", "sending"}


def test_every_method_is_in_the_list_of_those_tried_after_close() -> None:
    assert {name for name in vars(Channel) if not name.startswith("_")} == METHODS.keys() | HARMLESS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_after_close_says_that_it_is_closed(ends: Ends, name: str) -> None:
    ends.dialer.close("because of a test")
    with pytest.raises(ConnectionClosed, match="because of a test"):
        METHODS[name](ends.dialer)


def test_closing_twice_and_interrupting_afterwards_is_harmless(ends: Ends) -> None:
    ends.dialer.close()
    ends.dialer.close()
    ends.dialer.close_in_child("x")
    ends.dialer.interrupt("x")
    ends.dialer.count_call(0.0, True)
    assert not ends.dialer.sending
    assert ends.dialer.kind == "shm"


@pytest.mark.parametrize("spin_us", [0, 1_000_000])
def test_a_thread_that_waits_comes_up_when_another_interrupts(spin_us: int) -> None:
    ends = Ends(spin_us)
    caught: list[BaseException] = []
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        try:
            ends.dialer.receive(-1)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait()
    ends.dialer.interrupt("closed by a test")
    thread.join()
    assert [(type(error), str(error)) for error in caught] == [(ConnectionClosed, "closed by a test")]
    ends.close()


@pytest.mark.parametrize("spin_us", [0, 1_000_000])
def test_a_signal_is_handled_while_a_channel_waits(spin_us: int) -> None:
    ends = Ends(spin_us)
    handled: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        handled.append(number)
        # What it waits for comes only now: the wait goes on after the signal.
        ends.acceptor.send(b"after")

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert ends.dialer.receive(HANG_NS) == b"after"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled == [signal.SIGALRM]
    ends.close()


def test_a_signal_handler_may_close_the_channel_that_waits(ends: Ends) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: ends.dialer.close("closed by a signal"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(ConnectionClosed, match="closed by a signal"):
            ends.dialer.receive(-1)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_exception_of_a_signal_handler_ends_the_wait_and_the_channel_stays_usable(ends: Ends) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def strike() -> None:
        while ends.acceptor.peer_state() != PARKED:
            pass
        signal.pthread_kill(waiting, signal.SIGALRM)

    waiting = threading.get_ident()
    striking = threading.Thread(target=strike)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        striking.start()
        with pytest.raises(KeyboardInterrupt):
            ends.dialer.wait(-1)
    finally:
        striking.join()
        signal.signal(signal.SIGALRM, before)
    ends.acceptor.send(b"still here")
    assert ends.dialer.receive(HANG_NS) == b"still here"


# Segments that cannot be used.


def attach(content: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as unconnected:
        memory = os.memfd_create("segment")
        try:
            os.write(memory, content)
            Channel(memory, unconnected.fileno(), max_message=MAX_MESSAGE).close()
        finally:
            os.close(memory)


def laid_out() -> bytes:
    ends = Ends()
    with mmap.mmap(ends.memory, segment_bytes(RING)) as view:
        content = bytes(view)
    ends.close()
    return content


def test_a_segment_that_is_not_ours_is_told_apart_from_others() -> None:
    good = laid_out()
    attach(good)
    with pytest.raises(ProtocolError, match="magic is another"):
        attach(b"X" + good[1:])
    with pytest.raises(ProtocolError, match="not ready"):
        attach(good[:8] + bytes(4) + good[12:])
    with pytest.raises(VersionMismatch, match="another layout version than 1"):
        attach(good[:8] + struct.pack("<I", 2) + good[12:])
    for damaged in (good[:12] + struct.pack("<I", 5000) + good[16:], good[:-1], good + b"\0", b""):
        with pytest.raises(ProtocolError):
            attach(damaged)


@given(st.binary(max_size=200))
def test_any_garbage_for_a_segment_is_refused(garbage: bytes) -> None:
    with pytest.raises((ProtocolError, VersionMismatch)):
        attach(garbage.ljust(segment_bytes(RING), b"\0"))


@given(
    words=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2**64 - 1) | st.integers(0, 8192)), max_size=6),
    data=st.binary(max_size=64),
)
def test_garbage_in_the_shared_memory_gives_messages_or_a_protocol_error(
    words: list[tuple[int, int]], data: bytes
) -> None:
    ends = Ends()
    with mmap.mmap(ends.memory, segment_bytes(RING)) as view:
        view[4096 : 4096 + len(data)] = data
        for line, value in words:
            struct.pack_into("<Q", view, 128 * line + (0 if line else 16), value)
        try:
            for _ in range(100):
                if ends.acceptor.try_receive() is None:
                    break
            ends.acceptor.send(b"x" * 100)
        except ProtocolError:
            pass
    ends.close()


def test_a_ring_capacity_that_cannot_be_is_refused() -> None:
    for capacity in (0, 4095, 5000, 2**29):
        with pytest.raises(ValueError, match=f"ring_capacity={capacity}"):
            segment_bytes(capacity)


def test_a_descriptor_that_cannot_be_mapped_is_an_os_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        Channel(9999, 9999, max_message=MAX_MESSAGE)


def test_a_peer_that_truncates_the_segment_is_an_error_and_nobody_dies(ends: Ends) -> None:
    assert ends.dialer.send(b"before")
    os.ftruncate(ends.memory, 0)
    for touch in (ends.acceptor.try_receive, lambda: ends.dialer.receive(HANG_NS)):
        with pytest.raises(ProtocolError):
            touch()

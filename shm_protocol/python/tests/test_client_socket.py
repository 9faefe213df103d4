"""What a ClientSocket does with what the system does not take at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from shm_protocol.gunicorn.client_socket import MAX_UNSENT_BYTES, ClientSocket

HANG_S = 200.0
LARGE = bytes(range(256)) * (1 << 14)


class Host:
    def __init__(self) -> None:
        self.is_outside = threading.Event()

    @contextmanager
    def outside(self, give_up: Callable[[], None]) -> Iterator[None]:
        self.is_outside.set()
        yield
        self.is_outside.clear()

    def take_turns(self) -> None: ...


class Pair:
    def __init__(self) -> None:
        raw, self.client = socket.socketpair()
        raw.setblocking(False)
        self.client.settimeout(HANG_S)
        self.host = Host()
        self.asked_to_send = 0
        self.out = ClientSocket(raw, self.host, self._ask)

    def _ask(self) -> None:
        assert self.out.unsent_bytes > 0
        self.asked_to_send += 1

    def receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            self.out.flush()
            received += self.client.recv(1 << 20)
        return received


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.client.close()
    pair.out.raw.close()


def test_what_the_system_takes_is_sent_at_once(pair: Pair) -> None:
    pair.out.sendall(b"hello")
    assert pair.client.recv(100) == b"hello"
    assert (pair.out.unsent_bytes, pair.asked_to_send, pair.out.has_begun) == (0, 0, True)


def test_one_piece_of_any_size_is_kept_and_sent_later_in_order(pair: Pair) -> None:
    pair.out.sendall(LARGE)
    assert pair.out.unsent_bytes > MAX_UNSENT_BYTES
    assert pair.asked_to_send == 1
    assert pair.receive(len(LARGE)) == LARGE


def test_the_next_piece_waits_outside_until_the_client_has_taken_most(pair: Pair) -> None:
    pair.out.sendall(LARGE)
    thread = threading.Thread(target=pair.out.sendall, args=(b"end",))
    thread.start()
    assert pair.host.is_outside.wait(HANG_S)
    assert pair.receive(len(LARGE) + 3) == LARGE + b"end"
    thread.join(HANG_S)


def test_who_waits_for_a_client_that_is_given_up_is_told(pair: Pair) -> None:
    pair.out.sendall(LARGE)
    raised: list[BaseException] = []

    def send() -> None:
        try:
            pair.out.sendall(b"more")
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    assert pair.host.is_outside.wait(HANG_S)
    pair.out.fail()
    thread.join(HANG_S)
    assert [type(error) for error in raised] == [BrokenPipeError]
    assert pair.out.unsent_bytes == 0


def test_a_client_that_has_gone_fails_what_is_kept_for_it(pair: Pair) -> None:
    pair.out.sendall(LARGE)
    pair.client.close()
    pair.out.flush()
    assert pair.out.failed
    assert pair.out.unsent_bytes == 0
    with pytest.raises(BrokenPipeError):
        pair.out.sendall(b"more")


def test_100_continue_is_sent_only_to_a_client_that_waits_for_it_and_when_more_is_read(pair: Pair) -> None:
    pair.out.invite()
    pair.out.client_waits = True
    pair.out.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert pair.out.client_waits
    pair.out.invite()
    pair.out.invite()
    assert not pair.out.has_begun
    pair.out.sendall(b"HTTP/1.1 200 OK")
    assert pair.receive(40) == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"


def test_an_answer_that_is_ended_is_sent_to_its_end_and_takes_no_more(pair: Pair) -> None:
    pair.out.sendall(LARGE)
    pair.out.close()
    assert pair.receive(len(LARGE)) == LARGE
    with pytest.raises(BrokenPipeError):
        pair.out.sendall(b"more")


def test_what_the_loop_sends_takes_no_turns(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.out.sendall(b"the answer before it")
    turns: list[None] = []
    monkeypatch.setattr(pair.host, "take_turns", lambda: turns.append(None))
    pair.out.send_or_keep(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert turns == []


def test_what_is_written_together_is_sent_at_once() -> None:
    # A socket that keeps the limits of what is sent.
    raw, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with raw, client:
        out = ClientSocket(raw, Host(), lambda: None)

        def write(body: bytes) -> None:
            out.sendall(b"head ")
            out.sendall(body)

        out.send_together(write, b"body")
        out.sendall(b"more")
        assert [client.recv(1 << 10) for _ in range(2)] == [b"head body", b"more"]


def test_what_was_written_before_an_error_is_sent(pair: Pair) -> None:
    def write(body: bytes) -> None:
        pair.out.sendall(b"head")
        raise TypeError(body)

    with pytest.raises(TypeError):
        pair.out.send_together(write, b"body")
    assert pair.receive(4) == b"head"
    assert not pair.out.takes_no_more


def test_a_large_piece_is_not_copied_to_be_sent_with_what_goes_before_it(pair: Pair) -> None:
    def write(body: bytes) -> None:
        pair.out.sendall(b"head")
        pair.out.sendall(body)

    pair.out.send_together(write, LARGE)
    assert pair.receive(4 + len(LARGE)) == b"head" + LARGE

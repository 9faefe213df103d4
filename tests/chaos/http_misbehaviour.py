"""HTTP clients that misbehave in every way, at random, and see that what is owed to them comes all the same."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

import raw_http

from python_side.ml_service import NEGATIVE, POSITIVE, predict

CLIENTS: Final = 6
LONGEST_HOLD_S: Final = 1.5
PIPELINED: Final = 8
UNREAD: Final = 60
BATCH: Final = 100
SMALL_BUFFER: Final = 4096


class Asked(NamedTuple):
    """A request, and the prediction that its answer must have."""

    request: bytes
    prediction: Mapping[str, object]


class HttpMisbehaviour:
    """Clients of one server that misbehave in one way until they are left.

    answered: right answers to those who are owed one. faults: what was owed and did not come.
    """

    def __init__(self, url: str, way: str) -> None:
        self.answered = 0
        self.faults: list[str] = []
        self._url = url
        self._act = WAYS[way]
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def hold(self, longest: float = LONGEST_HOLD_S) -> None:
        """Does nothing for some time."""
        self._ended.wait(random.uniform(0, longest))

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """Another connection."""
        return raw_http.connect(self._url, receive_bytes)

    def owed(self, sock: socket.socket, asked: Asked) -> None:
        """Reads one answer, and notes whether it is the right one."""
        try:
            status, _, body = raw_http.read_answer(sock)
            right = status == 200 and json.loads(body)["prediction"] == asked.prediction
            fault = "" if right else f"{status} {body[:200]!r}"
        except (OSError, ValueError, IndexError, AssertionError) as error:
            fault = repr(error)
        with self._lock:
            if fault:
                self.faults.append(f"{self._act.__name__}: {asked.request[-60:]!r} is owed an answer, got {fault}")
            else:
                self.answered += 1

    def _run(self) -> None:
        while not self._ended.is_set():
            # A server may refuse or cut off whom it likes, but for an answer that is owed.
            with suppress(OSError):
                self._act(self)


def post(path: str, body: bytes) -> bytes:
    """A request that both servers take."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def question() -> Asked:
    """One of the many."""
    words = random.sample(sorted(POSITIVE | NEGATIVE), random.randint(1, 8))
    text = " ".join([*words, str(random.getrandbits(40))])
    body = json.dumps({"text": text}).encode()
    return Asked(post("/api/predict", body), predict(text))


def stalls(clients: HttpMisbehaviour) -> None:
    """Sends a part of a request, and then nothing."""
    asked = question().request
    head, _, body = asked.partition(b"\r\n\r\n")
    begun = random.choice(
        [
            b"",
            asked[: random.randrange(1, len(asked))],
            head + b"\r\nExpect: 100-continue\r\n\r\n",
            head.replace(b"Content-Length: ", b"X-Was: ") + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345",
            head.replace(b"Content-Length: ", b"X-Was: ") + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345XX",
            head.replace(b"Content-Length: ", b"Content-Length: 9") + b"\r\n\r\n" + body,
        ]
    )
    with clients.connect() as sock:
        sock.sendall(begun)
        clients.hold()


def half_closes(clients: HttpMisbehaviour) -> None:
    """Ends its half of the connection when it has asked."""
    asked = question()
    with clients.connect() as sock:
        sock.sendall(asked.request)
        sock.shutdown(socket.SHUT_WR)
        clients.owed(sock, asked)


def garbles(clients: HttpMisbehaviour) -> None:
    """Sends what is no HTTP; sometimes behind a request, which is owed its answer."""
    asked = question()
    noise = os.urandom(random.randrange(1, 2000))
    with clients.connect() as sock:
        if random.random() < 0.5:
            # A byte that begins no method.
            sock.sendall(asked.request + b"\x00" + noise)
            clients.owed(sock, asked)
        else:
            spoiled = bytearray(asked.request)
            for _ in range(random.randrange(1, 9)):
                spoiled[random.randrange(len(spoiled))] = random.randrange(256)
            sock.sendall(random.choice([noise, bytes(spoiled)]))
            clients.hold(0.2)


def reads_nothing(clients: HttpMisbehaviour) -> None:
    """Asks for much, again and again, and reads none of it."""
    text = " ".join(sorted(POSITIVE)) * 8
    body = json.dumps({"texts": [text] * BATCH}).encode()
    with clients.connect(SMALL_BUFFER) as sock:
        sock.settimeout(LONGEST_HOLD_S)
        sock.sendall(post("/api/batch", body) * UNREAD)
        clients.hold()


def pipelines(clients: HttpMisbehaviour) -> None:
    """Sends many requests at once, and takes the answers in their order, slowly."""
    asked = [question() for _ in range(PIPELINED)]
    with clients.connect() as sock:
        sock.sendall(b"".join(each.request for each in asked))
        for each in asked:
            clients.hold(0.01)
            clients.owed(sock, each)


def dribbles(clients: HttpMisbehaviour) -> None:
    """Sends its request byte by byte, and reads the answer so."""
    asked = question()
    with clients.connect(SMALL_BUFFER) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(asked.request)):
            sock.send(asked.request[number : number + 1])
            time.sleep(0.002)
        clients.owed(sock, asked)


WAYS: Final[Mapping[str, Callable[[HttpMisbehaviour], None]]] = {
    "stalls": stalls,
    "half-closes": half_closes,
    "garbles": garbles,
    "reads-nothing": reads_nothing,
    "pipelines": pipelines,
    "dribbles": dribbles,
}
"""What a client does on one connection, from its opening to its end."""

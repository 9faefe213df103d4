"""A Unix socket and MessagePack, written by hand: length u32, then [function, argument]; the answer likewise."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final

import msgpack

from bench.address import socket_path
from bench.workload import FUNCTIONS

LENGTH: Final = struct.Struct("<I")
ARRIVING_BYTES: Final = 64 * 1024
"""Room for what arrives: it grows with the largest message."""
LARGE_BYTES: Final = 64 * 1024
"""From here on a second system call costs less than to copy the message behind its length."""

FLOAT64: Final = 1
"""The ext that the bytes of an array of float64 are."""


def _ext(array: Any) -> msgpack.ExtType:
    return msgpack.ExtType(FLOAT64, array.tobytes())


def _array(code: int, data: bytes) -> object:  # noqa: ARG001  # there is one
    import numpy as np

    return np.frombuffer(data)


Receive = Callable[[memoryview], int]
"""Put some of what has arrived there; how many bytes, 0 when the other side has closed."""
Send = Callable[[bytes], None]
"""Send all of it."""


class Incoming:
    """The messages that arrive, one after the other."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._room = memoryview(bytearray(ARRIVING_BYTES))
        # What has arrived and is not taken yet.
        self._start = self._end = 0

    def take(self) -> Any:
        """The next message. Raises ConnectionError when the other side has closed."""
        if self._end - self._start < LENGTH.size:
            self._arrive(LENGTH.size)
        (length,) = LENGTH.unpack_from(self._room, self._start)
        if self._end - self._start < LENGTH.size + length:
            self._arrive(LENGTH.size + length)
        start = self._start + LENGTH.size
        self._start = start + length
        body: Any = self._room[start : self._start]
        return msgpack.unpackb(body, ext_hook=_array)

    def _arrive(self, needed: int) -> None:
        """Wait until so many bytes have arrived."""
        room, arrived = self._room, self._end - self._start
        if len(room) < needed:
            self._room = memoryview(bytearray(needed))
        self._room[:arrived] = room[self._start : self._end]
        while arrived < needed:
            count = self._receive(self._room[arrived:])
            if count == 0:
                raise ConnectionError("the other side has closed the connection; why is in its own output")
            arrived += count
        self._start, self._end = 0, arrived


class Outgoing:
    """Where messages leave."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pack = msgpack.Packer(default=_ext).pack

    def put(self, message: object) -> None:
        """Send one message, in one system call unless it is large."""
        body = self._pack(message)
        length = LENGTH.pack(len(body))
        if len(body) < LARGE_BYTES:
            self._send(length + body)
        else:
            self._send(length)
            self._send(body)


def blocking(connection: socket.socket) -> tuple[Receive, Send]:
    """Wait in the kernel."""
    return connection.recv_into, connection.sendall


Waiting = Callable[[socket.socket], tuple[Receive, Send]]


class Caller:
    """A client with one connection."""

    def __init__(self, address: str, waiting: Waiting) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(socket_path(address))
        receive, send = waiting(self._connection)
        self._incoming, self._outgoing = Incoming(receive), Outgoing(send)

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        self._outgoing.put([function, argument])
        return self._incoming.take()

    def stop(self) -> None:
        """See interface.py."""
        self._connection.close()


def answer(connection: socket.socket, waiting: Waiting) -> None:
    """Run what comes over one connection until the other side closes it."""
    with connection:
        receive, send = waiting(connection)
        incoming, outgoing = Incoming(receive), Outgoing(send)
        while True:
            try:
                function, argument = incoming.take()
            except ConnectionError:
                return
            outgoing.put(FUNCTIONS[function](argument))


def serve_waiting(address: str, ready: Callable[[], None], waiting: Waiting) -> None:
    """Serve each connection on a thread of its own: a system call a message less than a selector."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path(address))
        listener.listen(socket.SOMAXCONN)
        ready()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, waiting), daemon=True).start()


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address, blocking)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    serve_waiting(address, ready, blocking)

"""A Unix socket and MessagePack, written by hand: length u32 and the message, one call at a time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import msgpack

from bench.address import socket_path
from bench.workload import echo

LENGTH = struct.Struct("<I")


def receive(connection: socket.socket) -> object:
    """One message; EOFError when the other side has closed."""
    header = connection.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(header) < LENGTH.size:
        raise EOFError
    return msgpack.unpackb(connection.recv(LENGTH.unpack(header)[0], socket.MSG_WAITALL))


def send(connection: socket.socket, message: object) -> None:
    """One message, in one system call."""
    body = msgpack.packb(message)
    connection.sendall(LENGTH.pack(len(body)) + body)


class Caller:
    """A blocking client."""

    def __init__(self, address: str) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(socket_path(address))

    def call(self, value: object) -> object:
        """See interface.py."""
        send(self._connection, value)
        return receive(self._connection)

    def close(self) -> None:
        """See interface.py."""
        self._connection.close()


def connect(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path(address))
        listener.listen()
        ready()
        connection, _ = listener.accept()
        with connection:
            while True:
                try:
                    message = receive(connection)
                except EOFError:
                    return
                send(connection, echo(message))

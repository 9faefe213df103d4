"""The same as uds_msgpack.py, but neither side ever sleeps in the kernel: it asks the socket again and again.

So the bridge is not credited with what polling alone buys.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from bench.peers.uds_msgpack import Caller, Receive, Send, serve_waiting


def polling(connection: socket.socket) -> tuple[Receive, Send]:
    """Try until it can be done."""

    def receive(room: memoryview) -> int:
        while True:
            try:
                return connection.recv_into(room, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass

    def send(message: bytes) -> None:
        sent = 0
        while sent < len(message):
            try:
                sent += connection.send(memoryview(message)[sent:], socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass

    return receive, send


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address, polling)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py. It polls while a caller is connected."""
    serve_waiting(address, ready, polling)

"""Two connections to each other in this process, over each transport."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from shm_protocol._binding import Channel, segment_bytes
from shm_protocol.connection import Connection
from shm_protocol.exposables import Exposables
from shm_protocol.exposed import Exposed
from shm_protocol.handshake import Peer
from shm_protocol.transports.socket import SocketTransport
from shm_protocol.transports.transport import MessageTransport

HANG_S = 200.0
RING = 4096
TRANSPORTS = ("shm", "socket")


class Ends:
    """Two connections to each other: `near` belongs to the test's thread, `far` to whoever serves it."""

    def __init__(
        self,
        transport: str,
        max_message: int,
        near: Exposables | None,
        far: Exposables | None,
        serve_unrelated: bool = False,
    ) -> None:
        self.serve_unrelated = serve_unrelated
        self.sockets = socket.socketpair()
        transports: list[MessageTransport]
        if transport == "shm":
            memory = os.memfd_create("segment")
            os.posix_fallocate(memory, 0, segment_bytes(RING))
            dialer, acceptor = (end.fileno() for end in self.sockets)
            transports = [
                Channel(memory, dialer, ring_capacity=RING, max_message=max_message, spin_us=0),
                Channel(memory, acceptor, max_message=max_message, spin_us=0),
            ]
            os.close(memory)
            for end in self.sockets:
                end.close()
        else:
            transports = [SocketTransport(end, max_message=max_message) for end in self.sockets]
        self.near_transport, self.far_transport = transports
        self.near = self._connection(self.near_transport, near)
        self.far = self._connection(self.far_transport, far)
        self.thread: threading.Thread | None = None
        self.far_error: BaseException | None = None

    def serve(self) -> None:
        """Let the far end serve in a thread, until the connection ends."""
        self.run(lambda: self.far.serve())

    def run(self, far: Callable[[], object]) -> None:
        """Run something in the far end's thread."""

        def body() -> None:
            self.far.owner = threading.get_ident()
            try:
                far()
            except BaseException as error:
                self.far_error = error

        self.thread = threading.Thread(target=body)
        self.thread.start()

    def join(self) -> None:
        """Wait for the far end's thread."""
        assert self.thread is not None
        self.thread.join(HANG_S)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self.near.close()
        if self.thread is not None:
            self.join()
        self.far.owner = threading.get_ident()
        self.far.close()

    def _connection(self, transport: MessageTransport, expose: Exposables | None) -> Connection:
        return Connection(
            transport,
            exposed=Exposed(expose),
            role="worker",
            peer=Peer("peer", "test", "0"),
            path=Path("/nowhere"),
            serve_unrelated=self.serve_unrelated,
        )

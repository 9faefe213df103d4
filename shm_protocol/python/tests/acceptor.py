"""An acceptor in Python, for tests: the handshake of handshake.py and the library's own Connection, from the other
side.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from shm_protocol import handshake
from shm_protocol._binding import Channel
from shm_protocol.connection import Connection
from shm_protocol.errors import BridgeError
from shm_protocol.exposables import Exposables
from shm_protocol.exposed import Exposed
from shm_protocol.handshake import Hello, Peer, Refusal, Welcome
from shm_protocol.transports.socket import SocketTransport
from shm_protocol.transports.transport import MessageTransport

HANG_S = 200.0
MAX_MESSAGE = 64 * 1024 * 1024


class Acceptor:
    """Listens at `path`. `accepts`: the transports it does not refuse."""

    def __init__(
        self,
        path: Path,
        expose: Exposables | None = None,
        accepts: tuple[str, ...] = ("shm", "socket"),
        max_message: int = MAX_MESSAGE,
        refusal: Refusal | None = None,
    ) -> None:
        self.path = path
        self.exposed = Exposed(expose)
        self.accepts = accepts
        self.max_message = max_message
        self.refusal = refusal
        self.hellos: list[Hello] = []
        self.connections: list[Connection] = []
        self.threads: list[threading.Thread] = []
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(os.fspath(path))
        self.listening.listen(16)
        self.closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def accept(self) -> Connection:
        """Shake hands with one dialer. The connection belongs to this thread."""
        connection = self._accept()
        assert connection is not None, "refused"
        return connection

    def serve_in_background(self) -> Self:
        """Accept whoever comes, and serve each in a thread."""
        self._start(self._serve_all)
        return self

    def close(self) -> None:
        """End everything."""
        self.closing = True
        # A thread in accept() comes up with an error.
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        # The thread that accepts is the first; once it has ended there are no more connections and threads.
        self._join(self.threads[:1])
        for connection in self.connections:
            connection.interrupt()
        self._join(self.threads[1:])
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    @staticmethod
    def _join(threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(HANG_S)
            assert not thread.is_alive(), "a thread of the acceptor hangs"

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()

    def _serve_all(self) -> None:
        while not self.closing:
            try:
                connection = self._accept()
            except (OSError, BridgeError):
                continue
            if connection is not None:
                self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]  # bound now

    def _serve(self, connection: Connection) -> None:
        connection.owner = threading.get_ident()
        with contextlib.suppress(BridgeError):
            connection.serve()

    def _accept(self) -> Connection | None:
        connected, _ = self.listening.accept()
        with contextlib.ExitStack() as undo:
            undo.callback(connected.close)
            connected.settimeout(HANG_S)
            first = read_exactly(connected, handshake.HEADER.size)
            if not first:
                return None  # somebody has only looked whether anybody listens
            header = handshake.decode_header(first)
            hello = handshake.decode_hello(read_exactly(connected, header.body_bytes))
            self.hellos.append(hello)
            refusal = self.refusal
            if refusal is None and hello.transport not in self.accepts:
                refusal = Refusal("PeerUnavailable", f"no {hello.transport} here")
            if refusal is not None:
                connected.sendall(handshake.encode_answer(refusal))
                return None
            transport: MessageTransport
            if hello.transport == "shm":
                assert hello.segment is not None
                with opened_segment(hello.segment) as memory:
                    transport = Channel(memory, connected.fileno(), max_message=self.max_message)
            else:
                transport = SocketTransport(connected.dup(), max_message=self.max_message)
            transport.max_message = min(self.max_message, hello.max_message)
            welcome = handshake.encode_answer(Welcome("acceptor", self.max_message))
            # The transport may have made the socket non-blocking; a welcome always fits.
            connected.sendall(welcome)
            peer = Peer(hello.name, hello.language, hello.library)
            connection = Connection(transport, exposed=self.exposed, role="worker", peer=peer, path=self.path)
            self.connections.append(connection)
            return connection


@contextlib.contextmanager
def opened_segment(name: str) -> Iterator[int]:
    """A segment's descriptor; the name is removed, as an acceptor does."""
    path = Path(f"/dev/shm{name}")
    memory = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield memory
    finally:
        os.close(memory)
        path.unlink()


def read_exactly(connected: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < count and (more := connected.recv(count - len(data))):
        data += more
    return data

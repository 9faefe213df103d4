"""The second socket of a connection, on which descriptors of memory are passed (PROTOCOL.md section 12).

Nothing in here ever waits for the peer but `is_ready`, once and for a moment.
"""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Final

from .. import _memory, handshake
from ..errors import ProtocolError
from . import shortages

FIRST_WAIT_MS: Final = 1000
"""How long the first large buffer of a connection waits for the acceptor's answer, which was asked when the connection
was made. Later ones find the answer, or go by the ring."""


class _Socket(socket.socket):
    """Closes itself, without a ResourceWarning: a client that is never closed is closed with the process."""

    def __del__(self) -> None:
        self.close()


class Descriptors:
    """One connection's. why_not: why there are none, None while they can be had or may still be."""

    def __init__(self, path: Path, token: str) -> None:
        self.why_not: str | None = None
        self._welcome = b""
        self._is_welcome = False
        self._has_waited = False
        self._socket: Final = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(os.fspath(path))
            self._socket.send(handshake.encode_descriptors_hello(token))
        except OSError as error:
            self.close(f"the second socket cannot be dialed: {error}")

    def is_ready(self) -> bool:
        """Whether descriptors can be sent now."""
        if self._is_welcome or self.why_not is not None:
            return self._is_open()
        if not self._has_waited:
            self._has_waited = True
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.poll(FIRST_WAIT_MS)
        self._read_answer()
        return self._is_open()

    def _is_open(self) -> bool:
        return self._is_welcome and self.why_not is None

    def send(self, memory: _memory.Memory) -> bool:
        """Have the peer know the memory by its number. False: not now, or not at all."""
        try:
            return _memory.send_descriptor(self._socket.fileno(), memory)
        except OSError as error:
            self.close(f"descriptors cannot be sent: {error}")
            return False

    def receive(self) -> tuple[int, int] | None:
        """The number of a peer's memory and its descriptor, the caller's to close. None: none has come.

        Raises ProtocolError, and OSError where this process cannot have it now: it is there to be received later.
        """
        if not self.is_ready():
            return None
        try:
            return _memory.receive_descriptor(self._socket.fileno())
        except OSError as error:
            if shortages.of_receiver(error) is not None:
                raise
            raise ProtocolError(f"a descriptor cannot be received: {error}") from error

    def close(self, why: str) -> None:
        """Let go of it."""
        if self.why_not is None:
            self.why_not = why
        self._socket.close()

    def _read_answer(self) -> None:
        """As far as it has come, and no byte more: what follows has descriptors with it."""
        header_bytes = handshake.HEADER.size
        try:
            while True:
                wanted = header_bytes
                if len(self._welcome) >= header_bytes:
                    wanted += handshake.decode_header(self._welcome[:header_bytes]).body_bytes
                if len(self._welcome) == wanted:
                    break
                more = self._socket.recv(wanted - len(self._welcome))
                if not more:
                    self.close("the acceptor has closed the second socket")
                    return
                self._welcome += more
            answer = handshake.decode_answer(self._welcome[header_bytes:])
        except BlockingIOError:
            return
        except (OSError, ProtocolError) as error:
            self.close(f"the acceptor has not taken the second socket: {error}")
            return
        if isinstance(answer, handshake.Refusal):
            self.close(f"the acceptor has refused the second socket: {answer.message}")
        else:
            self._is_welcome = True

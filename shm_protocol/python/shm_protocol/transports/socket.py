"""Messages on the socket itself (PROTOCOL.md section 6): length u32, then the bytes. Needs no compiled part.

Ctrl-C may strike after any instruction, a system call's as well: what was sent would be sent again, or what was read
would be lost. So it is C, in one instruction, that makes the system call and notes what came of it.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from contextlib import suppress
from typing import Final

from ..errors import ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError
from .transport import SharedBuffers

_LENGTH: Final = struct.Struct("<I")
_READ_BYTES: Final = 256 * 1024
_POLL_MS_MAX: Final = 2**31 - 1


class _Socket(socket.socket):
    """Closes itself. The transport could not: the collector may come to its socket first."""

    def __del__(self) -> None:
        # Not a ResourceWarning: a client that is never closed is closed with the process.
        self.close()


class SocketTransport:
    """One side of a connected Unix-domain stream socket. See transport.py."""

    def __init__(self, connected: socket.socket, *, max_message: int) -> None:
        """Takes `connected` over."""
        self.max_message = max_message
        self._socket = _Socket(connected.family, connected.type, connected.proto, connected.detach())
        self._socket.setblocking(False)
        self._arrived: list[bytes | memoryview] = []  # and not taken yet
        self._unsent: tuple[memoryview, list[int]] | None = None  # a message, and what each send has taken of it
        self._ended = False
        self._closed_because: str | None = None
        self.buffers: SharedBuffers | None = None
        self._counts = dict.fromkeys(("messages_sent", "messages_received", "bytes_sent", "bytes_received"), 0)

    @property
    def kind(self) -> str:
        """The name of the transport."""
        return "socket"

    @property
    def sending(self) -> bool:
        """Whether a message is partly sent."""
        return self._unsent is not None

    def send(self, message: bytes) -> bool:
        """Send. False: the socket is full; the rest is kept, and `flush` goes on with it. Raises MessageTooLarge."""
        self._require_open()
        if self._unsent is not None:
            raise ValueError("a message is partly sent; no other may be sent before it")
        if len(message) > self.max_message:
            raise MessageTooLarge(f"the message has {len(message)} bytes, max_message is {self.max_message}")
        self._counts["messages_sent"] += 1
        self._counts["bytes_sent"] += len(message)
        self._unsent = memoryview(_LENGTH.pack(len(message)) + message), []
        return self.flush()

    def flush(self) -> bool:
        """Go on with the message that is kept. True: nothing is kept any more."""
        self._require_open()
        while self._unsent is not None:
            message, taken = self._unsent
            rest = message[sum(taken) :]
            if not rest:
                self._unsent = None
                break
            try:
                taken.extend(map(self._socket.send, (rest,)))
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                # As with a ring: what the peer sent before it went is still to be read, and then the end shows.
                self._unsent = None
        return True

    def receive(self, timeout_ns: int) -> bytes | None:
        """The next message, or None after `timeout_ns` (< 0: no limit). Raises PeerGone when there will be none."""
        deadline = _deadline(timeout_ns)
        while (message := self.try_receive()) is None:
            if not self._sleep(deadline):
                return None
            self.flush()
        return message

    def receive_or_wake(self, wake_fd: int) -> bytes | None:
        """The next message, or None as soon as the descriptor `wake_fd` is readable and none has come."""
        while (message := self.try_receive()) is None:
            if not self._sleep(None, wake_fd):
                return None
            self.flush()
        return message

    def try_receive(self) -> bytes | None:
        """The next message that has arrived in full, or None. Raises PeerGone when there will be none."""
        self._require_open()
        message = self._next()
        while message is None and self._read():
            message = self._next()
        if message is None and self._ended:
            self._require_open()
            raise PeerGone("the peer has closed the connection")
        return message

    def wait(self, timeout_ns: int) -> bool:
        """Wait for a message, or for room if one is kept. False after `timeout_ns` (< 0: no limit). Raises PeerGone."""
        self._require_open()
        if self._has_message():
            return True
        if self._ended:
            raise PeerGone("the peer has closed the connection")
        return self._sleep(_deadline(timeout_ns))

    def poll(self, poll_ns: int) -> int:
        """1: there is a message, or room for the one that is kept. -1: neither; the socket will become readable.

        While a message is kept, an event loop must also look for room: it is told 0, poll again soon.
        """
        self._require_open()
        self._read()
        if self._has_message() or self._ended:
            return 1
        if self._unsent is None:
            return -1
        return 1 if self._events(select.POLLOUT, 0) else 0

    def park(self) -> bool:
        """False: there is a message already. The socket wakes its reader, so there is nothing else to do."""
        return self.poll(0) != 1

    def unpark(self) -> None:
        """Nothing to do."""
        self._require_open()

    def drain(self) -> None:
        """Read what has come, without blocking. Raises PeerGone at the end of the socket."""
        self._require_open()
        self._read()
        if self._ended and not self._has_message():
            raise PeerGone("the peer has closed the connection")

    def set_busy(self, busy: bool) -> None:
        """There is nowhere to tell the peer."""
        self._require_open()

    def count_call(self, began: float, failed: bool) -> None:
        """There is no segment to count in."""

    def stats(self) -> dict[str, int]:
        """Counters since the beginning."""
        self._require_open()
        return dict(self._counts)

    def fileno(self) -> int:
        """The socket, for an event loop."""
        self._require_open()
        return self._socket.fileno()

    def close(self, because: str = "the connection has been closed") -> None:
        """Let go of the socket; any method raises ConnectionClosed(because) from then on. Safe to call twice."""
        if self._closed_because is None:
            self._closed_because = because
        self._socket.close()
        self._arrived.clear()
        self._unsent = None

    def close_in_child(self, because: str) -> None:
        """close for a forked child, where the threads that waited in here do not exist."""
        self.close(because)

    def interrupt(self, because: str) -> None:
        """close for any other thread: ends the connection, so that a thread that waits in here comes up.

        The descriptor stays until the owner closes it: its number could be another file's while the owner uses it.
        """
        if self._closed_because is None:
            self._closed_because = because
        # Closed already, or the peer was faster.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _require_open(self) -> None:
        if self._closed_because is not None:
            raise ConnectionClosed(self._closed_because)

    def _has_message(self) -> bool:
        return self._next_end() is not None

    def _next_end(self) -> int | None:
        """The length of the next message with its own, or None if it has not arrived in full. Raises ProtocolError."""
        arrived = self._arrived
        total = sum(map(len, arrived))
        if total < _LENGTH.size:
            return None
        if len(arrived[0]) < _LENGTH.size:
            arrived[:] = [b"".join(arrived)]
        (length,) = _LENGTH.unpack_from(arrived[0])
        if length > self.max_message:
            raise ProtocolError(f"the peer sends a message of {length} bytes; max_message is {self.max_message}")
        end: int = _LENGTH.size + length
        return end if end <= total else None

    def _next(self) -> bytes | None:
        end = self._next_end()
        if end is None:
            return None
        arrived = self._arrived
        if len(arrived[0]) < end:
            arrived[:] = [b"".join(arrived)]
        first = memoryview(arrived[0])
        message = bytes(first[_LENGTH.size : end])
        arrived[0] = first[end:]
        self._counts["messages_received"] += 1
        self._counts["bytes_received"] += len(message)
        return message

    def _read(self) -> bool:
        """Read once, without blocking. False: nothing has come, or nothing will, which `_ended` tells."""
        if self._ended:
            return False
        arrived = self._arrived
        try:
            arrived.extend(map(self._socket.recv, (_READ_BYTES,)))
        except BlockingIOError:
            return False
        except ConnectionResetError:
            arrived.append(b"")
        self._ended = not arrived[-1]
        return not self._ended

    def _sleep(self, deadline: float | None, wake_fd: int = -1) -> bool:
        """False: the deadline has come, or `wake_fd` is readable."""
        events = select.POLLIN if self._unsent is None else select.POLLIN | select.POLLOUT
        while True:
            # In milliseconds, rounded up so that it is never early, and no more at once than poll takes.
            timeout = None
            if deadline is not None:
                timeout = min(max(0, math.ceil((deadline - time.monotonic()) * 1000)), _POLL_MS_MAX)
            if self._events(events, timeout, wake_fd):
                return True
            if wake_fd >= 0 or (deadline is not None and time.monotonic() >= deadline):
                return False

    def _events(self, events: int, timeout_ms: int | None, wake_fd: int = -1) -> bool:
        """Whether the socket has one of them. Else the time is up, or `wake_fd` is readable."""
        poller = select.poll()
        poller.register(self._socket, events)
        if wake_fd >= 0:
            poller.register(wake_fd, select.POLLIN)
        ready = [descriptor for descriptor, _ in poller.poll(timeout_ms)]
        self._require_open()
        return bool(ready) and ready != [wake_fd]


def _deadline(timeout_ns: int) -> float | None:
    return None if timeout_ns < 0 else time.monotonic() + timeout_ns / 1e9

"""One handshake with whoever listens, only to look at the answer: nothing is called, nothing is swept up."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from . import handshake, shm_transport
from .config import Settings
from .handshake import Header, Hello, Refusal, Transport, Welcome

NAME: Final = "shm-polyglot doctor"

_UCRED: Final = struct.Struct("iII")
"""struct ucred of <sys/socket.h>: pid, uid, gid."""


class Answer(NamedTuple):
    """What the acceptor has answered; the header has its version of the protocol."""

    header: Header
    body: Welcome | Refusal


def peer_uid(path: Path, timeout: float) -> int:
    """The user that listens at `path`. Raises OSError where nobody does. An acceptor takes this for no event."""
    with _connected(path, time.monotonic() + timeout) as dialed:
        credentials = dialed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def shake_hands(settings: Settings, transport: Transport, deadline: float) -> Answer:
    """Say hello at `settings.path`, and leave again once the answer is there.

    With "shm" a segment is offered, as each connection does it; its name is gone at the end. deadline: of
    time.monotonic(). Raises TimeoutError past it, EOFError when the acceptor closes instead, OSError, PeerUnavailable
    where there is no memory to offer, VersionMismatch, ProtocolError for what is no handshake.
    """
    with _connected(settings.path, deadline) as dialed:
        if transport == "socket":
            return _exchange(dialed, Hello("client", "socket", NAME, settings.max_message), deadline)
        with shm_transport.offered_channel(dialed, settings) as (segment, channel), closing(channel):
            hello = Hello("client", "shm", NAME, settings.max_message, segment=segment)
            return _exchange(dialed, hello, deadline)


def _connected(path: Path, deadline: float) -> socket.socket:
    dialed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        dialed.settimeout(_left(deadline))
        dialed.connect(os.fspath(path))
    except BaseException:
        dialed.close()
        raise
    return dialed


def _exchange(dialed: socket.socket, hello: Hello, deadline: float) -> Answer:
    dialed.settimeout(_left(deadline))
    dialed.sendall(handshake.encode_hello(hello))
    header = handshake.decode_header(_read(dialed, handshake.HEADER.size, deadline))
    # Before the body, which another version may have in another form.
    handshake.check_version(header)
    return Answer(header, handshake.decode_answer(_read(dialed, header.body_bytes, deadline)))


def _read(dialed: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        dialed.settimeout(_left(deadline))
        more = dialed.recv(count - len(data))
        if not more:
            raise EOFError("it has closed the connection in the handshake")
        data += more
    return data


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time is left")
    return left

"""Dialing: from a path to a connection (PROTOCOL.md sections 1 and 2), over shared memory or the socket."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Final, TypeVar

from . import config, forks, handshake, shm_transport, shortages
from .config import Settings
from .connection import Connection, Peer
from .errors import BridgeError, Busy, PeerUnavailable, VersionMismatch
from .exposed import Exposed
from .handshake import Hello, Role, Transport, Welcome
from .socket_transport import SocketTransport
from .transport import MessageTransport

logger: Final = logging.getLogger("shm_protocol")

Made = TypeVar("Made", bound=Connection)

_UCRED: Final = struct.Struct("iII")
"""struct ucred of <sys/socket.h>: pid, uid, gid."""


def dial(
    settings: Settings,
    *,
    role: Role,
    exposed: Exposed,
    name: str | None = None,
    timeout: float = handshake.TIMEOUT_S,
) -> Connection:
    """Connect and shake hands, within `timeout` seconds.

    With the transport "auto" shared memory is tried first, and the socket where it is not to be had on one of the
    sides; that is logged, and `Connection.transport` tells it.

    Raises PeerUnavailable when nobody listens, memory or a descriptor cannot be had, or the acceptor does not answer;
    VersionMismatch; ProtocolError when something else listens there; and what the acceptor refuses with.
    """
    return dial_as(Connection, settings, role=role, exposed=exposed, name=name, timeout=timeout)


def dial_as(
    kind: type[Made], settings: Settings, *, role: Role, exposed: Exposed, name: str | None, timeout: float
) -> Made:
    """The same as dial, for a connection of another class."""
    shown_name = default_name() if name is None else name
    if not 1 <= len(shown_name) <= handshake.NAME_CHARACTERS_MAX:
        raise config.ConfigError(f"name={shown_name!r}: must have 1 to {handshake.NAME_CHARACTERS_MAX} characters")
    if not timeout > 0:
        raise config.ConfigError(f"timeout={timeout!r}: must be greater than 0 seconds")
    attempt = _Attempt(settings, role, shown_name, time.monotonic() + timeout)
    try:
        transport, peer = _connect(attempt, settings)
    except _Refused as refused:
        raise refused.error from None
    except (OSError, MemoryError) as error:
        raise PeerUnavailable(f"{settings.path} cannot be dialed: {shortages.describe(error)}") from error
    connection = kind(transport, exposed=exposed, role=role, peer=peer, path=settings.path)
    logger.info("connected to %s at %s over %s as %s", peer.name, settings.path, transport.kind, role)
    return connection


def _connect(attempt: _Attempt, settings: Settings) -> tuple[MessageTransport, Peer]:
    """By the transport that is asked for, or by the one that can be had."""
    if settings.transport == "socket":
        return attempt.connect("socket")
    reason = shm_transport.why_unavailable()
    if reason is None:
        try:
            return attempt.connect("shm")
        except _Refused as refused:
            if settings.transport == "shm" or isinstance(refused.error, VersionMismatch | Busy):
                raise
            reason = f"the acceptor refuses shared memory ({refused.error})"
    elif settings.transport == "shm":
        raise PeerUnavailable(f"transport='shm': {reason}")
    logger.warning("%s: the socket transport is used, which is slower: %s", settings.path, reason)
    return attempt.connect("socket")


def default_name() -> str:
    """The program's name: what the peer's logs call this side."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    # "" in the interactive interpreter, "-c" and "-m" where there is no file.
    return program[: handshake.NAME_CHARACTERS_MAX] if program and not program.startswith("-") else "python"


class _Refused(Exception):
    """The acceptor has answered with a refusal."""

    def __init__(self, error: BridgeError) -> None:
        super().__init__(str(error))
        self.error = error


class _Attempt:
    """One dial, which may take two sockets: an acceptor closes after a refusal."""

    def __init__(self, settings: Settings, role: Role, name: str, deadline: float) -> None:
        self._settings = settings
        self._role = role
        self._name = name
        self._deadline = deadline
        self._dialing: socket.socket | None = None  # for a child forked by another thread meanwhile
        forks.register(self)

    def connect(self, kind: Transport) -> tuple[MessageTransport, Peer]:
        """What a connection is made of. Raises _Refused where dial may try the other transport."""
        self._dialing = dialed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        transport: MessageTransport
        try:
            self._reach(dialed)
            if kind == "shm":
                transport, welcome = self._shake_hands_over_shm(dialed)
            else:
                welcome = self._shake_hands(dialed, "socket", None)
                transport = SocketTransport(dialed, max_message=self._settings.max_message)
        except BaseException:
            dialed.close()
            raise
        finally:
            self._dialing = None
        transport.max_message = min(self._settings.max_message, welcome.max_message)
        return transport, Peer(welcome.name, welcome.language, welcome.library)

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        if self._dialing is not None:
            self._dialing.close()

    def _reach(self, dialed: socket.socket) -> None:
        path = self._settings.path
        try:
            config.check_directory(path.parent)
            config.check_socket(path)
            dialed.settimeout(self._left())
            dialed.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise PeerUnavailable(
                f"nobody listens at {path} ({error.strerror}): start the Node side first, "
                "and see that both have the same SHM_POLYGLOT_DIR"
            ) from error
        except OSError as error:
            raise PeerUnavailable(f"{path} cannot be reached: {error}") from error
        if not hasattr(socket, "SO_PEERCRED"):
            return  # not Linux: the directory's owner and mode, checked above, are what there is
        credentials = dialed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        uid = _UCRED.unpack(credentials)[1]
        if uid != os.geteuid():
            raise PeerUnavailable(
                f"the user {uid} listens at {path}, not {os.geteuid()}; only the same user is trusted"
            )

    def _shake_hands_over_shm(self, dialed: socket.socket) -> tuple[MessageTransport, Welcome]:
        shm_transport.sweep_stale_names()
        with shm_transport.offered_channel(dialed, self._settings) as (name, channel):
            welcome = self._shake_hands(dialed, "shm", name)
        # The channel sleeps on its duplicate, which shares this mode.
        dialed.setblocking(True)
        dialed.close()
        return channel, welcome

    def _shake_hands(self, dialed: socket.socket, kind: Transport, segment: str | None) -> Welcome:
        path = self._settings.path
        hello = Hello(self._role, kind, self._name, self._settings.max_message, segment=segment)
        try:
            dialed.settimeout(self._left())
            dialed.sendall(handshake.encode_hello(hello))
            header = handshake.decode_header(self._read(dialed, handshake.HEADER.size))
            body = self._read(dialed, header.body_bytes)
            handshake.check_version(header)
        except TimeoutError:
            raise PeerUnavailable(f"the acceptor at {path} has not answered the handshake in time") from None
        except VersionMismatch as error:
            logger.error("%s: %s", path, error)
            raise
        except OSError as error:
            raise PeerUnavailable(
                f"the acceptor at {path} has closed the connection in the handshake: {error}"
            ) from error
        answer = handshake.decode_answer(body)
        if isinstance(answer, Welcome):
            return answer
        refusal = answer.to_error()
        if isinstance(refusal, VersionMismatch):
            logger.error("%s: refused: %s", path, refusal)
        raise _Refused(refusal)

    def _read(self, dialed: socket.socket, count: int) -> bytes:
        """Exactly so many bytes: what follows the handshake belongs to the transport."""
        data = b""
        while len(data) < count:
            dialed.settimeout(self._left())
            more = dialed.recv(count - len(data))
            if not more:
                raise PeerUnavailable(
                    f"the acceptor at {self._settings.path} has closed the connection in the handshake"
                )
            data += more
        return data

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the handshake has passed")
        return left

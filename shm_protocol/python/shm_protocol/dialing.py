"""Dialing: from a path to a connection (PROTOCOL.md sections 1 and 2), over shared memory or the socket."""

from __future__ import annotations

import functools
import logging
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from . import config, forks, handshake, options
from . import project as projects
from .config import Settings
from .connection import Connection
from .errors import BridgeError, Busy, PeerUnavailable, VersionMismatch
from .exposed import Exposed, Namer
from .handshake import Header, Hello, Peer, Refusal, Role, Transport, Welcome
from .transports import shm, shortages, stale_segments
from .transports.socket import SocketTransport
from .transports.transport import MessageTransport, SharedBuffers

logger: Final = logging.getLogger("shm_protocol")


class Dialed(Namer, Protocol):
    """A connection that has been dialed."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""


Made = TypeVar("Made", bound=Dialed)

_UCRED: Final = struct.Struct("iII")
"""struct ucred of <sys/socket.h>: pid, uid, gid."""
_QUEUE_PAUSES_S: Final = (0.001, 0.02)
"""From one look at a full queue to the next: the first, and the longest."""
_told: Final[set[str]] = set()
"""Why there is no shared memory in this process, whatever is dialed: a warning once, and not for every connection."""
_MAX_WAIT_S: Final = 86_400.0
"""A socket's time-out has a limit of its own."""


class Reached(NamedTuple):
    """What a connection is made of."""

    transport: MessageTransport
    peer: Peer


class Answer(NamedTuple):
    """What the acceptor has answered; the header has its version of the protocol."""

    header: Header
    body: Welcome | Refusal


def dial(
    settings: Settings,
    *,
    role: Role,
    exposed: Exposed,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
    serve_unrelated: bool = False,
) -> Connection:
    """Connect and shake hands, within `timeout` seconds.

    With the transport "auto" shared memory is tried first, and the socket where it is not to be had on one of the
    sides; that is logged, and `Connection.transport` tells it.

    Raises PeerUnavailable when nobody listens, memory or a descriptor cannot be had, or the acceptor does not answer;
    VersionMismatch; ProtocolError when something else listens there; what the acceptor refuses with; ConfigError for a
    name or a timeout that cannot be, TypeError for one of another type.
    """
    kind = functools.partial(Connection, serve_unrelated=serve_unrelated)
    attends = False if role == "client" else None
    return dial_as(kind, settings, role=role, exposed=exposed, name=name, timeout=timeout, attends=attends)


def dial_as(
    kind: Callable[..., Made],
    settings: Settings,
    *,
    role: Role,
    exposed: Exposed,
    name: str | None,
    timeout: float,
    attends: bool | None = None,
) -> Made:
    """The same as dial, for a connection of another class. attends: see Hello."""
    told_name, seconds = checked_options(name, timeout)
    deadline = time.monotonic() + seconds
    own_project = projects.project_folder()
    # What is exposed by another thread meanwhile is named as well, in addition.
    attempt = _Attempt(settings, role, told_name, deadline, len(exposed.functions), own_project, attends)
    try:
        transport, peer = _connect(attempt, settings)
    except _Refused as refused:
        raise refused.error from None
    except (OSError, MemoryError) as error:
        raise PeerUnavailable(f"{settings.path} cannot be dialed: {shortages.describe(error)}") from error
    whose = projects.whose(own_project, peer.project, settings.path)
    connection = kind(transport, exposed=exposed, role=role, peer=peer, path=settings.path, whose=whose)
    of_project = "" if peer.project is None else f" of the project {projects.shown(peer.project)}"
    logger.info("connected to %s%s at %s over %s as %s", peer.name, of_project, settings.path, transport.kind, role)
    if peer.minor >= handshake.MINOR_WITH_NAMES:
        exposed.name_to(connection)
        if connection.closed:
            raise PeerUnavailable(f"the acceptor at {settings.path} has closed the connection after the handshake")
    return connection


def _connect(attempt: _Attempt, settings: Settings) -> Reached:
    """By the transport that is asked for, or by the one that can be had."""
    if settings.transport == "socket":
        return attempt.connect("socket")
    reason = shm.why_unavailable()
    level = logging.WARNING
    if reason is None:
        try:
            return attempt.connect("shm")
        except shm.MemoryUnavailable as unavailable:
            if settings.transport == "shm" or unavailable.by_descriptors:
                raise PeerUnavailable(str(unavailable)) from unavailable
            reason = str(unavailable)
        except _Refused as refused:
            if settings.transport == "shm" or isinstance(refused.error, VersionMismatch | Busy):
                raise
            reason = f"the acceptor refuses shared memory ({refused.error})"
    elif settings.transport == "shm":
        raise PeerUnavailable(f"transport='shm': {reason}")
    elif reason in _told:
        level = logging.DEBUG
    else:
        _told.add(reason)
    logger.log(level, "%s: the socket transport is used, which is slower: %s", settings.path, reason)
    return attempt.connect("socket")


def reach(dialed: socket.socket, path: Path, deadline: float) -> None:
    """Connect to the listener at `path` until `deadline` of time.monotonic().

    A listener's queue of connections that is full is waited out. Raises BlockingIOError where it was full all the time,
    FileNotFoundError or ConnectionRefusedError where nobody listens, OSError.
    """
    pause, longest = _QUEUE_PAUSES_S
    while True:
        dialed.settimeout(time_left(deadline))
        try:
            dialed.connect(os.fspath(path))
        except BlockingIOError:
            # Not all of those that wait at the same moment.
            pause = random.uniform(0.5, 1.5) * pause  # noqa: S311  # nobody gains by guessing it
            if time.monotonic() + pause >= deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, longest)
        else:
            return


def peer_uid(dialed: socket.socket) -> int:
    """The user who listens at the other end."""
    credentials = dialed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def exchange(dialed: socket.socket, hello: Hello, deadline: float) -> Answer:
    """Say hello and read the answer, and no byte more: what follows belongs to the transport.

    Raises TimeoutError past `deadline` of time.monotonic(), EOFError when the acceptor closes instead, OSError,
    VersionMismatch, and ProtocolError for what is no answer.
    """
    dialed.settimeout(time_left(deadline))
    dialed.sendall(handshake.encode_hello(hello))
    header = handshake.decode_header(_read(dialed, handshake.HEADER.size, deadline))
    return Answer(header, handshake.decode_answer(_read(dialed, header.body_bytes, deadline)))


def time_left(deadline: float) -> float:
    """Seconds until `deadline` of time.monotonic(), as a socket takes them. Raises TimeoutError past it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline of the handshake has passed")
    return min(left, _MAX_WAIT_S)


def _read(dialed: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        dialed.settimeout(time_left(deadline))
        more = dialed.recv(count - len(data))
        if not more:
            raise EOFError("it has closed the connection in the handshake")
        data += more
    return data


def checked_options(name: object, timeout: object) -> tuple[str, float]:
    """What this side is to be called, and the seconds for the handshake. Raises ConfigError and TypeError."""
    return default_name() if name is None else checked_name("name", name), checked_seconds("timeout", timeout)


def checked_wait(wait: object) -> float | None:
    """How many seconds to wait for a listener, None: not at all. Raises ConfigError and TypeError."""
    return None if wait is None else checked_seconds("wait", wait, or_else=", or None")


def nobody_listens(error: PeerUnavailable) -> bool:
    """Whether dial has raised it because there is no listener, or none yet."""
    return isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)


def waited_in_vain(error: PeerUnavailable, seconds: float) -> PeerUnavailable:
    """The error of the last attempt of somebody who has waited for a listener."""
    return PeerUnavailable(f"{error} (waited for it for {seconds:.3g} s)")


def checked_name(key: str, name: object) -> str:
    """What this side is to be called. Raises ConfigError and TypeError, which name the setting `key`."""
    if not isinstance(name, str):
        raise TypeError(f"{key}={options.shown(name)}: must be a string or None")
    if not 1 <= len(name) <= handshake.MAX_NAME_CHARACTERS:
        raise config.ConfigError(f"{key}={name[:200]!r}: must have 1 to {handshake.MAX_NAME_CHARACTERS} characters")
    if not _is_unicode(name):
        raise config.ConfigError(f"{key}={name!r}: must have no lone surrogates")
    return name


def checked_seconds(name: str, seconds: object, or_else: str = "") -> float:
    """A time limit of this side's settings. Raises ConfigError and TypeError."""
    try:
        return options.finite_seconds_of(seconds, name=name, or_else=or_else)
    except ValueError as error:
        raise config.ConfigError(str(error)) from None


def _is_unicode(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


def default_name() -> str:
    """The program's name: what the peer's logs call this side."""
    # Not by Path: it interns every part of what it is given, for each connection anew, and the dead entries have Python
    # write its table of interned strings again and again, which a program that dials often pays with 2 MiB.
    program = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119
    # A file's name may be bytes that are no text.
    program = program.encode(errors="replace").decode()
    # "" in the interactive interpreter, "-c" and "-m" where there is no file.
    return program[: handshake.MAX_NAME_CHARACTERS] if program and not program.startswith("-") else "python"


class _Refused(Exception):
    """The acceptor has answered with a refusal."""

    def __init__(self, error: BridgeError) -> None:
        super().__init__(str(error))
        self.error = error


class _Attempt:
    """One dial, which may take two sockets: an acceptor closes after a refusal."""

    def __init__(
        self,
        settings: Settings,
        role: Role,
        name: str,
        deadline: float,
        exposes: int,
        project: str | None,
        attends: bool | None,
    ) -> None:
        self._attends = attends
        self._exposes = exposes
        self._project = project
        self._settings = settings
        self._role = role
        self._name = name
        self._deadline = deadline
        self._dialing: socket.socket | None = None  # for a child forked by another thread meanwhile
        forks.register(self)

    def connect(self, kind: Transport) -> Reached:
        """What a connection is made of. Raises _Refused where dial may try the other transport."""
        self._dialing = dialed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        transport: MessageTransport
        try:
            self._reach(dialed)
            if kind == "shm":
                transport, header, welcome = self._shake_hands_over_shm(dialed)
            else:
                header, welcome = self._shake_hands(dialed, "socket", None)
                transport = SocketTransport(dialed, max_message=self._settings.max_message)
        except BaseException:
            dialed.close()
            raise
        finally:
            self._dialing = None
        transport.max_message = min(self._settings.max_message, welcome.max_message)
        if kind == "shm" and welcome.descriptors is not None and self._settings.buffer_bytes > 0:
            transport.buffers = self._dial_buffers(welcome.descriptors)
        peer = Peer(welcome.name, welcome.language, welcome.library, welcome.project, header.minor)
        return Reached(transport, peer)

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        if self._dialing is not None:
            self._dialing.close()

    def _dial_buffers(self, token: str) -> SharedBuffers:
        from .buffers import Buffers
        from .pool import own_pool
        from .transports.descriptors import Descriptors

        return Buffers(Descriptors(self._settings.path, token), own_pool(), self._settings.buffer_bytes)

    def _reach(self, dialed: socket.socket) -> None:
        path = self._settings.path
        if path.is_dir():
            raise PeerUnavailable(f"{path} is a directory: the socket in it is {path / config.SOCKET_NAME}")
        try:
            config.check_directory(path.parent)
            config.check_socket(path)
            reach(dialed, path, self._deadline)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise PeerUnavailable(
                f"nobody listens at {path} ({error.strerror}): start the Node side first, "
                f"and see that both have the same SHM_POLYGLOT_DIR{projects.where_run(path)}"
            ) from error
        except BlockingIOError as error:
            raise PeerUnavailable(
                f"the process that listens at {path} has taken no connection in time: its queue of connections is full"
            ) from error
        except OSError as error:
            raise PeerUnavailable(f"{path} cannot be reached: {error}") from error
        if not hasattr(socket, "SO_PEERCRED"):
            return  # not Linux: the directory's owner and mode, checked above, are what there is
        uid = peer_uid(dialed)
        if uid != os.geteuid():
            raise PeerUnavailable(
                f"the user {uid} listens at {path}, not {os.geteuid()}; only the same user is trusted"
            )

    def _shake_hands_over_shm(self, dialed: socket.socket) -> tuple[MessageTransport, Header, Welcome]:
        stale_segments.sweep()
        with shm.offered_channel(dialed, self._settings) as (name, channel):
            header, welcome = self._shake_hands(dialed, "shm", name)
        # The channel sleeps on its duplicate, which shares this mode.
        dialed.setblocking(True)
        dialed.close()
        return channel, header, welcome

    def _shake_hands(self, dialed: socket.socket, kind: Transport, segment: str | None) -> tuple[Header, Welcome]:
        path = self._settings.path
        hello = Hello(
            self._role,
            kind,
            self._name,
            self._settings.max_message,
            segment=segment,
            exposes=self._exposes,
            project=self._project,
            attends=self._attends,
        )
        try:
            header, answer = exchange(dialed, hello, self._deadline)
        except TimeoutError:
            raise PeerUnavailable(f"the acceptor at {path} has not answered the handshake in time") from None
        except VersionMismatch as error:
            logger.error("%s: %s", path, error)
            raise
        except EOFError:
            raise PeerUnavailable(f"the acceptor at {path} has closed the connection in the handshake") from None
        except OSError as error:
            raise PeerUnavailable(
                f"the acceptor at {path} has closed the connection in the handshake: {error}"
            ) from error
        if isinstance(answer, Welcome):
            return header, answer
        refusal = answer.to_error()
        if isinstance(refusal, VersionMismatch):
            logger.error("%s: refused: %s", path, refusal)
        raise _Refused(refusal)

"""Call TypeScript from Python, and Python from TypeScript, over shared memory.

    import shm_protocol

    with shm_protocol.connect() as node:
        node.call("typescript_utils.slugify", "Hello, World")

connect() gives a client that threads may share, connect_async() one for an asyncio event loop. attach() and serve()
make this process a worker, whose exposed functions TypeScript calls. The values that can be sent are those of
PROTOCOL.md, section 8.
"""

from typing import TYPE_CHECKING

from . import dependencies  # noqa: F401  # before those that need them
from .client import Client, ClientStream, ConnectionInfo, attach, connect, serve
from .config import ConfigError, Settings
from .connection import Connection, CurrentCall, Peer, Stream, current_call
from .errors import (
    ERRORS,
    BridgeError,
    Busy,
    CallTimeout,
    CallTooDeep,
    Cancelled,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    PeerUnavailable,
    ProtocolError,
    RemoteError,
    UnknownMethod,
    VersionMismatch,
)
from .handshake import LIBRARY_VERSION
from .values import NdArray

if TYPE_CHECKING:
    from .client_asyncio import AsyncClient, connect_async

__version__ = LIBRARY_VERSION

__all__ = [
    "ERRORS",
    "AsyncClient",
    "BridgeError",
    "Busy",
    "CallTimeout",
    "CallTooDeep",
    "Cancelled",
    "Client",
    "ClientStream",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "ConnectionInfo",
    "CurrentCall",
    "EncodeError",
    "MessageTooLarge",
    "NdArray",
    "Peer",
    "PeerGone",
    "PeerUnavailable",
    "ProtocolError",
    "RemoteError",
    "Settings",
    "Stream",
    "UnknownMethod",
    "VersionMismatch",
    "__version__",
    "attach",
    "connect",
    "connect_async",
    "current_call",
    "serve",
]


def __getattr__(name: str) -> object:
    # Not with the rest: asyncio makes an import longer by a third (-X importtime), and most programs do without.
    if name in ("AsyncClient", "connect_async"):
        from . import client_asyncio

        found: object = getattr(client_asyncio, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

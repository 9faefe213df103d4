"""Call TypeScript from Python, and Python from TypeScript, over shared memory.

    import shm_protocol

    with shm_protocol.connect() as node:
        node.call("typescript_utils.slugify", "Hello, World")

connect() gives a client that threads may share, connect_async() one for an asyncio event loop. attach() and serve()
make this process a worker, whose exposed functions TypeScript calls. The values that can be sent are those of
PROTOCOL.md, section 8. `shm_protocol.gunicorn` serves a WSGI app and TypeScript's calls, `shm_protocol.flask` calls
TypeScript from a Flask app.

ERRORS: the classes of the bridge's errors, by their `code`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .client import Client, ClientStream, ConnectionInfo, attach, connect
from .config import ConfigError, Settings
from .connection import Connection
from .current_call import CurrentCall, current_call
from .decorated import expose
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
    Released,
    RemoteError,
    RemoteErrorGroup,
    UnknownMethod,
    VersionMismatch,
)
from .handshake import LIBRARY_VERSION, Peer
from .references import Callback, Handle
from .registered_errors import register_error
from .shared_arrays import empty
from .streams import Stream
from .values import NdArray
from .worker import Worker, serve

if TYPE_CHECKING:
    from .awaitable import aio
    from .client_asyncio import AsyncClient, connect_async
    from .loading import load
    from .worker_asyncio import AsyncWorker, serve_async

__version__ = LIBRARY_VERSION
"""The version of this library."""

__all__ = [
    "ERRORS",
    "AsyncClient",
    "AsyncWorker",
    "BridgeError",
    "Busy",
    "CallTimeout",
    "CallTooDeep",
    "Callback",
    "Cancelled",
    "Client",
    "ClientStream",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "ConnectionInfo",
    "CurrentCall",
    "EncodeError",
    "Handle",
    "MessageTooLarge",
    "NdArray",
    "Peer",
    "PeerGone",
    "PeerUnavailable",
    "ProtocolError",
    "Released",
    "RemoteError",
    "RemoteErrorGroup",
    "Settings",
    "Stream",
    "UnknownMethod",
    "VersionMismatch",
    "Worker",
    "__version__",
    "aio",
    "attach",
    "connect",
    "connect_async",
    "current_call",
    "empty",
    "expose",
    "load",
    "register_error",
    "serve",
    "serve_async",
]


def __getattr__(name: str) -> object:
    # Not with the rest: asyncio makes an import longer by a third (-X importtime), and most programs do without.
    rooms = {"AsyncClient": "client_asyncio", "connect_async": "client_asyncio"}
    rooms |= {"AsyncWorker": "worker_asyncio", "serve_async": "worker_asyncio"}
    # What starts processes.
    rooms |= {"aio": "awaitable", "load": "loading"}
    if name in rooms:
        found: object = getattr(import_module(f".{rooms[name]}", __name__), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

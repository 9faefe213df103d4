"""The way from a worker's handlers to TypeScript.

It is a client's connections, made as calls need them, so that each thread that calls has one. TypeScript cannot call
the worker by these, but for calls back while a call waits: it calls by a connection of the worker's own
(worker_link.py). A function that TypeScript has called there calls back by that one, because it is its chain's.
"""

import enum
import logging
from collections.abc import Mapping
from typing import Any, Final

from ..client import Client
from ..errors import BridgeError
from ..exposed import Exposed
from .settings import WorkerSettings

logger: Final = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 2.0


class _Timeout(enum.Enum):
    OF_THE_SETTINGS = enum.auto()


_OF_THE_SETTINGS: Final = _Timeout.OF_THE_SETTINGS


class WorkerClient(Client):
    """A client that dials at its first call, and whose calls wait as long as the worker's settings say."""

    def __init__(self, settings: WorkerSettings, exposed: Exposed, *, name: str) -> None:
        super().__init__(
            settings.bridge,
            exposed,
            name=name,
            timeout=DIAL_TIMEOUT_S,
            max_connections=settings.max_connections,
        )
        self._call_timeout: Final = settings.call_timeout

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | _Timeout | None = _OF_THE_SETTINGS,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call an exposed function of Node's and wait for what it returns. timeout: seconds, by default the setting
        `shm_call_timeout`. Raises BridgeError: PeerUnavailable, within DIAL_TIMEOUT_S, where nobody listens.
        """
        if timeout is _OF_THE_SETTINGS:
            timeout = self._call_timeout
        # super() would look for it at each call.
        return Client.call(self, method, *args, timeout=timeout, traceparent=traceparent, kwargs=kwargs, **keywords)

    def prepare(self) -> None:
        """Makes the first connection now. Where that fails, the first call tries again."""
        if not self.connections:
            try:
                self.dial_first()
            except BridgeError as error:
                logger.info("no connection for calls to Node yet: %s", error)


class _Process:
    """What this process calls TypeScript with."""

    client: WorkerClient | None = None


def use(client: WorkerClient) -> None:
    """Makes it this process's: a worker has one from its start on."""
    _Process.client = client


def bridge_here() -> Client | None:
    """As bridge(), but None in a process that is no BridgeWorker."""
    return _Process.client


def bridge() -> Client:
    """The client of the BridgeWorker that runs this: `bridge().call("functions.slugify", text)`.

    Raises RuntimeError in a process that is none.
    """
    client = bridge_here()
    if client is None:
        raise RuntimeError(
            "bridge() is for what a BridgeWorker runs, and this process is none: start the app with "
            "`gunicorn -k shm_protocol.gunicorn.BridgeWorker`, and call bridge() in the function that handles the "
            "request (with --preload the app is imported in the master); anywhere else use shm_protocol.connect()"
        )
    return client

"""The extension: a client for each app and process, which connects at its first call."""

from __future__ import annotations

import enum
import functools
import sys
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from flask import Flask, Response, current_app, g, has_app_context

from ..client import Client, ClientStream
from ..errors import BridgeError
from ..exposables import Exposables
from ..exposed import Exposed
from ..options import DEFAULT_CREDIT, keywords_of
from ..streams import Stream
from . import commands, settings
from .settings import AppSettings

EXTENSION: Final = "shm_polyglot"
_STREAMS: Final = "_shm_polyglot_streams"


class _Timeout(enum.Enum):
    OF_THE_APP = enum.auto()


class Bridge:
    """Calls TypeScript from a Flask app.

        bridge = Bridge(app)  # or Bridge(), and bridge.init_app(app) in a factory

        @app.get("/slug/<text>")
        def slug(text):
            return bridge.call("typescript_utils.slugify", text)

    Nothing is connected to before the first call, and then once for each process, however the app is served: the
    connections are the process's, at most SHM_POLYGLOT_MAX_CONNECTIONS, and requests take turns on them. Under
    shm_protocol.gunicorn.BridgeWorker they are the worker's own, with the worker's settings.

    Keys of `app.config`, to be set before init_app: SHM_POLYGLOT_DIR, SHM_POLYGLOT_TRANSPORT, SHM_POLYGLOT_SPIN_US,
    SHM_POLYGLOT_RING_BYTES, SHM_POLYGLOT_MAX_MESSAGE, SHM_POLYGLOT_CALL_TIMEOUT (seconds that a call waits) and
    SHM_POLYGLOT_MAX_CONNECTIONS, by default what the environment says; SHM_POLYGLOT_CONNECT_TIMEOUT (seconds, 5),
    SHM_POLYGLOT_WAIT (seconds that the first call waits for a Node that is still starting, none), SHM_POLYGLOT_NAME
    (for Node's logs, "flask <app>"). docs/flask.md has the table.

    It is `app.extensions["shm_polyglot"]`, and adds the commands `flask bridge doctor`, `top` and `call`.

    expose: what TypeScript may call back while a call waits. Under BridgeWorker it is the worker's `shm_expose` that
    counts.
    """

    def __init__(self, app: Flask | None = None, *, expose: Exposables | None = None) -> None:
        self._exposed: Final = Exposed(expose)
        self._of_apps: Final[weakref.WeakKeyDictionary[Flask, _OfApp]] = weakref.WeakKeyDictionary()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set an app up. Nothing is connected to.

        Raises ConfigError and TypeError for a setting that cannot be, RuntimeError where the app has a bridge already.
        """
        if EXTENSION in app.extensions:
            raise RuntimeError(f"{app!r} has a bridge already: import that one, or use app.extensions[{EXTENSION!r}]")
        for key, default in settings.DEFAULTS.items():
            app.config.setdefault(key, default)
        of_app = _OfApp(settings.load(app.config, app.name), self._exposed)
        self._of_apps[app] = of_app
        app.extensions[EXTENSION] = self
        app.after_request(_close_with_response)
        app.teardown_appcontext(_close_with_context)
        app.cli.add_command(commands.bridge)
        # The connections of an app that a test has made and forgotten.
        weakref.finalize(app, of_app.client.close).atexit = False

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | _Timeout | None = _Timeout.OF_THE_APP,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call an exposed TypeScript function and wait for what it returns. See Client.call.

        timeout: seconds, or None for no limit; by default SHM_POLYGLOT_CALL_TIMEOUT. Raises what that raises, and
        RuntimeError outside of an application context where it is not clear which app is meant.
        """
        client, options = self._client_and_options(timeout)
        given = keywords_of(kwargs, keywords)
        return client.call(method, *args, traceparent=traceparent, kwargs=given, **options)

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> AppStream:
        """Call a TypeScript function that gives an iterator, and iterate over what it gives. See Client.stream.

        It may be what a response is made of. What has not been read when the response has been sent, or when an
        application context without a response ends, is given up.
        """
        client, _ = self._client_and_options(None)
        given = keywords_of(kwargs, keywords)
        stream = AppStream(
            client.stream(method, *args, timeout=timeout, credit=credit, traceparent=traceparent, kwargs=given)
        )
        if has_app_context():
            g.setdefault(_STREAMS, []).append(stream)
        return stream

    def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        """Call a TypeScript function without wanting to know what becomes of it. See Client.notify."""
        client, _ = self._client_and_options(None)
        client.notify(method, *args, traceparent=traceparent, kwargs=keywords_of(kwargs, keywords))

    @property
    def client(self) -> Client:
        """The client of this app in this process."""
        client, _ = self._client_and_options(None)
        return client

    def close(self) -> None:
        """End the connections of this app in this process, for good. Those of a BridgeWorker are the worker's."""
        self._of_app().client.close()

    def _client_and_options(self, timeout: float | _Timeout | None) -> tuple[Client, dict[str, Any]]:
        of_app = self._of_app()
        workers_own = _client_of_worker()
        if timeout is _Timeout.OF_THE_APP:
            seconds = of_app.settings.call_timeout
            options: dict[str, Any] = {} if seconds is None else {"timeout": seconds}
        else:
            options = {"timeout": timeout}
        return of_app.client if workers_own is None else workers_own, options

    def _of_app(self) -> _OfApp:
        if has_app_context():
            app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # as extensions do
            of_app = self._of_apps.get(app)
            if of_app is None:
                raise RuntimeError(f"{app!r} has not been set up with this bridge: call bridge.init_app(app)")
            return of_app
        found = list(self._of_apps.values())
        if not found:
            raise RuntimeError("the bridge has no app yet: Bridge(app), or bridge.init_app(app) before the first call")
        if len(found) != 1:
            raise RuntimeError(
                f"the bridge has {len(found)} apps, and there is no application context that says which is meant: "
                "use `with app.app_context():`"
            )
        return found[0]

    def __repr__(self) -> str:
        return f"<Bridge of {', '.join(app.name for app in self._of_apps) or 'no app'}>"


class AppStream(Iterator[Any]):
    """A stream that ends with the request, or the application context, that it was opened in. See Bridge.stream."""

    def __init__(self, stream: ClientStream | Stream) -> None:
        self._stream = stream
        self._has_ended = False
        self._is_cut = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._is_cut:
            raise RuntimeError(
                "the stream has ended with the request, or the application context, that it was opened in"
            )
        try:
            return next(self._stream)
        except BaseException:
            self._has_ended = True
            raise

    def close(self) -> None:
        """Want no more. Safe to call twice."""
        self._has_ended = True
        self._stream.close()

    def cut(self) -> None:
        """Close it, so that whoever goes on reading is told why there is no more."""
        if not self._has_ended:
            self._is_cut = True
            # Whoever reads would be told that the connection has ended; nobody does.
            with suppress(BridgeError):
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _OfApp:
    """What one app has: its settings, and its client, which takes care of forks itself."""

    def __init__(self, of_app: AppSettings, exposed: Exposed) -> None:
        self.settings: Final = of_app
        self.client: Final = Client(
            of_app.bridge,
            exposed,
            name=of_app.name,
            timeout=of_app.connect_timeout,
            max_connections=of_app.max_connections,
            wait=of_app.wait,
        )


def _client_of_worker() -> Client | None:
    """The client of the BridgeWorker that runs this, if one does. Nothing is imported for it: a worker has been."""
    gunicorn = sys.modules.get("shm_protocol.gunicorn.worker_client")
    client: Client | None = None if gunicorn is None else gunicorn.bridge_here()
    return client


def _close_with_response(response: Response) -> Response:
    """What the request has opened may be what its response is made of: it ends with that, and else now."""
    streams: list[AppStream] = g.pop(_STREAMS, [])
    if not response.is_streamed:
        _cut_all(streams)
    elif streams:
        response.call_on_close(functools.partial(_cut_all, streams))
    return response


def _close_with_context(_: BaseException | None) -> None:
    """Without a response, as in a command, or where a handler has raised; and what was opened while it was sent."""
    _cut_all(g.pop(_STREAMS, []))


def _cut_all(streams: list[AppStream]) -> None:
    for stream in streams:
        stream.cut()

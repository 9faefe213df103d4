"""The gunicorn worker that serves HTTP on a bounded number of threads, and TypeScript's calls beside them.

- gunicorn's `threads` is how many handlers run at once (handler_threads.py). `wsgi.multithread` says whether it is more
  than one. The functions that TypeScript calls run in one more thread (worker_link.py), beside the handlers, so what
  both use needs a lock even where `threads` is 1.
- A client that is slow holds nobody: a request is collected by the loop (http_loop.py), and what the system does not
  take of an answer is sent by it. A handler that needs more of a client, because the body is too large to collect or
  the answer is a stream, gives its slot to others while it waits.
- A handler that does not return keeps its slot, as a thread of gunicorn's gthread worker does, and nothing else. The
  arbiter replaces a worker whose loop does not turn, for example because a handler holds the interpreter's lock.

The worker serves plain HTTP/1.1. TLS and HTTP/2 belong to a proxy in front of it.
"""

import contextlib
import logging
import socket
import traceback
from collections.abc import Callable, Iterable, MutableMapping
from http import HTTPStatus
from types import FrameType, MethodType
from typing import Any, Final, cast

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import Request
from gunicorn.http.wsgi import Response
from gunicorn.util import make_fail_app
from gunicorn.workers.gthread import TConn, ThreadWorker

from .. import decorated
from ..config import ConfigError
from ..exposed import Exposed
from ..forks import Owner
from . import http_connection, http_refusals, settings, worker_client
from .chunked_body import CHUNK_BYTES
from .client_socket import ClientSocket
from .handler_threads import HandlerThreads
from .http_connection import HttpConnection
from .http_loop import IDLE_S, HttpLoop
from .settings import WorkerSettings
from .worker_client import WorkerClient
from .worker_link import WorkerLink

MAX_TOLD: Final = 20
"""Names of functions that are listed in the log."""

StartResponse = Callable[..., Any]


def _closing(start_response: StartResponse, response: Response) -> StartResponse:
    """gunicorn's, which forgets that header, but the app may have the connection closed by `Connection: close`."""

    def start(status: str, headers: Iterable[tuple[str, str]], *exc_info: Any) -> Any:
        headers = list(headers)
        if ("Connection", "close") in headers:
            response.force_close()
        return start_response(status, headers, *exc_info)

    return start


def _in_one_send(response: Response, out: ClientSocket) -> Callable[[bytes], None]:
    """gunicorn's `write`, which sends an answer's head by itself. Most answers are no more than that and one piece."""
    write = response.write

    def write_together(data: bytes) -> None:
        if response.headers_sent:
            write(data)
        else:
            out.send_together(write, data)

    return write_together


def _expose(exposed: Exposed, found: WorkerSettings) -> None:
    """Raises ConfigError, which names the setting, and the file and the line of an import that fails."""
    try:
        exposed.add(decorated.functions() if found.expose is None else found.expose)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"{found.expose_set_by}: {str(error).removeprefix('expose: ')}") from error


def _brief(names: list[str]) -> str:
    more = f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else ""
    return f"{', '.join(names[:MAX_TOLD])}{more}" if names else "nothing: see shm_expose"


def _cause_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class BridgeWorker(ThreadWorker):
    """Set as gunicorn's `worker_class`: serves a WSGI app on gunicorn's `threads`, and TypeScript's calls beside it.

    What TypeScript may call is the setting `shm_expose`; docs/gunicorn.md has the others. gunicorn ends at start, and
    says why, where one of them cannot be.
    """

    settings: WorkerSettings
    exposed: Exposed
    client: WorkerClient
    link: WorkerLink
    loop: HttpLoop
    owner: Owner
    quits = False

    when_attached: Callable[[], object] = staticmethod(lambda: None)
    """Called each time that it has attached to Node, in the thread that serves Node's calls."""

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        """Refuses at start what this worker cannot do. Raises RuntimeError, which gunicorn prints."""
        super().check_config(cfg, log)
        if cfg.is_ssl or "h2" in cfg.http_protocols or cfg.protocol != "http":
            raise RuntimeError("BridgeWorker serves plain HTTP/1.1; put a proxy in front of it for TLS or HTTP/2")
        for name, meaning in (("threads", "handlers that a worker runs at once"), ("worker_connections", "clients")):
            if getattr(cfg, name) < 1:
                raise RuntimeError(f"{name}={getattr(cfg, name)}: must be an integer of at least 1: {meaning}")
        try:
            settings.adopt(cfg)
            found = settings.load(cfg)
        except ConfigError as error:
            raise RuntimeError(str(error)) from None
        for name in settings.unknown_names(cfg):
            log.warning("%s: there is no such setting", name)
        if cfg.preload_app:
            # What is imported now, all workers have in common.
            try:
                _expose(Exposed(), found)
            except ConfigError as error:
                log.error("Exception while importing what is exposed", exc_info=error)
                raise RuntimeError(str(error)) from error

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn's own way announces as much of a file as there is when it begins, sends as much as there is later,
        # and ends an empty one twice. Piece by piece, as any other answer, a file is what it turns out to be.
        self.cfg.set("sendfile", False)

    def init_process(self) -> None:
        """Serves until the worker ends. Raises what keeps it from its start, with which gunicorn ends as well."""
        self.settings = settings.load(self.cfg)
        self.exposed = Exposed()
        self.client = WorkerClient(self.settings, self.exposed, name=f"handlers of gunicorn worker {self.age}")
        self.link = WorkerLink(
            self.settings.bridge,
            self.exposed,
            name=f"gunicorn worker {self.age}",
            on_attach=self.prepare,
            on_exit=self.stop,
        )
        worker_client.use(self.client)
        super().init_process()

    def load_wsgi(self) -> None:
        """Loads the app, which is told whether several threads enter it, and then what is exposed."""
        super().load_wsgi()
        self._load_exposed()
        app = self.wsgi
        multithread = self.cfg.threads > 1

        def application(environ: MutableMapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            environ["wsgi.multithread"] = multithread
            response = cast("Response", cast("MethodType", start_response).__self__)
            out = cast("ClientSocket", response.sock)
            out.response = response
            if out.chunk_bytes:
                environ[CHUNK_BYTES] = out.chunk_bytes
            response.write = _in_one_send(response, out)  # type: ignore[method-assign, assignment]  # that gunicorn calls
            try:
                return app(environ, _closing(start_response, response))
            finally:
                self.owner.end_others()

        self.wsgi = application

    def _load_exposed(self) -> None:
        """As gunicorn does with the app: an error of syntax ends nothing under --reload, and every client sees it."""
        try:
            _expose(self.exposed, self.settings)
        except ConfigError as error:
            syntax_error = _cause_of(error)
            if self.reloader is None or not isinstance(syntax_error, SyntaxError):
                raise
            self.log.exception(error)
            if syntax_error.filename is not None:
                self.reloader.add_extra_file(syntax_error.filename)
            self.wsgi = make_fail_app("".join(traceback.format_exception(error)))

    def prepare(self) -> None:
        """Called when Node is there, before its first call is served: handlers have a connection at once."""
        self.client.prepare()
        self.when_attached()

    def run(self) -> None:
        """Serves until the worker is told to stop, then finishes what has begun."""
        self.owner = Owner()
        self._log_for_library()
        self.log.info("TypeScript may call %s", _brief(list(self.exposed.functions)))
        loop = self.loop = HttpLoop(self, self.settings)
        threads = loop.threads = HandlerThreads(self.cfg.threads, loop)
        self.link.open()
        threads.run(self.notify, IDLE_S)
        self.link.close()
        self.client.close()
        loop.close()

    def _log_for_library(self) -> None:
        """What the library says goes into gunicorn's log, unless the app has logging of its own."""
        library = logging.getLogger("shm_protocol")
        if not library.hasHandlers():
            library.handlers = list(self.log.error_log.handlers)
            library.setLevel(self.log.loglevel)

    def stop(self) -> None:
        """Has the worker finish what has begun, and end. May be called in any thread."""
        self.alive = False
        self.method_queue.defer(lambda: None)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT and SIGQUIT: ends the worker at once. A Ctrl-C is both: the terminal's to all, and the arbiter's."""
        if self.quits:
            return
        self.quits = True
        self.link.finish_dialling()
        super().handle_quit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        """Called when a listener is readable: see ThreadWorker.set_accept_enabled."""
        self.loop.acceptor.accept(listener)

    # One request, in whichever thread handles it.

    def handle_all_of(self, conn: HttpConnection) -> bool:
        """Parses one request and runs the app for it. True if the connection may be used for another. Raises nothing:
        whatever the app raises ends this request alone.
        """
        try:
            keepalive = bool(self.handle(conn))
        except BaseException as error:  # noqa: BLE001
            self.owner.end_others()
            self._fail(conn, error)
            keepalive = False
        self.owner.end_others()
        if not conn.out.has_begun and not conn.out.takes_no_more:
            # Where the app raises an OSError, gunicorn takes it for the client's and says nothing.
            with contextlib.suppress(OSError):
                conn.out.sendall(conn.why_unanswered())
            return False
        return keepalive and not conn.out.takes_no_more

    def _fail(self, conn: HttpConnection, error: BaseException) -> None:
        try:
            self.handle_error(None, conn.sock, conn.client, error)
        except BaseException as again:  # noqa: BLE001  # an exception that cannot even be told of
            self.log.error("Error handling a request: %s, which cannot be told: %s", type(error), type(again))

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Runs the app for one request. False also if less has been answered than the answer's head has announced: what
        came next on the connection would be taken for the rest.
        """
        http_connection.mend(req)
        is_done = bool(super().handle_request(req, conn))
        return is_done and cast("HttpConnection", conn).out.is_whole()

    def handle_error(self, req: Request | None, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers a request that gunicorn's parser refuses, or that failed outside of the app."""
        out = cast("ClientSocket", client)
        status = http_refusals.status_of(exc)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling a request", exc_info=exc)
            self._answer(out, http_refusals.answer(status, status.phrase))
        else:
            self.log.warning("Invalid request from %s: %s", addr, exc)
            self._answer(out, http_refusals.answer(status, str(exc)))

    def _answer(self, client: ClientSocket, answer: bytes) -> None:
        # Two answers to one request would be worse than one that is cut off.
        if not client.has_begun and not client.takes_no_more:
            client.sendall(answer)

    def _keepalive_after(self, conn: HttpConnection, keepalive: bool) -> bool:
        """gunicorn's waits for the rest of a body that the app has not read; this one closes the connection."""
        return keepalive and conn.body_is_finished()

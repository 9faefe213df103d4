"""The gunicorn worker that serves HTTP and TypeScript's calls in one loop, in one thread.

gunicorn's ThreadWorker has a loop that accepts connections and keeps them alive, and a pool of threads for the
requests. This worker drops the pool: a request is handled in the loop, as a call from TypeScript is, so that the two
never contend for the interpreter and the app is never entered twice (`wsgi.multithread` is False).

One thread must not wait for a slow client, so
- a request is collected in the loop, and handled when all of it is there. A client that does not finish it within
  REQUEST_TIMEOUT_S gets a 408. Only what is too large to collect is read while everybody waits, within the same time;
- a client that does not take its answer is dropped after SEND_TIMEOUT_S;
- a connection that is being closed waits in the loop for the client's end of file.

The worker serves plain HTTP/1.1. TLS and HTTP/2 belong to a proxy in front of it.
"""

import contextlib
import errno
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any, Final, cast

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

from python_side import bridge, http_refusals, settings
from python_side.exposed import EXPOSED
from python_side.http_connection import HttpConnection
from python_side.worker_link import WorkerLink

StartResponse = Callable[[str, Iterable[tuple[str, str]]], None]

IDLE_S: Final = 1.0
"""How often an idle worker shows the arbiter that it is alive, and looks whether the arbiter is."""

STOPPING_IDLE_S: Final = 0.1

REQUEST_TIMEOUT_S: Final = settings.load().request_timeout
"""How long a client may take to send a request, and how long a new connection may be silent."""

SEND_TIMEOUT_S: Final = 5.0
"""How long the worker waits for a client to take its answer."""

SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Why a connection cannot be accepted now, though it can be later: the process or the machine has run out of it."""

SHORTAGE_PAUSE_S: Final = 1.0
"""How long the worker accepts nobody then. Clients wait meanwhile, in the listener's backlog."""

LINGER_S: Final = 2.0
"""How long a connection that is being closed waits for the client's end of file (RFC 9112 section 9.6), and how long
a stopping worker waits for the request that a client may be about to send."""

TOO_SLOW: Final = http_refusals.answer(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time")


class BridgeWorker(ThreadWorker):
    """Set as gunicorn's `worker_class`."""

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        """Refuses at start what this worker cannot do. Raises RuntimeError, which gunicorn prints."""
        super().check_config(cfg, log)
        if cfg.is_ssl or "h2" in cfg.http_protocols or cfg.protocol != "http":
            raise RuntimeError("BridgeWorker serves plain HTTP/1.1; put a proxy in front of it for TLS or HTTP/2")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Made in the arbiter, so nothing is opened before `run`.
        self.link = WorkerLink(f"gunicorn worker {self.age}", EXPOSED, self)
        # A connection waits in one of these, or has a request being handled. Each is sorted by `expires`.
        self._pending: deque[HttpConnection] = deque()
        self._kept_alive: deque[HttpConnection] = deque()
        self._lingering: deque[HttpConnection] = deque()
        self._accepts_after = 0.0

    def load_wsgi(self) -> None:
        """Loads the app, and tells it that one thread alone enters it."""
        super().load_wsgi()
        app = self.wsgi

        def single_threaded(environ: MutableMapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            environ["wsgi.multithread"] = False
            return app(environ, start_response)

        self.wsgi = single_threaded

    # The loop

    def run(self) -> None:
        """Serves until the worker is told to stop, then finishes what has begun."""
        bridge.use(self.link)
        deferred = cast("int", self.method_queue.fileno())
        self.poller.register(deferred, selectors.EVENT_READ, self.method_queue.run_callbacks)
        self.link.open()
        while self.alive and self.is_parent_alive():
            self.set_accept_enabled(self.nr_conns < self.worker_connections and time.monotonic() >= self._accepts_after)
            self._turn(IDLE_S)
        self.set_accept_enabled(False)
        self._hasten_silent_clients()
        end = time.monotonic() + self.cfg.graceful_timeout
        while self.nr_conns and time.monotonic() < end:
            self.link.set_busy(True)
            self._turn(STOPPING_IDLE_S)
        self.link.close()
        for conn in (*self._pending, *self._kept_alive, *self._lingering):
            conn.close()
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def _turn(self, idle: float) -> None:
        """Serves TypeScript's calls, then what HTTP has; sleeps up to `idle` seconds if there is neither."""
        self.notify()
        try:
            events = self.poller.select(min(idle, self.link.serve()))
        finally:
            self.link.resume()
        for key, _ in events:
            key.data(key.fileobj)
        self._expire()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT and SIGQUIT: ends the worker at once."""
        self.link.finish_dialling()
        super().handle_quit(sig, frame)

    # What the link needs of the loop

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Runs a callback in the loop's thread; may be called from any."""
        self.method_queue.defer(callback, *args)

    def watch(self, descriptor: int) -> None:
        """Wakes the loop when the descriptor is readable; what it has to say is read by the next link.serve()."""
        self.poller.register(descriptor, selectors.EVENT_READ, lambda _: None)

    def unwatch(self, descriptor: int) -> None:
        """Ends `watch`; the descriptor may be closed already."""
        self.poller.unregister(descriptor)

    # HTTP connections

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection, unless another worker was faster."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in SHORTAGES:
                self._pause_accepting(error)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        conn = HttpConnection(self.cfg, sock, client, listener.getsockname())
        self.nr_conns += 1
        self.poller.register(sock, selectors.EVENT_READ, partial(self._on_readable, conn))
        self._wait(conn, self._pending, REQUEST_TIMEOUT_S)
        # Often the request is there already.
        self._on_readable(conn, sock)

    def _pause_accepting(self, error: OSError) -> None:
        """Goes on with the connections there are: to end the worker would fail them all, and help nobody."""
        self._accepts_after = time.monotonic() + SHORTAGE_PAUSE_S
        self.log.error(
            "No connection can be accepted for %g s: %s (%s); this worker has %d. Raise the limit (`ulimit -n`), or "
            "set --worker-connections lower",
            SHORTAGE_PAUSE_S,
            error.strerror,
            errno.errorcode[cast("int", error.errno)],
            self.nr_conns,
        )

    def _on_readable(self, conn: HttpConnection, sock: socket.socket) -> None:
        try:
            data = conn.receive()
        except OSError:
            data = b""
        if data is None or (data and conn.queue is self._lingering):
            return
        if not data:
            self._close(conn)
        elif conn.buffer.feed(data):
            self._serve(conn)
        elif conn.queue is self._kept_alive:
            self._wait(conn, self._pending, REQUEST_TIMEOUT_S)

    def _serve(self, conn: HttpConnection) -> None:
        """Handles the request that is complete, and those that came right behind it."""
        self._stop_waiting(conn)
        complete = True
        while complete:
            conn.hand_over(time.monotonic() + REQUEST_TIMEOUT_S)
            if not self.handle(conn):
                self._linger(conn)
                return
            complete = conn.take_back()
        if conn.buffer:
            self._wait(conn, self._pending, REQUEST_TIMEOUT_S)
        else:
            self._wait(conn, self._kept_alive, self.cfg.keepalive if self.alive else LINGER_S)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Runs the app for one request. True if the connection may be used for another."""
        conn.sock.settimeout(SEND_TIMEOUT_S)
        self.link.set_busy(True)
        try:
            return super().handle_request(req, conn)
        finally:
            self.link.set_busy(False)

    def handle_error(self, req: Request | None, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers a request that gunicorn's parser refuses, or that failed outside of the app."""
        status = http_refusals.status_of(exc)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling a request", exc_info=exc)
            self._refuse(client, http_refusals.answer(status, status.phrase))
        else:
            self.log.warning("Invalid request from %s: %s", addr, exc)
            self._refuse(client, http_refusals.answer(status, str(exc)))

    def _refuse(self, client: socket.socket, answer: bytes) -> None:
        # As much as the socket takes: nobody waits for a client that is being refused.
        with contextlib.suppress(OSError):
            client.send(answer, socket.MSG_DONTWAIT)

    def _keepalive_after(self, conn: HttpConnection, keepalive: bool) -> bool:
        """gunicorn's waits for the rest of a body that the app has not read; this one closes the connection."""
        return keepalive and conn.body_is_finished()

    def _wait(self, conn: HttpConnection, queue: deque[HttpConnection], seconds: float) -> None:
        self._stop_waiting(conn)
        conn.expires = time.monotonic() + seconds
        conn.queue = queue
        queue.append(conn)

    def _stop_waiting(self, conn: HttpConnection) -> None:
        if conn.queue is not None:
            conn.queue.remove(conn)
            conn.queue = None

    def _linger(self, conn: HttpConnection) -> None:
        """Closes this side of a connection; the other is the client's to close."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._close(conn)
            return
        self._wait(conn, self._lingering, LINGER_S)
        self._on_readable(conn, conn.sock)

    def _close(self, conn: HttpConnection) -> None:
        self._stop_waiting(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _expire(self) -> None:
        """Ends the connections whose time is over."""
        now = time.monotonic()
        for queue in (self._pending, self._kept_alive, self._lingering):
            for conn in list(itertools.takewhile(lambda conn: conn.expires < now, queue)):
                if conn.buffer:
                    conn.buffer.take()
                    self._refuse(conn.sock, TOO_SLOW)
                    self._linger(conn)
                else:
                    self._close(conn)

    def _hasten_silent_clients(self) -> None:
        """Leaves those that have sent nothing LINGER_S to do so: a request may be on its way."""
        end = time.monotonic() + LINGER_S
        for queue in (self._pending, self._kept_alive):
            for conn in queue:
                conn.expires = conn.expires if conn.buffer else min(conn.expires, end)
            in_order = sorted(queue, key=lambda conn: conn.expires)
            queue.clear()
            queue.extend(in_order)

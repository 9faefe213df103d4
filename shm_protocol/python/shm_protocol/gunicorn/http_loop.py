"""A worker's loop over its HTTP connections: it collects requests, sends what is left of answers, and closes.

No call here waits but the poller's. Each connection that waits for its client is in one queue, with a time at which it
has waited long enough; one that is handled belongs to its handler, and the loop only sends for it.
"""

import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from gunicorn.config import Config
from gunicorn.workers.gthread import PollableMethodQueue

from . import http_acceptor, http_refusals
from .handler_threads import HandlerThreads
from .http_acceptor import HttpAcceptor
from .http_connection import HttpConnection
from .request_buffer import MAX_LINES
from .settings import WorkerSettings
from .waiting import Waiting, stop_waiting

IDLE_S: Final = 1.0
"""How often an idle loop looks whether the arbiter is still there."""

STOPPING_IDLE_S: Final = 0.1

SEND_TIMEOUT_S: Final = 5.0
"""How long a client may take nothing of its answer."""

QUEUE_TIMEOUT_S: Final = 60.0
"""How long a request waits for a free thread before it is refused."""

LINGER_S: Final = 2.0
"""How long a connection that is being closed waits for what the client still sends, or its end of file (RFC 9112
section 9.6), and how long a stopping worker waits for the request that a client may be about to send."""

SILENT_S: Final = 1.0
"""How long a connection must have waited for its client before it is let go of for a new one, where there are as many
as `worker_connections` (RFC 9112 section 9.5)."""

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Worker(http_acceptor.Worker, Protocol):
    """What the loop needs of the worker, most of it gunicorn's."""

    alive: bool
    cfg: Config
    method_queue: PollableMethodQueue
    poller: selectors.DefaultSelector
    sockets: list[socket.socket]

    def is_parent_alive(self) -> bool:
        """Whether the arbiter is still there."""

    def handle_all_of(self, conn: HttpConnection) -> bool:
        """Handles the request of a connection that is complete. True if the connection may be used for another."""


class HttpLoop:
    """The loop of one worker. Every method is called by the thread that leads, unless it says otherwise."""

    threads: HandlerThreads[HttpConnection]

    def __init__(self, worker: Worker, settings: WorkerSettings) -> None:
        self._worker: Final = worker
        self._cfg: Final = worker.cfg
        self._poller: Final = worker.poller
        self._request_timeout: Final = settings.request_timeout
        # The most that is kept of unfinished requests, and of unsent answers. Beyond it, those that hold most are shed:
        # they alone, and not the worker's health, are what an attacker can spend.
        self._held_limit: Final = (settings.memory_limit_mib << 20) // 4
        self._head_limit: Final = self._cfg.limit_request_fields * (self._cfg.limit_request_field_size + 2)
        # Fields that gunicorn drops, and further lines of one, it does not count.
        most_fields = self._cfg.limit_request_fields
        self._line_limit: Final = 2 * most_fields if 0 < 2 * most_fields <= MAX_LINES else MAX_LINES
        self._pending: Final = Waiting(settings.request_timeout)
        self._kept_alive: Final = Waiting(self._cfg.keepalive)
        self._queued: Final = Waiting(QUEUE_TIMEOUT_S)
        self._sending: Final = Waiting(SEND_TIMEOUT_S)
        self._lingering: Final = Waiting(LINGER_S)
        self._held_bytes = 0
        self._ends: float | None = None
        self.acceptor: Final = HttpAcceptor(
            worker, is_full=lambda: self.threads.is_full, make_room=self._make_room, begin=self._begin
        )
        deferred = worker.method_queue.fileno()
        assert deferred is not None
        self._poller.register(deferred, READ, worker.method_queue.run_callbacks)

    # What the threads need.

    def turn(self, may_wait: bool) -> bool:
        """Looks after every connection once. False when a worker that stops has finished."""
        worker = self._worker
        worker.alive = worker.alive and worker.is_parent_alive()
        idle = IDLE_S
        if worker.alive:
            pause = self.acceptor.look()
            if pause > 0:
                idle = min(idle, pause)
        elif self._goes_on_stopping():
            idle = STOPPING_IDLE_S
        else:
            return False
        for key, events in self._poller.select(idle if may_wait else 0):
            if isinstance(key.data, HttpConnection):
                self._on_event(key.data, events)
            else:
                key.data(key.fileobj)
        self._expire()
        return True

    def wake(self) -> None:
        """Ends the poller's wait. May be called in any thread."""
        self._worker.method_queue.defer(lambda: None)

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Calls back in the loop. May be called in any thread."""
        self._worker.method_queue.defer(callback, *args)

    def handle(self, conn: HttpConnection) -> bool:
        """Handles the request that is complete. Called in the thread that has it."""
        conn.hand_over(time.monotonic() + self._request_timeout)
        return self._worker.handle_all_of(conn)

    def finish(self, conn: HttpConnection, result: bool) -> None:
        """Sends what is left of the answer, and then waits for the next request or closes."""
        conn.is_handled = False
        conn.keeps_alive = result
        self._hold(conn, 0)
        if conn.out.unsent_bytes:
            self._send_more(conn)
        else:
            self._after_answer(conn)

    def close(self) -> None:
        """Closes every connection and listener. Called when nothing turns any more."""
        for queue in (self._pending, self._kept_alive, self._queued, self._sending, self._lingering):
            for conn in queue:
                conn.close()
        self._poller.close()
        self._worker.method_queue.close()
        for listener in self._worker.sockets:
            listener.close()

    # New connections.

    def _begin(self, sock: socket.socket, client: Any, server: Any) -> None:
        conn = HttpConnection(
            self._cfg,
            sock,
            client,
            server,
            host=self.threads,
            head_limit=self._head_limit,
            line_limit=self._line_limit,
            send_later=self._send_later,
        )
        self._watch(conn, READ)
        self._pending.add(conn)
        # Often the request is there already.
        self._on_readable(conn)

    def _make_room(self) -> bool:
        """Lets go of the connection that has waited longest for its client. One that has begun to send a request goes
        only if there is no other. False if none has waited long.
        """
        for queue in (self._kept_alive, self._lingering, self._pending):
            silent = sorted(queue.silent_for(SILENT_S), key=lambda conn: conn.buffer.has_begun)
            if any(map(self._let_go, silent)):
                return True
        return False

    def _let_go(self, conn: HttpConnection) -> bool:
        """Closes a connection that waits for its client. False if there is something from the client after all."""
        queue, had_begun = conn.queue, conn.buffer.has_begun
        # It may have come while the loop could not look.
        self._on_readable(conn)
        if conn.queue is not None and (conn.queue is not queue or conn.buffer.has_begun is not had_begun):
            return False
        if conn.queue is not None and had_begun:
            self._refuse(conn, http_refusals.BUSY)
        if conn.queue is not None:
            self._close(conn)
        return True

    # What a client sends.

    def _on_event(self, conn: HttpConnection, events: int) -> None:
        # What came before it in this turn may have closed it.
        if events & WRITE and conn.events & WRITE:
            self._flush(conn)
        if events & READ and conn.events & READ:
            if conn.queue is self._sending or conn.is_handled:
                # What it sends meanwhile, or that it has sent all, is looked at afterwards.
                self._watch(conn, conn.events & ~READ)
            else:
                self._on_readable(conn)

    def _on_readable(self, conn: HttpConnection) -> bool:
        """Takes what has arrived. False if nothing has."""
        try:
            data = conn.receive()
        except OSError:
            self._close(conn)
            return True
        if data is None:
            return False
        if conn.queue is self._lingering:
            self._go_on_lingering(conn, data)
        elif data:
            self._collect(conn, data)
        elif conn.buffer.has_begun:
            # Who only closes this half of the connection still reads.
            self._refuse(conn, http_refusals.CUT_OFF)
        else:
            self._close(conn)
        return True

    def _collect(self, conn: HttpConnection, data: bytes) -> None:
        is_ready = conn.buffer.feed(data)
        self._hold(conn, len(conn.buffer))
        self._after_feeding(conn, is_ready)
        if self._held_bytes > self._held_limit:
            self._shed()

    def _after_feeding(self, conn: HttpConnection, is_ready: bool) -> None:
        if is_ready and conn.buffer.has_too_many_lines:
            self._refuse(conn, http_refusals.TOO_MANY_FIELDS)
            return
        if is_ready and conn.buffer.is_broken:
            self._refuse(conn, http_refusals.MALFORMED)
            return
        if is_ready:
            conn.is_handled = True
            self._queued.add(conn)
            self.threads.enqueue(conn)
            return
        if conn.buffer.take_expectation() and not self._invite(conn):
            return
        if conn.queue is not self._pending:
            if conn.buffer.has_begun:
                self._pending.add(conn)
            elif conn.queue is not self._kept_alive:
                self._kept_alive.add(conn)

    def _invite(self, conn: HttpConnection) -> bool:
        """Has the client send its body. False if it has gone."""
        try:
            conn.out.send_or_keep(http_refusals.CONTINUE)
        except OSError:
            self._close(conn)
            return False
        return True

    def _shed(self) -> None:
        """Refuses the largest of the waiting requests, of those of about one size the oldest, to make room."""
        waiting = (*self._pending, *self._queued)
        for conn in sorted(waiting, key=lambda conn: (-conn.held_bytes.bit_length(), conn.expires)):
            if self._held_bytes <= self._held_limit * 7 // 8:
                break
            if conn.queue is self._pending or self.threads.withdraw(conn):
                self._refuse(conn, http_refusals.BUSY)

    # What a client is sent.

    def _send_later(self, conn: HttpConnection) -> None:
        """Called in any thread: the system does not take all of an answer at once."""
        self.defer(self._send_more, conn)

    def _send_more(self, conn: HttpConnection) -> None:
        if conn.out.unsent_bytes and conn.queue is not self._sending:
            self._sending.add(conn)
            self._watch(conn, conn.events | WRITE)
            if sum(conn.out.unsent_bytes for conn in self._sending) > self._held_limit:
                self._drop_slowest()

    def _flush(self, conn: HttpConnection) -> None:
        if conn.out.flush() and conn.out.unsent_bytes:
            self._sending.add(conn)
        if not conn.out.unsent_bytes:
            self._watch(conn, conn.events & ~WRITE)
            stop_waiting(conn)
            if not conn.is_handled:
                self._after_answer(conn)

    def _drop_slowest(self) -> None:
        """The client that has taken nothing for the longest time."""
        conn = self._sending[0]
        self._worker.log.warning("Too much waits to be sent: dropped %s, who takes the least", conn.client)
        self._fail(conn)

    def _fail(self, conn: HttpConnection) -> None:
        conn.out.fail()
        stop_waiting(conn)
        if not conn.is_handled:
            self._close(conn)

    def _after_answer(self, conn: HttpConnection) -> None:
        if not conn.keeps_alive or conn.out.failed:
            self._linger(conn)
            return
        is_ready = conn.take_back()
        self._hold(conn, len(conn.buffer))
        stop_waiting(conn)
        self._after_feeding(conn, is_ready)
        if not is_ready:
            self._watch(conn, READ)

    def _refuse(self, conn: HttpConnection, answer: bytes) -> None:
        conn.buffer.take()
        conn.out.has_begun = False
        if not conn.out.failed:
            try:
                conn.out.send_or_keep(answer)
            except OSError:
                self._close(conn)
                return
        self.finish(conn, result=False)

    def _hold(self, conn: HttpConnection, count: int) -> None:
        self._held_bytes += count - conn.held_bytes
        conn.held_bytes = count

    # Waiting and closing.

    def _watch(self, conn: HttpConnection, events: int) -> None:
        if events == conn.events:
            return
        if not events:
            self._poller.unregister(conn.out.raw)
        elif conn.events:
            self._poller.modify(conn.out.raw, events, conn)
        else:
            self._poller.register(conn.out.raw, events, conn)
        conn.events = events

    def _linger(self, conn: HttpConnection) -> None:
        """Closes this side of a connection; the other is the client's to close. One that still sends has not read its
        answer yet, and would lose it if the connection were closed now.
        """
        try:
            conn.out.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.ends = time.monotonic() + self._request_timeout
        self._lingering.add(conn)
        self._watch(conn, READ)
        self._on_readable(conn)

    def _go_on_lingering(self, conn: HttpConnection, data: bytes) -> None:
        if not data or time.monotonic() > conn.ends:
            self._close(conn)
        else:
            self._lingering.add(conn)

    def _close(self, conn: HttpConnection) -> None:
        self._hold(conn, 0)
        stop_waiting(conn)
        self._watch(conn, 0)
        self._worker.nr_conns -= 1
        conn.out.fail()
        conn.close()

    def _expire(self) -> None:
        """Ends the connections whose time is over."""
        now = time.monotonic()
        for queue in (self._pending, self._kept_alive, self._queued, self._lingering, self._sending):
            # Mostly there is none: a turn is to be cheap.
            for conn in queue.expired(now) if queue and queue[0].expires < now else ():
                # One that expired before it may have closed it.
                if conn.queue is queue:
                    self._expire_one(conn)

    def _expire_one(self, conn: HttpConnection) -> None:
        if conn.queue is self._sending:
            self._fail(conn)
        elif conn.queue is self._lingering:
            self._close(conn)
        elif conn.queue is self._queued:
            if self.threads.withdraw(conn):
                self._refuse(conn, http_refusals.BUSY)
            else:
                # It has a thread.
                stop_waiting(conn)
        else:
            self._expire_silent(conn)

    def _expire_silent(self, conn: HttpConnection) -> None:
        queue = conn.queue
        # It may have come while the loop could not look.
        self._on_readable(conn)
        if conn.queue is not queue:
            return
        if conn.buffer.has_begun:
            self._refuse(conn, http_refusals.TOO_SLOW)
        else:
            self._close(conn)

    # The end.

    def _goes_on_stopping(self) -> bool:
        now = time.monotonic()
        if self._ends is None:
            self.acceptor.stop()
            # A request may be on its way.
            self._kept_alive.seconds = LINGER_S
            for queue in (self._pending, self._kept_alive):
                queue.hasten(LINGER_S)
            self._ends = now + self._cfg.graceful_timeout
        return self._worker.nr_conns > 0 and now < self._ends

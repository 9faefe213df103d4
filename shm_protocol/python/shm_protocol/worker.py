"""A worker: answers TypeScript's calls until it is told to stop, whatever becomes of Node meanwhile."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType, TracebackType
from typing import Final, Self

from . import config, dialing, forks, handshake, options
from .attendance import Attendance
from .connection import Connection
from .decorated import exposables_of
from .dialing import dial
from .errors import name_of, text_of
from .exposables import Exposables
from .exposed import Exposed
from .log import logger
from .wake import Wake

LEAVE_TIMEOUT_S: Final = 10.0
"""How long a worker that stops goes on for those who had called it before: as long as `docker stop` waits."""

GRACE_S: Final = 1.0
"""How much later than that it is given up: it may be at the very end."""


def serve(
    path: str | os.PathLike[str] | None = None,
    *,
    expose: Exposables | None = None,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    serve_unrelated: bool = False,
    leave_timeout: float = LEAVE_TIMEOUT_S,
) -> None:
    """Be a worker until Ctrl-C or SIGTERM, then return. Where nobody listens, or Node ends, dial again after a while.

    SIGTERM: Node is told that this worker leaves, what it had called before is answered, and then this returns. A
    second one, and what still runs after leave_timeout seconds, end the process at once, as SIGTERM does elsewhere. A
    handler of the program's own is left alone, as is the signal outside of the main thread: see Worker.stop() then.

    Otherwise only KeyboardInterrupt, and SystemExit raised by a function itself or by a signal handler, end the worker,
    after the caller has been told. A generator is the function itself. What an object does that a function has given or
    raised (a `__str__`, `items()`, `__next__`, `close()`) is told to the caller and ends nothing, not even by a
    SystemExit.

    expose: by default what has been decorated with @shm_protocol.expose. Arguments as attach(). Raises TypeError as
    that does, VersionMismatch, ConfigError, and ProtocolError when something else listens there.
    """
    worker = Worker(
        path,
        expose=expose,
        transport=transport,
        name=name,
        timeout=timeout,
        max_message=max_message,
        ring_capacity=ring_capacity,
        serve_unrelated=serve_unrelated,
        leave_timeout=leave_timeout,
    )
    serve_until_stopped(worker, leave_timeout)


def serve_until_stopped(worker: Worker, leave_timeout: float = LEAVE_TIMEOUT_S) -> None:
    """As serve(), with a worker that has been made."""
    with _stopped_by_sigterm(worker, leave_timeout):
        try:
            worker.serve()
        except KeyboardInterrupt:
            logger.info("interrupted: the worker ends")


class Worker:
    """Answers TypeScript's calls: in the thread that calls serve(), or in one of its own, in a `with`, or from start()
    to close().

        with shm_protocol.Worker(expose={"ml": ml}):
            ...  # Node may call ml.predict meanwhile

    Arguments as serve(), and what they may raise. One that has stopped is at its end: make another. A forked child may
    serve with one that had not begun; one that serves is the parent's.

    leave_timeout: seconds that stop() leaves to the calls which Node had made before. attached: whether there is a
    connection to Node now. closed: it has stopped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        expose: Exposables | None = None,
        transport: str | None = None,
        name: str | None = None,
        timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
        max_message: int | None = None,
        ring_capacity: int | None = None,
        serve_unrelated: bool = False,
        leave_timeout: float = LEAVE_TIMEOUT_S,
    ) -> None:
        options.check_flag("serve_unrelated", serve_unrelated)
        dialing.checked_options(name, timeout)
        self._leave_timeout: Final = dialing.checked_seconds("leave_timeout", leave_timeout)
        settings = config.read_settings(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
        self._path: Final = settings.path
        dial_as_told = functools.partial(
            dial,
            settings,
            role="worker",
            exposed=Exposed(exposables_of(expose)),
            name=name,
            timeout=timeout,
            serve_unrelated=serve_unrelated,
        )
        self._attendance: Final = Attendance(dial_as_told, self._serve, self._leave_timeout)
        self._beginning = threading.Lock()
        self._has_begun = False
        self._has_ended = threading.Event()
        self._serving_in: int | None = None  # the thread that called serve(), or
        self._thread: threading.Thread | None = None  # one of its own
        self._failure: BaseException | None = None
        forks.register(self)

    def serve(self) -> None:
        """Serve until stop(), in this thread, then return. Where nobody listens, or Node ends, dial again after a
        while.

        Raises what ends a worker (see the function serve), KeyboardInterrupt as well, and RuntimeError where it serves
        already or has stopped.
        """
        self._begin()
        self._serving_in = get_ident()
        try:
            self._attendance.serve()
        finally:
            self._end()

    def start(self) -> Self:
        """Serve in a thread of its own, which does not keep the program alive. What ends it is logged, and raised by
        close(). Raises RuntimeError where it serves already or has stopped.
        """
        self._begin()
        self._thread = threading.Thread(target=self._serve_in_thread, name="shm-polyglot worker", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Have it stop: Node is told that the worker leaves and calls another, what it had called before is answered,
        within leave_timeout seconds, and serve() returns. A function that runs is not cut off.

        Returns at once. For any thread, an exposed function and a signal's handler. Safe to call twice.
        """
        self._attendance.stop()

    def close(self) -> None:
        """stop(), and wait until it has stopped. A function that has not returned leave_timeout seconds later is given
        up: its caller gets PeerGone, and its thread ends when it returns.

        In the thread that serves, such as in an exposed function, it does no more than stop(). Raises what has ended
        the worker's own thread, if anything has. Safe to call twice.
        """
        self.stop()
        with self._beginning:
            if not self._has_begun:
                self._end()
        if self._serving_in == get_ident() or self._thread is threading.current_thread():
            return
        if self._has_ended.wait(self._leave_timeout + GRACE_S):
            if self._thread is not None:
                self._thread.join()
        else:
            connection = self._attendance.connection
            logger.warning("%r is given up: a function has not returned in time, or a dial", self)
            if connection is not None:
                connection.interrupt()
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                # It refers to this frame.
                del failure

    @property
    def attached(self) -> bool:
        """Whether there is a connection to Node now."""
        return self._attendance.connection is not None

    @property
    def closed(self) -> bool:
        """Whether it has stopped."""
        return self._has_ended.is_set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "attached" if self.attached else "not attached"
        return f"<Worker at {self._path}, {state}>"

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        self._attendance.wake.close()
        if self._has_begun:
            self._has_ended.set()
        else:
            self._attendance.wake = Wake()
            self._beginning = threading.Lock()

    def _serve(self, connection: Connection, wake: Wake) -> None:
        connection.serve_until(wake)

    def _begin(self) -> None:
        with self._beginning:
            if self._has_ended.is_set():
                raise RuntimeError(f"{self!r}: it has stopped; make another")
            if self._has_begun:
                raise RuntimeError(f"{self!r}: it serves already")
            self._has_begun = True

    def _end(self) -> None:
        self._attendance.wake.close()
        self._has_ended.set()

    def _serve_in_thread(self) -> None:
        try:
            self._attendance.serve()
        except BaseException as error:  # noqa: BLE001  # raised by close
            logger.error("%r ends: %s: %s", self, name_of(type(error)), text_of(error))
            self._failure = error
        finally:
            self._end()


@contextmanager
def _stopped_by_sigterm(worker: Worker, leave_timeout: float) -> Iterator[None]:
    """SIGTERM stops the worker, where nothing else is set for it and this thread may set something."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    last: list[threading.Timer] = []

    def stop(number: int, _: FrameType | None) -> None:
        if last:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        worker.stop()
        timer = threading.Timer(leave_timeout + GRACE_S, os.kill, (os.getpid(), number))
        timer.daemon = True
        last.append(timer)
        timer.start()

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for timer in last:
            timer.cancel()

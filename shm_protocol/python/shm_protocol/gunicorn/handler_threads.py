"""The threads of a worker: one leads, that is, runs the loop; the others run handlers, or rest.

To pass each request from a loop to another thread costs more than a short handler takes. So the leader runs a handler
itself, and only when that has not returned within TICK_S another thread is made the leader: the loop is held by
nothing that a handler does, and short handlers cost no change of threads.

At most `slots` handlers run at once. What finds no free slot waits in a queue, first come, first served. A thread that
waits for a client in the midst of a handler gives its slot up meanwhile and queues for one afterwards.

The system may refuse to start a thread (`ulimit -u`, a container's `pids`), so nothing depends on one in the midst of
things: besides the threads that have left their slot there is always one for every slot, and one that leads. Who would
leave its slot when there is no thread to take its place keeps it, and does not wait for its client.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, Protocol, TypeVar

logger: Final = logging.getLogger(__name__)

Job = TypeVar("Job")
Job_contra = TypeVar("Job_contra", contravariant=True)

TICK_S: Final = 0.001
"""How often it is looked whether the leader has been in a handler for as long."""

CALM_TICK_S: Final = 0.005
"""The same when no handler has been replaced for CALM_AFTER_S: each look has the leader give up the interpreter."""

CALM_AFTER_S: Final = 0.1

BATCH_S: Final = 0.005
"""How long the leader runs handler after handler before it looks after the loop again."""

REST_AFTER_S: Final = 0.05
"""Nobody looks after the leader once no handler has run for so long, until the next one does."""

SLICE_S: Final = 0.1
"""How long an answer that is produced piece by piece may keep its slot while others wait for one."""

SHORTAGE_REPORT_S: Final = 10.0
"""How often it is said, at most, that the system starts no thread."""

MAX_WAITING: Final = 128
"""Threads that wait for clients. When there is one more, the one that has waited longest is told to give up."""


class Loop(Protocol[Job_contra]):
    """What the threads run."""

    def turn(self, may_wait: bool) -> bool:
        """One turn of the loop, in the leader. False: the loop has ended."""

    def wake(self) -> None:
        """Ends the wait of a turn. May be called in any thread."""

    def handle(self, job: Job_contra, /) -> bool:
        """Runs one handler. Raises nothing."""

    def finish(self, job: Job_contra, /, result: bool) -> None:
        """What becomes of a job that has been handled. Called in the leader."""

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Calls back in the leader. May be called in any thread."""


class _Thread(threading.Thread):
    """A thread of the pool, and what it is to do next."""

    def __init__(self, main: Callable[["_Thread"], None]) -> None:
        super().__init__(name="handler", daemon=True)
        self._main: Final = main
        self.called = threading.Lock()
        self.called.acquire()
        self.job: object | None = None
        """To be handled; None: to lead."""
        self.slot_since = 0.0

    def run(self) -> None:
        self._main(self)


class HandlerThreads(Generic[Job]):
    """Runs `loop` and its handlers until the loop ends."""

    def __init__(self, slots: int, loop: Loop[Job]) -> None:
        self._loop: Final = loop
        self._mutex: Final = threading.Lock()
        self._slots: Final = slots
        self._free = slots
        # Jobs, and threads that want a slot again.
        self._queue: deque[Job | _Thread] = deque()
        self._resting: list[_Thread] = []
        # Threads that there are, and those of them that have left their slot and not got one again.
        self._count = 0
        self._without_slot = 0
        self._shortage: str | None = None
        self._current: Final[threading.local] = threading.local()
        self._leader: _Thread | None = None
        self._busy_since: float | None = None
        self._handled = 0
        self._turns = 0
        # Who waits for a client, longest first, and how each is told to give up.
        self._waiting: OrderedDict[_Thread, Callable[[], None]] = OrderedDict()
        self._alarm: Final = threading.Event()
        self._is_unwatched = False
        self._end: BaseException | None = None
        self.has_ended = False

    # For the main thread.

    def run(self, is_well: Callable[[], object], every: float) -> None:
        """Starts, and returns when the loop has ended. Calls `is_well` every so many seconds while the loop turns.

        Raises what the loop has raised, and RuntimeError when the system does not start the threads.
        """
        with self._mutex:
            for number in range(self._slots + 1):
                if not self._start_one():
                    raise RuntimeError(
                        f"of {self._slots + 1} threads, for `threads` = {self._slots}, the system starts {number}: "
                        f"{self._shortage}; see `ulimit -u` and the limit of the container, or set `threads` lower"
                    )
            self._leader = self._call(None)
        turns, handled = -1, -1
        next_report = active_until = calm_after = next_shortage_report = 0.0
        while not self.has_ended:
            now = time.monotonic()
            if now >= next_report and self._turns != turns:
                turns, next_report = self._turns, now + every
                is_well()
            if self._shortage is not None and now >= next_shortage_report:
                next_shortage_report = now + SHORTAGE_REPORT_S
                logger.error("clients are not waited for: the system starts no more threads: %s", self._shortage)
                self._shortage = None
            if self._handled != handled or self._busy_since is not None:
                handled, active_until = self._handled, now + REST_AFTER_S
                busy_since = self._busy_since
                if busy_since is not None and now - busy_since >= TICK_S:
                    self._replace_leader(busy_since)
                    calm_after = now + CALM_AFTER_S
                time.sleep(TICK_S if now < calm_after else CALM_TICK_S)
            elif now < active_until:
                time.sleep(CALM_TICK_S)
            else:
                self._rest(every)
        if self._end is not None:
            raise self._end

    def _rest(self, seconds: float) -> None:
        """Waits until a handler runs."""
        self._is_unwatched = True
        # After that: who begins a handler first says so, and then looks whether anybody watches.
        if self._busy_since is None and not self.has_ended:
            self._alarm.wait(seconds)
        self._is_unwatched = False
        self._alarm.clear()

    # For the leader.

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return self._free == 0

    def enqueue(self, job: Job) -> None:
        """Has a job handled when there is a slot for it."""
        with self._mutex:
            self._queue.append(job)

    def withdraw(self, job: Job) -> bool:
        """Takes a job back that has not got a slot yet. False if it has."""
        with self._mutex:
            try:
                self._queue.remove(job)
            except ValueError:
                return False
            return True

    # For handlers.

    @contextmanager
    def outside(self, give_up: Callable[[], None]) -> Iterator[None]:
        """For a handler's wait for its client: others have the slot. `give_up` must end the wait, from any thread; it
        is called at once when the system gives no thread to take this one's place.

        A thread of the app's own has no slot to give; its handler, which may wait for it, keeps its own.
        """
        me = self._current_thread()
        if me is None:
            yield
            return
        evicted = None
        with self._mutex:
            has_left = self._leave_slot(me)
            if has_left:
                if len(self._waiting) >= MAX_WAITING:
                    _, evicted = self._waiting.popitem(last=False)
                self._waiting[me] = give_up
        if not has_left:
            give_up()
            yield
            return
        if evicted is not None:
            evicted()
        try:
            yield
        finally:
            with self._mutex:
                self._waiting.pop(me, None)
            self._queue_for_slot(me)

    def take_turns(self) -> None:
        """Lets those who wait go first, if this handler has had its slot for long."""
        if not self._queue:
            return
        me = self._current_thread()
        if me is None or time.monotonic() - me.slot_since < SLICE_S:
            return
        with self._mutex:
            has_left = self._leave_slot(me)
        if has_left:
            self._queue_for_slot(me)

    def _current_thread(self) -> _Thread | None:
        """None: not one of the pool's."""
        return getattr(self._current, "thread", None)

    # Threads. Whatever begins with an underscore and is called with the mutex held says so.

    def _main(self, me: _Thread) -> None:
        self._current.thread = me
        while True:
            me.called.acquire()
            job, me.job = me.job, None
            try:
                if job is None:
                    self._lead(me)
                else:
                    self._handle_all(me, job)  # type: ignore[arg-type]  # what _call was given
            except BaseException as error:  # noqa: BLE001  # raised again in the main thread
                self._end_with(error)
                return
            if self.has_ended:
                return

    def _lead(self, me: _Thread) -> None:
        while True:
            batch_ends = time.monotonic() + BATCH_S
            while True:
                with self._mutex:
                    job = self._take()
                if job is None:
                    break
                if not self._handle_inline(me, job):
                    return
                if time.monotonic() > batch_ends:
                    break
            self._turns += 1
            if not self._loop.turn(may_wait=job is None):
                self._end_with(None)
                return

    def _handle_inline(self, me: _Thread, job: Job) -> bool:
        """Whether this thread still leads afterwards; otherwise it rests."""
        self._busy_since = me.slot_since = time.monotonic()
        if self._is_unwatched:
            self._alarm.set()
        result = self._loop.handle(job)
        self._handled += 1
        with self._mutex:
            leads = self._leader is me
            if leads:
                self._busy_since = None
                self._free += 1
        if leads:
            self._loop.finish(job, result)
            return True
        following = self._after(me, job, result)
        if following is not None:
            self._handle_all(me, following)
        return False

    def _handle_all(self, me: _Thread, job: Job) -> None:
        """Runs handlers beside the leader, then rests."""
        following: Job | None = job
        while following is not None:
            job = following
            me.slot_since = time.monotonic()
            result = self._loop.handle(job)
            self._handled += 1
            following = self._after(me, job, result)

    def _after(self, me: _Thread, job: Job, result: bool) -> Job | None:
        """Gives the slot of a job that is done to the next one. None: this thread rests.

        It does so after a short one, too: two threads contend for the interpreter, so what is short is done sooner by
        the leader alone, who hears of it by `defer`.
        """
        was_short = time.monotonic() - me.slot_since < TICK_S
        with self._mutex:
            self._free += 1
            following = None if was_short else self._take()
            if following is None:
                self._resting.append(me)
        self._loop.defer(self._loop.finish, job, result)
        return following

    # With the mutex held.

    def _take(self) -> Job | None:
        """Takes a slot and the next job for it. Threads that want their slot again are served on the way."""
        while self._free and self._queue:
            self._free -= 1
            first = self._queue.popleft()
            if not isinstance(first, _Thread):
                return first
            self._without_slot -= 1
            first.called.release()
        return None

    def _leave_slot(self, me: _Thread) -> bool:
        """Gives the slot to the next. False when there would be no thread in its place: then nothing is given."""
        if self._count - self._without_slot <= self._slots + 1 and not self._start_one():
            return False
        self._without_slot += 1
        self._step_down(me)
        self._free += 1
        job = self._take()
        if job is not None:
            self._call(job)
        return True

    def _step_down(self, me: _Thread) -> None:
        if self._leader is me:
            self._busy_since = None
            self._leader = self._call(None)

    def _call(self, job: Job | None) -> _Thread:
        """Has a thread that rests handle a job or lead."""
        thread = self._resting.pop()
        thread.job = job
        thread.called.release()
        return thread

    def _start_one(self) -> bool:
        """One more that rests. False if the system starts none."""
        thread = _Thread(self._main)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._shortage = str(error) or type(error).__name__
            return False
        self._count += 1
        self._resting.append(thread)
        return True

    # Without it.

    def _queue_for_slot(self, me: _Thread) -> None:
        with self._mutex:
            if self._free and not self._queue:
                self._free -= 1
                self._without_slot -= 1
                me.slot_since = time.monotonic()
                return
            self._queue.append(me)
            is_free = self._free > 0
        if is_free:
            self._loop.wake()
        me.called.acquire()
        me.slot_since = time.monotonic()

    def _replace_leader(self, busy_since: float) -> None:
        with self._mutex:
            if self._busy_since == busy_since and self._leader is not None:
                self._step_down(self._leader)

    def _end_with(self, error: BaseException | None) -> None:
        self._end = error
        self.has_ended = True
        self._alarm.set()

"""Who leads, who has a slot, and who waits for one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from shm_protocol.gunicorn import handler_threads
from shm_protocol.gunicorn.handler_threads import HandlerThreads

HANG_S = 200.0

Job = Callable[[], bool]


class Loop:
    """A loop without descriptors: a turn runs what was deferred."""

    def __init__(self, slots: int) -> None:
        self.threads: HandlerThreads[Job] = HandlerThreads(slots, self)
        self.results: queue.Queue[bool] = queue.Queue()
        self._deferred: queue.Queue[Callable[[], object]] = queue.Queue()
        self._is_over = False

    def turn(self, may_wait: bool) -> bool:
        try:
            callback = self._deferred.get(may_wait, HANG_S if may_wait else None)
        except queue.Empty:
            return not self._is_over
        callback()
        return not self._is_over

    def wake(self) -> None:
        self.defer(lambda: None)

    def handle(self, job: Job) -> bool:
        return job()

    def finish(self, job: Job, result: bool) -> None:
        self.results.put(result)

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        self._deferred.put(lambda: callback(*args))

    def add(self, job: Job) -> None:
        self.defer(self.threads.enqueue, job)

    def end(self) -> None:
        self._is_over = True
        self.wake()


@contextmanager
def running(slots: int) -> Iterator[Loop]:
    loop = Loop(slots)
    main = threading.Thread(target=loop.threads.run, args=(lambda: None, 0.01))
    main.start()
    yield loop
    loop.end()
    main.join(HANG_S)
    assert not main.is_alive()


def has_set(event: threading.Event) -> bool:
    """The shortest job."""
    event.set()
    return True


class Sleeper:
    """A job that returns when it is told to."""

    def __init__(self) -> None:
        self.began, self.may_return = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        self.began.set()
        return self.may_return.wait(HANG_S)


def test_a_job_that_sleeps_holds_neither_the_loop_nor_other_jobs() -> None:
    with running(2) as loop:
        sleeper, other = Sleeper(), threading.Event()
        loop.add(sleeper)
        assert sleeper.began.wait(HANG_S)
        loop.add(lambda: has_set(other))
        assert other.wait(HANG_S)
        turned = threading.Event()
        loop.defer(turned.set)
        assert turned.wait(HANG_S)
        sleeper.may_return.set()
        assert [loop.results.get(timeout=HANG_S) for _ in range(2)] == [True, True]


def test_after_a_short_job_its_thread_rests_and_the_leader_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(1) as loop:
        sleeper, is_queued, threads = Sleeper(), threading.Event(), queue.Queue[threading.Thread]()

        def note_thread() -> bool:
            threads.put(threading.current_thread())
            return True

        loop.add(sleeper)
        assert sleeper.began.wait(HANG_S)
        loop.defer(note_thread)
        leader = threads.get(timeout=HANG_S)
        loop.add(note_thread)
        loop.defer(is_queued.set)
        assert is_queued.wait(HANG_S)
        # From now on every job is short.
        monkeypatch.setattr(handler_threads, "TICK_S", HANG_S)
        sleeper.may_return.set()
        assert threads.get(timeout=HANG_S) is leader


def test_no_more_jobs_run_at_once_than_there_are_slots_and_the_loop_turns_on() -> None:
    with running(2) as loop:
        sleepers = [Sleeper() for _ in range(3)]
        for sleeper in sleepers:
            loop.add(sleeper)
        assert all(sleeper.began.wait(HANG_S) for sleeper in sleepers[:2])
        turned = threading.Event()
        loop.defer(turned.set)
        assert turned.wait(HANG_S)
        assert not sleepers[2].began.is_set()
        sleepers[1].may_return.set()
        assert sleepers[2].began.wait(HANG_S)
        for sleeper in sleepers:
            sleeper.may_return.set()


def test_a_job_that_waits_for_its_client_leaves_its_slot_to_others_and_gets_one_again() -> None:
    with running(1) as loop:
        waits, client, done = threading.Event(), threading.Event(), threading.Event()

        def streams() -> bool:
            with loop.threads.outside(client.set):
                waits.set()
                client.wait(HANG_S)
            done.set()
            return True

        loop.add(streams)
        assert waits.wait(HANG_S)
        sleeper = Sleeper()
        loop.add(sleeper)
        assert sleeper.began.wait(HANG_S)
        client.set()
        assert not done.is_set()
        sleeper.may_return.set()
        assert done.wait(HANG_S)


def test_who_has_waited_longest_for_a_client_gives_up_when_too_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_threads, "MAX_WAITING", 2)
    with running(1) as loop:
        clients = [threading.Event() for _ in range(3)]
        gave_up = [threading.Event() for _ in range(3)]

        def streams(number: int) -> bool:
            def give_up() -> None:
                gave_up[number].set()
                clients[number].set()

            with loop.threads.outside(give_up):
                clients[number].wait(HANG_S)
            return True

        loop.add(lambda: streams(0))
        loop.add(lambda: streams(1))
        loop.add(lambda: streams(2))
        assert gave_up[0].wait(HANG_S)
        assert not gave_up[1].is_set()
        assert not gave_up[2].is_set()
        for client in clients:
            client.set()


def test_a_job_that_never_waits_takes_turns_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_threads, "SLICE_S", 0.0)
    with running(1) as loop:
        other = threading.Event()
        began = threading.Event()

        def streams() -> bool:
            began.set()
            while not other.is_set():
                loop.threads.take_turns()
            return True

        loop.add(streams)
        assert began.wait(HANG_S)
        loop.add(lambda: has_set(other))
        assert other.wait(HANG_S)


def test_a_job_can_be_withdrawn_until_it_has_a_slot() -> None:
    with running(1) as loop:
        first, second = Sleeper(), Sleeper()
        loop.add(first)
        assert first.began.wait(HANG_S)
        queued = threading.Event()
        loop.add(second)
        loop.defer(queued.set)
        assert queued.wait(HANG_S)
        assert not loop.threads.withdraw(first)
        assert loop.threads.withdraw(second)
        first.may_return.set()
    assert not second.began.is_set()


def test_what_the_loop_raises_is_raised_where_the_threads_were_started() -> None:
    loop = Loop(1)

    def fail() -> None:
        raise OSError("the poller is broken")

    loop.defer(fail)
    with pytest.raises(OSError, match="the poller is broken"):
        loop.threads.run(lambda: None, 0.01)


def test_a_loop_that_does_not_turn_is_not_reported_to_be_well() -> None:
    loop = Loop(1)
    reports = queue.Queue[None]()
    main = threading.Thread(target=loop.threads.run, args=(lambda: reports.put(None), 0.001))
    main.start()
    for _ in range(3):
        loop.wake()
        reports.get(timeout=HANG_S)
    stuck, goes_on = threading.Event(), threading.Event()
    loop.defer(lambda: has_set(stuck) and goes_on.wait(HANG_S))
    assert stuck.wait(HANG_S)
    while not reports.empty():
        reports.get()
    ticks = threading.Event()
    # Some reports' worth of time; the last turn before it was stuck may still be one.
    ticks.wait(0.05)
    assert reports.qsize() <= 1
    goes_on.set()
    loop.end()
    main.join(HANG_S)


def test_a_thread_of_the_apps_own_may_wait_for_the_client_and_its_handler_keeps_the_slot() -> None:
    with running(1) as loop:
        outcome: list[str] = []

        def wait_outside() -> None:
            with loop.threads.outside(lambda: None):
                outcome.append("waited")

        def job() -> bool:
            thread = threading.Thread(target=wait_outside)
            thread.start()
            thread.join(HANG_S)
            return True

        loop.add(job)
        assert loop.results.get(timeout=HANG_S)
        assert outcome == ["waited"]


@contextmanager
def no_more_threads() -> Iterator[None]:
    """The system starts none: nobody has the memory for such a stack."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_what_sleeps_holds_the_loop_no_more_when_the_system_starts_no_thread() -> None:
    with running(2) as loop:
        turned = threading.Event()
        loop.defer(turned.set)
        assert turned.wait(HANG_S)
        with no_more_threads():
            sleepers = [Sleeper() for _ in range(2)]
            for sleeper in sleepers:
                loop.add(sleeper)
            assert all(sleeper.began.wait(HANG_S) for sleeper in sleepers)
            turned.clear()
            loop.defer(turned.set)
            assert turned.wait(HANG_S)
        for sleeper in sleepers:
            sleeper.may_return.set()


def test_who_would_wait_for_a_client_gives_up_when_the_system_starts_no_thread_and_all_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(1) as loop:
        gave_up = threading.Event()

        def streams() -> bool:
            with no_more_threads():
                loop.threads.take_turns()
                with loop.threads.outside(gave_up.set):
                    return gave_up.is_set()

        loop.add(streams)
        assert loop.results.get(timeout=HANG_S)
        other = threading.Event()
        loop.add(lambda: has_set(other))
        assert other.wait(HANG_S)
        waits, client = threading.Event(), threading.Event()

        def streams_again() -> bool:
            with loop.threads.outside(client.set):
                waits.set()
                return client.wait(HANG_S)

        assert loop.results.get(timeout=HANG_S)
        loop.add(streams_again)
        assert waits.wait(HANG_S)
        sleeper = Sleeper()
        loop.add(sleeper)
        assert sleeper.began.wait(HANG_S)
        sleeper.may_return.set()
        client.set()
        assert [loop.results.get(timeout=HANG_S) for _ in range(2)] == [True, True]
        end = time.monotonic() + HANG_S
        while "the system starts no more threads" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.001)


def test_a_start_without_threads_enough_says_how_many_there_are_and_what_to_do() -> None:
    with no_more_threads(), pytest.raises(RuntimeError, match=r"of 4 threads, for `threads` = 3, .* `ulimit -u`"):
        Loop(3).threads.run(lambda: None, 0.01)

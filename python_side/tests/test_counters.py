"""The counters' memory: shared by forked workers, exact whatever happens to one of them."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from python_side.counters import Counter, Counters


def fork_worker(counters: Counters, work: Callable[[], None]) -> int:
    """Forks as gunicorn does, with the hooks that the module registers for its own counters. Gives the pid."""
    pid = os.fork()
    if pid == 0:
        counters.after_fork_in_child()
        work()
        os._exit(0)
    counters.after_fork_in_parent()
    return pid


def test_the_counts_of_all_workers_are_summed() -> None:
    counters = Counters()

    def work() -> None:
        for _ in range(10_000):
            counters.add(Counter.REQUESTS)
        counters.add(Counter.PREDICTIONS, 5)

    workers = []
    for worker in range(4):
        counters.assign_slot(worker)
        workers.append(fork_worker(counters, work))
    for pid in workers:
        assert os.waitpid(pid, 0)[1] == 0
    assert counters.total(Counter.REQUESTS) == 40_000
    assert counters.total(Counter.PREDICTIONS) == 20


def test_a_killed_worker_s_counts_stay_and_its_slot_goes_on_from_there() -> None:
    counters = Counters(slots=2)  # one for the parent, one for a worker at a time
    read, write = os.pipe()

    def work() -> None:
        counters.add(Counter.REQUESTS, 7)
        os.write(write, b"x")
        signal.pause()

    for round_ in (1, 2, 3):
        counters.assign_slot(round_)
        pid = fork_worker(counters, work)
        assert os.read(read, 1) == b"x"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counters.release_slot(round_)
        assert counters.total(Counter.REQUESTS) == 7 * round_
    os.close(read)
    os.close(write)


def test_a_child_without_a_slot_does_not_write_to_the_service_s_counters() -> None:
    counters = Counters()
    counters.add(Counter.REQUESTS, 3)

    def work() -> None:
        counters.add(Counter.REQUESTS, 100)
        assert counters.total(Counter.REQUESTS) == 100

    assert os.waitpid(fork_worker(counters, work), 0)[1] == 0
    assert counters.total(Counter.REQUESTS) == 3


def test_threads_of_one_process_lose_no_count() -> None:
    counters = Counters()

    def work(_: int) -> None:
        for _ in range(20_000):
            counters.add(Counter.REQUESTS)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert counters.total(Counter.REQUESTS) == 80_000


def test_more_live_workers_than_slots_is_an_error() -> None:
    counters = Counters(slots=3)
    counters.assign_slot(1)
    counters.assign_slot(2)
    with pytest.raises(RuntimeError, match="no counter slot for another worker: 2 are alive"):
        counters.assign_slot(3)
    counters.release_slot(1)
    counters.assign_slot(3)

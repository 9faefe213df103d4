"""How a caller written in Python makes the calls of a case and times them (driver.ts does the same in TypeScript)."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Final

from bench.cases import Case
from bench.peers.interface import Caller, Measured
from bench.workload import answer_to, argument_of, is_same

NS_PER_S: Final = 1_000_000_000
MOST_ERRORS: Final = 100
"""A case whose calls go on failing ends here: it is reported as it is."""
CLOCK_READINGS: Final = 10_001
LARGE_ANSWER_BYTES: Final = 64 * 1024

# Pyodide has one clock.
processor_clock: Callable[[], int] = getattr(time, "thread_time_ns", time.perf_counter_ns)


def clock_us() -> float:
    """What two readings of the clock, one right after the other, give: microseconds, median."""
    clock = time.perf_counter_ns
    differences = []
    for _ in range(CLOCK_READINGS):
        began = clock()
        differences.append(clock() - began)
    return statistics.median(differences) / 1000


def measure(caller: Caller, case: Case, calls: int, seconds: float) -> Measured:
    """One call after the other: at most so many, begun within so many seconds. Every answer is checked, untimed."""
    argument, answer = argument_of(case), answer_to(case)
    function, pause_s = case.function, case.pause_s
    call, clock = caller.call, time.perf_counter_ns
    times: list[float] = []
    checking_ns, checking_cpu_ns, errors, first_error = 0, 0, 0, ""
    # Of a small answer a look takes no longer than to read the processor's clock.
    is_large = case.payload_bytes >= LARGE_ANSWER_BYTES
    start = clock()
    end = start + int(seconds * NS_PER_S)
    while len(times) < calls and errors < MOST_ERRORS:
        if pause_s:
            time.sleep(pause_s)
        began = clock()
        if began >= end:
            break
        try:
            got = call(function, argument)
            took = clock() - began
            looked = processor_clock() if is_large else 0
            if isinstance(got, memoryview):  # Compared item by item, it would take longer than the call.
                got = got.tobytes()
            wrong = "" if is_same(got, answer) else f"call {len(times)} answered {got!r:.200}, not {answer!r:.200}"
            checking = clock() - began - took
            checking_ns += checking
            checking_cpu_ns += processor_clock() - looked if is_large else checking
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            took = clock() - began
            wrong = f"call {len(times)} raised {type(error).__name__}: {error}"
        times.append(took)
        if wrong:
            errors += 1
            first_error = first_error or wrong
    return Measured(times, clock() - start, checking_ns, checking_cpu_ns, errors, first_error)


def measure_outstanding(
    start: Callable[[], Caller], case: Case, warmed: Callable[[], None], calls: int, seconds: float
) -> Measured:
    """As many callers as the case has calls outstanding, a thread each.

    `warmed` is called once all have made their first call; they go on when it returns.
    """
    count = case.outstanding
    gate = threading.Barrier(count + 1)
    results: list[Measured] = []
    failures: list[Exception] = []

    def one() -> None:
        try:
            caller = start()
            try:
                first = measure(caller, case, 1, seconds)
                gate.wait()
                gate.wait()
                results.append(first if first.errors else measure(caller, case, max(1, calls // count), seconds))
            finally:
                caller.stop()
        except threading.BrokenBarrierError:
            pass
        except Exception as error:  # noqa: BLE001  # raised again below, in the thread that asked
            failures.append(error)
            gate.abort()

    threads = [threading.Thread(target=one, name=f"caller-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    began = time.perf_counter_ns()
    try:
        gate.wait()
        warmed()
        began = time.perf_counter_ns()
        gate.wait()
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter_ns() - began
    if failures:
        raise failures[0]
    return Measured(
        [time_ns for result in results for time_ns in result.times_ns],
        elapsed,
        sum(result.checking_ns for result in results),
        sum(result.checking_cpu_ns for result in results),
        sum(result.errors for result in results),
        next((result.first_error for result in results if result.errors), ""),
    )

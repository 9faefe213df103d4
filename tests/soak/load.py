"""The load: HTTP and library calls to both sides, as fast as they are answered, and every answer is checked.

A program of its own, because what it holds is of interest, too. Its stdin tells it to "go" or to "rest"; its end is the
program's. It prints what it has done as JSON, every second and when it rests.
"""

import ctypes
import gc
import json
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

import shm_protocol

from python_side import ml_service

TIMEOUT_S: Final = 30.0
REPORT_EVERY_S: Final = 1.0
ERRORS_KEPT: Final = 5
LONG_EVERY: Final = 100
"""Each so many calls one has a text that is longer than its ring, so that fragments are under way, too."""
RING_BYTES: Final = 8 * 1024
LONG_WORDS: Final = 700
"""Of thirteen characters each; slugify takes 10,000."""
HTTP_THREADS: Final = 2
"""To each side."""
LIBRARY_THREADS: Final = 2

Ask = Callable[[int], None]
"""One question of a certain number, and the check of its answer."""


class MallocInfo(ctypes.Structure):
    """struct mallinfo2 of mallinfo(3), in glibc since 2.33."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def allocated_bytes() -> int | None:
    """What malloc has given out in its arenas, which may themselves spread; None with another C library."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo.restype = MallocInfo
    return int(mallinfo().uordblks)


class WrongAnswer(Exception):
    """An answer that is not the one to the question."""


@dataclass
class Tally:
    """What has been done since the program began."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    first_errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, count: int) -> None:
        """So many right answers."""
        with self.lock:
            self.counts[kind] += count

    def add_error(self, kind: str, error: Exception) -> None:
        """A question without a right answer."""
        with self.lock:
            self.errors += 1
            if len(self.first_errors) < ERRORS_KEPT:
                self.first_errors.append(f"{kind}: {''.join(traceback.format_exception_only(error)).strip()}")

    def show(self, *, resting: bool) -> None:
        """One line to stdout."""
        with self.lock:
            line = {
                "counts": dict(self.counts),
                "errors": self.errors,
                "first_errors": self.first_errors,
                "resting": resting,
                "allocated": allocated_bytes(),
            }
        print(json.dumps(line), flush=True)


class Load:
    """Threads that ask until they are to rest."""

    def __init__(self, python: str, node: str, socket: Path) -> None:
        """python and node: `host:port` of each side's HTTP. socket: where the library connects to."""
        self._python, self._node, self._socket = python, node, socket
        self._tally = Tally()
        self._resting = threading.Event()
        self._threads: list[threading.Thread] = []

    def go(self) -> None:
        """Begin to ask."""
        self._resting.clear()
        runs: list[Callable[[], None]] = [
            *[self._ask_flask] * HTTP_THREADS,
            *[self._ask_node] * HTTP_THREADS,
            self._call,
            self._connect,
            self._report,
        ]
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """End all connections, and say so."""
        self._resting.set()
        for thread in self._threads:
            thread.join()
        # What is garbage is not held.
        gc.collect()
        self._tally.show(resting=True)

    def _ask_flask(self) -> None:
        """HTTP to Flask, which calls TypeScript."""
        with closing(HTTPConnection(self._python, timeout=TIMEOUT_S)) as connection:
            self._repeat(
                "http to Flask",
                lambda number: _check(_post(connection, "/api/slugify", _text(number))["slug"], _slug(number)),
                (OSError, HTTPException, ValueError, KeyError),
                connection.close,
            )

    def _ask_node(self) -> None:
        """HTTP to Node, which calls Python."""

        def ask(number: int) -> None:
            text = f"{_text(number)} great" if number % 2 else _text(number)
            _check(_post(connection, "/api/predict", text)["prediction"], ml_service.predict(text))

        with closing(HTTPConnection(self._node, timeout=TIMEOUT_S)) as connection:
            self._repeat("http to Node", ask, (OSError, HTTPException, ValueError, KeyError), connection.close)

    def _call(self) -> None:
        """Library calls from threads that share a client."""

        def ask(number: int) -> None:
            if number % LONG_EVERY:
                _check(client.call("typescript_utils.slugify", _text(number)), _slug(number))
            else:
                word = f"word {number:07}"
                words = [word] * LONG_WORDS
                slug = word.replace(" ", "-")
                _check(client.call("typescript_utils.slugify", " ".join(words)), "-".join([slug] * LONG_WORDS))

        with shm_protocol.connect(self._socket, ring_capacity=RING_BYTES) as client:
            others = [
                threading.Thread(
                    target=self._repeat, args=("library calls", ask, shm_protocol.BridgeError), daemon=True
                )
                for _ in range(LIBRARY_THREADS)
            ]
            for thread in others:
                thread.start()
            for thread in others:
                thread.join()

    def _connect(self) -> None:
        """Connect, call, close."""

        def ask(number: int) -> None:
            with shm_protocol.connect(self._socket) as client:
                _check(client.call("typescript_utils.slugify", _text(number)), _slug(number))

        self._repeat("connects and closes", ask, shm_protocol.BridgeError)

    def _repeat(
        self,
        kind: str,
        ask: Ask,
        failures: type[Exception] | tuple[type[Exception], ...],
        after_failure: Callable[[], None] = lambda: None,
    ) -> None:
        number = 0
        while not self._resting.is_set():
            number += 1
            try:
                ask(number)
                self._tally.add(kind, 1)
            except WrongAnswer as error:
                self._tally.add_error(kind, error)
            except failures as error:
                self._tally.add_error(kind, error)
                after_failure()
                # A service that is down must not fill the report in a second.
                self._resting.wait(REPORT_EVERY_S)

    def _report(self) -> None:
        while not self._resting.wait(REPORT_EVERY_S):
            self._tally.show(resting=False)


def _text(number: int) -> str:
    return f"Number {number} of {threading.get_ident()}"


def _slug(number: int) -> str:
    return f"number-{number}-of-{threading.get_ident()}"


def _post(connection: HTTPConnection, path: str, text: str) -> Any:
    """The JSON of the answer. Raises WrongAnswer for another status than 200."""
    connection.request("POST", path, json.dumps({"text": text}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise WrongAnswer(f"{path}: status {response.status}: {body[:200]!r}")
    return json.loads(body)


def _check(answer: object, expected: object) -> None:
    if answer != expected:
        raise WrongAnswer(f"{str(answer)[:200]!r} where {str(expected)[:200]!r} is right")


def main() -> None:
    """Obey stdin."""
    load = Load(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    for line in sys.stdin:
        if line.strip() == "go":
            load.go()
        else:
            load.rest()


if __name__ == "__main__":
    main()

"""Reference, Python to Python: multiprocessing.Pipe, with pickles of (function, argument) and of the answer."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

from bench.pinning import CALLEE_CORE
from bench.workload import FUNCTIONS


def serve_caller(connection: Connection) -> None:
    """The callee: run what comes until the other end is closed."""
    core = int(os.environ.get(CALLEE_CORE, "-1"))
    if core >= 0:
        os.sched_setaffinity(0, {core})
    connection.send("ready")
    while True:
        try:
            function, argument = connection.recv()
        except EOFError:
            return
        connection.send(FUNCTIONS[function](argument))


class Caller:
    """One end of the pipe, and the process at the other."""

    def __init__(self) -> None:
        # A fresh interpreter, as the other peers have; a fork of this one would share its memory.
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        with theirs:
            self._process = spawn.Process(target=serve_caller, args=(theirs,))
            self._process.start()
        self._connection.recv()

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        self._connection.send((function, argument))
        answer: object = self._connection.recv()
        return answer

    def stop(self) -> None:
        """See interface.py."""
        self._connection.close()
        self._process.join()
        self._process.close()


def start(address: str) -> Caller:  # noqa: ARG001  # the pipe has no name
    """See interface.py."""
    return Caller()

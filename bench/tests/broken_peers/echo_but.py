"""Answers in its own process, but for one payload size, where it does what $BROKEN_HOW says."""

from __future__ import annotations

import os
import signal
import threading

from bench.workload import FUNCTIONS

BROKEN_BYTES = 1024


class Caller:
    def __init__(self) -> None:
        self._how = os.environ["BROKEN_HOW"]

    def call(self, function: str, argument: object) -> object:
        if isinstance(argument, str) and len(argument) == BROKEN_BYTES:
            return self._break(argument)
        return FUNCTIONS[function](argument)

    def _break(self, argument: str) -> object:
        match self._how:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "hang":
                threading.Event().wait()
            case "raise":
                raise RuntimeError("a message of its own")
            case "wrong":
                return argument[::-1]
        return argument

    def stop(self) -> None:
        if self._how == "linger":
            threading.Event().wait()


def start(address: str) -> Caller:
    if os.environ["BROKEN_HOW"] == "start":
        raise RuntimeError("cannot start")
    return Caller()

"""Answers the untimed calls rightly and one of the timed ones wrongly."""

from __future__ import annotations

import time

from bench.workload import FUNCTIONS


class Caller:
    """Wrong from one second after its start: the warm-up is over by then, `after-1s` is not."""

    def __init__(self) -> None:
        self._wrong_from = time.monotonic() + 1.0

    def call(self, function: str, argument: object) -> object:
        answer = FUNCTIONS[function](argument)
        return answer if time.monotonic() < self._wrong_from else {"sentiment": "swapped"}

    def stop(self) -> None:
        pass


def start(address: str) -> Caller:
    return Caller()

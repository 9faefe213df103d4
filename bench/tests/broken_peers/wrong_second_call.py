"""Answers its second call wrongly and all others rightly."""

from __future__ import annotations

from bench.workload import FUNCTIONS


class Caller:
    def __init__(self) -> None:
        self._calls = 0

    def call(self, function: str, argument: object) -> object:
        self._calls += 1
        return {"sentiment": "swapped"} if self._calls == 2 else FUNCTIONS[function](argument)

    def stop(self) -> None:
        pass


def start(address: str) -> Caller:
    return Caller()

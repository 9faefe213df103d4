"""A Python worker in the crash matrix: its name, and how it asks on its own connection ("serve": it only answers)."""

from __future__ import annotations

import sys
from functools import partial

import shm_protocol
from shm_protocol import Connection

from . import questions
from .journal import Journal
from .questions import PEER, TIMEOUT_S


class Asker:
    """Asks Node over a worker's connection, as an HTTP handler in a gunicorn worker does; dials again when it ends."""

    def __init__(self, name: str, shape: str) -> None:
        self._name = name
        self._shape = shape
        self._connection: Connection | None = None

    def ask(self, question: int) -> bool:
        """One question. Raises what dialing and calling raise."""
        if self._connection is None or self._connection.closed:
            self._connection = shm_protocol.attach(expose=PEER, name=self._name, timeout=TIMEOUT_S)
        try:
            return questions.ask(partial(self._connection.call, timeout=TIMEOUT_S), self._shape, question)
        finally:
            if self._shape == "handshake":
                self._connection.close()


def main(name: str, shape: str) -> None:
    """Runs until it is killed."""
    journal = Journal()
    if shape == "serve":
        journal.ready()
        shm_protocol.serve(expose=PEER, name=name)
        return
    lane = journal.lane()
    asker = Asker(name, shape)
    journal.ready()
    while True:
        lane.attempt(asker.ask)


if __name__ == "__main__":
    main(*sys.argv[1:])

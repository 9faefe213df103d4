"""A Python program in the crash matrix that calls Node from several threads; each argument is the shape of one lane."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import shm_protocol

from . import misbehaviour, questions
from .journal import Journal, Lane
from .questions import PEER, TIMEOUT_S

WARM_UP_MS: Final = 500
"""Longer than a lane pauses."""


def handshake(question: int) -> bool:
    """Asks on a connection that is made and closed for it."""
    with shm_protocol.connect(name="caller", timeout=TIMEOUT_S) as client:
        return questions.ask(partial(client.call, timeout=TIMEOUT_S), "answer", question)


def misbehaves(lane: Lane, way: str) -> None:
    """A lane that asks functions that misbehave, on connections of its own."""
    limit = misbehaviour.TINY if way == "overflows" else None
    with shm_protocol.connect(name="caller", expose=PEER, timeout=TIMEOUT_S, max_message=limit) as client:
        while True:
            lane.attempt(partial(misbehaviour.ask, client, way))


def run(lane: Lane, shape: str, client: shm_protocol.Client | None) -> None:
    """One lane, for ever."""
    if shape in misbehaviour.WAYS:
        misbehaves(lane, shape)
    if client is None:
        while True:
            lane.attempt(handshake)
    call = partial(client.call, timeout=TIMEOUT_S)
    ask = partial(questions.ask, call, shape)

    def warm_up(question: int) -> bool:
        return bool(call("peer.later", WARM_UP_MS, question) == questions.token(question))

    # All at once, so that each lane's connection is there from now on, and none looks like a leak later.
    lane.attempt(warm_up)
    while True:
        if not lane.attempt(ask) and questions.pause_after(shape) > 0:
            # The connections are gone. Lanes that pause would share one, and need another some time later.
            while not lane.attempt(ask):
                pass
            lane.attempt(warm_up)
        time.sleep(questions.pause_after(shape))


def main(shapes: Sequence[str]) -> None:
    """Runs the lanes until it is killed."""
    journal = Journal()
    lanes = [journal.lane() for _ in shapes]
    client = None
    if "handshake" not in shapes:
        client = shm_protocol.connect(name="caller", expose=PEER, timeout=TIMEOUT_S, max_connections=len(shapes))
    journal.ready()
    threads = [
        threading.Thread(target=run, args=(lane, shape, client)) for lane, shape in zip(lanes, shapes, strict=True)
    ]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(sys.argv[1:])

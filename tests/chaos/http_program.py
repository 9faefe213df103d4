"""HTTP clients in the crash matrix: the port of a gunicorn, and the shape of each lane. See gunicorn_worker.py."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

# Where pytest finds the helpers of the tests, too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import http_client

from . import questions
from .journal import Failure, Journal, Lane

PIECES_S: Final = 0.01
"""Between the two pieces in which a request arrives: a worker that is told to end then must wait for the second."""


def pieces(asked: dict[str, Any]) -> Iterator[bytes]:
    """What is asked, as it is sent."""
    text = json.dumps(asked).encode()
    yield text[:10]
    time.sleep(PIECES_S)
    yield text[10:]


def ask(url: str, shape: str, question: int) -> bool:
    """Has a worker ask Node in this way, and tells whether the answer is right. Raises Failure."""

    def call(method: str, *args: Any) -> Any:
        began = time.monotonic()
        try:
            body = pieces({"method": method, "args": args, "redial": shape == "handshake"})
            answer = http_client.request("POST", url, body=body)
        except ConnectionRefusedError as error:
            raise Failure("refused", began, time.monotonic(), str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Failure("cut off", began, time.monotonic(), repr(error)) from None
        if answer.status != http.HTTPStatus.OK:
            raise Failure(f"status {answer.status}", began, time.monotonic(), answer.body.decode(errors="replace"))
        outcome = answer.json()
        if "failure" in outcome:
            raise Failure(*outcome["failure"])
        return outcome["result"]

    return questions.ask(call, shape, question)


def run(lane: Lane, url: str, shape: str) -> None:
    """One lane, for ever."""
    while True:
        lane.attempt(partial(ask, url, shape))
        time.sleep(questions.pause_after(shape))


def main(port: str, shapes: Sequence[str]) -> None:
    """Runs the lanes until it is killed."""
    journal = Journal()
    lanes = [journal.lane() for _ in shapes]
    journal.ready()
    for lane, shape in zip(lanes, shapes, strict=True):
        threading.Thread(target=run, args=(lane, f"http://127.0.0.1:{port}/", shape)).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

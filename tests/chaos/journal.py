"""What a program of the matrix tells the one that started it: lines of JSON on stdout, see programs.py.

Its times are those of CLOCK_MONOTONIC, which is one clock for all processes, and Node's too.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from shm_protocol import BridgeError, RemoteError

TELL_S: Final = 0.02
HEARTBEAT_S: Final = 1.0
PAUSE_S: Final = 0.005
"""After a failure: a peer that is gone is not asked again at once."""


class Failure(Exception):
    """What a lane raises that has met no error itself, but was told of one. The same as an Event, see programs.py."""

    def __init__(self, what: str, began: float, at: float, detail: str) -> None:
        super().__init__(detail)
        self.what = what
        self.began = began
        self.at = at


def tell(news: dict[str, Any]) -> None:
    """Says it to whoever started this program. In one piece, where several processes say something."""
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


class Journal:
    """Counts what the lanes do, and tells of it in a thread of its own."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        self._events: deque[list[Any]] = deque()
        self._wrong: deque[str] = deque()

    def lane(self) -> Lane:
        """Another lane."""
        lane = Lane(len(self._lanes), self._events, self._wrong)
        self._lanes.append(lane)
        return lane

    def ready(self) -> None:
        """Says that the program is about to begin, and from now on what becomes of it."""
        tell({"ready": time.monotonic()})
        threading.Thread(target=self._tell, name="journal", daemon=True).start()

    def _tell(self) -> None:
        last = time.monotonic()
        told: list[int] = []
        while True:
            time.sleep(TELL_S)
            # Of each lane by itself: one that hangs must not hide behind the others.
            verified = [lane.verified for lane in self._lanes]
            is_quiet = verified == told and not self._events and not self._wrong
            if is_quiet and time.monotonic() - last < HEARTBEAT_S:
                continue
            last, told = time.monotonic(), verified
            try:
                longest = [lane.longest for lane in self._lanes]
                news = {"verified": verified, "events": _taken(self._events), "wrong": _taken(self._wrong)}
                tell({**news, "longest": longest})
            except BrokenPipeError:
                # Whoever started this program is gone.
                os._exit(1)


def _taken(queue: deque[Any]) -> list[Any]:
    return [queue.popleft() for _ in range(len(queue))]


class Lane:
    """Asks one question at a time. verified: answers that were right.

    longest: how long the lane has waited for one of them, but for the first and the first after a failure, in seconds.
    """

    def __init__(self, number: int, events: deque[list[Any]], wrong: deque[str]) -> None:
        self.verified = 0
        self.longest = 0.0
        self._number = number
        self._events = events
        self._wrong = wrong
        self._questions = count(random.getrandbits(50))
        self._is_back = False

    def attempt(self, ask: Callable[[int], bool]) -> bool:
        """Asks the next question; False, after a pause, if it failed. A wrong answer is told, and is no failure."""
        question = next(self._questions)
        began = time.monotonic()
        try:
            is_right = ask(question)
        except BridgeError as error:
            # From deeper in a chain comes a RemoteError of the other error's type.
            what = error.type if isinstance(error, RemoteError) else error.code
            return self._fail(Failure(what, began, time.monotonic(), str(error)))
        except Failure as failure:
            return self._fail(failure)
        if not is_right:
            self._wrong.append(f"lane {self._number}: question {question} got an answer that is not its own")
            return True
        self.verified += 1
        at = time.monotonic()
        if self._is_back:
            self.longest = max(self.longest, at - began)
        else:
            self._is_back = True
            self._events.append([self._number, "back", began, at, ""])
        return True

    def _fail(self, failure: Failure) -> bool:
        self._events.append([self._number, failure.what, failure.began, failure.at, str(failure)[:200]])
        self._is_back = False
        time.sleep(PAUSE_S)
        return False

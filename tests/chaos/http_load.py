"""Verified load on the showcase over HTTP, both directions at once: what is asked determines the answer."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from types import TracebackType
from typing import Final, Self

import http_client
from http_client import Answer

from python_side.ml_service import NEGATIVE, POSITIVE, predict

from .programs import BACK, Event

LANES_EACH: Final = 3
BATCH: Final = 8
PAUSE_S: Final = 0.005


class HttpLoad:
    """Asks both servers until it is left, each lane in a thread with one request at a time.

    verified: right answers. longest: the seconds that one of them took. latest: the last event of each lane. As of a
    Program, see programs.py; what an event says begins with the side that was asked, e.g. "node PeerGone".
    """

    def __init__(self, *, python_url: str, node_url: str) -> None:
        self.verified = 0
        self.longest = 0.0
        self.latest: dict[int, Event] = {}
        self.wrong: list[str] = []
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._ended = False
        self._go = threading.Event()
        self._go.set()
        self._waiting = 0
        asks = [Slugs(python_url), Batches(node_url)] * LANES_EACH
        self._threads = [threading.Thread(target=self._run, args=(lane, ask)) for lane, ask in enumerate(asks)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._go.set()
        for thread in self._threads:
            thread.join()

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._threads)

    @property
    def is_quiet(self) -> bool:
        """Whether no request is under way, after `pause`."""
        return self._waiting == len(self._threads)

    def pause(self) -> None:
        """No more requests until `resume`."""
        self._go.clear()

    def resume(self) -> None:
        """Goes on."""
        self._go.set()

    def new_events(self) -> list[Event]:
        """Those since the last time."""
        with self._lock:
            events, self._events = self._events, []
        return events

    def _run(self, lane: int, asking: Slugs | Batches) -> None:
        while not self._ended:
            if not self._go.is_set():
                with self._lock:
                    self._waiting += 1
                self._go.wait()
                with self._lock:
                    self._waiting -= 1
                continue
            began = time.monotonic()
            what, detail = asking.ask()
            event = Event(lane, what, began, time.monotonic(), detail)
            with self._lock:
                if what == BACK:
                    self.verified += 1
                    self.longest = max(self.longest, event.at - began)
                elif what == "wrong":
                    self.wrong.append(detail)
                    continue
                last = self.latest.get(lane)
                if what != BACK or last is None or last.what != BACK:
                    self._events.append(event)
                self.latest[lane] = event
            if what != BACK:
                time.sleep(PAUSE_S)


class Slugs:
    """Flask, which asks TypeScript."""

    side: Final = "python"
    _numbers = itertools.count(random.getrandbits(40))

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/slugify"

    def ask(self) -> tuple[str, str]:
        """What came of a request, and details: BACK if the answer is right, "wrong" if it is not."""
        number = next(self._numbers)
        return _outcome(self.side, self._url, {"text": f"Question {number} ?"}, {"slug": f"question-{number}"})


class Batches:
    """The TypeScript server, which asks Python. One text has 72 answers; a batch has 72 ** BATCH."""

    side: Final = "node"

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/batch"

    def ask(self) -> tuple[str, str]:
        """As that of Slugs."""
        texts = [" ".join(_some(POSITIVE) + _some(NEGATIVE)) for _ in range(BATCH)]
        results = [{"text": text, "prediction": predict(text)} for text in texts]
        return _outcome(self.side, self._url, {"texts": texts}, {"results": results})


def _some(words: frozenset[str]) -> list[str]:
    return random.sample(sorted(words), random.randint(0, len(words)))


def _outcome(side: str, url: str, asked: dict[str, object], expected: dict[str, object]) -> tuple[str, str]:
    try:
        answer = http_client.post(url, asked)
    except ConnectionRefusedError as error:
        return f"{side} refused", str(error)
    except (OSError, http.client.HTTPException) as error:
        return f"{side} cut off", repr(error)
    if answer.status != http.HTTPStatus.OK:
        return f"{side} {_failure(answer)}", answer.body.decode(errors="replace")[:200]
    body = answer.json()
    if any(body[key] != value for key, value in expected.items()):
        return "wrong", f"{url}: {asked} got {body}"
    return BACK, ""


def _failure(answer: Answer) -> str:
    """The error of the bridge that an answer tells of, or its status."""
    if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return "PeerGone" if b"went away" in answer.body else "PeerUnavailable"
    return "CallTimeout" if answer.status == http.HTTPStatus.GATEWAY_TIMEOUT else f"status {answer.status}"

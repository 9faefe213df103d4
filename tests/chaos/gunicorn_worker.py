"""The workers of a real gunicorn in the crash matrix: the project's own, and they expose what every program exposes.

A request is a call of Node's that the worker makes for the client, `{"method": "peer.answer", "args": [7]}`; with
`"redial"` it makes a connection for this one call.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from typing import Any

import shm_protocol
from shm_protocol import BridgeError, Client, RemoteError
from shm_protocol.gunicorn import BridgeWorker, bridge
from shm_protocol.gunicorn.worker_client import DIAL_TIMEOUT_S

from .journal import tell
from .misbehaviour import MISBEHAVING
from .questions import PEER, TIMEOUT_S


class ChaosWorker(BridgeWorker):
    """Set as gunicorn's `worker_class`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg.set("shm_expose", {**PEER, **MISBEHAVING})
        self.cfg.set("shm_max_connections", 1)

    def prepare(self) -> None:
        """The worker's own makes the first connection alone. With one whenever there is a Node, those that were there
        before a strike and those that replace them hold the same.
        """
        # Where there is none after all, the next attempt to attach tries it again.
        with suppress(BridgeError):
            self.client.call("peer.answer", 0, timeout=TIMEOUT_S)

    def run(self) -> None:
        """Says that the worker is about to dial, and serves."""
        tell({"ready": time.monotonic(), "pid": os.getpid()})
        super().run()


def redialed() -> Client:
    """A client for one call. Raises BridgeError."""
    return shm_protocol.connect(name="redials", expose=PEER, max_connections=1, timeout=DIAL_TIMEOUT_S)


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answers with what Node does, or with what came of the call and when: a client sees only when it hears of it."""
    asked = json.loads(environ["wsgi.input"].read())
    began = time.monotonic()
    answer: dict[str, Any]
    try:
        # Other handlers use the worker's own client meanwhile.
        with redialed() if asked.get("redial") else nullcontext(bridge()) as node:
            answer = {"result": node.call(asked["method"], *asked["args"], timeout=TIMEOUT_S)}
    except BridgeError as error:
        what = error.type if isinstance(error, RemoteError) else error.code
        answer = {"failure": [what, began, time.monotonic(), str(error)]}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

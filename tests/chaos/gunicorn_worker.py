"""The workers of a real gunicorn in the crash matrix: the project's own, and they expose what every program exposes.

A request is a call of Node's that the worker makes for the client, `{"method": "peer.answer", "args": [7]}`; with
`"redial"` the worker gives its connection up first, and makes another.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from shm_protocol import BridgeError, RemoteError

from python_side import bridge
from python_side.bridge_worker import BridgeWorker
from python_side.worker_link import WorkerLink

from .journal import tell
from .questions import PEER, TIMEOUT_S


class ChaosWorker(BridgeWorker):
    """Set as gunicorn's `worker_class`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.link = WorkerLink(f"gunicorn worker {self.age}", PEER, self)

    def run(self) -> None:
        """Says that the worker is about to dial, and serves."""
        tell({"ready": time.monotonic(), "pid": os.getpid()})
        super().run()


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answers with what Node does, or with what came of the call and when: a client sees only when it hears of it."""
    asked = json.loads(environ["wsgi.input"].read())
    node = bridge.get_node()
    if asked.get("redial"):
        assert isinstance(node, WorkerLink)
        node.close()
        node.open()
    began = time.monotonic()
    answer: dict[str, Any]
    try:
        answer = {"result": node.call(asked["method"], *asked["args"], timeout=TIMEOUT_S)}
    except BridgeError as error:
        what = error.type if isinstance(error, RemoteError) else error.code
        answer = {"failure": [what, began, time.monotonic(), str(error)]}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

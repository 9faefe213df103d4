"""A build of the HTTP contract that misbehaves as a test wants it to, to see that the bench notices.

In the test's own process, or as a program: `python -m bench.tests.contract_server PORT [FAULT=VALUE ...]`.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from python_side import ml_service


class ContractServer(ThreadingHTTPServer):
    """Serves GET /health, POST /api/predict and POST /api/batch.

    Faults, each counted in requests from the start, 0: never. stall_at: that one and all that come meanwhile take
    stall_s. wrong_every: each such answer has another confidence. exit_at: the process ends without an answer.
    close_at: it stops listening, and closes each connection without an answer. hang_at: no answer from then on.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0, **faults: float) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.faults = {"stall_at": 0.0, "stall_s": 0.0, "wrong_every": 0.0, "exit_at": 0.0, "close_at": 0.0} | faults
        self.count = 0
        self.turn = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ContractServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer({"status": "healthy"} if self.path == "/health" else None)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/predict":
            answer: dict[str, Any] = {"text": sent["text"], "prediction": ml_service.predict(sent["text"])}
        elif self.path == "/api/batch":
            texts = sent["texts"]
            results = [{"text": text, "prediction": ml_service.predict(text)} for text in texts]
            answer = {"results": results, "count": len(texts)}
        else:
            self._answer(None)
            return
        self._answer(answer | {"model": ml_service.MODEL, "timestamp": f"{time.time()}"})

    def _answer(self, value: dict[str, Any] | None) -> None:
        faults = self.server.faults
        with self.server.turn:
            self.server.count += 1
            number = self.server.count
            if number == faults["stall_at"]:
                time.sleep(faults["stall_s"])
        if number == faults["exit_at"]:
            os._exit(3)
        if faults["close_at"] and number >= faults["close_at"]:
            self.server.socket.close()
            self.close_connection = True
            return
        if faults.get("hang_at") and number >= faults["hang_at"]:
            self.server.released.wait()
        if (
            value is not None
            and "prediction" in value
            and faults["wrong_every"]
            and number % faults["wrong_every"] == 0
        ):
            value["prediction"] = {**value["prediction"], "confidence": 0.123}
        body = json.dumps({"error": "Not found"} if value is None else value).encode()
        self.send_response(404 if value is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[2:])
    ContractServer(int(sys.argv[1]), **{name: float(value) for name, value in given.items()}).serve_forever()

"""HTTP/1.1 with a kept connection and JSON bodies, by the standard library."""

from __future__ import annotations

import http.client
import http.server
import json
from collections.abc import Callable

from bench.address import port_file, write_port
from bench.workload import echo

HEADERS = {"Content-Type": "application/json"}


class Caller:
    """A client with one kept connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", int(port_file(address).read_text()))

    def call(self, value: object) -> object:
        """See interface.py."""
        self._connection.request("POST", "/echo", json.dumps(value), HEADERS)
        answer: object = json.loads(self._connection.getresponse().read())
        return answer

    def close(self) -> None:
        """See interface.py."""
        self._connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every POST with `echo` of its body."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment: otherwise Nagle's algorithm and delayed acknowledgement cost 40 ms a call.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Called by the base class."""
        value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(echo(value)).encode()
        self.send_response(200)
        self.send_header("Content-Type", HEADERS["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """No line a request: it would be timed too."""


def connect(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        write_port(address, server.server_port)
        ready()
        server.serve_forever()

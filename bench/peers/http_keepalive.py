"""HTTP/1.1 with kept connections and JSON bodies, by the standard library; the function is the path."""

from __future__ import annotations

import http.client
import http.server
import json
import socket
from collections.abc import Callable
from typing import Final

from bench.address import port_file, write_port
from bench.json_value import unwrap, wrap
from bench.workload import FUNCTIONS

HEADERS: Final = {"Content-Type": "application/json"}


class Caller:
    """A client with one kept connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", int(port_file(address).read_text()))

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        self._connection.request("POST", f"/{function}", json.dumps(wrap(argument)), HEADERS)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise ConnectionError(f"POST /{function}: {response.status} {response.reason}")
        return unwrap(json.loads(body))

    def stop(self) -> None:
        """See interface.py."""
        self._connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every POST with what the function says."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment: otherwise Nagle's algorithm and delayed acknowledgement cost 40 ms a call.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Called by the base class."""
        argument = unwrap(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(wrap(FUNCTIONS[self.path[1:]](argument))).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", HEADERS["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """No line a request: it would be timed too."""


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection."""

    # All outstanding calls connect at once: with the usual 5 the kernel would drop some, and they try again in 1 s.
    request_queue_size = socket.SOMAXCONN


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    with Server(("127.0.0.1", 0), Handler) as server:
        write_port(address, server.server_port)
        ready()
        server.serve_forever()

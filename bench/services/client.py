"""One request and its answer, over a connection of its own: to see whether a service is there and answers rightly."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

from bench.services.endpoints import Answer, Endpoint

TIMEOUT_S: Final = 10.0

UNANSWERED: Final = (OSError, http.client.HTTPException)
"""What `ask` raises when there is no answer: nobody listens, the connection breaks, or the time is over."""


def ask(url: str, endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send the request. Raises UNANSWERED."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        body = endpoint.text.encode()
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(endpoint.method, endpoint.path, body or None, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    finally:
        connection.close()

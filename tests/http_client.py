"""A plain HTTP client for tests: one request, one connection, no redirects, no retries."""

import http.client
import json as json_module
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 200.0


@dataclass(frozen=True)
class Answer:
    """What the server sent. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json_module.loads(self.body)


def request(
    method: str,
    url: str,
    *,
    json: object = None,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> Answer:
    """Sends one request. `json` is encoded and sent with its content type; an iterable `body` is sent in chunks."""
    sent = dict(headers or {})
    if json is not None:
        body = json_module.dumps(json).encode()
        sent.setdefault("Content-Type", "application/json")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, target, body=body, headers=sent, encode_chunked=chunked)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def get(url: str, *, timeout: float = TIMEOUT_S) -> Answer:
    """GET."""
    return request("GET", url, timeout=timeout)


def post(url: str, json: object, *, timeout: float = TIMEOUT_S) -> Answer:
    """POST with a JSON body."""
    return request("POST", url, json=json, timeout=timeout)

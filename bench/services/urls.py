"""Builds of the showcase that run already, and that somebody names: `python -m bench http NAME=URL`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from bench.services.client import UNANSWERED, ask
from bench.services.endpoints import CONTRACT, HEALTH
from bench.services.http_rows import Server, Target
from bench.services.load import Generator
from bench.services.rows import failures_of

FORM: Final = "give http://HOST:PORT, such as http://127.0.0.1:3000"


class UrlError(Exception):
    """A URL that cannot be measured. The message names it and says what is wanted."""


def measure_urls(
    urls: Mapping[str, str], rounds: int, seconds: float, progress: Callable[[str], None], kept: list[dict[str, Any]]
) -> None:
    """Put the rows `http` of results.json into `kept`: every endpoint of the contract that each service, by name, has.

    Each load lasts `seconds` in each round; `progress` is told what is measured. What is measured until a
    KeyboardInterrupt is kept. Raises UrlError before anything is measured for what is no URL of an HTTP server, and
    for one that does not answer.
    """
    targets = [Target(checked(url)) for url in urls.values()]
    for name, target in zip(urls, targets, strict=True):
        _check_answering(name, target.url)
    servers = [Server.of(name, CONTRACT, seconds) for name in urls]
    try:
        with Generator() as generator:
            for number in range(rounds):
                for server, target in zip(servers, targets, strict=True):
                    progress(f"round {number + 1} of {rounds}: {server.name}")
                    with failures_of(server.rows):
                        server.measure(generator, target)
    finally:
        kept[:] = [row.to_json() for server in servers for row in server.rows]


def checked(url: str) -> str:
    """The URL without a final slash. Raises UrlError for what names no HTTP server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlError(f"{url!r} is no URL: {error}; {FORM}") from error
    if parts.scheme != "http" or not parts.hostname or port == 0:
        raise UrlError(f"{url!r} is no URL of an HTTP server; {FORM}")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise UrlError(f"{url!r} has more than a host and a port, and the paths are those of the contract; {FORM}")
    return url.rstrip("/")


def _check_answering(name: str, url: str) -> None:
    try:
        ask(url, HEALTH)
    except UNANSWERED as error:
        raise UrlError(f"{name} does not answer at {url}: {error}; start it first") from error

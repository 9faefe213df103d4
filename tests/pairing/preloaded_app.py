"""A WSGI application that connects to Node when it is imported: before the fork, with `gunicorn --preload`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import shm_protocol

node = shm_protocol.connect()
connected_by: int = node.call("functions.echo", os.getpid())
inherited: list[int] = []


def app(_environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Says who connected at first, who answers, which has gone through Node, and how many connections it began with."""
    if not inherited:
        inherited.append(len(node.connections))
    answered_by = node.call("functions.echo", os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{connected_by} {answered_by} {inherited[0]}".encode()]

"""Values for the peers that send JSON, which has no bytes: these go as base64 in an object of their own."""

from __future__ import annotations

from base64 import b64decode, b64encode


def wrap(value: object) -> object:
    """What json.dumps takes."""
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def unwrap(value: object) -> object:
    """What `wrap` was given, of what json.loads gave."""
    return b64decode(value["base64"]) if isinstance(value, dict) and "base64" in value else value

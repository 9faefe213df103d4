"""What an HTTP client is told when a call to TypeScript fails. The log gets the rest, with the remote stack."""

import logging
from typing import Final

from flask import jsonify
from flask.typing import ResponseReturnValue
from shm_protocol import (
    BridgeError,
    Busy,
    CallTimeout,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    PeerUnavailable,
    RemoteError,
)
from werkzeug.exceptions import BadRequest

from python_side.http_errors import on_http_error

logger: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = "1"
"""A worker redials within a second."""


def on_bridge_error(error: BridgeError) -> ResponseReturnValue:
    """The answer to a request whose call to TypeScript failed."""
    # Every value sent comes from the request. What TypeScript says of its own result is TypeScript's fault.
    if isinstance(error, EncodeError) and not error.from_peer:
        return jsonify(error=str(error)), 400
    if isinstance(error, MessageTooLarge) and not error.from_peer:
        return jsonify(error=str(error)), 413
    stack = f"\n{error.stack}" if isinstance(error, RemoteError) else ""
    logger.error("call to TypeScript failed: %s: %s%s", error.code, error, stack)
    match error:
        case PeerUnavailable():
            return _unavailable("The TypeScript server is not there")
        case PeerGone() | ConnectionClosed():
            return _unavailable("The TypeScript server went away during the call")
        case Busy():
            return _unavailable("Too many calls to the TypeScript server are waiting")
        case CallTimeout():
            return jsonify(error="The TypeScript server did not answer in time"), 504
        case EncodeError() | MessageTooLarge():
            return jsonify(error="The TypeScript server's answer could not be sent"), 502
        case _:
            return jsonify(error="Internal server error"), 500


def on_remote_error(error: RemoteError) -> ResponseReturnValue:
    """The answer of a route whose request is all that TypeScript was given: what it finds wrong with that is told."""
    if error.type in ("RangeError", "TypeError"):
        return on_http_error(BadRequest(error.message))
    return on_bridge_error(error)


def _unavailable(message: str) -> ResponseReturnValue:
    return jsonify(error=message), 503, {"Retry-After": RETRY_AFTER_S}

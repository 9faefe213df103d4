"""Every error of the HTTP layer as the contract has it: `{"error": message}`."""

from typing import Final

from flask import Response, jsonify
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed

from python_side.json_body import MAX_BODY_BYTES

MESSAGES: Final = {
    404: "Not found",
    405: "Method not allowed",
    413: f"The request body is larger than {MAX_BODY_BYTES} bytes",
    500: "Internal server error",
}


CLOSING: Final = {"Connection": "close"}
"""For an answer to a request of which some is left unread. A server that has a say of its own in this ignores it."""


def on_malformed_request(error: ParseException) -> ResponseReturnValue:
    """The answer to a request whose body gunicorn's parser cannot read: broken chunks, for example."""
    return jsonify(error=f"Malformed request: {error}"), 400, CLOSING


def on_http_error(error: HTTPException) -> tuple[Response, int, dict[str, str]]:
    """The answer to a request that ended in an HTTP error."""
    if isinstance(error, ClientDisconnected):
        # The worker stops reading a body after a time (http_connection.py), which Werkzeug takes for a lost client.
        return jsonify(error="The request body did not arrive in time"), 408, {}
    status = error.code or 500
    headers = dict(CLOSING) if status == 413 else {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.valid_methods or ())
    return jsonify(error=MESSAGES.get(status) or error.description or error.name), status, headers

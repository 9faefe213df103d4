"""Every error of the HTTP layer as the contract has it: `{"error": message}`."""

from typing import Final

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException, MethodNotAllowed

from python_side.json_body import MAX_BODY_BYTES

MESSAGES: Final = {
    404: "Not found",
    405: "Method not allowed",
    413: f"The request body is larger than {MAX_BODY_BYTES} bytes",
    500: "Internal server error",
}


def require_host() -> None:
    """Raises BadRequest for an HTTP/1.1 request without `Host` (RFC 9112 section 3.2). More than one is gunicorn's to
    refuse.
    """
    if "HTTP_HOST" not in request.environ and request.environ["SERVER_PROTOCOL"] == "HTTP/1.1":
        raise BadRequest("A request must have one Host header, this one has 0")


def on_malformed_request(error: ParseException) -> ResponseReturnValue:
    """The answer to a request whose body gunicorn's parser cannot read: broken chunks, for example."""
    return jsonify(error=f"Malformed request: {error}"), 400


def on_http_error(error: HTTPException) -> ResponseReturnValue:
    """The answer to a request that ended in an HTTP error."""
    if isinstance(error, ClientDisconnected):
        # The worker stops reading a body after a time (http_connection.py), which Werkzeug takes for a lost client.
        return jsonify(error="The request body did not arrive in time"), 408
    status = error.code or 500
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.valid_methods or ())
    return jsonify(error=MESSAGES.get(status) or error.description or error.name), status, headers

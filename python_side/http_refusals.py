"""What a worker answers before there is a request that the app could see: as all errors, `{"error": message}`."""

import json
from http import HTTPStatus
from typing import Final

# The type stubs are of an older gunicorn, without the errors of a response.
from gunicorn.http.errors import (  # type: ignore[attr-defined]
    ConfigurationProblem,
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

# In this order: the classes of the response are derived from those of the request.
STATUS_OF: Final[tuple[tuple[type[Exception], HTTPStatus], ...]] = (
    (InvalidResponseHeader, HTTPStatus.INTERNAL_SERVER_ERROR),
    (InvalidResponseHeaderName, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ConfigurationProblem, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ForbiddenProxyRequest, HTTPStatus.FORBIDDEN),
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
    (ParseException, HTTPStatus.BAD_REQUEST),
)


def status_of(error: BaseException) -> HTTPStatus:
    """The status for what gunicorn's parser raised; 500 for anything else."""
    for kind, status in STATUS_OF:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def answer(status: HTTPStatus, message: str) -> bytes:
    """A whole HTTP answer, after which the connection is closed."""
    body = json.dumps({"error": message}).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body

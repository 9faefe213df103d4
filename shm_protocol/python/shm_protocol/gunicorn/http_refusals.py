"""What a worker answers before there is a request that the app could see: as all errors, `{"error": message}`."""

import json
from http import HTTPStatus
from typing import Final

# The type stubs are of an older gunicorn, without the errors of a response.
from gunicorn.http.errors import (  # type: ignore[attr-defined]
    ConfigurationProblem,
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidHTTPVersion,
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
    # A SCRIPT_NAME that a proxy sends, or the environment has, and that the path does not begin with.
    (ConfigurationProblem, HTTPStatus.BAD_REQUEST),
    (ForbiddenProxyRequest, HTTPStatus.FORBIDDEN),
    (LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
    (ParseException, HTTPStatus.BAD_REQUEST),
)


def status_of(error: BaseException) -> HTTPStatus:
    """The status for what gunicorn's parser raised; 500 for anything else."""
    if isinstance(error, InvalidHTTPVersion) and isinstance(error.version, tuple):
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    for kind, status in STATUS_OF:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def answer(status: HTTPStatus, message: str, *headers: str) -> bytes:
    """A whole HTTP answer, after which the connection is closed. `headers`: lines of more headers."""
    body = json.dumps({"error": message}).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    return "".join((head, *(f"{header}\r\n" for header in headers), "\r\n")).encode("ascii") + body


CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_SLOW: Final = answer(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time")
MALFORMED: Final = answer(HTTPStatus.BAD_REQUEST, "Malformed request")
TOO_MANY_FIELDS: Final = answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "limit request headers fields")
CUT_OFF: Final = answer(HTTPStatus.BAD_REQUEST, "The request ended in the midst")
FAILED: Final = answer(HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR.phrase)
BUSY: Final = answer(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests are waiting", "Retry-After: 1")

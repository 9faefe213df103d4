"""What a request's head must be, beyond what gunicorn's parser sees to; node_side/request_head.ts is Node's."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from flask import request
from flask.typing import ResponseReturnValue
from shm_protocol.gunicorn.authority import HOST
from werkzeug import exceptions
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound

from python_side.http_errors import CLOSING, on_http_error

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""The methods of RFC 9110 and RFC 5789; a server that does not know a method answers 501 (RFC 9110 section 9.1)."""

VERSIONS: Final = ("HTTP/1.0", "HTTP/1.1")

ABSOLUTE: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?]*)", re.IGNORECASE)
"""RFC 9112 section 3.2.2: what a client sends to a proxy. The scheme, then the authority, which goes before Host."""


def as_plain_http(app: "WSGIApplication") -> "WSGIApplication":
    """The app behind what routing cannot be told otherwise."""

    def plain(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # RFC 3986 section 6.2.3: `http://host` asks for the same as `http://host/`.
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        # RFC 9110 section 7.8 lets a server ignore it, where Werkzeug lets nothing but a WebSocket answer.
        environ.pop("HTTP_UPGRADE", None)
        return app(environ, start_response)

    return plain


def refuse_head() -> ResponseReturnValue | None:
    """The answer to a request whose head is none, or None. The connection ends with it: who sends that may mean another
    framing, too.
    """
    try:
        _require_head()
    except HTTPException as error:
        body, status, headers = on_http_error(error)
        return body, status, {**headers, **CLOSING}
    return _answer_server()


def _require_head() -> None:
    environ = request.environ
    target = environ.get("RAW_URI")
    if environ["SERVER_PROTOCOL"] not in VERSIONS:
        raise exceptions.HTTPVersionNotSupported(f"{environ['SERVER_PROTOCOL']} is not spoken here")
    method = request.method
    if method not in METHODS:
        raise exceptions.NotImplemented(f"The method {method} is not implemented")
    _require_host(environ.get("HTTP_HOST"), environ["SERVER_PROTOCOL"])
    _require_framing(environ.get("HTTP_TRANSFER_ENCODING"))
    if method == "CONNECT":
        raise MethodNotAllowed
    if target != "*" or method != "OPTIONS":
        _require_target(request.path if target is None else target)


def _answer_server() -> ResponseReturnValue | None:
    """What routing would answer otherwise."""
    environ = request.environ
    if environ.get("RAW_URI") == "*":
        return "", 200
    if environ["PATH_INFO"].startswith("//"):
        # Werkzeug takes `//health` for `/health`.
        raise NotFound
    return None


def _require_host(host: str | None, protocol: str) -> None:
    """RFC 9112 section 3.2. More than one is gunicorn's to refuse."""
    if host is None and protocol == "HTTP/1.1":
        raise BadRequest("A request must have one Host header, this one has 0")
    if not HOST.fullmatch(host or ""):
        raise BadRequest("The Host header is not the name of a host")


def _require_framing(coding: str | None) -> None:
    """RFC 9112 section 6.1. That `chunked` is the last, and not in HTTP/1.0, is gunicorn's to see."""
    if coding is not None and coding.lower() != "chunked":
        raise exceptions.NotImplemented("The only transfer coding here is chunked")


def _require_target(target: str) -> None:
    is_for_us = target.startswith("/")
    if not is_for_us and (absolute := ABSOLUTE.match(target)) is not None:
        scheme, authority = absolute.groups()
        is_for_us = scheme.lower() in ("http", "https") and authority != "" and HOST.fullmatch(authority) is not None
    if not is_for_us or "#" in target:
        raise BadRequest("The request target is neither a path nor an http URL")

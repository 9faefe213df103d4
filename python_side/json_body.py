"""Reads the JSON object that a request must carry; node_side/json_body.ts takes and refuses the same."""

import json
import math
import re
from collections.abc import Iterable
from typing import Final, Never

from flask import request
from shm_protocol.gunicorn.chunked_body import CHUNK_BYTES
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

MAX_BODY_BYTES: Final = 1 << 20
"""The largest request body; a longer one is a 413."""

MAX_DEPTH: Final = 500
"""Arrays and objects within each other."""

JSON_TYPE: Final = re.compile(r"application/(?:json|[^/,;]+\+json)")

LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half a character, which no UTF-8 can carry."""

OUT_OF_RANGE: Final = "a number is out of a double's range"


def json_object(missing: str) -> dict[str, object]:
    """The request's body.

    Raises BadRequest with the message `missing` when there is no body or an empty object, BadRequest for what is not
    a JSON object, UnsupportedMediaType for another content type, RequestEntityTooLarge past MAX_BODY_BYTES.
    """
    if (request.content_length or request.environ.get(CHUNK_BYTES, 0)) > MAX_BODY_BYTES:
        # To read it would be to wait for it.
        raise RequestEntityTooLarge
    data = request.get_data(cache=False)
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if not data:
        raise BadRequest(missing)
    _require_json()
    value = _parse(data)
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object")
    if not value:
        raise BadRequest(missing)
    return value


def required_text(body: dict[str, object], name: str = "text") -> str:
    """A field that must be there and be a string. Raises BadRequest."""
    if name not in body:
        raise BadRequest(f"Missing {name} field")
    return as_text(body[name], name)


def optional_text(body: dict[str, object], name: str) -> str | None:
    """A field that may be left out or be null, and is a string otherwise. Raises BadRequest."""
    value = body.get(name)
    return None if value is None else as_text(value, name)


def as_text(value: object, name: str) -> str:
    """A field's value as a text. Raises BadRequest for anything else; `name` is what the message calls it."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    if LONE_SURROGATE.search(value):
        raise BadRequest(f"{name} must not contain a lone surrogate")
    return value


def _require_json() -> None:
    """A body without a content type is looked at, as RFC 9110 section 8.3 allows."""
    environ = request.environ
    is_usual = environ.get("CONTENT_TYPE") == "application/json"
    if not is_usual and request.mimetype and not JSON_TYPE.fullmatch(request.mimetype):
        raise UnsupportedMediaType("The content type must be application/json")
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("The body must have no content coding")


def _parse(data: bytes) -> object:
    try:
        value: object = DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"Malformed JSON: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise BadRequest(f"Malformed JSON: {error}") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _require_depth(value)
    return value


def _require_depth(value: object) -> None:
    """RFC 8259 section 9 lets a parser have limits; this is what both languages can take."""
    level = [value]
    for _ in range(MAX_DEPTH):
        elements = (element for item in level for element in _elements(item))
        level = [element for element in elements if isinstance(element, (dict, list))]
    if level:
        raise _too_deep()


def _elements(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _too_deep() -> BadRequest:
    return BadRequest(f"Malformed JSON: nested deeper than {MAX_DEPTH} levels")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(OUT_OF_RANGE)
    return value


def _integer(text: str) -> int:
    # What a float cannot hold has no more than 310 digits that matter; Python's own limit is 4300.
    _float(text)
    return int(text)


def _not_json(constant: str) -> Never:
    # Python's parser takes NaN and the infinities, which no other JSON parser does.
    raise ValueError(f"{constant} is not JSON")


DECODER: Final = json.JSONDecoder(parse_constant=_not_json, parse_float=_float, parse_int=_integer)
"""json.loads would make one for every body."""

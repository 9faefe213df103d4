"""Reads the JSON object that a request must carry, and answers what is wrong with it."""

import json
from typing import Final, Never

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

MAX_BODY_BYTES: Final = 1 << 20
"""The largest request body; a longer one is a 413."""


def json_object(missing: str) -> dict[str, object]:
    """The request's body.

    Raises BadRequest with the message `missing` when there is no body or an empty object, BadRequest for what is not
    a JSON object, UnsupportedMediaType for another content type, RequestEntityTooLarge past MAX_BODY_BYTES.
    """
    data = request.get_data(cache=False)
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if not data:
        raise BadRequest(missing)
    if not request.is_json:
        raise UnsupportedMediaType("The content type must be application/json")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_not_json)
    except UnicodeDecodeError as error:
        raise BadRequest(f"Malformed JSON: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BadRequest("Malformed JSON: nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"Malformed JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object")
    if not value:
        raise BadRequest(missing)
    return value


def required_text(body: dict[str, object], name: str = "text") -> str:
    """A field that must be there and be a string. Raises BadRequest."""
    if name not in body:
        raise BadRequest(f"Missing {name} field")
    value = body[name]
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    return value


def optional_text(body: dict[str, object], name: str) -> str | None:
    """A field that may be left out or be null, and is a string otherwise. Raises BadRequest."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    return value


def _not_json(constant: str) -> Never:
    # Python's parser takes NaN and the infinities, which no other JSON parser does.
    raise ValueError(f"{constant} is not JSON")

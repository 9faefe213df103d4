"""The routes that answer with TypeScript: each calls a function of node_side/typescript_utils.ts.

What TypeScript finds wrong with its arguments (RangeError, TypeError) is the client's mistake here, because every
argument comes from the request: a 400 with TypeScript's message.
"""

from datetime import UTC, datetime
from typing import Any, Final

import shm_protocol.typescript  # noqa: F401  # lets the next import find it
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from shm_protocol import RemoteError
from werkzeug.exceptions import BadRequest

from node_side import typescript_utils
from python_side.bridge_errors import on_remote_error
from python_side.json_body import json_object, optional_text, required_text

routes: Final = Blueprint("typescript", __name__)
routes.register_error_handler(RemoteError, on_remote_error)


@routes.post("/api/format")
def format_value() -> ResponseReturnValue:
    """A number or a date as Node's Intl writes it for a locale."""
    body = json_object("Missing value or date field")
    if ("value" in body) == ("date" in body):
        raise BadRequest("Give either value or date, not both" if "value" in body else "Missing value or date field")
    if "value" in body:
        options = {"locale": required_text(body, "locale"), **_options(body, "style", "currency")}
        return jsonify(typescript_utils.formatNumber(_number(body["value"]), **options))
    options = {"locale": required_text(body, "locale"), **_options(body, "timeZone")}
    return jsonify(typescript_utils.formatDate(_date(required_text(body, "date")), **options))


@routes.post("/api/segment")
def segment() -> ResponseReturnValue:
    """A text cut into words, sentences or graphemes by Node's Intl.Segmenter."""
    body = json_object("Missing text field")
    text = required_text(body)
    segments = typescript_utils.segment(text, **_options(body, "locale", "granularity"))
    return jsonify(segments=segments, count=len(segments))


@routes.post("/api/slugify")
def slugify() -> ResponseReturnValue:
    """A text as a part of a URL."""
    return jsonify(slug=typescript_utils.slugify(required_text(json_object("Missing text field"))))


def _options(body: dict[str, object], *names: str) -> dict[str, Any]:
    """What is given of these."""
    return {name: text for name in names if (text := optional_text(body, name)) is not None}


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRequest("value must be a number")
    return value


def _date(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"date must be ISO 8601, not {text[:64]!r}") from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)

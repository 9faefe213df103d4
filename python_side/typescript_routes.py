"""The routes that answer with TypeScript: each calls a function of node_side/typescript_utils.ts in the Node process.

What TypeScript finds wrong with its arguments (RangeError, TypeError) is the client's mistake here, because every
argument comes from the request: a 400 with TypeScript's message.
"""

from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from shm_protocol import RemoteError
from werkzeug.exceptions import BadRequest

from python_side import bridge
from python_side.json_body import json_object, optional_text, required_text

routes: Final = Blueprint("typescript", __name__)


@routes.post("/api/format")
def format_value() -> ResponseReturnValue:
    """A number or a date as Node's Intl writes it for a locale."""
    body = json_object("Missing value or date field")
    if ("value" in body) == ("date" in body):
        raise BadRequest("Give either value or date, not both" if "value" in body else "Missing value or date field")
    options = {"locale": required_text(body, "locale")}
    names, function = (("style", "currency"), "formatNumber") if "value" in body else (("timeZone",), "formatDate")
    options |= {name: text for name in names if (text := optional_text(body, name)) is not None}
    value = _number(body["value"]) if "value" in body else _date(required_text(body, "date"))
    return jsonify(_call(function, value, options))


@routes.post("/api/segment")
def segment() -> ResponseReturnValue:
    """A text cut into words, sentences or graphemes by Node's Intl.Segmenter."""
    body = json_object("Missing text field")
    text = required_text(body)
    options = {name: value for name in ("locale", "granularity") if (value := optional_text(body, name)) is not None}
    segments = _call("segment", text, options)
    return jsonify(segments=segments, count=len(segments))


@routes.post("/api/slugify")
def slugify() -> ResponseReturnValue:
    """A text as a part of a URL."""
    return jsonify(slug=_call("slugify", required_text(json_object("Missing text field"))))


def _call(function: str, *args: object) -> Any:
    try:
        return bridge.call(f"typescript_utils.{function}", *args)
    except RemoteError as error:
        if error.type in ("RangeError", "TypeError"):
            raise BadRequest(error.message) from error
        raise


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

"""The Flask app. `gunicorn -c python_side/gunicorn_conf.py` serves it and TypeScript's calls; plain
`gunicorn python_side.app:app` and `flask --app python_side.app run` serve HTTP only.
"""

from typing import Final

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from gunicorn.http.errors import ParseException
from shm_protocol import BridgeError
from werkzeug.exceptions import HTTPException

from python_side import bridge, logs, predictions, quickstart, status, typescript_routes
from python_side.bridge_errors import on_bridge_error
from python_side.http_errors import on_http_error, on_malformed_request
from python_side.json_body import MAX_BODY_BYTES
from python_side.request_head import as_plain_http, refuse_head


class JsonInOrder(DefaultJSONProvider):
    """Keeps the keys of an answer in the order in which the route gives them."""

    sort_keys = False


def create_app() -> Flask:
    """An app with every route of the contract."""
    logs.configure()
    bridge.call_imported()
    app = Flask(__name__)
    app.json = JsonInOrder(app)
    # Werkzeug silently cuts a body that does not announce its length: json_body sees by one byte that it is too long.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    # `/api//predict` is another path, a 404, and no redirect to /api/predict.
    app.url_map.merge_slashes = False
    for routes in (status.routes, predictions.routes, typescript_routes.routes, quickstart.routes):
        app.register_blueprint(routes)
    app.before_request(refuse_head)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(ParseException, on_malformed_request)
    app.register_error_handler(BridgeError, on_bridge_error)
    app.wsgi_app = as_plain_http(app.wsgi_app)  # type: ignore[method-assign, assignment]  # Flask's way
    return app


app: Final = create_app()

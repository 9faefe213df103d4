"""The smallest app there is here: one Flask route. It is part of the service (app.py), and runs on its own with
`flask --app python_side.quickstart run`.
"""

import platform
from typing import Final

from flask import Blueprint, Flask, jsonify
from flask.typing import ResponseReturnValue

routes: Final = Blueprint("quickstart", __name__)


@routes.get("/hello")
def hello() -> ResponseReturnValue:
    """Says hello, and what it runs on."""
    runtime = f"{platform.python_implementation()} {platform.python_version()}"
    return jsonify(message="Hello from Flask", runtime=runtime, languages=["python", "typescript"])


def create_app() -> Flask:
    """An app with nothing but /hello."""
    app = Flask(__name__)
    app.register_blueprint(routes)
    return app

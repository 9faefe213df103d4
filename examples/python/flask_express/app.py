"""A shop in Flask. The prices are computed in TypeScript, where the front end has them as well."""

from typing import Any

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from shm_protocol import BridgeError, RemoteError
from shm_protocol.flask import Bridge

app = Flask(__name__)
bridge = Bridge(app)


@app.post("/orders")
def order() -> ResponseReturnValue:
    items: Any = request.get_json()["items"]
    return jsonify(bridge.call("pricing.total", items, timeout=10))


@app.errorhandler(RemoteError)
def refused(error: RemoteError) -> ResponseReturnValue:
    return jsonify(error=error.message), 422 if error.type == "RangeError" else 500


@app.errorhandler(BridgeError)
def unavailable(error: BridgeError) -> ResponseReturnValue:
    return jsonify(error=str(error)), 503

"""An app as it has always been. It knows nothing of the bridge."""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)

STOCK = {"pen": 12, "notebook": 3}


def in_stock(name: str) -> int:
    """How many there are. Raises LookupError for what is not sold."""
    if name not in STOCK:
        raise LookupError(f"{name} is not sold here")
    return STOCK[name]


@app.get("/stock")
def stock() -> ResponseReturnValue:
    return jsonify(in_stock(request.args["name"]))

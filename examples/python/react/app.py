from flask import Flask
from shm_protocol.flask import Bridge

app = Flask(__name__)
bridge = Bridge(app)

ORDERS = {7: {"customer": "Ada <ada@example.org>", "items": [{"name": "pen", "count": 2}, {"name": "ink", "count": 1}]}}


@app.get("/orders/<int:number>")
def order(number: int) -> str:
    page: str = bridge.call("pages.order", ORDERS[number], timeout=10)
    return f"<!doctype html>{page}\n"

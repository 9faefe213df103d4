"""The app with routes that only tests want: to be slow, and to show what the server says of itself."""

import os
import time
from pathlib import Path

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from python_side import bridge
from python_side.app import create_app

app = create_app()


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> ResponseReturnValue:
    """Occupies the worker. Makes the file `mark`, if given, when it begins."""
    if mark := request.args.get("mark"):
        Path(mark).touch()
    time.sleep(seconds)
    return jsonify(pid=os.getpid())


@app.get("/server")
def server() -> ResponseReturnValue:
    """What WSGI says of the server, and which worker this is."""
    return jsonify(
        pid=os.getpid(),
        multithread=request.environ["wsgi.multithread"],
        multiprocess=request.environ["wsgi.multiprocess"],
    )


@app.post("/unread")
def unread() -> ResponseReturnValue:
    """Does not read the request's body."""
    return jsonify(pid=os.getpid())


@app.get("/broken")
def broken() -> ResponseReturnValue:
    """Makes TypeScript fail with a mistake that is not the client's."""
    return jsonify(bridge.call("typescript_utils.slugify", None))


@app.get("/large/<int:size>")
def large(size: int) -> ResponseReturnValue:
    """A large answer."""
    return b"x" * size

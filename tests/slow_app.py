"""The app with routes that only tests want: to be slow, and to show what the server says of itself."""

import builtins
import ctypes
import functools
import itertools
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from python_side import bridge, exposed
from python_side.app import create_app
from python_side.ml_service import Prediction

HANG_S = 200.0
"""Guards against waiting for ever."""

app = create_app()


predict: Callable[[str], Prediction] = exposed.ML_SERVICE["predict"]


@functools.wraps(predict)
def predict_or_exit(text: str) -> Prediction:
    """ml_service.predict, but for texts that end the process, or fork one, in the middle of a call of TypeScript's."""
    if text == "exit":
        raise SystemExit(3)
    if text == "fork" and (child := os.fork()):
        os.waitpid(child, 0)
    return predict(text)


exposed.ML_SERVICE["predict"] = predict_or_exit


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> ResponseReturnValue:
    """Occupies the worker. Makes the file `mark`, if given, when it begins."""
    if mark := request.args.get("mark"):
        Path(mark).touch()
    time.sleep(seconds)
    return jsonify(pid=os.getpid())


_running = 0
_peak = 0
_count = threading.Lock()


_groups: dict[int, threading.Barrier] = {}


@app.get("/together/<int:count>")
def together(count: int) -> ResponseReturnValue:
    """Waits until `count` handlers of this route run at once. Tells how many have, at most."""
    global _running, _peak
    with _count:
        _running += 1
        _peak = max(_peak, _running)
        group = _groups.setdefault(count, threading.Barrier(count))
    group.wait(HANG_S)
    with _count:
        _running -= 1
    return jsonify(running=_peak)


@app.get("/until-removed")
def until_removed() -> ResponseReturnValue:
    """Makes the file `mark`, and waits until somebody removes it."""
    mark = Path(request.args["mark"])
    mark.touch()
    while mark.exists():
        time.sleep(0.01)
    return jsonify(pid=os.getpid())


@app.get("/hold-interpreter")
def hold_interpreter() -> ResponseReturnValue:
    """Gives no other thread of the process a chance, for longer than anybody waits."""
    return jsonify(re.match("(a+)+$", "a" * 60 + "b") is None)


class Untellable(Exception):
    """Cannot even be looked at."""

    def __str__(self) -> str:
        raise self

    __repr__ = __str__


@app.get("/raises/<how>")
def raises(how: str) -> ResponseReturnValue:
    """Raises, in its body, or in a generator that has begun, or when that is closed."""
    if how == "untellable":
        raise Untellable
    if how in ("FileNotFoundError", "BrokenPipeError", "SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        raise getattr(builtins, how)
    return Response(_Pieces(how), headers={"Content-Length": "100"} if how == "generator-SystemExit" else {})


class _Pieces:
    def __init__(self, how: str) -> None:
        self._how = how
        self._has_begun = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"a piece"
        if self._how == "generator":
            raise RuntimeError("in the midst of a stream")
        if self._how == "generator-SystemExit":
            raise SystemExit(3)

    def close(self) -> None:
        """Called by the server in the end."""
        if self._how == "close":
            raise RuntimeError("while a stream was closed")


@app.post("/read-all")
def read_all() -> ResponseReturnValue:
    """Reads a body of any size."""
    request.max_content_length = 1 << 30
    return jsonify(length=len(request.get_data()))


@app.get("/large-file")
def large_file() -> ResponseReturnValue:
    """A file of 10 MB, by the server's own way to send files."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the server closes it
    file.truncate(10_000_000)
    return Response(request.environ["wsgi.file_wrapper"](file), direct_passthrough=True)


@app.get("/file/<int:size>/<int:offset>")
def file(size: int, offset: int) -> ResponseReturnValue:
    """A file from an offset, which may be beyond its end."""
    opened = tempfile.TemporaryFile()  # noqa: SIM115  # the server closes it
    opened.truncate(size)
    opened.seek(offset)
    headers = {"Content-Length": promised} if (promised := request.args.get("promised")) else {}
    return Response(request.environ["wsgi.file_wrapper"](opened), headers=headers, direct_passthrough=True)


@app.get("/hold-interpreter/<float:seconds>")
def hold_interpreter_for(seconds: float) -> ResponseReturnValue:
    """Makes the file `mark`, and gives no other thread of the process a chance for at least so long, and until somebody
    removes it.
    """
    mark = Path(request.args["mark"])
    mark.touch()
    end = time.monotonic() + seconds
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    # What asks for a file in Python lets others have the interpreter meanwhile.
    access, path = ctypes.PyDLL(None).access, os.fsencode(mark)
    while time.monotonic() < end or access(path, os.F_OK) == 0:
        pass
    sys.setswitchinterval(interval)
    return jsonify(pid=os.getpid())


@app.get("/endless")
def endless() -> ResponseReturnValue:
    """A stream that has no end."""
    return Response(itertools.repeat(b"x" * 4096))


@app.get("/server")
def server() -> ResponseReturnValue:
    """What WSGI says of the server, and which worker this is."""
    return jsonify(
        pid=os.getpid(),
        multithread=request.environ["wsgi.multithread"],
        multiprocess=request.environ["wsgi.multiprocess"],
    )


@app.get("/fork/<how>")
def fork(how: str) -> ResponseReturnValue:
    """Forks, and answers with the exit code of the child, which leaves the handler like that."""
    if child := os.fork():
        return jsonify(code=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if how == "exits":
        raise SystemExit(3)
    if how == "raises":
        raise RuntimeError("in the child")
    return jsonify(code=None)


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

"""The Flask app of the showcase with TypeScript's functions in its own process, run by PythonMonkey (SpiderMonkey).

`gunicorn --workers 1 bench.inprocess.flask_with_javascript:app`, once bench/build/embedded.js is built
(bench/services/build.py). Every route is the showcase's own; only what stands in for the bridge is here. The engine
belongs to the thread that loaded it: a worker that hands requests to threads cannot serve this app.

PythonMonkey was taken because all of Intl works in it: number formats fail in STPyV8 ("Icu error"), and mini-racer runs
its engine in a thread of its own, which every call has to wake.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pythonmonkey
from shm_protocol import RemoteError

FUNCTIONS: Final = ("slugify", "formatNumber", "formatDate", "segment")
SCRIPT: Final = Path(__file__).resolve().parent.parent / "build" / "embedded.js"


class EmbeddedJavaScript:
    """Stands in for Node: has the calls that go over the bridge otherwise (python_side.bridge.Node)."""

    def __init__(self) -> None:
        self._call = pythonmonkey.eval(f"{SCRIPT.read_text()}\nembedded.call")

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        """Call a function of typescript_utils. Raises RemoteError where it throws.

        There is no deadline: nothing else runs in this thread that could end the call.
        """
        outcome = self._call(method.removeprefix("typescript_utils."), list(args))
        if "error" in outcome:
            raise RemoteError(outcome["error"], outcome["message"])
        return _plain(outcome["value"])


def _imported(node: EmbeddedJavaScript) -> ModuleType:
    """What `from node_side import typescript_utils` is to give: the same functions, in this process."""

    def function(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return node.call(name, *args, *([options] if options else []), timeout=0)

        return call

    module = ModuleType("node_side.typescript_utils")
    vars(module).update({name: function(name) for name in FUNCTIONS})
    return module


def _plain(value: Any) -> Any:
    """A value of Python's own: the engine gives objects and arrays as proxies, which `json` takes for empty."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


_node: Final = EmbeddedJavaScript()
sys.modules["node_side.typescript_utils"] = _imported(_node)

# When they are imported, the routes import that.
from python_side import bridge  # noqa: E402
from python_side.app import create_app  # noqa: E402

bridge.use(_node)
app: Final = create_app()

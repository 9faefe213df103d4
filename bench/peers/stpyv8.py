"""STPyV8: V8, the JavaScript engine of Node, inside Python.

Texts and null cross as themselves. So would lists and dicts, as proxies; but to JavaScript Python's are no arrays and
objects, to Python JavaScript's are no lists and dicts, and reading them costs more than JSON, by which they cross here.
There is no type for bytes: they cross as a text that has a character for each.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.peers import embedded_javascript
from bench.peers.interface import Caller
from bench.workload import FUNCTIONS

NOTE: Final = "lists and dicts cross as JSON, bytes as Latin-1 text"

# A function of JavaScript as Python calls it.
ANSWERS_JSON: Final = "(call) => (text) => JSON.stringify(call(text))"
TAKES_AND_ANSWERS_JSON: Final = "(call) => (json) => JSON.stringify(call(JSON.parse(json)))"

# A function of Python as JavaScript calls it, by the type of its argument.
OF_TEXT: Final = "(call) => (text) => JSON.parse(call(text))"
OF_LIST: Final = "(call) => (list) => JSON.parse(call(JSON.stringify(list)))"
OF_BYTES: Final = "(call) => (bytes) => embedded.toBytes(call(embedded.toLatin1(bytes)))"


def load_engine(home: Path) -> Any:
    """The module STPyV8, with the data that Intl needs; `home` is a folder for nothing else.

    Imported by itself it copies these data, 10 MB, to ~/.local/share/stpyv8 (and, for root, to /usr/share), unless the
    version of what is there is the right one. It then takes their path from a string that is freed already: Intl
    raises, and Intl.Segmenter ends the process by SIGSEGV. So it is shown a home that has the version but not the data,
    and the engine finds those that lie in the package: next to the program whose name it is given.
    """
    engine: Any = importlib.import_module("_STPyV8")
    folder = home / ".local" / "share" / "stpyv8"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stpyv8-version.txt").write_text(engine.JSEngine.version)
    os.environ["HOME"] = str(home)
    data = Path(engine.__file__).parent / "stpyv8-icu" / "icudtl.dat"
    if not data.exists():
        raise FileNotFoundError(f"{data} is not there; make bench-setup installs STPyV8 with it")
    engine.JSPlatform(str(data)).init()
    return importlib.import_module("STPyV8")


class FromPython:
    """Python calls JavaScript."""

    def __init__(self, context: Any) -> None:
        self._context = context
        functions = context.eval("workload.FUNCTIONS")
        names = functions.keys()
        answers_json, takes_json = context.eval(ANSWERS_JSON), context.eval(TAKES_AND_ANSWERS_JSON)
        self._echo: Callable[[object], Any] = functions.echo
        self._of_text = {name: answers_json(functions[name]) for name in names}
        self._of_json = {name: takes_json(functions[name]) for name in names}

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        if function == "echo":
            if isinstance(argument, bytes):
                return self._echo(argument.decode("latin-1")).encode("latin-1")
            return self._echo(argument)
        if isinstance(argument, str):
            return json.loads(self._of_text[function](argument))
        return json.loads(self._of_json[function](json.dumps(argument)))

    def stop(self) -> None:
        """See interface.py."""
        self._context.leave()

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return NOTE


class FromJavaScript(embedded_javascript.Timing):
    """JavaScript calls Python."""

    def __init__(self, context: Any) -> None:
        super().__init__(context.eval("embedded"))
        self._context = context

    def function(self, name: str, argument: object) -> Any:
        """Python's function as one of JavaScript's that takes and answers values of its own."""
        call: Callable[..., Any] = FUNCTIONS[name]
        if isinstance(argument, bytes):
            return self._context.eval(OF_BYTES)(lambda text: call(text.encode("latin-1")).decode("latin-1"))
        if name == "echo":
            return call
        if isinstance(argument, str):
            return self._context.eval(OF_TEXT)(lambda text: json.dumps(call(text)))
        return self._context.eval(OF_LIST)(lambda text: json.dumps(call(json.loads(text))))

    def stop(self) -> None:
        """See interface.py."""
        self._context.leave()

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return f"{NOTE}; timed by Python's clock"


def start(address: str) -> Caller:
    """See interface.py. Uses the address as a home, see `load_engine`; the direction is the trial's, BENCH_DIRECTION.

    Raises FileNotFoundError for what is not built.
    """
    context = load_engine(Path(address) / "stpyv8").JSContext()
    context.enter()
    embedded_javascript.load(context.eval)
    return FromPython(context) if os.environ["BENCH_DIRECTION"] == "py->ts" else FromJavaScript(context)

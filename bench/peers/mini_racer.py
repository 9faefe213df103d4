"""mini-racer: V8, the JavaScript engine of Node, inside Python, on a thread of its own.

Its calls are made within the event loop that it is given, because from other code each call changes threads once more.
Python hands it texts, numbers and null, and functions that JavaScript sees as ones that answer with a promise.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, cast

from py_mini_racer import MiniRacer, mini_racer

from bench import driver
from bench.cases import Case
from bench.peers import embedded_javascript
from bench.peers.embedded_javascript import from_wire, order_of, to_wire
from bench.peers.interface import Caller, Measured
from bench.workload import FUNCTIONS, argument_of

LONG_TEXT: Final = 65_536
"""Characters. MiniRacer.call is quicker than a function's handle, but not for such: it makes a script of the text."""

# The memory of an ArrayBuffer is Python's too: the only way to hand over bytes.
SHARE: Final = "(size) => (globalThis.shared = new ArrayBuffer(size))"
OF_SHARED: Final = "(name) => workload.FUNCTIONS[name](new Uint8Array(shared)).buffer"

# A function of Python as JavaScript calls it, by the type of its argument.
AS_IT_IS: Final = "(call) => call"
OF_TEXT: Final = "(call) => async (text) => JSON.parse(await call(text))"
OF_LIST: Final = "(call) => async (list) => JSON.parse(await call(JSON.stringify(list)))"
OF_BYTES: Final = """(call) => async (bytes) => {
  const answer = new Uint8Array(bytes.length);
  await call(bytes.buffer, answer.buffer);
  return answer;
}"""


class NotTimed(Exception):
    """There is no clock that could time such a call."""


class Engine:
    """An event loop and, within it, the engine."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        self.loop = self._ends.enter_context(asyncio.Runner())
        self.racer = self.loop.run(self._start())

    async def _start(self) -> MiniRacer:
        racer = self._ends.enter_context(mini_racer())
        embedded_javascript.load(racer.eval)
        return racer

    def stop(self) -> None:
        """End both."""
        self._ends.close()


class WithinLoop:
    """Python calls JavaScript. For code that the event loop runs."""

    def __init__(self, racer: MiniRacer) -> None:
        self._racer = racer
        self._handles: dict[str, Any] = {}
        self._shared = memoryview(b"")

    def _handle(self, script: str) -> Any:
        if script not in self._handles:
            self._handles[script] = self._racer.eval(script)
        return self._handles[script]

    def call(self, function: str, argument: object) -> object:
        """See interface.py. Bytes are answered with a view of them, good until the next call."""
        if isinstance(argument, bytes):
            if len(self._shared) != len(argument):
                self._shared = self._handle(SHARE)(len(argument))
            self._shared[:] = argument
            return self._handle(OF_SHARED)(function)
        if isinstance(argument, str) and len(argument) >= LONG_TEXT:
            return self._handle(f"workload.FUNCTIONS.{function}")(argument)
        return self._racer.call(f"workload.FUNCTIONS.{function}", argument)

    def stop(self) -> None:
        """The engine is not its own."""


class FromPython:
    """Python calls JavaScript."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._within = WithinLoop(engine.racer)

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""

        async def call() -> object:
            return self._within.call(function, argument)

        return self._engine.loop.run(call())

    def measure(self, case: Case, calls: int, seconds: float) -> Measured:
        """See interface.py. Here it is only to be within the event loop."""

        async def measure() -> Measured:
            return driver.measure(self._within, case, calls, seconds)

        return self._engine.loop.run(measure())

    def stop(self) -> None:
        """See interface.py."""
        self._engine.stop()

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return "by MiniRacer.call, which is JSON; a long text by the function's handle, bytes by shared memory"


class FromJavaScript:
    """JavaScript calls Python.

    Timed in Python, from the arrival of one call to that of the next, because the engine has no clock finer than a
    millisecond, and reading Python's would be one more such call. So JavaScript's check of the answer is timed too.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        answer = self._run("embedded.onceAwaited", function, argument, json.dumps(to_wire(argument)), [])
        return from_wire(json.loads(answer))

    def measure(self, case: Case, calls: int, seconds: float) -> Measured:
        """See interface.py. Raises NotTimed for single calls and calls after a pause."""
        if case.pause_s or not case.warmup:
            raise NotTimed(
                f"mini-racer, {case.workload}: its JavaScript has no clock finer than 1 ms; "
                "Python can only time calls that follow one another at once"
            )
        arrivals: list[int] = []
        order = order_of(case, calls, seconds)
        errors = json.loads(self._run("embedded.callAll", case.function, argument_of(case), order, arrivals))
        times_ns = [float(after - before) for before, after in itertools.pairwise(arrivals)]
        return Measured(times_ns, sum(times_ns), **errors)

    def _run(self, script: str, function: str, argument: object, order: str, arrivals: list[int]) -> str:
        """Have JavaScript call the function as the script does, and note when the calls arrive."""
        racer: Any = self._engine.racer
        as_javascript_has_it, answer = _bridged(function, argument)

        async def call(*arguments: Any) -> object:
            arrivals.append(time.perf_counter_ns())
            return answer(*arguments)

        async def run() -> str:
            async with racer.wrap_py_function(call) as called:
                result: str = await racer.eval(script)(racer.eval(as_javascript_has_it)(called), order)
                return result

        return self._engine.loop.run(run())

    def stop(self) -> None:
        """See interface.py."""
        self._engine.stop()

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return (
            "by promises: JavaScript cannot wait for Python; timed in Python from call to call, the check of the "
            "answer included; lists and dicts cross as JSON, bytes by shared memory"
        )


def _bridged(name: str, argument: object) -> tuple[str, Callable[..., object]]:
    """Both halves of a function that is called with such an argument: JavaScript's, a script, and Python's."""
    function = FUNCTIONS[name]
    if isinstance(argument, bytes):

        def answer_in(memory: memoryview, answer: memoryview) -> None:
            answer[:] = cast("memoryview", function(memory))

        return OF_BYTES, answer_in
    if name == "echo":
        return AS_IT_IS, function
    if isinstance(argument, str):
        return OF_TEXT, lambda text: json.dumps(function(text))
    return OF_LIST, lambda text: json.dumps(function(json.loads(text)))


def start(address: str) -> Caller:  # noqa: ARG001  # the interface has it
    """See interface.py. Needs no address; the direction is that of the trial, BENCH_DIRECTION.

    Raises FileNotFoundError for what is not built.
    """
    return FromPython(Engine()) if os.environ["BENCH_DIRECTION"] == "py->ts" else FromJavaScript(Engine())

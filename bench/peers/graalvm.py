"""Python and JavaScript in one JVM: GraalPy and GraalJS. Neither is this process, which only says what is to be called.

The calls begin in the JVM and are timed there, in bench/graalvm/calls.py or calls.js.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Final

from bench.cases import Case
from bench.graalvm import jvm
from bench.peers.embedded_javascript import WORKLOAD, from_wire, to_wire
from bench.peers.interface import Measured
from bench.workload import answer_to, argument_of, is_same

END_GUARD_S: Final = 10.0
SETUP: Final = "python -m bench.graalvm_setup"


class CallFailed(Exception):
    """What was called raised; the message is that of the other language."""


class Caller:
    """A JVM that obeys."""

    def __init__(self, direction: str) -> None:
        for needed, how in ((jvm.BUILD, SETUP), (WORKLOAD, "make bench-setup")):
            if not needed.exists():
                raise FileNotFoundError(f"{needed} is not there; {how} makes it")
        command = jvm.command(jvm.find_jdk(), "bench.Calls", direction, str(jvm.ROOT))
        self._jvm = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._description = self._answer().rstrip("\n")
        except BaseException:
            self.stop()
            raise

    def _answer(self) -> str:
        assert self._jvm.stdout is not None
        line = self._jvm.stdout.readline()
        if not line:
            raise RuntimeError(f"the JVM ended with exit code {self._jvm.wait()}; its message stands above")
        return line.decode()

    def _obeyed(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._jvm.stdin is not None
        self._jvm.stdin.write(json.dumps(order).encode() + b"\n")
        self._jvm.stdin.flush()
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def call(self, function: str, argument: object) -> object:
        """See interface.py. Raises CallFailed."""
        answer = self._obeyed({"do": "call", "function": function, "argument": to_wire(argument)})
        if "raised" in answer:
            raise CallFailed(answer["raised"])
        return from_wire(answer["answer"])

    def measure(self, case: Case, calls: int, seconds: float) -> Measured:
        """See interface.py."""
        argument, answer = argument_of(case), answer_to(case)
        order: dict[str, object] = {
            "do": "measure",
            "function": case.function,
            "argument": to_wire(argument),
            # Up to 4 MiB, if it is the argument once more.
            "answer": None if is_same(answer, argument) else to_wire(answer),
            "calls": calls,
            "seconds": seconds,
            "pause_s": case.pause_s,
        }
        return Measured(**self._obeyed(order))

    def clock_us(self) -> float:
        """What two readings of the clock that times the calls give, one right after the other: microseconds, median."""
        return float(self._obeyed({"do": "clock"})["clock_us"])

    def describe(self) -> str:
        """Which GraalVM on which JVM, and whether its optimising compiler is active, as the JVM itself says."""
        return self._description

    def stop(self) -> None:
        """See interface.py."""
        assert self._jvm.stdin is not None
        assert self._jvm.stdout is not None
        self._jvm.stdin.close()
        try:
            self._jvm.wait(END_GUARD_S)
        except subprocess.TimeoutExpired:
            self._jvm.kill()
            self._jvm.wait()
        self._jvm.stdout.close()


def start(address: str) -> Caller:  # noqa: ARG001  # the interface has it
    """See interface.py. Needs no address; the direction is that of the trial, BENCH_DIRECTION.

    Raises FileNotFoundError for what is not built, and NoJdk.
    """
    return Caller(os.environ["BENCH_DIRECTION"])

"""What is called, in Python: the showcase's own functions, each with one argument (workload.ts: in TypeScript)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.cases import Case
from python_side import ml_service


def echo(value: object) -> object:
    """Give back the argument: the call itself is what is measured."""
    return value


FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = {
    "echo": echo,
    "predict": ml_service.predict,
    "batch": ml_service.predict_batch,
}

FIXED: Final[dict[str, dict[str, object]]] = json.loads((Path(__file__).parent / "expected.json").read_text())
"""Argument and answer of each function but `echo`: for both languages, and the same in both."""

PATTERN: Final = "0123456789abcdef"


def argument_of(case: Case) -> object:
    """What every call of the case has as its argument."""
    if case.function != "echo":
        return FIXED[case.function]["argument"]
    if case.workload == "array":
        return _array(case.payload_bytes)
    text = PATTERN * -(-case.payload_bytes // len(PATTERN))
    if case.workload == "bytes":
        return text.encode()[: case.payload_bytes]
    return text[: case.payload_bytes] if case.payload_bytes else None


def _array(payload_bytes: int) -> object:
    import numpy as np

    return np.arange(payload_bytes // np.float64().itemsize) / 3.0


def is_same(got: object, answer: object) -> bool:
    """Whether that is the answer. An array is the same only as an array of the same type, shape and items."""
    # Where nobody has imported NumPy nothing is an array; some of the engines have none.
    numpy = sys.modules.get("numpy")
    if numpy is None or not (isinstance(got, numpy.ndarray) or isinstance(answer, numpy.ndarray)):
        return bool(got == answer)
    if not (isinstance(got, numpy.ndarray) and isinstance(answer, numpy.ndarray)):
        return False
    return bool(got.dtype == answer.dtype and numpy.array_equal(got, answer))


def answer_to(case: Case) -> object:
    """What every call of the case has to answer."""
    return argument_of(case) if case.function == "echo" else FIXED[case.function]["answer"]

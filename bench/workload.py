"""What is called, in Python: the showcase's own functions, each with one argument (workload.ts: in TypeScript)."""

from __future__ import annotations

import json
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
    text = PATTERN * -(-case.payload_bytes // len(PATTERN))
    if case.workload == "bytes":
        return text.encode()[: case.payload_bytes]
    return text[: case.payload_bytes] if case.payload_bytes else None


def answer_to(case: Case) -> object:
    """What every call of the case has to answer."""
    return argument_of(case) if case.function == "echo" else FIXED[case.function]["answer"]

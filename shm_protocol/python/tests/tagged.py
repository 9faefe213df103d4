"""The tagged JSON of the vectors: values that JSON has no form for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
from shm_protocol.values import Reference

SHM_PROTOCOL = Path(__file__).resolve().parents[2]


def load(name: str) -> list[dict[str, Any]]:
    """The rows of a file of vectors."""
    rows: list[dict[str, Any]] = json.loads((SHM_PROTOCOL / "vectors" / name).read_text())
    return rows


def to_value(tagged: Any) -> Any:
    """What a tagged value stands for. Not recursive for single-item lists, which the vectors nest deep."""
    if isinstance(tagged, list):
        outermost: list[Any] = []
        filling = outermost
        while len(tagged) == 1 and isinstance(tagged[0], list):
            inner: list[Any] = []
            filling.append(inner)
            filling, tagged = inner, tagged[0]
        filling.extend(to_value(item) for item in tagged)
        return outermost
    if not isinstance(tagged, dict):
        return tagged
    if len(tagged) == 1:
        ((tag, content),) = tagged.items()
        match tag:
            case "$int":
                return int(content)
            case "$float":
                return float(content)
            case "$bytes":
                return bytes.fromhex(content)
            case "$datetime":
                return datetime.fromisoformat(content).astimezone(UTC)
            case "$map":
                return {to_value(key): to_value(value) for key, value in content}
            case "$reference":
                return Reference(content["kind"], int(content["id"]), content["name"])
            case "$array":
                kind = float if content["dtype"].startswith("float") else int
                items = [kind(item) for item in content["data"]]
                return numpy.array(items, dtype=content["dtype"]).reshape(content["shape"])
    return {key: to_value(value) for key, value in tagged.items()}


def is_same(a: Any, b: Any) -> bool:
    """Equal in type and value, a NaN to itself, 0.0 and -0.0 not."""
    pending = [(a, b)]
    while pending:
        a, b = pending.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, list):
            if len(a) != len(b):
                return False
            pending.extend(zip(a, b, strict=True))
        elif isinstance(a, dict):
            if len(a) != len(b):
                return False
            pending.extend(zip(a.keys(), b.keys(), strict=True))
            pending.extend(zip(a.values(), b.values(), strict=True))
        elif isinstance(a, numpy.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                return False
        elif isinstance(a, float):
            if repr(a) != repr(b):
                return False
        elif a != b:
            return False
    return True

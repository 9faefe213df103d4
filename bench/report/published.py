"""What the in-process showcase publishes. Nobody here has reproduced it: it is only shown under a label saying so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict, cast

from bench.cases import Direction
from bench.report.rows_chart import Reference
from bench.report.words import duration

MIB: Final = 1 << 20


class Percentiles(TypedDict):
    """Microseconds."""

    p50: float
    p95: float


class Line(TypedDict):
    """One published figure, and what its source says of others."""

    what: str
    in_process: str
    others: str


class Published(TypedDict):
    """published.json."""

    label: str
    source: str
    call_us: Mapping[Direction, Percentiles]
    cold_start_ms: float
    memory_mb: float
    figures: list[Line]
    claims: list[str]


PUBLISHED: Final = cast("Published", json.loads((Path(__file__).parent / "published.json").read_text()))


def call_reference(direction: Direction) -> Reference:
    """The line in a chart of calls."""
    us = PUBLISHED["call_us"][direction]["p50"]
    return Reference(us, f"{PUBLISHED['label']}: {duration(us)} p50")


def start_reference() -> tuple[float, str]:
    """The line in a chart of starts, ms."""
    ms = PUBLISHED["cold_start_ms"]
    return ms, f"{PUBLISHED['label']}: {ms:g} ms"


def memory_reference() -> tuple[float, str]:
    """The line in a chart of memory, MiB: it is published in MB."""
    megabytes = PUBLISHED["memory_mb"]
    return megabytes * 1e6 / MIB, f"{PUBLISHED['label']}: {megabytes:g} MB"

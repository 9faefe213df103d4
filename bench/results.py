"""results.json: what it holds (results.schema.json says what that means), and where it is kept."""

from __future__ import annotations

import json
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypedDict

from bench.installed import ROOT

SCHEMA_VERSION: Final = 1
RESULTS: Final = ROOT / "bench" / "results"
FILE: Final = "results.json"

JsonInterval = tuple[float, float] | list[float] | None


class CallRow(TypedDict):
    """One peer, direction and case."""

    peer: str
    kind: str
    direction: str
    workload: str
    payload_bytes: int
    outstanding: int
    waits: str
    cores: int
    note: str
    rounds: int
    calls: int
    p50_us: float | None
    p50_us_ci: JsonInterval
    p95_us: float | None
    p99_us: float | None
    p999_us: float | None
    calls_per_s: float | None
    calls_per_s_ci: JsonInterval
    cpu_us_per_call: float | None
    errors: int
    skipped: str | None
    failed: str | None
    ratio_to_shm: float | None
    ratio_to_shm_ci: JsonInterval
    p50_us_rounds: list[float | None]
    histogram: list[tuple[float, int]]


class Goal(TypedDict):
    """A ratio, the goal that is set for it, and what was measured."""

    figure: str
    """The ratio, in words."""
    asked: str
    """The goal."""
    measured: float | None
    measured_ci: JsonInterval
    reached: bool | None


class Results(TypedDict):
    """The whole file."""

    meta: dict[str, Any]
    rows: list[CallRow]
    http: list[dict[str, Any]]
    starts: list[dict[str, Any]]
    memory: list[dict[str, Any]]
    idle_cpu_percent: float | None
    figures: list[Goal]


class ResultsError(Exception):
    """A file that cannot be read as results. The message names it."""


def read(path: Path) -> Results:
    """The results in that file, or in that folder. Raises ResultsError."""
    file = path / FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise ResultsError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{file} is not JSON: {error}") from error
    version = content.get("meta", {}).get("schema") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultsError(f"{file} has schema version {version}; this bench reads {SCHEMA_VERSION}")
    missing = Results.__required_keys__ - content.keys()
    if missing:
        raise ResultsError(f"{file} has no {', '.join(sorted(missing))}: it is not a whole result file")
    results: Results = content
    return results


def write(results: Results, folder: Path) -> Path:
    """Keep the results in that folder; gives the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    partial = file.with_suffix(".partial")
    partial.write_text(to_json(results))
    partial.rename(file)
    return file


def to_json(results: Results) -> str:
    """A line a row, so that two files can be compared by eye."""
    parts = []
    for name, value in results.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'"{name}": [\n{rows}\n]')
        else:
            parts.append(f'"{name}": {json.dumps(value, ensure_ascii=False, indent=1)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def new_folder() -> Path:
    """A folder for the results of a run that begins now: `<date>-<host>`, with a number if that is taken."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node()) or "host"
    name = f"{datetime.now(UTC).date().isoformat()}-{host}"
    folder, number = RESULTS / name, 1
    while folder.exists():
        number += 1
        folder = RESULTS / f"{name}-{number}"
    return folder

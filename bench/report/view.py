"""What a result file holds, and how the report finds a row in it. results.schema.json describes every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypedDict, cast

from bench.cases import DIRECTIONS, Direction
from bench.results import CallRow, JsonInterval, Results

KINDS: Final = ("bridge", "out-of-process", "in-process", "reference", "floor")
"""In the order in which a reader wants them."""

OURS: Final = "shm"
"""The bridge with its default settings: what every row is compared with."""
OUR_SERVICE: Final = "this bridge"
"""The showcase, in the rows of whole services; its two programs are `this bridge: Node` and `this bridge: Flask`."""


class Http(TypedDict):
    """One service's answers at one endpoint under one load."""

    service: str
    endpoint: str
    load: Literal["closed", "rate"]
    connections: int
    rate_per_s: float | None
    rounds: int
    requests: int
    requests_per_s: float | None
    requests_per_s_ci: JsonInterval
    p50_us: float | None
    p50_us_ci: JsonInterval
    p95_us: float | None
    p99_us: float | None
    p999_us: float | None
    cpu_us_per_request: float | None
    errors: int
    agrees: bool | None
    note: str
    skipped: str | None
    failed: str | None


class Start(TypedDict):
    """How long one service takes to its first answer, or to get over the loss of a worker."""

    service: str
    what: str
    ms: float | None
    ms_ci: JsonInterval
    ms_rounds: list[float]
    note: str
    skipped: str | None
    failed: str | None


class Memory(TypedDict):
    """What one service's processes hold together."""

    service: str
    workers: int
    state: str
    pss_mib: float | None
    pss_mib_ci: JsonInterval
    processes: int
    note: str
    skipped: str | None
    failed: str | None


def http_rows(results: Results) -> list[Http]:
    """The rows of whole services under load."""
    return cast("list[Http]", results["http"])


def start_rows(results: Results) -> list[Start]:
    """The rows of starts."""
    return cast("list[Start]", results["starts"])


def memory_rows(results: Results) -> list[Memory]:
    """The rows of memory."""
    return cast("list[Memory]", results["memory"])


LANGUAGES: Final[Mapping[Direction, str]] = {
    "py->ts": "Python calls TypeScript",
    "ts->py": "TypeScript calls Python",
}
"""A direction as a heading."""


def measured(rows: Iterable[CallRow]) -> list[CallRow]:
    """Those with times, the quickest first."""
    return sorted((row for row in rows if row["p50_us"] is not None), key=lambda row: row["p50_us"] or 0.0)


def find(
    rows: Iterable[CallRow],
    peer: str,
    direction: str,
    workload: str,
    payload_bytes: int | None = None,
    outstanding: int | None = None,
) -> CallRow | None:
    """The row of that case, if it was measured; of several sizes or numbers outstanding, the first."""
    for row in rows:
        if (
            (row["peer"], row["direction"], row["workload"]) == (peer, direction, workload)
            and payload_bytes in {None, row["payload_bytes"]}
            and outstanding in {None, row["outstanding"]}
            and row["p50_us"] is not None
        ):
            return row
    return None


def calls(results: Results, direction: Direction, workload: str) -> list[CallRow]:
    """The measured rows of a workload, the quickest first."""
    return measured(row for row in results["rows"] if (row["direction"], row["workload"]) == (direction, workload))


def directionless(results: Results) -> set[str]:
    """The floors that are neither language's: their rows stand under the first direction by convention."""
    directions: dict[str, set[str]] = {}
    for row in results["rows"]:
        if row["kind"] == "floor":
            directions.setdefault(row["peer"], set()).add(row["direction"])
    return {peer for peer, seen in directions.items() if seen == {DIRECTIONS[0]}}


def predict_rows(results: Results, direction: Direction) -> list[CallRow]:
    """The rows of the `predict` call, the quickest first, with the floors that have no direction of their own."""
    rows = calls(results, direction, "predict")
    if direction != DIRECTIONS[0]:
        floors = directionless(results)
        rows += [row for row in calls(results, DIRECTIONS[0], "predict") if row["peer"] in floors]
    return measured(rows)


def is_ours(service: str) -> bool:
    """Whether a service of the HTTP, start and memory rows is this project's."""
    return service.partition(":")[0] == OUR_SERVICE

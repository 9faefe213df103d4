"""Result files that nobody has measured: for tests of what is made out of a result file.

    results = bench_results.synthetic(rounds=6)  # each call makes it anew, for the test to change

The times are drawn from distributions that are made up here, with a fixed seed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np

from bench.cases import Case, Direction
from bench.peers import PEERS, Peer
from bench.results import Results

Json = dict[str, Any]

US: Final = {
    "same-language": 0.9,
    "c-ring": 0.28,
    "eventfd": 41.0,
    "memcpy": 0.04,
    "memcpy-here": 0.05,
    "shm": 4.2,
    "shm-spin0": 58.0,
    "shm-busy": 3.9,
    "shm-socket": 71.0,
    "uds-msgpack": 63.0,
    "uds-msgpack-busy": 6.4,
    "zeromq": 118.0,
    "grpc-uds": 310.0,
    "http-keepalive": 190.0,
    "jspybridge": 420.0,
    "stdio": 88.0,
    "spawn": 52_000.0,
    "iceoryx2-py-py": 8.1,
    "mp-pipe-py-py": 59.0,
    "pythonmonkey": 4.3,
    "stpyv8": 6.8,
    "mini-racer": 214.0,
    "pyodide": 10.4,
    "node-calls-python": 2.6,
    "pymport": 3.1,
    "graalvm": 1.9,
}
"""Made up: of a predict call."""

SKIPPED: Final = {
    "pymport": "not installed: pymport; `make bench-setup` installs it",
    "graalvm": "not installed: bench/build/graalvm; `make bench-setup` installs it",
}
FAILED: Final = {
    "node-calls-python": "the caller ended, SIGSEGV\n\x1b[31mFatal error: <none> & 'nothing' of the \"kind\"\x1b[0m"
}
BLANK_TIMES: Final[Json] = {
    "p50_us": None,
    "p50_us_ci": None,
    "p95_us": None,
    "p99_us": None,
    "p999_us": None,
    "calls_per_s": None,
    "calls_per_s_ci": None,
    "cpu_us_per_call": None,
    "ratio_to_shm": None,
    "ratio_to_shm_ci": None,
}
BYTES_PER_US: Final = 900.0
SERVICES: Final = {
    "this bridge: Flask": (1.0, 2),
    "this bridge: Node": (0.7, 2),
    "Flask with PythonMonkey": (1.15, 1),
    "Node with Pyodide": (0.8, 1),
}
"""By name: how slow, and how many processes besides its workers."""
ENDPOINTS: Final = ("GET /hello", "POST /api/predict", "POST /api/transform")


def _random(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def _p50(peer: Peer, direction: Direction, case: Case) -> float:
    us = US.get(peer.name, 100.0) * (1.25 if direction == "ts->py" and peer.kind != "floor" else 1.0)
    copies = 0.02 if peer.kind == "in-process" else 0.05 if peer.name.startswith("memcpy") else 1.0
    us += copies * case.payload_bytes / BYTES_PER_US * (3 if peer.name == "grpc-uds" else 1)
    if case.workload == "first-call":
        us = us * 30 + 900
    elif case.pause_s and peer.kind in {"bridge", "out-of-process", "reference"}:
        us += 55 + 20 * case.pause_s
    elif case.neighbour:
        us *= 2.5 if peer.cores > 1 else 1.4
    elif case.workload in {"batch", "format", "segment"}:
        us += 30
    elif case.outstanding > 1:
        us *= 1 + 0.6 * case.outstanding
    return us


def _ci(values: Sequence[float]) -> list[float] | None:
    if len(values) < 2:
        return None
    middle, half = float(np.median(values)), 1.6 * float(np.std(values)) / math.sqrt(len(values))
    return [middle - half, middle + half]


def _histogram(samples: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[float]]:
    bucket = np.ceil(np.log(samples) / math.log(1.02)).astype(int)
    numbers, counts = np.unique(bucket, return_counts=True)
    return [[round(1.02 ** int(n), 4), int(c)] for n, c in zip(numbers, counts, strict=True)]


def call_row(peer: Peer, direction: Direction, case: Case, rounds: int, seed: int, scale: float = 1.0) -> Json:
    """One row of calls that went well."""
    random = _random(peer.name, direction, case.workload, case.payload_bytes, case.outstanding, seed)
    calls = min(case.calls, 200)
    centre = _p50(peer, direction, case) * scale
    by_round = [centre * random.lognormal(0, 0.02) * random.lognormal(0, 0.12, calls) for _ in range(rounds)]
    for samples in by_round:
        samples[: calls // 130] *= random.uniform(2, 30)
    percentiles = [[float(np.percentile(samples, p)) for samples in by_round] for p in (50, 95, 99, 99.9)]
    p50, p95, p99, p999 = (float(np.median(values)) for values in percentiles)
    rates = [case.outstanding * 1e6 / float(np.mean(samples)) for samples in by_round]
    return {
        **_identity(peer, direction, case, rounds),
        "calls": calls * rounds,
        "p50_us": p50,
        "p50_us_ci": _ci(percentiles[0]),
        "p95_us": p95,
        "p99_us": p99,
        "p999_us": p999,
        "calls_per_s": float(np.median(rates)),
        "calls_per_s_ci": _ci(rates),
        "cpu_us_per_call": p50 * peer.cores * (0.55 if "block" in peer.waits or "park" in peer.waits else 0.98) + 0.1,
        "ratio_to_shm": None,
        "ratio_to_shm_ci": None,
        "p50_us_rounds": percentiles[0],
        "histogram": _histogram(np.concatenate(by_round)),
    }


def _identity(peer: Peer, direction: Direction, case: Case, rounds: int) -> Json:
    return {
        "peer": peer.name,
        "kind": peer.kind,
        "direction": direction,
        "workload": case.workload,
        "payload_bytes": case.payload_bytes,
        "outstanding": case.outstanding,
        "waits": peer.waits,
        "cores": peer.cores,
        "note": "made up, as is every row of this file" if peer.name == "graalvm" else peer.note,
        "rounds": rounds,
        "calls": 0,
        **BLANK_TIMES,
        "errors": 0,
        "skipped": None,
        "failed": None,
        "p50_us_rounds": [],
        "histogram": [],
    }


def _calls(rounds: int, seed: int, scale: dict[str, float]) -> list[Json]:
    rows = []
    for peer in PEERS:
        for direction in peer.directions:
            for case in peer.cases(direction):
                if peer.name in SKIPPED:
                    if case.workload != "predict":
                        continue
                    row = {**_identity(peer, direction, case, 0), "skipped": SKIPPED[peer.name]}
                elif peer.name in FAILED:
                    row = {**_identity(peer, direction, case, 0), "failed": FAILED[peer.name]}
                elif peer.name == "stpyv8" and case.workload == "bytes":
                    row = {**_identity(peer, direction, case, rounds), "calls": 100, "errors": 100}
                    row["failed"] = "call 0 raised TypeError: bytes are not supported"
                else:
                    row = call_row(peer, direction, case, rounds, seed, scale.get(peer.name, scale.get("*", 1.0)))
                rows.append(row)
    add_ratios(rows)
    return rows


def add_ratios(rows: Sequence[Json]) -> None:
    """Fill in each row's ratio to `shm`, from the rounds."""
    case = ("direction", "workload", "payload_bytes", "outstanding")
    ours = {tuple(row[key] for key in case): row for row in rows if row["peer"] == "shm"}
    for row in rows:
        other = ours.get(tuple(row[key] for key in case))
        if row["p50_us"] is not None and other is not None and other["p50_us"] is not None:
            ratios = [a / b for a, b in zip(row["p50_us_rounds"], other["p50_us_rounds"], strict=True)]
            row["ratio_to_shm"], row["ratio_to_shm_ci"] = float(np.median(ratios)), _ci(ratios)


def _http(rounds: int) -> list[Json]:
    rows = []
    for endpoint in ENDPOINTS:
        for name, (slow, _) in SERVICES.items():
            for load, connections, due in (("closed", 16, None), ("rate", 16, 500.0), ("rate", 16, 2000.0)):
                random = _random(endpoint, name, load, due)
                p50 = 180 * slow * float(random.lognormal(0, 0.1)) * (1 + ENDPOINTS.index(endpoint))
                rate = due or connections * 1e6 / p50 / 9
                rows.append(
                    {
                        "service": name,
                        "endpoint": endpoint,
                        "load": load,
                        "connections": connections,
                        "rate_per_s": due,
                        "rounds": rounds,
                        "requests": 10_000,
                        "requests_per_s": rate,
                        "requests_per_s_ci": [rate * 0.97, rate * 1.03],
                        "p50_us": p50,
                        "p50_us_ci": [p50 * 0.98, p50 * 1.02],
                        "p95_us": p50 * 1.9,
                        "p99_us": p50 * 3.1,
                        "p999_us": p50 * 11,
                        "cpu_us_per_request": p50 * 0.9,
                        "errors": 0,
                        "agrees": name != "Node with Pyodide",
                        "note": "",
                        "skipped": None,
                        "failed": None,
                    }
                )
    rows.append({**rows[0], "service": "GraalVM", "failed": "no answer within 60 s", "agrees": None})
    for key in [key for key in rows[-1] if key.endswith(("_us", "_ci", "_per_s", "_per_request"))]:
        rows[-1][key] = None
    return rows


def _starts(rounds: int) -> list[Json]:
    rows = []
    for what, ms in (
        ("first HTTP answer", 420.0),
        ("first cross-language answer", 510.0),
        ("restart of one worker", 230.0),
    ):
        for name, (slow, _) in SERVICES.items():
            if what == "restart of one worker" and name == "Node with Pyodide":
                continue
            random = _random(what, name)
            values = [ms * slow * float(random.lognormal(0, 0.04)) for _ in range(rounds)]
            middle = float(np.median(values))
            rows.append(
                {
                    "service": name,
                    "what": what,
                    "ms": middle,
                    "ms_ci": _ci(values),
                    "ms_rounds": values,
                    "note": "",
                    "skipped": None,
                    "failed": None,
                }
            )
    return rows


def _memory() -> list[Json]:
    rows = []
    # The two programs of one service are weighed together.
    services = {name.partition(":")[0]: made for name, made in SERVICES.items()}
    for workers in (1, 2, 4):
        for name, (slow, processes) in services.items():
            for state, more in (("idle", 0.0), ("after 10,000 requests", 9.0)):
                mib = 70 * slow + 24 * workers + more
                rows.append(
                    {
                        "service": name,
                        "workers": workers,
                        "state": state,
                        "pss_mib": mib,
                        "pss_mib_ci": [mib * 0.99, mib * 1.01],
                        "processes": processes + workers,
                        "note": "In process." if processes == 1 else "",
                        "skipped": None,
                        "failed": None,
                    }
                )
    return rows


FIGURES: Final[list[Json]] = [
    {
        "figure": "Python → TypeScript: uds-msgpack / shm",
        "asked": ">= 15",
        "measured": 15.3,
        "measured_ci": [14.9, 15.8],
        "reached": True,
    },
    {
        "figure": "Python → TypeScript: shm / pythonmonkey",
        "asked": "<= 1",
        "measured": 1.21,
        "measured_ci": [1.17, 1.24],
        "reached": False,
    },
    {
        "figure": "TypeScript → Python: shm / pyodide",
        "asked": "<= 1",
        "measured": None,
        "measured_ci": None,
        "reached": None,
    },
]


def meta(rounds: int) -> Json:
    """What it was measured on."""
    return {
        "schema": 1,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:44:05+00:00",
        "seconds": 2400.0,
        "complete": True,
        "command": "python -m bench --rounds 5",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": True,
        "host": "made-up-host",
        "cpu": "A processor of the tests @ 3.00GHz",
        "cores": 2,
        "kernel": "6.1.0-made-up",
        "governor": "performance",
        "load_before": 0.12,
        "load_after": 1.9,
        "versions": {"CPython": "3.11.7", "Node": "20.20.2", "pyzmq": "27.1.0"},
        "rounds": rounds,
        "warmup": "untimed calls first, made up",
        "pinning": "caller on core 0, callee on core 1; in one process: not pinned",
        "clock_us": {"python": 0.061, "node": 0.083},
    }


def synthetic(rounds: int = 3, seed: int = 1, scale: dict[str, float] | None = None) -> Results:
    """A whole result file, of every peer. `scale` makes a peer slower, by name, or all others with `*`."""
    made: Json = {
        "meta": meta(rounds),
        "rows": _calls(rounds, seed, scale or {}),
        "http": _http(rounds),
        "starts": _starts(rounds),
        "memory": _memory(),
        "idle_cpu_percent": 0.31,
        "figures": [dict(figure) for figure in FIGURES],
    }
    return cast("Results", made)


def empty() -> Results:
    """A run in which nothing was measured."""
    nothing: Json = {"rows": [], "http": [], "starts": [], "memory": [], "idle_cpu_percent": None, "figures": []}
    return cast("Results", {"meta": meta(rounds=1), **nothing})

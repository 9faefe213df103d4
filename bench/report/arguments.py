"""The six arguments against child processes, each with what was measured about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from bench.cases import BYTES, DIRECTIONS, Direction
from bench.report.standing import FROM, calls_made
from bench.report.view import OURS, Memory, calls, find, is_ours, memory_rows, start_rows
from bench.report.words import count, duration, listing, number, size, times
from bench.results import CallRow, Results

TWO: Final = 2


@dataclass(frozen=True)
class Argument:
    """What is said, and the answer in sentences."""

    argument: str
    answer: list[str]


def answered(results: Results) -> list[Argument]:
    """Those that this run measured something about."""
    return [Argument(argument, said) for argument, answer in ANSWERS.items() if (said := answer(results))]


def unanswered(results: Results) -> list[str]:
    """The others."""
    return [argument for argument, answer in ANSWERS.items() if not answer(results)]


def _ours(results: Results, direction: Direction, workload: str, payload_bytes: int | None = None) -> CallRow | None:
    return find(results["rows"], OURS, direction, workload, payload_bytes)


def _spawning(results: Results) -> list[str]:
    said = []
    for direction in DIRECTIONS:
        spawn = find(results["rows"], "spawn", direction, "predict")
        ours = _ours(results, direction, "predict")
        if spawn is not None and ours is not None:
            said.append(
                f"A process spawned for each call costs {duration(spawn['p50_us'])} at p50 {FROM[direction]}; the "
                f"bridge, whose two processes stay, {duration(ours['p50_us'])}: spawning takes "
                f"{times(spawn['ratio_to_shm'])} as long."
            )
    return said + [
        f"What is spawned is spawned once: {row['service']} gives its first cross-language answer "
        f"{number(row['ms'])} ms after its processes were started."
        for row in start_rows(results)
        if is_ours(row["service"]) and row["ms"] is not None and row["what"] == "first cross-language answer"
    ]


def _ipc(results: Results) -> list[str]:
    made, errors = calls_made(results)
    if not made:
        return []
    cases = {
        (r["workload"], r["payload_bytes"], r["outstanding"])
        for r in results["rows"]
        if r["peer"] == OURS and r["calls"]
    }
    wrong = "none raised or answered wrongly" if not errors else f"{errors:,} raised or answered wrongly"
    checked = (
        f"Of {made:,} calls over the bridge in this run, in {count(len(cases), 'case')}, each answer compared with the "
        f"right one, {wrong}."
    )
    return [
        "The program names a function and gives an argument; frames, ids, wake-ups and errors are the library's.",
        checked,
    ]


def _memory(results: Results) -> list[str]:
    said = []
    rows = [row for row in memory_rows(results) if row["pss_mib"] is not None]
    # Idle says less: what a service needs shows once it has worked.
    state = max((row["state"] for row in rows), key=lambda state: state != "idle", default="")
    for workers in dict.fromkeys(row["workers"] for row in rows if row["state"] == state):
        here = [row for row in rows if (row["workers"], row["state"]) == (workers, state)]
        mine = [row for row in here if is_ours(row["service"])]
        others = [row for row in here if not is_ours(row["service"])]
        if mine and others:
            said.append(
                f"With {count(workers, 'worker')}, {state}: {listing([_held(row) for row in mine])}, "
                f"against {listing([_held(row) for row in others])}."
            )
    if said:
        said.append("All as proportional set size: what processes share is counted once.")
    return said


def _held(row: Memory) -> str:
    return f"{row['service']} {number(row['pss_mib'])} MiB in {count(row['processes'], 'process', 'processes')}"


def _shared_state(results: Results) -> list[str]:
    said = []
    for direction in DIRECTIONS:
        ours = _ours(results, direction, "bytes", BYTES)
        if ours is None:
            continue
        text = (
            f"{size(ours['payload_bytes'])} of bytes, {FROM[direction]} and back, takes "
            f"{duration(ours['p50_us'])} at p50"
        )
        rows = [row for row in calls(results, direction, "bytes") if row["payload_bytes"] == BYTES]
        inside = [row for row in rows if row["kind"] == "in-process"]
        if inside:
            text += f"; in one process {listing([_took(row) for row in inside])}"
        said.append(f"{text}.")
    if said:
        copied = "True of objects: an argument and an answer are copied, and neither side sees the other's changes."
        said = [copied, *said, "Counters of all workers are in shared memory: python_side/tests/test_counters.py."]
    return said


def _took(row: CallRow) -> str:
    return f"{row['peer']} {duration(row['p50_us'])}"


def _serialisation(results: Results) -> list[str]:
    said = []
    rings = [row for row in results["rows"] if row["peer"] == "c-ring" and row["p50_us"] is not None]
    for direction in DIRECTIONS:
        echoes = [row for row in calls(results, direction, "echo") if row["peer"] == OURS]
        sizes = sorted(echoes, key=lambda row: row["payload_bytes"])
        texts = [row for row in sizes if row["payload_bytes"]]
        if not texts:
            continue
        least = texts[0]
        text = (
            f"A text of {size(least['payload_bytes'])}, {FROM[direction]} and back, takes {duration(least['p50_us'])}"
        )
        if rings:
            floor = min(rings, key=lambda row: abs(row["payload_bytes"] - least["payload_bytes"]))
            text += (
                f", where two C programs that exchange {size(floor['payload_bytes'])} over the same ring and encode "
                f"nothing take {duration(floor['p50_us'])}: the rest is two interpreters and the encoding"
            )
        if sizes[0]["payload_bytes"] == 0:
            text += f". A null takes {duration(sizes[0]['p50_us'])}"
        if len(texts) >= TWO:
            most = texts[-1]
            text += f", {size(most['payload_bytes'])} {duration(most['p50_us'])}"
        said.append(f"{text}.")
    return said


def _runtimes(results: Results) -> list[str]:
    said = []
    for what in dict.fromkeys(row["what"] for row in start_rows(results)):
        here = [row for row in start_rows(results) if row["what"] == what and row["ms"] is not None]
        mine = [f"{row['service']} {number(row['ms'])} ms" for row in here if is_ours(row["service"])]
        others = [f"{row['service']} {number(row['ms'])} ms" for row in here if not is_ours(row["service"])]
        if mine:
            against = f", against {listing(others)}" if others else ""
            said.append(f"{what[0].upper()}{what[1:]}: {listing(mine)}{against}.")
    processes = _processes(memory_rows(results))
    if processes:
        said.append(f"Processes to look after, with the fewest workers: {listing(processes)}.")
    return said


def _processes(rows: Iterable[Memory]) -> list[str]:
    fewest: dict[str, Memory] = {}
    for row in rows:
        if row["pss_mib"] is not None and row["workers"] <= fewest.get(row["service"], row)["workers"]:
            fewest[row["service"]] = row
    return [f"{service} {row['processes']}" for service, row in fewest.items()]


ANSWERS: Final[dict[str, Callable[[Results], list[str]]]] = {
    "Process spawning overhead": _spawning,
    "IPC complexity": _ipc,
    "Memory duplication": _memory,
    "No shared state": _shared_state,
    "Serialisation overhead": _serialisation,
    "Multiple runtimes to manage": _runtimes,
}

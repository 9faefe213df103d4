"""The command line of the bench: what it measures, prints and keeps, and what it says of what it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from bench import rounds
from bench.__main__ import plan
from bench.cases import CASES, Direction
from bench.goals import goals
from bench.peers import PEERS, Peer
from bench.pinning import ANY_CORES
from bench.results import CallRow
from bench.trial import Trial

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA: Final = json.loads((ROOT / "bench" / "results.schema.json").read_text())
HANG_S: Final = 200.0


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` to its end."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def read_results(folder: Path) -> Any:
    """What a run has kept; it is as its schema says."""
    found = json.loads((folder / "results.json").read_text())
    jsonschema.validate(found, SCHEMA)
    return found


def test_a_run_prints_a_table_and_keeps_results_and_a_report(tmp_path: Path) -> None:
    done = bench("--only", "c-*", "--rounds", "2", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "c-ring" in done.stdout
    found = read_results(tmp_path)
    assert {row["peer"] for row in found["rows"]} == {"c-ring"}
    assert all(row["rounds"] == 2 and row["calls"] > 0 for row in found["rows"])
    assert found["meta"]["complete"]
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_patterns_of_several_only_add_up() -> None:
    asked = plan(["--only", "c-*", "--only", "memcpy", "--only", "eventfd"])
    assert asked is not None
    assert [peer.name for peer in asked.peers] == ["c-ring", "eventfd", "memcpy"]


def test_both_directions_of_the_bridge_are_measured_in_every_case(tmp_path: Path) -> None:
    done = bench("--only", "shm", "--rounds", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_results(tmp_path)["rows"]
    for direction in ("py->ts", "ts->py"):
        measured = [
            (row["workload"], row["payload_bytes"], row["outstanding"]) for row in rows if row["direction"] == direction
        ]
        asked = [
            (case.workload, case.payload_bytes, case.outstanding) for case in CASES if direction in case.directions
        ]
        assert measured == asked
    assert all(row["p50_us"] > 0 and row["cpu_us_per_call"] > 0 and row["ratio_to_shm"] == 1 for row in rows)
    assert all(row["p50_us"] <= row["p95_us"] <= row["p99_us"] <= row["p999_us"] for row in rows)
    assert all(sum(count for _, count in row["histogram"]) == row["calls"] for row in rows)


def test_a_peer_that_is_not_installed_is_listed_as_skipped_with_the_command_that_installs_it() -> None:
    absent = Peer("absent", "in-process", "absent", "", 1, {"py->ts": "python"}, python_packages=("no_such_package",))
    calls = rounds.Calls.of([absent])
    calls.measure(1, ANY_CORES, lambda _: None, lambda _: None)
    (row,) = calls.to_json()
    assert row["workload"] == "predict"
    assert row["p50_us"] is None
    assert row["skipped"] == "not installed: no_such_package; install with `make bench-setup`"


def test_rounds_are_interleaved_across_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    floors = [peer for peer in PEERS if peer.name in ("c-ring", "eventfd")]
    monkeypatch.setattr(Trial, "run", lambda *_: None)
    rounds.Calls.of(floors).measure(3, ANY_CORES, order.append, lambda _: None)
    assert order == ["c-ring", "eventfd"] * 3


def test_a_row_that_has_failed_keeps_its_place_among_the_rounds() -> None:
    peer = next(peer for peer in PEERS if peer.name == "c-ring")
    calls = rounds.Calls.of([peer])
    row = calls.entries[0].rows[0]
    row.failed = "crashed before"
    calls.measure(2, ANY_CORES, lambda _: None, lambda _: None)
    assert row.p50s == [None, None]
    assert all(len(other.p50s) == 2 for other in calls.entries[0].rows)


def call_row(peer: str, direction: Direction, p50s: list[float], p99: float = 0.0) -> CallRow:
    """A `predict` row as the figures need it."""
    row: dict[str, Any] = {
        "peer": peer,
        "direction": direction,
        "workload": "predict",
        "p50_us": sorted(p50s)[len(p50s) // 2],
        "p99_us": p99,
        "p50_us_rounds": p50s,
    }
    return row  # type: ignore[return-value]  # no other key is looked at


def test_a_goal_is_reached_exactly_when_its_ratio_is_good_enough() -> None:
    rows = [
        call_row("shm", "py->ts", [2.0, 20.0, 2.0], p99=7.0),
        call_row("uds-msgpack", "py->ts", [30.0, 300.0, 30.0]),
        call_row("zeromq", "py->ts", [49.0, 490.0, 49.0]),
        call_row("pythonmonkey", "py->ts", [1.9, 19.0, 1.9]),
        call_row("stpyv8", "py->ts", [2.0, 20.0, 2.0]),
    ]
    found: dict[str, tuple[Any, bool | None]] = {
        goal["figure"]: (goal["measured"], goal["reached"]) for goal in goals(rows)
    }
    assert found["py->ts: uds-msgpack / shm, p50"] == (15.0, True)
    assert found["py->ts: zeromq / shm, p50"] == (24.5, False)
    assert found["py->ts: shm / pythonmonkey, p50"] == (pytest.approx(2 / 1.9), False)
    assert found["py->ts: shm / stpyv8, p50"] == (1.0, True)
    assert found["py->ts: p99 / p50 of shm"] == (3.5, False)
    assert found["ts->py: shm / pyodide, p50"] == (None, None)


def test_the_list_names_every_peer() -> None:
    listed = bench("--list").stdout
    assert all(peer.name in listed for peer in PEERS)


@pytest.mark.parametrize("command", [(), ("http",)])
def test_help_says_what_the_options_are(command: tuple[str, ...]) -> None:
    done = bench(*command, "--help")
    assert done.returncode == 0
    assert "--rounds" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--rounds", "0"), "--rounds is 0"),
        (("--only", "zmq"), "zmq"),
        (("--only", "shm", "--only", "zmq"), "--only is 'zmq'"),
        (("--rowns", "1"), "--rowns"),
        (("diff", "one"), "diff A B"),
        (("diff", "no/such", "no/such"), "no/such"),
        (("report", "no/such"), "no/such"),
        (("http", "no-equals"), "NAME=URL"),
        (("http", "a=http://127.0.0.1:1", "a=http://127.0.0.1:2"), "'a' is given twice"),
        (("http", "a=ftp://127.0.0.1"), "ftp"),
    ],
)
def test_bad_usage_is_named_and_nothing_is_measured(arguments: tuple[str, ...], named: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert named in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def has_processes(marked: bytes) -> bool:
    """Whether a process has that text in its environment."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marked in entry.read_bytes():
                return True
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return False


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_and_keeps_what_it_has_unless_killed(
    sent: signal.Signals, tmp_path: Path
) -> None:
    mark = f"BENCH_TEST_MARK={tmp_path}"
    command = [sys.executable, "-m", "bench", "--only", "[cs]*", "--rounds", "1000", "--out", str(tmp_path)]
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "BENCH_TEST_MARK": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert b"cores" in running.stdout.readline()
    # As a terminal does: the whole foreground group gets the signal.
    os.killpg(running.pid, sent)
    output, _ = running.communicate(timeout=HANG_S)
    if sent is not signal.SIGKILL:
        assert running.returncode == 130
        assert b"interrupted" in output
        assert not read_results(tmp_path)["meta"]["complete"]
    # Those that are not its own children are reaped by init, in its own time.
    end = time.monotonic() + HANG_S
    while has_processes(mark.encode()):
        assert time.monotonic() < end, "a process of the bench lives on"
        time.sleep(0.01)


def test_without_its_packages_it_says_in_one_line_how_to_get_them() -> None:
    command = [sys.executable, "-S", "-m", "bench", "--help"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the bench's packages are not installed; `make bench-quick`")
    assert ended.stderr.count("\n") == 1

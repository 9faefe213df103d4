"""The comparison of two result files finds what has changed, and calls nothing a change that is not."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path

import bench_results
import pytest
from rich.console import Console

from bench import diff
from bench.results import Results, to_json

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 200.0
ROUNDS = 8
PEERS = {"c-ring", "shm", "shm-busy", "uds-msgpack", "zeromq", "pythonmonkey"}
"""Enough of them."""


@functools.cache
def _made(seed: int, factors: tuple[tuple[str, float], ...] = ()) -> Results:
    made = bench_results.synthetic(rounds=ROUNDS, seed=seed, scale=dict(factors))
    made["rows"] = [row for row in made["rows"] if row["peer"] in PEERS]
    made["meta"]["dirty"] = False
    return made


def run(seed: int, **factors: float) -> Results:
    """A run of its own, with its own noise, in which these peers take so many times as long."""
    return copy.deepcopy(_made(seed, tuple((name.replace("_", "-"), factor) for name, factor in factors.items())))


def verdicts(difference: diff.Difference, verdict: str) -> set[str]:
    """The peers of the rows with that verdict."""
    return {one.name.split(" ")[0] for one in difference.comparisons if one.verdict == verdict}


def text_of(difference: diff.Difference, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as shown:
        console.print(diff.rendered(difference, width))
    return shown.get()


def test_a_peer_that_became_slower_is_found_in_all_its_rows_and_no_other_is() -> None:
    difference = diff.diff(run(1), run(2, zeromq=1.5))
    worse = {one.name for one in difference.comparisons if one.verdict == "worse"}
    zeromq = {one.name for one in difference.comparisons if one.name.startswith("zeromq ")}
    # Of the first call and that after a second a round has only one: these are noise.
    steady = {name for name in zeromq if not name.endswith(("first-call", "after-1s"))}
    assert len(steady) > 20
    assert steady <= worse <= zeromq
    assert verdicts(difference, "better") == set()
    assert difference.worse


def test_a_peer_that_became_quicker_is_found_and_is_nothing_to_complain_of() -> None:
    difference = diff.diff(run(1), run(2, shm=0.5))
    assert verdicts(difference, "better") == {"shm"}
    assert not difference.worse


def test_noise_alone_is_no_change() -> None:
    difference = diff.diff(run(1), run(2))
    assert len(difference.comparisons) > 100
    marked = [one for one in difference.comparisons if one.verdict]
    # Of the rows that have one call a round, some may differ by a tenth.
    assert all(one.name.endswith(("first-call", "after-1s")) for one in marked)


def test_a_file_does_not_differ_from_itself() -> None:
    difference = diff.diff(run(1), run(1))
    assert all(one.ratio.value == 1.0 and not one.verdict for one in difference.comparisons)
    assert not difference.worse
    assert difference.warnings == []
    assert "0 worse, 0 better" in text_of(difference)


def test_a_slower_machine_is_not_taken_for_slower_peers() -> None:
    difference = diff.diff(run(1), run(2, **{"*": 1.5}))
    assert verdicts(difference, "worse") <= {"c-ring"}
    assert {"shm", "uds-msgpack", "zeromq"} <= verdicts(difference, "as the floor")


def test_a_change_on_a_slower_machine_is_found_nevertheless() -> None:
    difference = diff.diff(run(1), run(2, **{"*": 1.5, "shm": 3.0}))
    assert "shm" in verdicts(difference, "worse")
    assert "zeromq" not in verdicts(difference, "worse")


def test_without_the_floor_the_row_alone_decides_and_it_says_so() -> None:
    a, b = run(1), run(2, shm=1.5)
    for found in (a, b):
        found["rows"] = [row for row in found["rows"] if row["peer"] != "c-ring"]
    difference = diff.diff(a, b)
    assert verdicts(difference, "worse") == {"shm"}
    assert "Without c-ring in both files" in text_of(difference)


def test_a_change_below_the_threshold_is_not_marked() -> None:
    a, b = run(1), run(2, shm=1.3)
    assert "shm" in verdicts(diff.diff(a, b, threshold=0.1), "worse")
    assert "shm" not in verdicts(diff.diff(a, b, threshold=0.6), "worse")


def test_one_round_is_too_few_for_a_verdict() -> None:
    a, b = (bench_results.synthetic(rounds=1, scale={"shm": factor}) for factor in (1.0, 2.0))
    difference = diff.diff(a, b)
    assert verdicts(difference, "worse") == verdicts(difference, "better") == set()
    assert "too few rounds" in text_of(difference)


def test_rounds_that_failed_are_left_out() -> None:
    a, b = run(1), run(2)
    for row in b["rows"]:
        row["p50_us_rounds"][0] = row["p50_us_rounds"][3] = None
    difference = diff.diff(a, b)
    assert len(difference.comparisons) == len(diff.diff(a, run(2)).comparisons)


def test_rows_in_only_one_file_are_listed() -> None:
    a, b = run(1), run(2)
    a["rows"] = [row for row in a["rows"] if row["peer"] != "zeromq"]
    b["rows"] = [row for row in b["rows"] if row["workload"] != "segment"]
    difference = diff.diff(a, b)
    assert {name.split(" ")[0] for name in difference.only_in_b} == {"zeromq"}
    assert {name.split(" ")[-1] for name in difference.only_in_a} == {"segment"}
    assert "Measured only in A" in text_of(difference)


def test_a_row_that_fails_now_is_worse() -> None:
    a, b = run(1), run(2)
    row = next(row for row in b["rows"] if row["peer"] == "zeromq" and row["workload"] == "batch")
    row["failed"], row["p50_us"], row["p50_us_rounds"] = "it hangs", None, []
    difference = diff.diff(a, b)
    assert difference.newly_failed == ["zeromq py->ts batch: it hangs"]
    assert difference.worse
    assert "fails now: zeromq py->ts batch: it hangs" in text_of(difference)


@pytest.mark.parametrize(
    ("name", "other"),
    [("cpu", "another"), ("commit", "fedcba9"), ("pinning", "not pinned"), ("host", "elsewhere"), ("kernel", "5.15")],
)
def test_circumstances_that_differ_are_warned_of(name: str, other: str) -> None:
    a, b = run(1), run(1)
    b["meta"][name] = other
    (warning,) = diff.diff(a, b).warnings
    assert warning == f"{name} differs: {a['meta'][name]} and {other}"


def test_versions_that_differ_are_warned_of_by_name() -> None:
    a, b = run(1), run(1)
    b["meta"]["versions"] = {"CPython": "3.11.7", "Node": "22.1.0", "zmq": "1"}
    (warning,) = diff.diff(a, b).warnings
    assert warning == "versions differ: Node 20.20.2 and 22.1.0, pyzmq 27.1.0 and none and zmq none and 1"


def test_an_interrupted_or_uncommitted_run_is_warned_of() -> None:
    a, b = run(1), run(1)
    a["meta"]["dirty"], b["meta"]["complete"] = True, False
    assert [warning.split(" ")[0] for warning in diff.diff(a, b).warnings] == ["A", "B"]


def test_whole_services_are_compared_each_in_its_sense() -> None:
    a, b = run(1), run(1)
    service = "this bridge: Node"
    for http in b["http"]:
        if http["service"] == service and http["load"] == "closed":
            http["requests_per_s"] *= 2
            http["requests_per_s_ci"] = [bound * 2 for bound in http["requests_per_s_ci"]]
    for memory in b["memory"]:
        if memory["service"] == "this bridge":
            memory["pss_mib"] *= 2
            memory["pss_mib_ci"] = [bound * 2 for bound in memory["pss_mib_ci"]]
    changed = {one.name: one.verdict for one in diff.diff(a, b).comparisons if one.verdict}
    assert {verdict for name, verdict in changed.items() if name.startswith(service)} == {"better"}
    assert {verdict for name, verdict in changed.items() if "memory" in name} == {"worse"}
    assert len(changed) == 3 + 6


def test_the_same_files_give_the_same_words() -> None:
    a, b = run(1), run(2, shm=1.2)
    assert text_of(diff.diff(a, b)) == text_of(diff.diff(a, b))


@pytest.mark.parametrize("width", [120, 80])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = text_of(diff.diff(run(1), run(2, shm=1.5)), width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("shm py->ts predict" in line and "worse" in line for line in lines)


# From the command line.


def write(found: Results, folder: Path) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(to_json(found))
    return folder


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m bench diff` to its end."""
    made = [sys.executable, "-m", "bench", "diff", *map(str, arguments)]
    return subprocess.run(made, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)


def test_the_exit_code_says_whether_something_became_worse(tmp_path: Path) -> None:
    a, worse = write(run(1), tmp_path / "a"), write(run(2, shm=1.5), tmp_path / "b")
    done = command(a, worse)
    assert done.returncode == 1, done.stderr
    assert "shm py->ts predict" in done.stdout
    assert command(worse / "results.json", a).returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("{", "is not JSON"),
        ("[]", "schema version None"),
        ('{"meta": {"schema": 99}}', "schema version 99"),
        ('{"meta": {"schema": 1}, "http": []}', "has no figures"),
    ],
    ids=["missing", "no JSON", "something else", "another version", "half of it"],
)
def test_a_file_that_cannot_be_compared_is_named_and_the_exit_code_is_2(
    tmp_path: Path, content: str | None, said: str
) -> None:
    good, bad = write(run(1), tmp_path / "good"), tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    done = command(good, bad)
    assert done.returncode == 2
    assert str(bad) in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_made_up_results_keep_to_the_schema() -> None:
    import jsonschema

    schema = json.loads((ROOT / "bench" / "results.schema.json").read_text())
    jsonschema.validate(json.loads(to_json(run(1))), schema)
    jsonschema.validate(json.loads(to_json(bench_results.empty())), schema)

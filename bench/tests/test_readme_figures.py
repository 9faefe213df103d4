"""The figures in README.md and on the page of all peers are measured ones: those of a result set in the repository."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Final

import jsonschema
import pytest

from bench import readme, results
from bench.cases import DIRECTIONS
from bench.report import render_svg
from bench.results import CallRow, Results

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the result set is that README.md names."""
    names: set[str] = set(re.findall(r"bench/results/[\w.-]+(?=/results\.json)", README.read_text()))
    assert len(names) == 1
    return ROOT / names.pop()


@pytest.fixture(scope="module")
def kept(folder: Path) -> Results:
    """The result set that README.md names."""
    return results.read(folder)


def test_the_figures_are_those_of_the_result_set(kept: Results, folder: Path) -> None:
    assert f"{readme.BEGIN}\n{readme.figures(kept, folder)}\n{readme.END}" in README.read_text()


def test_the_page_of_all_peers_is_that_of_the_result_set(kept: Results, folder: Path) -> None:
    assert (folder / readme.ALL_PEERS).read_text() == readme.all_peers(kept, folder)
    assert f"]({folder.relative_to(ROOT)}/{readme.ALL_PEERS})" in README.read_text()


def test_every_link_of_the_figures_leads_to_a_file(kept: Results, folder: Path) -> None:
    for text, page in ((readme.figures(kept, folder), README), (readme.all_peers(kept, folder), folder / "README.md")):
        links = re.findall(r"\]\(([^)]+)\)", text)
        assert len(links) >= 3
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_peer_that_was_measured_is_on_the_page_of_all(kept: Results, folder: Path) -> None:
    text = readme.all_peers(kept, folder)
    for row in kept["rows"]:
        if row["workload"] == "predict":
            measured = row["p50_us"] is not None
            assert bool(re.search(rf"^\| \**{row['peer']}\** \({row['kind']}\) ", text, re.MULTILINE)) is measured


def the_row(found: Results, peer: str, direction: str, workload: str, payload_bytes: int | None = None) -> CallRow:
    (row,) = [
        row
        for row in found["rows"]
        if (row["peer"], row["direction"], row["workload"]) == (peer, direction, workload)
        and payload_bytes in {None, row["payload_bytes"]}
    ]
    return row


def cells(text: str) -> dict[str, list[str]]:
    """The lines of the short table, by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_a_row_that_the_bridge_loses_to_a_socket_is_in_the_short_table_and_said(kept: Results, folder: Path) -> None:
    found = copy.deepcopy(kept)
    for workload, payload_bytes in (("predict", None), ("after-10ms", None), ("echo", 256 * 1024)):
        for direction in DIRECTIONS:
            the_row(found, "shm", direction, workload, payload_bytes)["p50_us"] = 100.0
            the_row(found, "uds-msgpack", direction, workload, payload_bytes)["p50_us"] = 300.0
    text = readme.figures(found, folder)
    assert "is quicker than this bridge" not in text
    assert cells(text)["after 10 ms of idleness: this bridge (`shm`)"] == ["**100**", "**100**"]
    the_row(found, "uds-msgpack", "ts->py", "after-10ms")["p50_us"] = 50.0
    for direction in DIRECTIONS:
        the_row(found, "uds-msgpack", direction, "echo", 256 * 1024)["p50_us"] = 60.0
    text = readme.figures(found, folder)
    assert cells(text)["after 10 ms of idleness: this bridge (`shm`)"] == ["**100**", "100"]
    assert cells(text)["after 10 ms of idleness: a Unix socket (`uds-msgpack`)"] == ["300", "**50.0**"]
    assert cells(text)["256 KiB of text, echoed: a Unix socket (`uds-msgpack`)"] == ["**60.0**", "**60.0**"]
    (said,) = [line for line in text.splitlines() if "is quicker than this bridge" in line]
    assert (
        "after 10 ms of idleness, where TypeScript calls Python; 256 KiB of text, echoed, in both directions." in said
    )


def test_the_best_in_one_process_is_that_of_each_direction(kept: Results, folder: Path) -> None:
    found = copy.deepcopy(kept)
    the_row(found, "stpyv8", "py->ts", "predict")["p50_us"] = 0.5
    the_row(found, "pyodide", "ts->py", "predict")["p50_us"] = 0.25
    assert cells(readme.figures(found, folder))["the best in one process"] == ["0.50 (`stpyv8`)", "0.25 (`pyodide`)"]


def test_the_command_writes_the_page_of_all_peers_beside_the_results_and_leaves_out_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Results
) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\n{readme.END}\nafter\n")
    quick: Results = {**kept, "rows": [row for row in kept["rows"] if row["workload"] == "predict"]}
    results.write(quick, tmp_path / "run")
    readme.update(tmp_path / "run", page)
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith(f"{readme.END}\nafter\n")
    assert not any("idleness" in name or "256 KiB" in name for name in cells(page.read_text()))
    assert "this bridge (`shm`)" in cells(page.read_text())
    assert (tmp_path / "run" / "README.md").read_text().count("\n| **shm** (bridge) | ") == len(DIRECTIONS)
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"README.md", "latency.svg", "results.json"}


def test_the_charts_are_those_of_the_result_set(kept: Results, folder: Path) -> None:
    for name in readme.charts(kept):
        assert (folder / f"{name}.svg").read_text() == render_svg(kept, name)


def test_the_result_set_is_a_whole_run_of_a_commit_as_its_schema_says(kept: Results) -> None:
    jsonschema.validate(json.loads(json.dumps(kept)), json.loads((ROOT / "bench" / "results.schema.json").read_text()))
    assert kept["meta"]["complete"]
    assert not kept["meta"]["dirty"]
    assert kept["meta"]["rounds"] >= 10
    assert {row["direction"] for row in kept["rows"] if row["peer"] == "shm"} == {"py->ts", "ts->py"}


def test_a_figure_that_was_altered_by_hand_is_noticed(kept: Results, folder: Path) -> None:
    altered = {**kept, "rows": [{**row, "p50_us": (row["p50_us"] or 0) * 2 + 1} for row in kept["rows"]]}
    assert readme.all_peers(altered, folder) != (folder / readme.ALL_PEERS).read_text()  # type: ignore[arg-type]
    assert readme.figures(altered, folder) not in README.read_text()  # type: ignore[arg-type]  # the keys are the same


def test_a_readme_without_the_marks_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="nowhere to put the figures"):
        readme.update(folder, tmp_path / "README.md")

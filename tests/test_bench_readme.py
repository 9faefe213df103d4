"""The figures in README.md are measured ones: those of a result set that is in the repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import jsonschema
import pytest

from bench import readme, results
from bench.report import render_svg
from bench.results import Results

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the result set is that README.md names."""
    names: set[str] = set(re.findall(r"bench/results/[\w.-]+(?=/report\.html)", README.read_text()))
    assert len(names) == 1
    return ROOT / names.pop()


@pytest.fixture(scope="module")
def kept(folder: Path) -> Results:
    """The result set that README.md names."""
    return results.read(folder)


def test_the_figures_are_those_of_the_result_set(kept: Results, folder: Path) -> None:
    assert f"{readme.BEGIN}\n{readme.figures(kept, folder)}\n{readme.END}" in README.read_text()


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
    assert readme.figures(altered, folder) not in README.read_text()  # type: ignore[arg-type]  # the keys are the same


def test_a_readme_without_the_marks_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="nowhere to put the figures"):
        readme.update(folder, tmp_path / "README.md")

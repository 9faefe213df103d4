"""The README is true: its commands work as printed, and its settings are the ones the code reads."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from services import Services

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CURLS = re.findall(r"^curl .*$", README, re.MULTILINE)
SOURCES = ("shm_protocol/python/shm_protocol", "shm_protocol/node/src", "python_side", "node_side")
VARIABLE = re.compile(r"\bSHM_POLYGLOT_[A-Z_]+\b|\bWEB_CONCURRENCY\b")
# Read by the tests and by CI, not by a user's program.
FOR_TESTS = {"SHM_POLYGLOT_REQUIRE_ENGINE", "SHM_POLYGLOT_SHARED"}


def test_every_curl_of_the_readme_is_answered_with_json_and_status_200() -> None:
    assert len(CURLS) >= 4
    with Services() as services:
        for line in CURLS:
            here = line.replace("localhost:3000", services.node_url).replace("localhost:5000", services.python_url)
            command = [*shlex.split(here), "--fail-with-body", "--max-time", "30"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            assert "error" not in json.loads(done.stdout)


def test_the_table_of_settings_is_exactly_what_the_code_reads() -> None:
    start = README.index("## Configuration")
    table = README[start : README.index("## ", start + 1)]
    read: set[str] = set()
    for folder in SOURCES:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".ts"} and not {"dist", "test", "node_modules"} & set(file.parts):
                read |= set(VARIABLE.findall(file.read_text()))
    assert set(VARIABLE.findall(table)) == read - FOR_TESTS


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)", README))
def test_every_file_the_readme_links_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()

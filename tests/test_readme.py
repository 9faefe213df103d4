"""The README is true: its commands work as printed, and its settings are the ones the code reads."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
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


def test_the_examples_of_the_readme_run_and_say_what_they_promise(tmp_path: Path) -> None:
    (typescript,) = re.findall(r"```ts\n(.*?)```", README, re.DOTALL)
    connect, serve, with_asyncio = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "example.ts").write_text(typescript)
    shutil.copy(ROOT / "node_side" / "typescript_utils.ts", tmp_path)
    configuration = {"extends": str(ROOT / "tsconfig.base.json"), "compilerOptions": {"noEmit": True}}
    (tmp_path / "tsconfig.json").write_text(json.dumps(configuration))
    environment = {**os.environ, "SHM_POLYGLOT_DIR": str(tmp_path / "run")}
    ts_node = [str(ROOT / "node_modules" / ".bin" / "ts-node"), "example.ts"]
    node = subprocess.Popen(ts_node, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    worker = subprocess.Popen([sys.executable, "-c", serve], cwd=ROOT, env=environment)
    try:
        assert node.stdout is not None
        first_line = node.stdout.readline()
        assert "'positive'" in first_line + node.stdout.readline()
        for program, promised in ((connect, ["hello-world", "x"]), (with_asyncio, ["['hello-world', 'x']"])):
            done = subprocess.run(
                [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.stdout.splitlines() == promised, done.stderr
    finally:
        for process in (worker, node):
            process.terminate()
            process.wait()
        assert node.stdout is not None
        node.stdout.close()


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

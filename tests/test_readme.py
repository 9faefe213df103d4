"""The README is true: its commands work as printed, and its settings are the ones the code reads."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import http_client
import pytest
from services import HANG_S, Services

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SOURCES = ("shm_protocol/python/shm_protocol", "shm_protocol/node/src", "python_side", "node_side")
VARIABLE = re.compile(r"\bSHM_POLYGLOT_[A-Z_]+\b|\bWEB_CONCURRENCY\b")
# Read by the tests and by CI, not by a user's program.
FOR_TESTS = {"SHM_POLYGLOT_REQUIRE_ENGINE", "SHM_POLYGLOT_SHARED"}
# Set by the library itself, for the children that it starts.
OF_CHILDREN = {"SHM_POLYGLOT_CHILD_CHAIN"}
# Keys of a Flask app's configuration, which docs/flask.md lists: no variables of the environment.
OF_FLASK = {f"SHM_POLYGLOT_{key}" for key in ("CONNECT_TIMEOUT", "WAIT", "NAME")}


def test_every_curl_of_the_readme_is_answered_as_printed() -> None:
    asked = re.findall(r"^\$ (curl .*)\n(.*)$", README[: README.index("## Use it")], re.MULTILINE)
    assert len(asked) == 3
    with Services() as services:
        for line, printed in asked:
            here = line.replace("localhost:3000", services.node_url).replace("localhost:5000", services.python_url)
            command = [*shlex.split(here), "--fail-with-body", "--max-time", f"{HANG_S:.0f}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            assert without_times(done.stdout) == without_times(printed), line


def without_times(text: str) -> object:
    answer = json.loads(text)
    answer.pop("timestamp", None)
    return answer


def test_the_project_of_the_readme_runs_and_says_what_is_promised(tmp_path: Path) -> None:
    section = README[README.index("## Use it in your project") : README.index("## Limits")]
    (typescript,) = re.findall(r"```ts\n(.*?)```", section, re.DOTALL)
    ml, app = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    run, answer = re.findall(r"\$ (shm-polyglot run.*)\n\$ curl.*\n(.*)\n", section)[0]
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "package.json").write_text('{"devDependencies": {"ts-node": "*"}}')
    configuration = {"extends": str(ROOT / "tsconfig.base.json"), "compilerOptions": {"noEmit": True}}
    (tmp_path / "tsconfig.json").write_text(json.dumps(configuration))
    (tmp_path / "server.ts").write_text(typescript)
    (tmp_path / "ml.py").write_text(ml)
    (tmp_path / "app.py").write_text(app)
    environment = {**os.environ, "SHM_POLYGLOT_DIR": str(tmp_path / "run")}
    command = [str(Path(sys.executable).parent / "shm-polyglot"), *shlex.split(run)[1:], "--port", "0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        url, is_called, said = "", False, ""
        while not (url and is_called):
            line = process.stdout.readline()
            assert line, said
            said += line
            is_called = is_called or "2 + 3 = 5" in line
            url = url or "".join(re.findall(r"python serves (http://\S+)", line))
        assert http_client.get(f"{url}/shout/hello").json() == json.loads(answer)
    finally:
        process.terminate()
        process.communicate()


def test_the_figures_that_the_readme_begins_with_are_those_of_its_results() -> None:
    (kept,) = set(re.findall(r"\]\((bench/results/[^)]*/results\.json)\)", README))
    results = json.loads((ROOT / kept).read_text())
    predict = {
        row["peer"]: row for row in results["rows"] if (row["direction"], row["workload"]) == ("py->ts", "predict")
    }
    told = (
        f"**{predict['shm']['p50_us']:.1f} µs**",
        f"**{predict['uds-msgpack']['ratio_to_shm']:.0f} times**",
        f"**{predict['http-keepalive']['ratio_to_shm']:.0f} times**",
        f"**{results['idle_cpu_percent']:.2f} %**",
    )
    begin = README[: README.index("## ")]
    assert [text for text in told if text not in begin] == []


def settings_of_the_table() -> set[str]:
    start = README.index("## Configuration")
    return set(VARIABLE.findall(README[start : README.index("## ", start + 1)]))


def read_in(*folders: str) -> set[str]:
    """The settings that the code in these folders names."""
    read: set[str] = set()
    for folder in folders:
        for file in (ROOT / folder).rglob("*"):
            # Wherever the checkout is.
            parts = set(file.relative_to(ROOT).parts)
            if file.suffix in {".py", ".ts"} and not {"dist", "test", "tests", "node_modules"} & parts:
                read |= set(VARIABLE.findall(file.read_text()))
    return read


def test_the_table_of_settings_is_exactly_what_the_code_reads() -> None:
    assert settings_of_the_table() == read_in(*SOURCES) - FOR_TESTS - OF_CHILDREN - OF_FLASK


@pytest.mark.parametrize(
    ("service", "sources", "other"), [("node", SOURCES[1::2], "PYTHON"), ("python", SOURCES[::2], "NODE")]
)
def test_compose_passes_on_every_setting_of_the_table_that_its_service_reads(
    service: str, sources: Sequence[str], other: str
) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    start = compose.index(f"  {service}:\n")
    block = compose[start : compose.index("\n\n", start)]
    passed_on = set(VARIABLE.findall(block))
    of_the_other = {name for name in settings_of_the_table() if name.startswith(f"SHM_POLYGLOT_{other}_")}
    assert passed_on == settings_of_the_table() & read_in(*sources) - of_the_other


def test_compose_publishes_ports_on_loopback_alone_where_nothing_else_is_asked_for() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    published = re.findall(r'- "(.*:\d+)"$', compose, re.MULTILINE)
    assert len(published) == 2
    for port in published:
        assert re.match(r"\$\{SHM_POLYGLOT_(NODE|PYTHON)_HOST:-127\.0\.0\.1\}:", port), port

"""Descriptions that are carried: two containers import each other, and neither has the other's language or files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest
import typescript_project
from services import ROOT
from test_imports_of_python import MACHINE_NODE, NODES

HANG_S: Final = 120.0
ML: Final = "def add(a: int, b: int = 40) -> int:\n    return a + b\n"
UTILS: Final = "/** Shouts. */\nexport function upper(text: string): string { return text.toUpperCase() }\n"
COMPILED: Final = '"use strict";\nexports.upper = (text) => text.toUpperCase();\n'

MAIN: Final = """
async function main() {
  const quiet = { info() {}, warn() {}, error() {} };
  const bridge = await listen({ expose: { somewhere: utils }, log: quiet });
  const env = { ...process.env, PATH: "" };
  const worker = spawn(process.env.PYTHON, ["-c", process.env.WORKER], { cwd: "python", env, stdio: "inherit" });
  await once(bridge, "connect");
  console.log(await add(2), await add(2, 3));
  const client = spawn(process.env.PYTHON, ["-c", process.env.CLIENT], { cwd: "python", env, stdio: "inherit" });
  console.log(await once(client, "exit"));
  worker.kill();
  await once(worker, "exit");
  await bridge.close();
}
void main();
"""
TOP: Final = f"""
import {{ spawn }} from "node:child_process";
import {{ once }} from "node:events";
import {{ listen }} from "@shm-polyglot/protocol";
import utils from "../node_side/utils.js";
import {{ add }} from "../python_side/ml.py";
{MAIN}"""
INNER: Final = f"""
require("@shm-polyglot/protocol/register");
const {{ spawn }} = require("node:child_process");
const {{ once }} = require("node:events");
const {{ listen }} = require("@shm-polyglot/protocol");
const utils = require("../node_side/utils.js");
const {{ add }} = require("../python_side/ml.py");
{MAIN}"""
WORKER: Final = """
import shm_protocol
from python_side import ml
shm_protocol.serve(expose={"learning": ml})
"""
CLIENT: Final = """
import inspect
import shm_protocol.typescript
from node_side import utils
print(utils.upper("love"), inspect.signature(utils.upper), utils.upper.__doc__)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with descriptions."""
    sources = tmp_path_factory.mktemp("sources")
    for file, text in (("python_side/ml.py", ML), ("node_side/utils.ts", UTILS)):
        (sources / file).parent.mkdir(parents=True)
        (sources / file).write_text(text)
    (sources / "node_modules").symlink_to(ROOT / "node_modules")
    command = [sys.executable, "-m", "shm_protocol", "types", "--carried", "python_side/ml.py", "node_side/utils.ts"]
    subprocess.run(command, cwd=sources, check=True, timeout=HANG_S)
    return sources


@pytest.fixture
def images(sources: Path, tmp_path: Path) -> Path:
    """Node's image: JavaScript, and of Python a description. In its folder `python` is Python's image, likewise."""
    image = tmp_path / "app"
    for folder in ("main", "node_side", "python_side", "python/node_side", "python/python_side"):
        (image / folder).mkdir(parents=True)
    (image / "node_modules").symlink_to(ROOT / "node_modules")
    (image / "main" / "top.mjs").write_text(TOP)
    (image / "main" / "inner.cjs").write_text(INNER)
    (image / "node_side" / "utils.js").write_text(COMPILED)
    (image / "python_side" / "ml.py.json").write_bytes((sources / "python_side" / "ml.py.json").read_bytes())
    (image / "python" / "python_side" / "ml.py").write_text(ML)
    (image / "python" / "node_side" / "utils.ts.json").write_bytes(
        (sources / "node_side" / "utils.ts.json").read_bytes()
    )
    return image


@pytest.mark.parametrize(
    "node", NODES, ids=lambda node: "the machine's" if node == MACHINE_NODE else node.split("/")[-3]
)
@pytest.mark.parametrize("main", ["top.mjs", "inner.cjs"])
def test_without_the_other_s_files_and_language_each_imports_and_calls_the_other(
    images: Path, main: str, node: str
) -> None:
    if node != MACHINE_NODE and not Path(node).exists():
        pytest.skip("newer ones are installed by make test-newest")
    register = ["--import", "@shm-polyglot/protocol/register"] if main == "top.mjs" else []
    with tempfile.TemporaryDirectory(prefix="shmp-") as directory:
        done = subprocess.run(
            [node, *register, f"main/{main}"],
            cwd=images,
            env={
                **os.environ,
                "SHM_POLYGLOT_DIR": f"{directory}/run",
                "SHM_POLYGLOT_CHILD": "0",
                "SHM_POLYGLOT_PYTHON": "/no/such/python",
                "PYTHON": sys.executable,
                "WORKER": WORKER,
                "CLIENT": CLIENT,
            },
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["42 5", "LOVE (text: 'str') -> 'str' Shouts.", "[ 0, null ]"], done.stderr


def test_a_description_of_another_layout_is_refused_by_name(images: Path) -> None:
    for file in (images / "python_side" / "ml.py.json", images / "python" / "node_side" / "utils.ts.json"):
        file.write_text(file.read_text().replace('"layout": 1', '"layout": 2'))
    python = typescript_project.run(CLIENT, images / "python", PATH="")
    assert "utils.ts.json is no description that this version of shm-polyglot reads: write it again" in python.stderr
    node = subprocess.run(
        ["node", "main/inner.cjs"],
        cwd=images,
        env={**os.environ, "SHM_POLYGLOT_PYTHON": "/no/such/python"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert "ml.py.json is no description that this version of @shm-polyglot/protocol reads" in node.stderr


def test_what_is_there_is_read_and_not_what_was_carried(images: Path) -> None:
    (images / "python_side" / "ml.py").write_text("def multiply(a: int, b: int) -> int:\n    return a * b\n")
    done = subprocess.run(
        [
            "node",
            "-e",
            'require("@shm-polyglot/protocol/register"); console.log(Object.keys(require("./python_side/ml.py")))',
        ],
        cwd=images,
        env={**os.environ, "SHM_POLYGLOT_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.stdout == "[ 'multiply' ]\n", done.stderr


def test_the_showcase_s_types_and_descriptions_are_those_of_its_sources() -> None:
    files = ("python_side/ml_service.py", "python_side/benchmark.py", "node_side/typescript_utils.ts")
    assert all((ROOT / f"{file}.json").is_file() for file in files)
    done = subprocess.run(
        [sys.executable, "-m", "shm_protocol", "types", "--check", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""Modules of the other language that are edited while a program uses them: SHM_POLYGLOT_WATCH=1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
import typescript_project
from running import until
from shm_protocol import PeerGone, UnknownMethod, children
from typescript_project import HANG_S, ROOT

ML = """
import asyncio
import helper
from helper import name

VERSION = {version}
is_released = False

class Model:
    def tell(self):
        return VERSION

    def let_go(self):
        global is_released
        is_released = True

model = Model()

def make() -> Model:
    return Model()

def version():
    return VERSION, name(), helper.name()

{kind}def changes():
    return "{kind}"

async def wait():
    while not is_released:
        await asyncio.sleep(0.001)
    return VERSION

{more}
"""
HELPER = 'def name():\n    return "helper {version}"\n'

PROGRAM = """
const { load } = require("@shm-polyglot/protocol");
const { createInterface } = require("node:readline");

async function main() {
  const ml = await load("./ml.py");
  const kept = { made: await ml.make() };
  console.log(JSON.stringify("ready"));
  for await (const line of createInterface({ input: process.stdin })) {
    const run = new Function("ml", "kept", "load", `return ${line}`);
    const told = (error) => `${error.name}: ${error.message}`;
    try {
      console.log(JSON.stringify((await run(ml, kept, load)) ?? null));
    } catch (error) {
      console.log(JSON.stringify(told(error)));
    }
  }
}
void main();
"""

UTILS = """import {{ name }} from "./helper";
import {{ registerError }} from "@shm-polyglot/protocol";

class Refused extends Error {{}}
registerError("utils.Refused", Refused);

const waiting = globalThis as {{ letGo?: () => void }};
export function version(): string {{ return `{version} ${{name()}}` }}
export async function wait(): Promise<number> {{
  await new Promise<void>((resolve) => {{ waiting.letGo = resolve; }});
  return {version};
}}
export function isWaiting(): boolean {{ return waiting.letGo !== undefined }}
export function letGo(): void {{ waiting.letGo?.(); }}
export class Store {{ tell(): number {{ return {version} }} }}
export const store = new Store();
{more}
"""


class Program:
    """A Node program that uses ml.py, and does what it is told."""

    def __init__(self, folder: Path) -> None:
        scope = folder / "node_modules" / "@shm-polyglot"
        scope.mkdir(parents=True)
        (scope / "protocol").symlink_to(ROOT / "shm_protocol" / "node")
        (folder / "program.js").write_text(PROGRAM)
        environment = {"SHM_POLYGLOT_WATCH": "1", "SHM_POLYGLOT_PYTHON": sys.executable, "VIRTUAL_ENV": ""}
        self.errors = folder / "errors"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                ["node", "program.js"],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._read() == "ready", self.errors.read_text()

    def run(self, expression: str) -> Any:
        """What an expression gives there."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{expression}\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        return json.loads(line)

    def until(self, expression: str, result: Any) -> None:
        """Waits until it gives that."""
        until(
            lambda: bool(self.run(expression) == result), lambda: f"{self.run(expression)}\n{self.errors.read_text()}"
        )


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    write(tmp_path / "helper.py", HELPER.format(version=1))
    write(tmp_path / "ml.py", ML.format(version=1, kind="", more="def gone():\n    return 1\n"))
    program = Program(tmp_path)
    with program.process as process:
        try:
            yield program
        finally:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(HANG_S) == 0, program.errors.read_text()


def write(file: Path, text: str) -> None:
    """As editors do: another file takes its place."""
    other = file.with_name(f"{file.name}~")
    other.write_text(text)
    other.replace(file)


def write_unnoticed(file: Path, text: str) -> None:
    """As tools do that keep a file's time: of the same size, and in its place."""
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_edited_python_is_loaded_again_and_calls_under_way_and_objects_stay(program: Program, tmp_path: Path) -> None:
    assert program.run("ml.version()") == [1, "helper 1", "helper 1"]
    program.run("void (kept.call = ml.wait())")
    write(tmp_path / "ml.py", ML.format(version=2, kind="", more="def added():\n    return 2\n"))
    program.until("ml.version()", [2, "helper 1", "helper 1"])
    assert program.run("ml.model.tell()") == 2
    assert program.run("kept.made.tell()") == 1
    assert program.run("kept.made.tell().then(() => ml.make()).then((made) => made.tell())") == 2
    assert program.run("ml.gone()").startswith("UnknownMethod: ml.gone: nothing of that name is exposed")
    assert program.run('load("./ml.py").then((again) => again.added())') == 2
    # What it waits for is the old module's, as is the object.
    assert program.run("kept.made.let_go().then(() => kept.call)") == 1
    assert "ml.py: loaded again\n" in program.errors.read_text()


def test_what_edited_python_imports_is_loaded_again_with_whoever_imports_from_it(
    program: Program, tmp_path: Path
) -> None:
    write(tmp_path / "helper.py", HELPER.format(version=2))
    program.until("ml.version()", [1, "helper 2", "helper 2"])


def test_an_edit_of_python_that_keeps_the_file_s_size_and_time_is_seen(program: Program, tmp_path: Path) -> None:
    write_unnoticed(tmp_path / "helper.py", HELPER.format(version=2))
    program.until("ml.version()", [1, "helper 2", "helper 2"])


@pytest.mark.parametrize("wrong", ["def version(:\n", "raise RuntimeError('not today')\n", "import sys\nsys.exit(3)\n"])
def test_python_that_cannot_be_loaded_again_goes_on_as_it_was_and_is_told(
    program: Program, tmp_path: Path, wrong: str
) -> None:
    write(tmp_path / "helper.py", f"# a line\n{wrong}")
    until(lambda: "goes on as it was" in program.errors.read_text(), program.errors.read_text)
    told = program.errors.read_text()
    assert f'{tmp_path / "helper.py"}", line ' in told or "SystemExit: 3" in told
    assert program.run("ml.version()") == [1, "helper 1", "helper 1"]
    write(tmp_path / "helper.py", HELPER.format(version=3))
    program.until("ml.version()", [1, "helper 3", "helper 3"])


def test_python_whose_names_cannot_be_exposed_goes_on_as_it_was_for_whoever_imports_it_too(
    program: Program, tmp_path: Path
) -> None:
    write(tmp_path / "ml.py", ML.format(version=2, kind="", more="__all__ = ['nobody']\n"))
    until(lambda: "goes on as it was" in program.errors.read_text(), program.errors.read_text)
    assert "its __all__ lists 'nobody', but the module has none of that name" in program.errors.read_text()
    assert program.run("ml.version()") == [1, "helper 1", "helper 1"]
    write(tmp_path / "user.py", "import ml\n\ndef version():\n    return ml.VERSION\n")
    assert program.run('load("./user.py").then((user) => user.version())') == 1


def test_a_function_may_become_asynchronous_and_plain_again(program: Program, tmp_path: Path) -> None:
    for kind in ("async ", "", "async "):
        write(tmp_path / "ml.py", ML.format(version=1, kind=kind, more=""))
        program.until("ml.changes()", kind)
    assert program.run("Promise.all(Array.from({ length: 20 }, () => ml.changes()))") == ["async "] * 20


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Those that other tests of this process have started do not watch.
    children._close_all()
    monkeypatch.setenv("SHM_POLYGLOT_WATCH", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = typescript_project.make(tmp_path)
    write(folder / "helper.ts", 'export const name = (): string => "helper 1";\n')
    write(folder / "utils.ts", UTILS.format(version=1, more="export function gone(): number { return 1 }"))
    return folder


def loads(utils: Any, result: str) -> None:
    """Waits until it is what has been loaded."""
    until(lambda: bool(utils.version() == result), lambda: str(utils.version()))


def test_edited_typescript_is_loaded_again_and_calls_under_way_and_objects_stay(modules: Path) -> None:
    utils: Any = shm_protocol.load(modules / "utils.ts", timeout=HANG_S)
    assert utils.version() == "1 helper 1"
    made = utils.Store()
    with ThreadPoolExecutor() as pool:
        call = pool.submit(utils.wait)
        until(utils.isWaiting, lambda: "the call is there")
        write(modules / "utils.ts", UTILS.format(version=2, more="export function added(): number { return 2 }"))
        loads(utils, "2 helper 1")
        utils.letGo()
        assert call.result(HANG_S) == 1
    assert (made.tell(), utils.store.tell(), utils.Store().tell()) == (1, 2, 2)
    assert utils.added() == 2
    with pytest.raises(AttributeError, match=r"has no attribute 'gone': there are .*added"):
        _ = utils.gone
    # What it requires is loaded again with whoever requires it.
    added: Callable[[], int] = utils.added
    write(modules / "helper.ts", 'export const name = (): string => "helper 2";\n')
    loads(utils, "2 helper 2")
    write(modules / "utils.ts", UTILS.format(version=3, more=""))
    loads(utils, "3 helper 2")
    with pytest.raises(UnknownMethod, match=r"utils\.added"):
        added()


def test_an_edit_of_typescript_that_keeps_the_file_s_size_and_time_is_seen(modules: Path) -> None:
    utils: Any = shm_protocol.load(modules / "utils.ts", timeout=HANG_S)
    assert utils.version() == "1 helper 1"
    write_unnoticed(modules / "helper.ts", 'export const name = (): string => "helper 2";\n')
    loads(utils, "1 helper 2")


def test_what_cannot_be_loaded_again_goes_on_as_it_was_and_is_told(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    utils: Any = shm_protocol.load(modules / "utils.ts")
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return "helper.ts: not loaded again, goes on as it was" in "".join(told)

    for edition, wrong in enumerate(
        ("export function (\n", "throw new Error('not today');\n", "process.exit(3);\n"), 2
    ):
        before = utils.version()
        told.clear()
        write(modules / "helper.ts", wrong)
        until(is_told, lambda: "".join(told))
        assert utils.version() == before
        write(modules / "helper.ts", f'export const name = (): string => "helper {edition}";\n')
        loads(utils, f"1 helper {edition}")


def test_an_ecmascript_module_that_would_end_the_program_goes_on_as_it_was_and_may_end_it_later(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exits = "export const end = (): never => process.exit(4);\n"
    write(modules / "ends.mts", f"export const version = (): number => 1;\n{exits}")
    ends: Any = shm_protocol.load(modules / "ends.mts")
    assert ends.version() == 1
    write(modules / "ends.mts", "await null;\nprocess.exit(3);\nexport const version = (): number => 2;\n")
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return "ends.mts: not loaded again, goes on as it was" in "".join(told)

    until(is_told, lambda: "".join(told))
    assert "Error: process.exit(3) while it is loaded\n" in "".join(told)
    assert ends.version() == 1
    write(modules / "ends.mts", f"export const version = (): number => 3;\n{exits}")
    until(lambda: bool(ends.version() == 3), lambda: str(ends.version()))
    with pytest.raises(PeerGone, match="Node has ended with exit code 4"):
        ends.end()


def test_of_several_that_are_to_be_loaded_again_all_are_or_none(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = 'import { name } from "./helper";\nif (name() === "helper 2") throw new Error("not today");\n'
    write(modules / "other.ts", f"{other}export const told = (): string => name();\n")
    utils: Any = shm_protocol.load(modules / "utils.ts")
    others: Any = shm_protocol.load(modules / "other.ts")
    assert (utils.version(), others.told()) == ("1 helper 1", "helper 1")
    write(modules / "helper.ts", 'export const name = (): string => "helper 2";\n')
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return "helper.ts: not loaded again, goes on as it was" in "".join(told)

    until(is_told, lambda: "".join(told))
    assert (utils.version(), others.told()) == ("1 helper 1", "helper 1")
    write(modules / "helper.ts", 'export const name = (): string => "helper 3";\n')
    loads(utils, "1 helper 3")
    assert others.told() == "helper 3"


def test_javascript_that_only_tells_its_names_when_it_runs_keeps_them_and_has_those_that_are_new(modules: Path) -> None:
    write(modules / "plain.js", 'exports["on" + "e"] = () => 1;\n')
    plain: Any = shm_protocol.load(modules / "plain.js")
    with pytest.raises(AttributeError, match=r"has no attribute 'two': there are one"):
        _ = plain.two
    assert plain.one() == 1
    write(modules / "plain.js", 'exports["on" + "e"] = () => 1;\nexports["tw" + "o"] = () => 2;\n')
    until(lambda: hasattr(plain, "two"), lambda: str(plain.__all__))
    assert (plain.one(), plain.two()) == (1, 2)

"""TypeScript imports a Python file: what that gives, who runs it, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from running import until
from services import ROOT

REGISTER: Final = ("--import", "@shm-polyglot/protocol/register")
TS_NODE: Final = ROOT / "node_modules" / ".bin" / "ts-node"
LIBRARY: Final = ROOT / "shm_protocol" / "node"
HANG_S: Final = 60

ML: Final = '''
"""Learns."""
import asyncio, atexit, enum, os, sys, time
from collections.abc import AsyncIterator, Iterator
from typing import Literal, TypedDict

VERSION = "v1"
LIMITS = {"a": [1, 2]}
counter = 0

class Prediction(TypedDict):
    label: Literal["good", "bad"]

class Colour(enum.StrEnum):
    RED = "red"

class Model:
    def __init__(self, word: str) -> None:
        self.word = word
        self.seen = 0
    def predict(self, text: str) -> Prediction:
        self.seen += 1
        return {"label": "good" if self.word in text else "bad"}
    def count(self) -> int:
        return self.seen
    @staticmethod
    def names() -> list[str]:
        return ["model"]

    @classmethod
    def made(cls, *, word: str = "made") -> "Model":
        return cls(word)
    def like(self, other: "Model | None" = None, /, *, word: str | None = None) -> "Model":
        return Model(word or (other or self).word)

model = Model("love")

def is_model(value) -> bool: return value is model

def the_model(): return model

def each(items: list[int], of) -> list[int]: return [item for item in items if item]

def told(*args, first=1, **more): return [list(args), first, more]

def placed(a, b=2, c=3, /, d=4): return [a, b, c, d]

def called(function): return function(2)

def add(a: int, b: int = 40) -> int:
    return a + b

def delete(x): return ["deleted", x]

def then(a, b): return "never"

def numbers(to: int) -> Iterator[int]:
    for number in range(to):
        yield number

async def slow_numbers(to: int) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(0)
        yield number

_met = 0
async def meet(of: int) -> str:
    """Returns once so many are here at once."""
    global _met
    _met += 1
    while _met < of:
        await asyncio.sleep(0.001)
    return "met"

def bump() -> None:
    global counter
    counter += 1

def fail() -> None:
    raise ValueError("no such thing")

def pid() -> int:
    return os.getpid()

def sleep(seconds: float) -> None:
    time.sleep(seconds)

def die() -> None:
    for line in range(30):
        print(f"line {line}", file=sys.stderr)
    os._exit(7)

def print_at_exit() -> None:
    atexit.register(print, "the child ends")
    print("printed")
'''


class Project:
    """A folder with a Python file, and Node programs beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scope = folder / "node_modules" / "@shm-polyglot"
        scope.mkdir(parents=True)
        (scope / "protocol").symlink_to(LIBRARY)
        (folder / "node_modules" / "@types").mkdir()
        (folder / "node_modules" / "@types" / "node").symlink_to(ROOT / "node_modules" / "@types" / "node")
        (folder / "node_modules" / "undici-types").symlink_to(ROOT / "node_modules" / "undici-types")
        self.write("ml.py", ML)
        self.temporary = Path(tempfile.mkdtemp(prefix="shmp-"))
        weakref.finalize(self, shutil.rmtree, self.temporary, ignore_errors=True)
        unwanted = ("SHM_POLYGLOT_CHILD", "NODE_OPTIONS", "VIRTUAL_ENV")
        self.environment = {name: value for name, value in os.environ.items() if name not in unwanted} | {
            "SHM_POLYGLOT_PYTHON": sys.executable,
            "SHM_POLYGLOT_DIR": str(self.temporary / "run"),
            "TMPDIR": str(self.temporary),
        }

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        file = self.folder / name
        file.write_text(text)
        return file

    def start(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """A program whose output is read."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *command: str | Path, fails: bool = False, environment: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """What a program has printed, and what it has said to stderr."""
        with self.start(*command, environment=environment) as process:
            try:
                out, err = process.communicate(timeout=HANG_S)
            finally:
                process.kill()
        assert (process.returncode != 0) == fails, f"exit code {process.returncode}\n{out}\n{err}"
        return out, err

    def module(self, source: str, **options: Any) -> tuple[str, str]:
        """The same of an ES module that may import Python."""
        name = f"program{len(list(self.folder.iterdir()))}.mjs"
        return self.run("node", *REGISTER, self.write(name, source), **options)

    def result(self, source: str, **options: Any) -> Any:
        """What an ES module gives in `result`."""
        out, _ = self.module(f"let result;\n{source}\nconsole.log(JSON.stringify(result));", **options)
        return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Of all tests: files are only added."""
    made = Project(tmp_path_factory.mktemp("project"))
    yield made
    left = [path for path in made.temporary.iterdir() if path.name.startswith("shm-polyglot-child-")]
    assert not left, "the children's directories are removed"


def test_two_files_in_an_empty_folder_run_with_plain_ts_node(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ml.py", "def add(a, b):\n    return a + b\n")
    project.write("tsconfig.json", json.dumps({"ts-node": {"require": ["@shm-polyglot/protocol/register"]}}))
    main = 'import { add } from "./ml.py";\nvoid (async () => { console.log(await add(2, 3)); })();\n'
    project.write("main.ts", main)
    assert project.run(TS_NODE, "main.ts") == ("5\n", "")


def test_the_first_example_of_its_page_runs_as_it_is_printed(project: Project) -> None:
    page = (ROOT / "docs" / "import-python.md").read_text()
    project.write("tsconfig.json", json.dumps({"ts-node": {"require": [REGISTER[1]]}}))
    main = project.write("main.ts", page.partition("```ts\n")[2].partition("```")[0])
    assert project.run(TS_NODE, main) == ("5 { label: 'good' }\n", "")


def test_ts_node_finds_planted_errors_by_the_declarations_that_are_there(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("ml.d.py.ts", "export declare function add(a: number, b?: number): Promise<number>;\n")
    project.write("tsconfig.json", json.dumps({"ts-node": {"require": ["@shm-polyglot/protocol/register"]}}))
    project.write("main.ts", 'import { add } from "./ml.py";\nvoid add("two");\nconst x: number = 1;\nvoid x;\n')
    _, said = project.run(TS_NODE, "main.ts", fails=True)
    assert "main.ts(2,10): error TS2345" in said


def test_an_import_gives_functions_objects_constants_enums_and_streams(project: Project) -> None:
    given = project.result("""
import * as ml from "./ml.py";
import { add, delete as remove, model, Model, numbers, slow_numbers } from "./ml.py";
import { VERSION, LIMITS, Colour, Prediction } from "./ml.py";
const all = async (items) => { const got = []; for await (const item of items) got.push(item); return got; };
result = {
  added: [await add(2), await add(2, 3), await add(2, undefined)],
  constants: [VERSION, LIMITS, Colour, Object.isFrozen(LIMITS.a)],
  type: [Prediction, "Prediction" in ml, "then" in ml, "counter" in ml],
  model: [await model.predict("I love it"), await model.predict("I do not"), await model.count()],
  names: await Model.names(),
  reserved: await remove(1),
  streams: [await all(numbers(3)), await all(slow_numbers(3))],
  printed: add.name,
};
for await (const number of numbers(1e9)) if (number === 5) break;
result.meets = await Promise.all([ml.meet(3), ml.meet(3), ml.meet(3)]);
""")
    assert given == {
        "added": [42, 5, 42],
        "constants": ["v1", {"a": [1, 2]}, {"RED": "red"}, True],
        "type": [None, True, False, False],
        "model": [{"label": "good"}, {"label": "bad"}, 2],
        "names": ["model"],
        "reserved": ["deleted", 1],
        "streams": [[0, 1, 2], [0, 1, 2]],
        "printed": "add",
        "meets": ["met", "met", "met"],
    }


def test_what_is_given_by_name_is_an_object_behind_the_others(project: Project) -> None:
    given = project.result("""
import { add, told, placed } from "./ml.py";
result = [
  await told(1, 2, { first: 3, other: 4 }), await told(), await told({ first: undefined }), await told(1, [2]),
  await placed(1, undefined, undefined, undefined), await placed(1, 5, undefined, 6), await add(1, undefined),
];
result.push(await placed(1, undefined, 7).catch(({ name }) => name));
result.push(await add().catch(({ type, message }) => `${type}: ${message}`));
""")
    assert given == [
        [[1, 2], 3, {"other": 4}],
        [[], 1, {}],
        [[], 1, {}],
        [[1, [2]], 1, {}],
        [1, 2, 3, 4],
        [1, 5, 3, 6],
        41,
        "TypeError",
        "TypeError: ml.add takes 1 to 2 arguments, and was given 0",
    ]


def test_an_object_that_is_no_value_stays_in_python_until_it_is_let_go_of(project: Project) -> None:
    given = project.result("""
import { Model, is_model, model, the_model, called } from "./ml.py";
const made = await new Model("hate");
const other = await Model.made({ word: "other" });
const third = await made.like(other, { word: "third" });
result = [
  await made.predict("I hate it"), await made.count(), await other.predict("no"),
  await third.predict("third"), await (await made.like(other)).predict("other"),
  await is_model(await the_model()), await (await the_model()).count(), await called(async (x) => x + 1),
];
made.dispose();
result.push(await made.count().catch(({ code }) => code), await other.count());
""")
    good, bad = {"label": "good"}, {"label": "bad"}
    assert given == [good, 1, bad, good, good, True, 0, 3, "Released", 1]


AWAITED: Final = """
import asyncio
from collections.abc import AsyncIterator

class Box:
    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._items: asyncio.Queue[int] = asyncio.Queue()
        self.closed = 0
    async def wait(self) -> str:
        await self._changed.wait()
        return "changed"
    async def change(self) -> None:
        self._changed.set()
    async def put(self, item: int) -> None:
        self._items.put_nowait(item)
    async def items(self, to: int) -> AsyncIterator[int]:
        try:
            for _ in range(to):
                yield await self._items.get()
        finally:
            self.closed += 1
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number
    async def breaks(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("no such item")
    async def odd(self) -> AsyncIterator[object]:
        yield 1
        yield {1, 2}
    async def twice(self, function) -> int:
        return await function(1) + await function(20)
    async def fail(self) -> None:
        raise ValueError("no such thing")
    async def sleep(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            self.closed += 1
    def ends(self) -> int:
        return self.closed
    def told(self, function) -> int:
        return function()

def made() -> Box: return Box()

def later(): return asyncio.sleep(0, "later")
"""


def test_what_is_asynchronous_of_an_object_or_a_plain_function_runs_in_the_loop_beside_the_others(
    project: Project,
) -> None:
    project.write("awaited.py", AWAITED)
    given = project.result("""
import { withOptions } from "@shm-polyglot/protocol";
import { Box, made, later } from "./awaited.py";
const all = async (items) => { const got = []; for await (const item of items) got.push(item); return got; };
const box = await new Box();
const waits = Promise.all([box.wait(), box.wait()]);
const items = all(box.items(3));
await box.put(1);
await box.change();
result = { waits: await waits, later: await later(), made: await (await made()).count(2).next() };
await box.put(2); await box.put(3);
result.items = await items;
result.many = (await all(box.count(1000))).length;
for await (const number of box.count(1e9)) if (number === 500) break;
result.twice = await box.twice(async (value) => value + 1);
// Python waits for the function meanwhile, and looks at nothing else than what that calls.
result.nested = [await box.told(() => box.twice((value) => value))];
result.nested.push(await box.told(async () => (await all(box.count(500))).length));
result.fails = await box.fail().catch(({ type, message, stack }) => [type, message, stack.includes("awaited.py")]);
const stack = await all(box.breaks()).catch(({ stack }) => stack);
result.breaks = [stack.includes("awaited.py"), stack.includes("child_serving.py")];
result.odd = await all(box.odd()).catch(({ code }) => code);
const stop = new AbortController();
const sleeps = withOptions(box.sleep, { signal: stop.signal })().catch(({ name }) => name);
await box.put(1);
stop.abort();
result.sleeps = await sleeps;
while ((result.ends = await box.ends()) < 2);
""")
    assert given == {
        "waits": ["changed", "changed"],
        "later": "later",
        "made": {"done": False, "value": 0},
        "items": [1, 2, 3],
        "many": 1000,
        "twice": 23,
        "nested": [21, 500],
        "fails": ["ValueError", "no such thing", True],
        "breaks": [True, False],
        "odd": "EncodeError",
        "sleeps": "Cancelled",
        "ends": 2,
    }


def test_a_call_of_an_object_keeps_the_program_running_and_nothing_else_does(project: Project) -> None:
    project.write(
        "waits.py", "import time\nclass A:\n    def wait(self) -> int:\n        time.sleep(0.3)\n        return 5\n"
    )
    source = 'import { A } from "./waits.py"; const a = await new A(); void a.wait().then(console.log);'
    assert project.module(source) == ("5\n", "")


def test_a_generator_that_was_begun_and_is_not_read_on_keeps_no_program_running(project: Project) -> None:
    source = """
import { numbers, slow_numbers } from "./ml.py";
for (const items of [numbers(1e9), slow_numbers(1e9)]) console.log((await items[Symbol.asyncIterator]().next()).value);
void numbers(3).next().then(({ value }) => { console.log("last", value); });
"""
    assert project.module(source) == ("0\n0\nlast 0\n", "")


def test_an_exception_arrives_with_the_stack_of_both_sides(project: Project) -> None:
    error = project.result("""
import { fail } from "./ml.py";
result = await fail().catch(({ type, message, stack }) => ({ type, message, stack }));
""")
    assert (error["type"], error["message"]) == ("ValueError", "no such thing")
    assert "program" in error["stack"]
    assert f'File "{project.folder}/ml.py"' in error["stack"]


def test_a_module_that_raises_when_it_is_imported_shows_pythons_stack_and_is_tried_again(project: Project) -> None:
    project.write("broken.py", "import no_such_module\ndef f(): ...\n")
    error = project.result("""
import { writeFileSync } from "node:fs";
import { f } from "./broken.py";
result = [await f().catch(({ type, stack }) => ({ type, stack }))];
writeFileSync("broken.py", "def f(): return 'mended'\\n");
result.push(await f());
""")
    assert error[0]["type"] == "ModuleNotFoundError"
    assert 'broken.py", line 1, in <module>' in error[0]["stack"]
    assert error[1] == "mended"


def test_what_is_no_python_is_told_when_it_is_imported(project: Project) -> None:
    project.write("wrong.py", "x = 1\ndef f(:\n")
    _, said = project.module('import { f } from "./wrong.py"; f();', fails=True)
    assert f"invalid syntax ({project.folder}/wrong.py, line 2)" in said


def test_a_name_that_is_not_there_is_an_error_in_either_kind_of_module(project: Project) -> None:
    _, said = project.module('import { missing } from "./ml.py"; missing();', fails=True)
    assert "'./ml.py' does not provide an export named 'missing'" in said
    project.write("wrong.cjs", 'require("@shm-polyglot/protocol/register"); require("./ml.py").counter;')
    _, said = project.run("node", "wrong.cjs", fails=True)
    assert f"TypeError: {project.folder}/ml.py has no counter to import (its value may change); it has " in said


def test_compiled_commonjs_takes_the_hook_in_its_first_line(project: Project) -> None:
    program = 'require("@shm-polyglot/protocol/register");\nconst ml = require("./ml.py");\n'
    project.write("first.cjs", program + "ml.add(2, 3).then(console.log);")
    assert project.run("node", "first.cjs") == ("5\n", "")


def test_a_child_that_dies_is_told_with_its_last_lines_and_another_takes_its_place(project: Project) -> None:
    result = project.result("""
import { die, add, model } from "./ml.py";
await model.predict("x");
result = [await die().catch(({ code, message }) => ({ code, message })), await add(1, 1), await model.count()];
""")
    assert result[0]["code"] == "PeerGone"
    first, *lines = result[0]["message"].split("\n")
    assert first == "ml.die: the Python child has ended (exit code 7); its last lines were:"
    assert lines == [f"line {number}" for number in range(10, 30)]
    assert result[1:] == [2, 0]


def test_a_child_that_lives_on_without_its_connection_is_replaced_and_ends(project: Project) -> None:
    project.write("cut.py", "import os\ndef cut(): os.closerange(3, 100)\ndef pid(): return os.getpid()\n")
    first, second, is_gone = project.result("""
import { cut, pid } from "./cut.py";
const runs = (one) => { try { process.kill(one, 0); return true; } catch { return false; } };
const first = await pid();
await cut().catch(() => undefined);
let second = first;
while (second === first) second = await pid().catch(() => first);
while (runs(first)) await new Promise((resolve) => setTimeout(resolve, 10));
result = [first, second, !runs(first)];
""")
    assert (first != second, is_gone) == (True, True)


def test_an_object_of_a_described_class_has_the_methods_that_are_described_and_no_others(project: Project) -> None:
    project.write(
        "odd.py",
        """
class Odd:
    size = 3
    def toString(self) -> str: return "its own"
    def constructor(self) -> int: return 1
class More(Odd):
    def more(self) -> str: return "more"
class _Hidden(Odd):
    def more(self) -> str: return "hidden"
def one(hidden: bool) -> Odd: return _Hidden() if hidden else Odd()
""",
    )
    assert project.result("""
import { Odd, one } from "./odd.py";
const [odd, hidden] = [await new Odd(), await one(true)];
result = [typeof odd.size, typeof odd.tostring, await odd.toString(), await odd.constructor(), `${typeof odd.valueOf}`];
result.push(await hidden.toString(), await hidden.more(), typeof (await one(false)).more);
""") == ["undefined", "undefined", "its own", 1, "function", "its own", "hidden", "undefined"]


def test_what_is_given_by_place_and_goes_by_name_is_told_with_the_names(project: Project) -> None:
    project.write("named.py", "def named(a, b=1, *, locale='en', **more): return [a, b, locale, more]\n")
    assert project.result("""
import { named } from "./named.py";
const told = ({ name, message }) => `${name}: ${message}`;
result = [await named(1, 2, "de").catch(told), await named(1, 2, { locale: "de", c: 3 }), await named(1, 2, undefined)];
""") == [
        "TypeError: named: args[2] must be an object with what is given by name: { locale, … }",
        [1, 2, "de", {"c": 3}],
        [1, 2, "en", {}],
    ]


def test_what_killed_programs_have_left_is_removed_but_not_what_is_just_being_made(project: Project) -> None:
    old, new = (project.temporary / f"shm-polyglot-child-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    assert project.result('import { add } from "./ml.py";\nresult = await add(2, 3);') == 5
    assert not old.exists()
    new.rmdir()


def test_files_that_load_each_other_without_end_are_told_so(project: Project) -> None:
    project.write(
        "circle.cjs",
        """
const { load } = require("@shm-polyglot/protocol");
exports.next = async (n) => (await load("./circle.py")).next(n + 1);
""",
    )
    project.write(
        "circle.py",
        """
import shm_protocol

def next(n: int) -> int:
    return shm_protocol.load("circle.cjs", timeout=None).next(n)
""",
    )
    told = project.result("""
import { load } from "@shm-polyglot/protocol";
result = await (await load("./circle.py")).next(0).catch(({ message }) => message);
""")
    assert "8 children have started each other already (circle.py -> circle.cjs -> circle.py" in told
    assert "Files that import each other across the languages start one at each turn" in told


def test_items_of_a_generator_that_are_objects_stay_in_python(project: Project) -> None:
    text = "from ml import Model\nfrom collections.abc import Iterator\n"
    text += "def models() -> Iterator[Model]:\n    yield Model('a')\n    yield Model('b')\n"
    text += "def mixed():\n    yield 1\n    yield Model('a')\n"
    project.write("made.py", text)
    assert project.result("""
import { mixed, models } from "./made.py";
result = [];
for await (const model of models()) result.push((await model.predict("a")).label);
for await (const one of mixed()) result.push(typeof one === "number" ? one : await one.count());
""") == ["good", "bad", 1, 0]


def test_when_the_program_ends_the_child_ends_as_a_program_does(project: Project) -> None:
    out, said = project.module('import { print_at_exit } from "./ml.py"; await print_at_exit();')
    assert (out, said) == ("printed\nthe child ends\n", "")
    out, _ = project.module('import { pid } from "./ml.py"; console.log(await pid()); process.exit();')
    until(lambda: not is_running(int(out)), lambda: f"{out} runs")


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("busy", ["while True: pass", "sum(range(10**15))", "time.sleep(10**6)"])
def test_a_child_ends_with_a_program_that_is_killed_whatever_it_does(tmp_path: Path, busy: str) -> None:
    project = Project(tmp_path)
    project.write("busy.py", f"import os, time\ndef pid(): return os.getpid()\ndef work():\n    {busy}\n")
    main = 'import { pid, work } from "./busy.py"; console.log(await pid()); await work();'
    with project.start("node", *REGISTER, project.write("main.mjs", main)) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        until(lambda: Path(f"/proc/{pid}/wchan").exists(), lambda: "no child")
        program.send_signal(signal.SIGKILL)
        until(lambda: not is_running(pid), lambda: f"{pid} runs")
    # What it has left is removed by the next that has a child.
    assert [path for path in project.temporary.iterdir() if path.name.startswith("shm-polyglot-child-")]
    project.run("node", *REGISTER, project.write("next.mjs", 'import { pid } from "./busy.py"; await pid();'))
    assert not [path for path in project.temporary.iterdir() if path.name.startswith("shm-polyglot-child-")]


def test_files_share_one_process_and_the_state_of_what_they_import(project: Project) -> None:
    project.write("users.py", "import ml\ndef seen(): return ml.model.seen\ndef pid(): return ml.pid()\n")
    result = project.result("""
import { pid as other, seen } from "./users.py";
import { model, pid } from "./ml.py";
await model.predict("x");
result = [await seen(), (await pid()) === (await other())];
""")
    assert result == [1, True]


def test_a_file_of_a_package_is_imported_as_that_also_beside_one_of_the_same_name(project: Project) -> None:
    for name in ("one", "two"):
        (project.folder / name).mkdir()
        project.write(f"{name}/__init__.py", "")
        project.write(f"{name}/inner.py", "from . import near\ndef f(): return [__name__, near.WHERE]\n")
        project.write(f"{name}/near.py", f"WHERE = {name!r}\n")
    (project.folder / "json").mkdir()
    project.write("json/json.py", "def f(): return __file__\n")
    result = project.result("""
import { f as one } from "./one/inner.py";
import { f as two } from "./two/inner.py";
import { f as json } from "./json/json.py";
result = [await one(), await two(), await json()];
""")
    assert result == [["one.inner", "one"], ["two.inner", "two"], f"{project.folder}/json/json.py"]


def test_two_folders_with_a_helper_of_one_name_are_told_and_none_gets_the_other_s(project: Project) -> None:
    for name in ("left", "right"):
        (project.folder / name).mkdir()
        project.write(f"{name}/{name}.py", "import between\ndef where(): return between.where()\n")
        project.write(f"{name}/between.py", "def where():\n    import beside\n    return beside.WHERE\n")
        project.write(f"{name}/beside.py", f"WHERE = {name!r}\n")
    project.write("right/alone.py", "def f(): return 1\n")
    result = project.result("""
import { where as left } from "./left/left.py";
import { where as right } from "./right/right.py";
import { f } from "./right/alone.py";
result = [await left(), await right().catch(({ message }) => message), await f()];
""")
    folder = project.folder
    assert (result[0], result[2]) == ("left", 1)
    assert f"{folder}/right/right.py imports {folder}/right/be" in result[1]
    assert f"and {folder}/left/left.py has {folder}/left/be" in result[1]


def test_without_children_it_is_told_which_file_nobody_exposes(project: Project) -> None:
    environment = {"SHM_POLYGLOT_CHILD": "0"}
    source = 'import { add } from "./ml.py"; result = await add(1).catch(({ code, message }) => `${code}: ${message}`);'
    assert project.result(source, environment=environment) == (
        f"PeerUnavailable: {project.folder}/ml.py: no worker exposes it (this process does not listen for one), and "
        "SHM_POLYGLOT_CHILD=0 forbids a Python child of this process"
    )


@pytest.mark.parametrize("name", ["SHM_POLYGLOT_CHILD", "SHM_POLYGLOT_WATCH"])
def test_a_setting_that_says_neither_yes_nor_no_is_refused_before_a_child_is_started(
    project: Project, name: str
) -> None:
    source = 'import { add } from "./ml.py"; result = await add(1).catch(String);'
    assert project.result(source, environment={name: "maybe"}) == f'RangeError: {name}="maybe": must be 0 or 1'


def test_a_python_without_the_library_is_told_what_to_install(project: Project) -> None:
    python = project.write("python", f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    source = 'import { add } from "./ml.py"; result = await add(1).catch(({ code, message }) => `${code}: ${message}`);'
    told = project.result(source, environment={"SHM_POLYGLOT_PYTHON": str(python)})
    assert told == (
        f"PeerUnavailable: the Python {python} has no shm_protocol: install it there (pip install shm-polyglot), or "
        "set SHM_POLYGLOT_PYTHON to one that has it"
    )
    missing = {"SHM_POLYGLOT_PYTHON": "/no/such/python"}
    _, said = project.module('import { add } from "./ml.py"; await add(1);', fails=True, environment=missing)
    assert "the Python /no/such/python cannot be run" in said


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false"])
def test_a_program_that_is_no_python_is_told_by_its_name(project: Project, program: str) -> None:
    wrong = {"SHM_POLYGLOT_PYTHON": program}
    _, said = project.module('import { add } from "./ml.py"; await add(1);', fails=True, environment=wrong)
    assert f"the Python {program} cannot be run (it answers as no Python does, with exit code " in said
    assert "install Python 3.11 or newer, or set SHM_POLYGLOT_PYTHON to one" in said


def test_without_descriptors_it_is_told_what_to_raise_and_with_some_the_child_starts(project: Project) -> None:
    source = """
import { closeSync, openSync } from "node:fs";
import { add } from "./ml.py";
const held = [];
try { for (;;) held.push(openSync("/dev/null")); } catch {}
result = [];
for (; held.length > 0; closeSync(held.pop())) {
  const told = await add(1, 2).catch(({ code, message }) => `${code}: ${message}`);
  if (!result.includes(told)) result.push(told);
}
console.log(JSON.stringify(result));
"""
    program = project.write("descriptors.mjs", f"let result;{source}")
    out, said = project.run("sh", "-c", 'ulimit -n 64; exec "$@"', "sh", "node", *REGISTER, program)
    told = f"PeerUnavailable: the Python {sys.executable} cannot be started: this process has no file descriptors left"
    assert (json.loads(out), said) == ([f"{told} (EMFILE): close some, or raise `ulimit -n`", 3], "")


@pytest.mark.parametrize("entry", ["@shm-polyglot/protocol", *(REGISTER[1:]), "@shm-polyglot/protocol/stubs"])
def test_a_node_that_is_too_old_is_told_before_anything_else_of_it(project: Project, entry: str) -> None:
    old = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.20.8" } });'
    old += "delete String.prototype.toWellFormed; delete String.prototype.isWellFormed;"
    program = project.write("old.cjs", f'{old}\nrequire("{entry}");\n')
    _, said = project.run("node", program, fails=True)
    assert "\nError: Node 20 or newer is needed (this is 18.20.8)\n" in said


def test_a_temporary_folder_that_cannot_be_written_to_is_passed_over(project: Project) -> None:
    source = 'import { add } from "./ml.py"; result = await add(1, 2);'
    assert project.result(source, environment={"TMPDIR": "/proc/no/such/folder"}) == 3


WORKER: Final = """
import asyncio, shm_protocol, ml
asyncio.run(shm_protocol.serve_async(expose={"learning": ml}))
"""

LISTENER: Final = """
import { spawn } from "node:child_process";
import { once } from "node:events";
import { listen } from "@shm-polyglot/protocol";
import { pid, model, add } from "./ml.py";
const bridge = await listen({ log: { info() {}, warn() {}, error() {} } });
const before = await add(1).catch(({ code }) => code);
const worker = spawn(process.env.SHM_POLYGLOT_PYTHON, ["worker.py"], { stdio: "inherit" });
await once(bridge, "connect");
result = [before, (await pid()) === worker.pid, await model.predict("love"), bridge.connections[0].transport];
worker.kill();
await once(worker, "exit");
while (bridge.workers > 0) await new Promise(setImmediate);
result.push(await add(1).catch(({ code }) => code));
await bridge.close();
"""


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_worker_that_exposes_the_file_runs_it(project: Project, transport: str) -> None:
    project.write("worker.py", WORKER)
    environment = {"SHM_POLYGLOT_CHILD": "0", "SHM_POLYGLOT_TRANSPORT": transport}
    environment["SHM_POLYGLOT_DIR"] = str(project.temporary / f"run-{transport}")
    result = project.result(LISTENER, environment=environment)
    assert result == ["PeerUnavailable", True, {"label": "good"}, transport, "PeerUnavailable"]


def test_load_gives_what_an_import_gives_without_a_hook(project: Project) -> None:
    source = """
import { load, withOptions } from "@shm-polyglot/protocol";
const ml = await load(new URL("./ml.py", import.meta.url));
const again = await load("ml.py");
result = [await ml.add(2, 3), ml.VERSION, (await ml.pid()) === (await again.pid())];
result.push(await load("missing.py").catch(({ message }) => message));
result.push(await withOptions(ml.sleep, { timeoutMs: 50 })(0.2).catch(({ code }) => code));
try { withOptions(() => 1, {}); } catch (error) { result.push(error.name); }
console.log(JSON.stringify(result));
"""
    out, _ = project.run("node", project.write("loading.mjs", f"let result;{source}"))
    given = json.loads(out)
    assert given[:3] == [5, "v1", True]
    assert given[3].startswith(f"{project.folder}/missing.py is not there: load takes a path from the current folder")
    assert given[4:] == ["CallTimeout", "TypeError"]


TOOLS: Final = ROOT / "release" / "tests" / "tools" / "node_modules"
MACHINE_NODE: Final = os.environ.get("MACHINE_NODE", "node")
"""`make test-newest` has another first in the PATH."""
NODES: Final = (MACHINE_NODE, *(str(TOOLS / f"node-{major}" / "bin" / "node") for major in (22, 24, 26)))
TOP: Final = 'import { add, Prediction } from "./ml.py";\nconsole.log(await add(2, 3), Prediction);\n'
INNER: Final = 'import { add } from "./ml.py";\nvoid (async () => { console.log(await add(2, 3), undefined); })();\n'
TSX: Final = TOOLS / "tsx" / "dist" / "loader.mjs"

RUNNERS: Final[dict[str, tuple[str, str, tuple[str | Path, ...]]]] = {
    "ECMAScript modules": ("top.mjs", TOP, REGISTER),
    "CommonJS": (
        "inner.cjs",
        INNER.replace("import { add } from", "const { add } = require(").replace(";", ");", 1),
        (),
    ),
    "Node's own TypeScript": ("top.mts", TOP, REGISTER),
    "Node's own TypeScript, CommonJS or not as the file shows": ("top.ts", TOP, REGISTER),
    "tsx": ("top.mts", TOP, (*REGISTER, "--import", TSX)),
    "tsx, CommonJS": ("inner.ts", INNER, (*REGISTER, "--import", TSX)),
    "ts-node, TypeScript 5": ("inner.ts", INNER, (TS_NODE, "--compiler", str(TOOLS / "typescript-5"))),
    "ts-node, TypeScript 6": ("inner.ts", INNER, (TS_NODE, "--compiler", str(TOOLS / "typescript-6"))),
}


@pytest.mark.skipif(not (TOOLS / "tsx").exists(), reason="the runners are installed by make test-newest")
@pytest.mark.parametrize(
    "node", NODES, ids=lambda node: "the machine's" if node == MACHINE_NODE else node.split("/")[-3]
)
@pytest.mark.parametrize("runner", RUNNERS)
def test_whatever_runs_typescript_imports_python(tmp_path: Path, runner: str, node: str) -> None:
    project = Project(tmp_path)
    name, source, options = RUNNERS[runner]
    if runner.startswith("Node's own") and node == MACHINE_NODE:
        pytest.skip("that is Node's since 22.18")
    if runner == "ts-node, TypeScript 5" and node != MACHINE_NODE:
        # What is checked is up to the compiler, whichever Node that runs on, and takes most of the time.
        options = (*options, "--transpile-only")
    if name == "inner.cjs":
        source = f'require("@shm-polyglot/protocol/register");\n{source}'
    project.write("tsconfig.json", json.dumps({"ts-node": {"require": [REGISTER[1]]}}))
    project.write(name, source)
    out, said = project.run(node, *options, name)
    assert out == "5 undefined\n", said

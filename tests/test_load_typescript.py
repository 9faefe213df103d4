"""A TypeScript file loaded by a Python program: what it is given, and the Node process behind it."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import services
import shm_protocol
import typescript_project
from running import until
from shm_protocol import PeerGone, PeerUnavailable, Released, RemoteError, load
from typescript_project import HANG_S, ROOT, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    typescript_project.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def utils(folder: Path) -> Any:
    return load(folder / "node_side" / "utils.ts")


def test_functions_are_called_as_python_s_own_and_what_they_promise_has_been_awaited(utils: Any) -> None:
    assert utils.double(4) == 8
    assert (utils.later("ab"), utils.later("a", 3), utils.later(text="x", times=1)) == ("abab", "aaa", "x")
    assert (utils.double.__doc__, utils.double.__name__) == ("Doubles.", "double")
    assert str(inspect.signature(utils.later)) == "(text: 'str', times: 'float' = 2) -> 'str'"
    assert inspect.isfunction(utils.double)
    assert isinstance(utils, ModuleType)


def test_a_last_object_of_options_is_given_by_keyword_or_as_it_is(utils: Any) -> None:
    assert utils.format(1, locale="de") == utils.format(1, {"locale": "de"}) == "1de"
    assert utils.format(value=1, locale="x", times=2) == "1x1x"
    assert (utils.all(), utils.all(deep=True)) == ("{}", '{"deep":true}')
    assert utils.middle("a", "b", d=1) == '["a","b",{"d":1}]'
    assert utils.middle("a") == '["a",null,null]'


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "format() missing 2 required arguments: 'locale', 'value'"),
        ((1,), {}, "format() missing 1 required argument: 'locale'"),
        ((1, 2, 3), {}, "format() takes 1 positional arguments but 3 were given"),
        ((1,), {"locale": "x", "sort": 1}, "format() got an unexpected keyword argument 'sort'"),
        ((1,), {"value": 2, "locale": "x"}, "format() got multiple values for argument 'value'"),
    ],
)
def test_arguments_that_do_not_fit_are_told_before_anything_is_sent(
    utils: Any, args: tuple[Any, ...], kwargs: dict[str, Any], told: str
) -> None:
    with pytest.raises(TypeError) as raised:
        utils.format(*args, **kwargs)
    assert str(raised.value) == told


def test_what_would_stand_before_a_keyword_and_has_no_default_cannot_be_left_out(utils: Any) -> None:
    with pytest.raises(TypeError, match="middle.. cannot leave out 'b' where what comes after it is given"):
        utils.middle("a", d=1)


def test_an_optional_object_with_fields_that_are_not_may_be_left_out_and_so_its_signature_says(odd: Any) -> None:
    told = str(inspect.signature(odd.placed))
    assert told == "(item: 'str' = None, level: 'float' = 3, *, shelf: 'float' = None) -> 'str'"
    assert (odd.placed(), odd.placed("x", shelf=1)) == ("undefined 3 undefined", "x 3 1")
    with pytest.raises(TypeError, match="placed.. cannot leave out 'item' where what comes after it is given"):
        odd.placed(level=2)


def test_a_generator_arrives_item_by_item_and_can_be_closed(utils: Any) -> None:
    assert list(utils.numbers(200)) == list(range(1, 201))
    before = utils.closings()
    with utils.numbers(10**9) as stream:
        assert [next(stream), next(stream)] == [1, 2]
    assert list(stream) == []
    until(lambda: bool(utils.closings() == before + 1), lambda: "the generator is not ended")


def test_a_loop_that_is_left_early_ends_the_generator_and_nothing_else(utils: Any) -> None:
    store, before = utils.Store(key="a", value=5), utils.closings()
    for number in utils.numbers(10**9):
        assert number == 1
        break
    next(utils.numbers(10**9))
    utils.numbers(10**9)
    assert list(zip(range(2), utils.numbers(10**9), strict=False)) == [(0, 1), (1, 2)]
    assert next(iter(store.keys())) == "a"
    assert store.get("a") == 5
    until(lambda: bool(utils.closings() == before + 4), lambda: f"{utils.closings() - before} generators are ended")


def test_constants_enums_types_objects_and_names_that_python_cannot_have(utils: Any) -> None:
    assert utils.LIMIT == 3
    assert [one.value for one in utils.Colour] == ["red", "green"]
    assert utils.Options(locale="de") == {"locale": "de"}
    assert utils.lambda_(from_="x") == "x"
    first = utils.counter.next()
    assert utils.counter.next() == first + 1
    assert not hasattr(utils.counter, "of")
    assert repr(utils.counter) == "<TypeScript object counter of utils>"
    assert {"double", "lambda_", "Colour", "counter"} <= set(utils.__all__)


def test_a_class_makes_objects_that_stay_in_typescript(utils: Any) -> None:
    with utils.Store(key="a", value=5) as store:
        assert isinstance(store, utils.Store)
        assert isinstance(store, shm_protocol.Handle)
        assert (store.get("a"), store.get("b")) == (5, None)
        assert isinstance(store.put("b", value=2), utils.Store)
        assert (list(store.keys()), utils.size(store)) == (["a", "b"], 2)
    with pytest.raises(Released):
        store.get("a")
    assert utils.Store.of("x", 1).get("x") == 1
    assert utils.opened(False) is None
    assert list(utils.opened(True).keys()) == []
    with pytest.raises(TypeError, match="Store.. got an unexpected keyword argument 'colour'"):
        utils.Store(colour=1)


def test_what_an_object_of_a_described_class_has_not_is_told_with_what_it_has(utils: Any) -> None:
    with utils.Store(key="a", value=5) as store:
        with pytest.raises(AttributeError, match=r"has no method 'size': there are .*get, keys, put"):
            _ = store.size
        assert not hasattr(store, "gte")


def test_a_class_of_errors_is_told_as_such(odd: Any) -> None:
    with pytest.raises(AttributeError, match=r"Refused is a class of errors: it arrives as a RemoteError, or as .*"):
        _ = odd.Refused
    with pytest.raises(RemoteError, match="not you") as caught:
        odd.refuse()
    assert caught.value.type == "Refused"


ODD = """
export class Refused extends RangeError { override name = "Refused"; }
export function refuse(): void { throw new Refused("not you"); }
export enum Odd { mro = "q", _order_ = "r", name = "n" }
export const symbol = () => Symbol("x");
export function which<T extends string | number>(x: T): T extends string ? number : string;
export function which(x: any): any { return x; }
export abstract class Shape { static of(): string { return this.name; } abstract area(): number; }
export class Square extends Shape {
  constructor(private readonly side: number) { super(); }
  area(): number { return this.side ** 2; }
}
export function* squares(upTo: number): Generator<Square> {
  for (let side = 0; side < upTo; side++) yield new Square(side);
}
export function placed(item?: string, level = 3, at?: { shelf: number }): string {
  return `${item} ${level} ${at?.shelf}`;
}
"""


@pytest.fixture(scope="module")
def odd(folder: Path) -> Any:
    file = folder / "node_side" / "odd.ts"
    file.write_text(ODD)
    return load(file)


def test_members_of_enums_that_an_enum_of_python_s_cannot_have_get_other_names(odd: Any) -> None:
    assert [(one.name, one.value) for one in odd.Odd] == [("mro_", "q"), ("order", "r"), ("name", "n")]


def test_types_that_are_no_objects_are_any(odd: Any) -> None:
    assert str(inspect.signature(odd.symbol)) == "() -> 'Any'"
    assert str(inspect.signature(odd.which)).endswith("-> 'str | float'")
    assert odd.which("a") == "a"


def test_items_of_a_generator_that_are_objects_stay_in_typescript(odd: Any) -> None:
    assert [type(one) for one in odd.squares(2)] == [odd.Square, odd.Square]
    assert [one.area() for one in odd.squares(3)] == [0, 1, 4]

    async def areas() -> list[float]:
        return [await one.area() async for one in shm_protocol.aio(odd).squares(3)]

    assert asyncio.run(areas()) == [0, 1, 4]


def test_a_class_has_the_static_methods_that_it_inherits_and_an_abstract_one_makes_no_objects(odd: Any) -> None:
    assert (odd.Shape.of(), odd.Square.of()) == ("Shape", "Square")
    with pytest.raises(TypeError, match="Shape is abstract, or its constructor is not public"):
        odd.Shape()


def test_a_name_that_is_not_there_is_told_with_what_there_is(utils: Any) -> None:
    with pytest.raises(AttributeError, match=r"module 'utils' has no attribute 'dubble': there are .*, double, "):
        _ = utils.dubble
    with pytest.raises(AttributeError, match="started is a value that its source does not tell"):
        _ = utils.started


def test_modules_that_import_the_same_one_share_its_state(utils: Any, folder: Path) -> None:
    other = load(folder / "node_side" / "other.ts")
    assert other.step() + 1 == utils.counter.next()


def test_what_a_function_throws_arrives_and_nothing_of_it_is_written(
    utils: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RemoteError, match="RangeError: too far") as raised:
        utils.fail("too far")
    assert "utils.ts" in raised.value.stack
    utils.double(1)
    assert capfd.readouterr() == ("", "")


def test_a_child_that_ends_is_told_with_its_last_lines_and_the_next_call_has_another(utils: Any, folder: Path) -> None:
    first = utils.pid()
    with pytest.raises(PeerGone) as raised:
        utils.end(3)
    told = str(raised.value)
    assert "Node has ended with exit code 3; its last lines:\nline 11\n" in told
    assert told.endswith("line 30")
    assert utils.pid() != first
    os.kill(utils.pid(), signal.SIGKILL)
    # Whether the call was under way then decides which of the two it is; never is it a hang.
    with suppress(PeerGone):
        assert utils.double(1) == 2
    assert utils.double(2) == 4


def test_a_forked_process_has_a_child_of_its_own(utils: Any) -> None:
    own = utils.pid()
    read_end, write_end = os.pipe()
    forked = os.fork()
    if forked == 0:
        code = 1
        try:
            other = utils.pid()
            os.write(write_end, str(other).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    assert os.waitpid(forked, 0)[1] == 0
    other = int(os.read(read_end, 100))
    os.close(read_end)
    assert other != own
    assert utils.pid() == own
    until(lambda: services.parent_of(other) is None, lambda: f"{other} goes on")


def test_a_module_that_throws_when_it_is_loaded_is_told_with_its_stack(folder: Path) -> None:
    file = folder / "node_side" / "throws.ts"
    file.write_text('export const ok = 1;\nthrow new RangeError("not today");\n')
    with pytest.raises(
        PeerUnavailable, match=r"(?s)throws\.ts: it cannot be loaded: RangeError: not today\n.*throws\.ts:2"
    ):
        load(file)
    file.write_text("export const ok = (): number => 1;\n")
    assert load(file).ok() == 1


def test_what_cannot_be_loaded_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder / "node_side" / "broken.ts"
    broken.write_text("export function f( {\n")
    with pytest.raises(SyntaxError, match=r"broken\.ts\(\d,\d+\): error TS"):
        load(broken)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.ts"):
        load(folder / "nothing.ts")
    with pytest.raises(ValueError, match="neither TypeScript nor JavaScript"):
        load(folder / "package.json")
    monkeypatch.setenv("SHM_POLYGLOT_CHILD", "0")
    with pytest.raises(PeerUnavailable, match=r"other\.ts: SHM_POLYGLOT_CHILD=0 lets this program start no Node$"):
        load(folder / "node_side" / "other.ts")
    monkeypatch.delenv("SHM_POLYGLOT_CHILD")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PeerUnavailable, match=r"there is no node in \$PATH: install Node 20"):
        load(folder / "node_side" / "other.ts")


OLD_NODE = """
Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.20.8" } });
delete String.prototype.toWellFormed;
delete String.prototype.isWellFormed;
"""


@pytest.mark.parametrize("is_described", [False, True])
def test_a_node_that_is_too_old_is_told_before_anything_else_of_it(folder: Path, is_described: bool) -> None:
    program = "import shm_protocol\nshm_protocol.load('node_side/shared.ts')\n"
    cache = folder / f"cache of {is_described}"
    if is_described:
        assert run(program, folder, XDG_CACHE_HOME=str(cache)).stderr == ""
    old = folder / "old.cjs"
    old.write_text(OLD_NODE)
    node = folder / "old" / "node"
    node.parent.mkdir(exist_ok=True)
    node.write_text(f'#!/bin/sh\nexec {shutil.which("node")} --require {old} "$@"\n')
    node.chmod(0o755)
    path = os.pathsep.join((str(node.parent), os.environ["PATH"]))
    done = run(program, folder, XDG_CACHE_HOME=str(cache), PATH=path)
    file = folder / "node_side" / "shared.ts"
    told = f"PeerUnavailable: {file}: Node 20 or newer is needed (this is 18.20.8)\n"
    assert done.stderr.endswith(told)
    assert "During handling of the above exception" not in done.stderr


def test_without_a_compiler_the_names_are_those_that_the_module_says(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@shm-polyglot" / "protocol"
    shutil.copytree(ROOT / "shm_protocol" / "node" / "dist", package / "dist")
    file = tmp_path / "plain.mjs"
    file.write_text(
        "export const add = (a, b) => a + b;\nexport function* count() { yield 1; yield 2 }\n"
        "export const all = (...args) => args;\nexport const LIMIT = 3;\n"
        "export class Store { get(key) { return key } }\n"
    )
    plain: Any = load(file)
    assert (plain.add(1, 2), list(plain.count()), plain.all(1, x=2)) == (3, [1, 2], [1, {"x": 2}])
    assert plain.Store().get("k") == "k"
    with pytest.raises(AttributeError, match="npm install --save-dev typescript"):
        _ = plain.LIMIT


def test_where_there_is_no_compiler_that_is_not_told_as_the_cause_of_what_else_goes_wrong(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@shm-polyglot" / "protocol"
    shutil.copytree(ROOT / "shm_protocol" / "node" / "dist", package / "dist")
    (tmp_path / "throws.mjs").write_text('throw new RangeError("not today");\n')
    with pytest.raises(PeerUnavailable, match=r"throws\.mjs: it cannot be loaded: RangeError: not today") as caught:
        load(tmp_path / "throws.mjs")
    assert "NoCompiler" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["thenable.ts", "thenable.mjs"])
def test_a_module_that_exports_then_is_no_promise(folder: Path, name: str) -> None:
    file = folder / "node_side" / name
    file.write_text('export const then = () => "called";\nexport const add = (a, b) => a + b;\n')
    if name.endswith(".ts"):
        file.write_text(file.read_text().replace("a, b)", "a: number, b: number)"))
    module: Any = load(file)
    assert (module.add(1, 2), module.then()) == (3, "called")


def test_javascript_in_commonjs_has_the_names_that_it_says_when_it_runs(folder: Path) -> None:
    file = folder / "plain.js"
    file.write_text("exports.add = (a, b) => a + b;\nexports.count = function* () { yield 1; yield 2 };\n")
    plain: Any = load(file)
    assert plain.__all__ == ["add", "count"]
    assert (plain.add(1, 2), list(plain.count())) == (3, [1, 2])


IMPORTS_PYTHON = {
    "typed.ts": 'import { double } from "./calc.py";\nexport const more = async (n: number) => 1 + (await double(n))\n',
    "imports.mjs": 'import { double } from "./calc.py";\nexport const more = async (n) => 1 + (await double(n));\n',
    "requires.cjs": 'const calc = require("./calc.py");\nexports.more = async (n) => 1 + (await calc.double(n));\n',
}


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, "") for name in IMPORTS_PYTHON), ("requires.cjs", "--require @shm-polyglot/protocol/register")],
)
def test_what_imports_python_itself_is_loaded_too(folder: Path, name: str, options: str) -> None:
    (folder / "node_side" / "calc.py").write_text("def double(x: float) -> float:\n    return 2 * x\n")
    (folder / "node_side" / name).write_text(IMPORTS_PYTHON[name])
    program = f"import shm_protocol\nprint(shm_protocol.load('node_side/{name}').more(2))\n"
    done = run(program, folder, NODE_OPTIONS=options, SHM_POLYGLOT_PYTHON=sys.executable)
    assert (done.stdout, done.stderr) == ("5\n", "")


def test_the_output_of_the_module_is_the_program_s_and_both_end_together(folder: Path) -> None:
    program = (
        "import shm_protocol\nutils = shm_protocol.load('node_side/utils.ts')\nutils.say('hello')\nprint(utils.pid())\n"
    )
    done = run(program, folder)
    said, pid = done.stdout.split()
    assert (said, done.stderr, done.returncode) == ("hello", "error: hello\n", 0)
    assert services.parent_of(int(pid)) is None


@pytest.mark.parametrize("busy", [False, True])
def test_it_dies_with_a_program_that_is_killed_also_while_it_is_busy(folder: Path, busy: bool) -> None:
    program = (
        "import shm_protocol, threading, time\nutils = shm_protocol.load('node_side/utils.ts')\n"
        f"print(utils.pid(), flush=True)\n{'utils.spin()' if busy else 'time.sleep(1000)'}\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        socket = next(part for part in services.read(pid, "cmdline").decode().split("\0") if part.endswith("node.sock"))
        parent.kill()
    until(lambda: services.parent_of(pid) is None, lambda: f"{pid} goes on")
    assert not Path(socket).parent.exists()


def test_the_library_is_imported_without_what_loads(folder: Path) -> None:
    program = "import sys, shm_protocol\nprint({'subprocess', 'shm_protocol.children'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert done.stdout == "set()\n"
    assert shm_protocol.load is load

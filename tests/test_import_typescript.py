"""TypeScript imported by Python: what is found, what is told, and what becomes of it in threads, forks and reloads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_type

import pytest
import services
import typescript_project
from running import until
from shm_protocol import aio
from typescript_project import HANG_S, run

START = "import shm_protocol.typescript\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    modules = typescript_project.make(folder)
    (folder / "beside.mts").write_text("export const here = (): string => 'beside';\n")
    (modules / "both.ts").write_text("export const which = 'TypeScript';\n")
    (modules / "both.py").write_text("which = 'Python'\n")
    (modules / "broken.ts").write_text("export function f( {\n")
    return folder


def printed(folder: Path, program: str, **environment: str) -> list[str]:
    done = run(START + program, folder, **{"XDG_CACHE_HOME": str(folder / "cache"), **environment})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_a_module_is_found_in_a_plain_folder_and_behaves_as_python_s_own(folder: Path) -> None:
    program = """
import copy, inspect, pickle, sys
from node_side import utils
from node_side.utils import double, Colour
import node_side.utils as again
print(again is utils, double(2), utils.__name__, utils.__file__.endswith("node_side/utils.ts"), repr(utils)[:28])
print(pickle.loads(pickle.dumps(double)) is double, copy.copy(double) is double, double.__module__)
print(pickle.loads(pickle.dumps(Colour.Red)) is Colour.Red, isinstance(Colour.Red, str), inspect.getdoc(double))
try:
    from node_side.utils import dubble
except ImportError as error:
    print(type(error).__name__, error.name, str(error).partition(": ")[2][:40], "double" in str(error))
print(hasattr(utils, "dubble"), getattr(utils, "dubble", None))
from node_side import both
print(both.which)
try:
    import node_side.nothing
except ModuleNotFoundError as error:
    print(error)
try:
    import node_side.broken
except SyntaxError as error:
    print("broken.ts(" in str(error))
from node_side.utils import *
print(format(1, locale="x"))
"""
    assert printed(folder, program) == [
        "True 4 node_side.utils True <module 'node_side.utils' fr",
        "True True node_side.utils",
        "True True Doubles.",
        "ImportError node_side.utils there are AllOptions, Colour, LIMIT, Mid True",
        "False None",
        "Python",
        "No module named 'node_side.nothing'",
        "True",
        "1x",
    ]


def test_nothing_runs_until_the_first_call_where_the_module_has_been_described_before(folder: Path) -> None:
    first = "from node_side import other\nprint(other.__all__)\n"
    assert printed(folder, first) == ["['step']"]
    program = (
        "from node_side import other\nprint(other.__all__)\nimport os, shm_protocol\n"
        "os.environ['PATH'] = os.environ['HAS_NODE']\nprint(other.step())\n"
    )
    assert printed(folder, program, PATH="/nowhere", HAS_NODE=os.environ["PATH"]) == ["['step']", "1"]


def test_threads_that_import_and_call_at_once_have_one_module_and_one_child(folder: Path) -> None:
    program = """
import threading
found, pids = [], []
def work():
    from node_side import utils
    found.append(utils)
    pids.append(utils.pid())
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(set(map(id, found))), len(set(pids)), len(pids))
"""
    assert printed(folder, program) == ["1 1 8"]


def test_a_process_that_is_forked_after_the_import_has_a_node_of_its_own(folder: Path) -> None:
    program = """
import multiprocessing
from node_side import utils
def pid(_): return utils.pid()
if __name__ == "__main__":
    own = utils.pid()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        others = set(pool.map(pid, range(8), chunksize=1))
        pool.close()
        pool.join()
    print(own not in others, own == utils.pid())
"""
    assert printed(folder, program) == ["True True"]


def test_reload_takes_the_file_as_it_is_then(folder: Path) -> None:
    program = """
import importlib, pathlib
file = pathlib.Path("node_side/edited.ts")
file.write_text("export const version = (): number => 1;\\n")
from node_side import edited
before = edited.version
print(edited.version())
file.write_text("export const version = (): number => 2;\\nexport const more = (): string => 'more';\\n")
again = importlib.reload(edited)
print(again is edited, edited.version(), edited.more(), before())
"""
    assert printed(folder, program) == ["1", "True 2 more 1"]


def test_a_folder_on_the_path_that_is_none_and_what_is_no_path_are_passed_over(folder: Path) -> None:
    program = """
import pathlib, sys, zipfile
with zipfile.ZipFile("packed.zip", "w") as packed:
    packed.writestr("inside.ts", "export const x = 1;")
    packed.writestr("python_inside.py", "x = 2")
sys.path[:0] = ["packed.zip", "/nowhere"]
import python_inside
print(python_inside.x)
try:
    import inside
except ModuleNotFoundError:
    print("not inside")
import beside
print(beside.__name__, beside.__all__)
"""
    assert printed(folder, program) == ["2", "not inside", "beside ['here']"]


def test_where_no_node_may_be_started_a_call_says_so(folder: Path) -> None:
    program = """
from node_side import utils
try:
    utils.double(1)
except Exception as error:
    print(type(error).__name__, str(error).rpartition(": ")[2])
"""
    assert printed(folder, program, SHM_POLYGLOT_CHILD="0") == [
        "PeerUnavailable SHM_POLYGLOT_CHILD=0 lets this program start no Node, and none that listens exposes it"
    ]


@pytest.mark.parametrize("closed", ["<&- 2>&-", "<&- >&- 2>&-"])
def test_a_program_whose_standard_streams_are_closed_has_a_child(folder: Path, closed: str) -> None:
    (folder / "closed.py").write_text(
        f"{START}from node_side import utils\nopen('closed.txt', 'w').write(str(utils.double(4)))\n"
    )
    (folder / "closed.txt").unlink(missing_ok=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    command = ["sh", "-c", f'exec "$0" closed.py {closed}', sys.executable]
    assert subprocess.run(command, cwd=folder, env=environment, timeout=HANG_S, check=False).returncode == 0
    assert (folder / "closed.txt").read_text() == "8"


@pytest.mark.parametrize("name", ["SHM_POLYGLOT_CHILD", "SHM_POLYGLOT_WATCH"])
def test_a_setting_that_says_neither_yes_nor_no_is_refused_before_a_child_is_started(folder: Path, name: str) -> None:
    program = """
from shm_protocol import ConfigError
try:
    from node_side import utils
    utils.double(1)
except ConfigError as error:
    print(error)
"""
    assert printed(folder, program, **{name: "maybe"}) == [f'{name}="maybe": must be 0 or 1']


def test_the_finder_costs_an_import_of_the_library_next_to_nothing() -> None:
    done = run(
        "import sys, shm_protocol\nbefore = set(sys.modules)\nimport shm_protocol.typescript\n"
        "print(sorted(set(sys.modules) - before), sys.meta_path[-1].__name__)",
        Path.cwd(),
    )
    assert done.stdout == "['shm_protocol.typescript'] TypeScriptFinder\n"


SERVER = """
import { listen } from "@shm-polyglot/protocol";
import * as utils from "./node_side/utils";
const log = { info() {}, warn() {}, error() {} };
void listen({ expose: { somewhere: utils }, log }).then(() => { console.log("ready") });
"""


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def listening(folder: Path, directory: Path) -> Iterator[int]:
    """A Node of the project that exposes its module under a name of its own."""
    (folder / "server.ts").write_text(SERVER)
    environment = {**os.environ, "SHM_POLYGLOT_DIR": str(directory), "TS_NODE_TRANSPILE_ONLY": "true"}
    command = ["node", "--require", "ts-node/register", "server.ts"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as node:
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == b"ready\n"
            yield node.pid
        finally:
            node.kill()


def test_a_node_that_listens_and_exposes_the_file_runs_it_and_no_child_takes_its_place(folder: Path) -> None:
    directory = folder / "run"
    program = """
import os, signal, sys
from node_side import utils, other
print(utils.pid(), utils.counter.next(), list(utils.numbers(3)))
print(other.step(), utils.counter.next())
os.kill(utils.pid(), signal.SIGKILL)
for _ in range(2):
    try:
        utils.double(1)
    except Exception as error:
        print(type(error).__name__)
"""
    with listening(folder, directory) as pid:
        done = printed(folder, program, SHM_POLYGLOT_DIR=str(directory))
    # The other file is exposed by nobody, so it runs in a child, whose state is its own.
    assert done == [f"{pid} 1 [1, 2, 3]", "1 2", "PeerGone", "PeerUnavailable"]


def test_call_by_names_the_only_node_and_how_long_calls_may_take(folder: Path) -> None:
    directory = folder / "named"
    program = """
import os, sys
import shm_protocol
from node_side import other, utils
shm_protocol.typescript.call_by(shm_protocol.connect(sys.argv[1] + "/node.sock", timeout=0.1, lazy=True), timeout=0.2)
def outcome(function, *args):
    try:
        return function(*args)
    except shm_protocol.BridgeError as error:
        return f"{type(error).__name__}: {error}"
for told in (outcome(utils.pid), outcome(other.step), outcome(utils.spin)):
    print(str(told).partition(":")[0])
""".replace("sys.argv[1]", repr(str(directory)))
    assert printed(folder, program, SHM_POLYGLOT_CHILD="") == ["PeerUnavailable"] * 3
    with listening(folder, directory) as pid:
        # The other file it does not expose.
        assert printed(folder, program, SHM_POLYGLOT_CHILD="") == [str(pid), "PeerUnavailable", "CallTimeout"]


def test_a_gunicorn_worker_calls_the_node_that_it_is_connected_to(folder: Path) -> None:
    directory = folder / "worker"
    (folder / "app.py").write_text(
        "import shm_protocol.typescript\nfrom node_side import utils\n\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [str(utils.pid()).encode()]\n"
    )
    [port] = services.free_ports(1)
    environment = {
        **os.environ,
        "SHM_POLYGLOT_DIR": str(directory),
        "SHM_POLYGLOT_CHILD": "0",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "shm_protocol.gunicorn.BridgeWorker",
        "-b",
        f"127.0.0.1:{port}",
        "app:app",
    ]
    with listening(folder, directory) as pid, subprocess.Popen(command, cwd=folder, env=environment) as gunicorn:
        try:
            until(lambda: listens(port), lambda: "gunicorn does not listen")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=HANG_S) as answer:
                assert int(answer.read()) == pid
        finally:
            gunicorn.terminate()


def test_aio_gives_functions_that_are_awaited_and_generators_that_are_iterated_over(folder: Path) -> None:
    program = """
import asyncio, inspect, os, signal
from node_side import utils
from shm_protocol import PeerGone, RemoteError, aio
twin = aio(utils)
async def main():
    double = aio(utils.double)
    print(await double(2), await asyncio.gather(*(double(value=n) for n in range(4))), inspect.signature(double))
    print([n async for n in twin.numbers(3)], await twin.format(1, locale="x"), twin.LIMIT, await twin.counter.next())
    async for n in twin.numbers(10 ** 9):
        break
    try:
        await twin.fail("no")
    except RemoteError as error:
        print(error)
    try:
        await double()
    except TypeError as error:
        print(error)
    opened = await aio(utils.opened)(True)
    await opened.put("a")
    print(await opened.get("a"), await aio(utils.size)(opened))
    opened.close()
    task = asyncio.ensure_future(twin.later("a", times=1))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled", utils.double(1))
async def crash():
    os.kill(await twin.pid(), signal.SIGKILL)
    try:
        await twin.double(1)
    except PeerGone:
        pass
    print(await twin.double(4))
asyncio.run(main())
asyncio.run(crash())
for wrong in (len, asyncio):
    try:
        aio(wrong)
    except TypeError as error:
        print(error)
"""
    assert printed(folder, program) == [
        "4 [0, 2, 4, 6] (value: 'float') -> 'float'",
        "[1, 2, 3] 1x 3 1",
        "RangeError: no",
        "double() missing 1 required argument: 'value'",
        "1 1",
        "cancelled 2",
        "8",
        "aio: <built-in function len> is no function of a TypeScript module, and no such module",
        "aio: asyncio has no functions of TypeScript's",
    ]


async def typed(repeat: Callable[[str, int], str], count: Callable[[int], Iterator[float]]) -> None:
    """Never called: mypy reads it."""
    assert_type(await aio(repeat)("a", 2), str)
    assert_type(aio(count)(2), AsyncIterator[float])

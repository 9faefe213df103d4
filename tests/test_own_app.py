"""`gunicorn -k shm_protocol.gunicorn.BridgeWorker app:app` in a folder of a user's own: any WSGI app, any module."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS
from own_project import OwnProject
from services import HANG_S, ROOT
from shm_protocol.gunicorn import settings

PAGE = (ROOT / "docs" / "gunicorn.md").read_text()

PLAIN = """
from shm_protocol.gunicorn import bridge

def app(environ, start_response):
    body = bridge().call("text.shout", environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

FLASK = """
from flask import Flask, request
from shm_protocol.gunicorn import bridge

app = Flask(__name__)

@app.get("/")
def shout():
    return bridge().call("text.shout", request.query_string.decode())
"""

ML = """
import os

def predict(text):
    return f"{text} is good"

def who():
    return [IMPORTED_BY, os.getpid()]

IMPORTED_BY = os.getpid()
"""


EDIT_AGAIN_S = 10.0


@pytest.fixture
def project(tmp_path: Path) -> Iterator[OwnProject]:
    """With a plain app, and a module to expose."""
    with OwnProject(tmp_path / "project") as project:
        project.write("app.py", PLAIN)
        project.write("myapp/__init__.py", "")
        project.write("myapp/ml.py", ML)
        yield project


@pytest.mark.parametrize("app", [PLAIN, FLASK], ids=["plain", "flask"])
def test_a_wsgi_app_calls_typescript_and_typescript_calls_what_the_configuration_file_exposes(
    project: OwnProject, app: str
) -> None:
    project.write("app.py", app)
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    assert project.call("ml.predict", "this") == "this is good"
    assert project.get("/?hello").body == b"HELLO"
    assert "TypeScript may call ml.predict, ml.who\n" in project.log()
    assert "attached to Node over" in project.log()


CANCELLED = """
import time
from pathlib import Path
from shm_protocol import current_call
from shm_protocol.gunicorn import bridge

seen = []

def wait_for_the_end(path):
    call = current_call()
    Path(path).touch()
    while not call.cancelled:
        time.sleep(0.001)
    seen.append(path)

def all_seen():
    return seen

def app(environ, start_response):
    body = bridge().call("text.giveUp", "own.wait_for_the_end", environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_a_function_learns_that_typescript_has_cancelled_its_call_in_the_workers_thread_and_in_a_handlers(
    project: OwnProject, tmp_path: Path
) -> None:
    project.write("app.py", CANCELLED)
    project.write("gunicorn.conf.py", 'shm_expose = {"own": "app"}')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    by_itself, nested = str(tmp_path / "by_itself"), str(tmp_path / "nested")
    assert project.call("giveUp", "own.wait_for_the_end", by_itself) == "Cancelled"
    assert project.get(f"/?{nested}").body == b"Cancelled"
    project.wait_until(lambda: sorted(project.call("own.all_seen")) == [by_itself, nested], "both have ended")


def test_the_environment_exposes_where_no_file_does(project: OwnProject) -> None:
    project.start_node()
    project.start_gunicorn("app:app", SHM_POLYGLOT_EXPOSE="ml=myapp.ml, predict = myapp.ml:predict")
    project.wait_attached()
    assert project.call("ml.predict", "this") == project.call("predict", "this") == "this is good"


def test_the_configuration_file_wins_over_the_environment(project: OwnProject) -> None:
    project.write(
        "gunicorn.conf.py", f'shm_dir = {str(project.folder / "run")!r}\nshm_expose = {{"mine": "myapp.ml"}}\n'
    )
    project.start_node()
    project.start_gunicorn("app:app", SHM_POLYGLOT_EXPOSE="theirs=nowhere", SHM_POLYGLOT_DIR=str(project.folder / "x"))
    project.wait_attached()
    assert project.call("mine.predict", "this") == "this is good"
    assert project.get("/?hello").body == b"HELLO"


def test_modules_objects_and_functions_are_exposed_as_they_are_and_the_file_may_be_a_module(
    project: OwnProject,
) -> None:
    project.write(
        "settings.py",
        """
from myapp import ml

class Model:
    def predict(self, text):
        return text[::-1]

shm_expose = {"ml": ml, "model": Model(), "some": {"length": len}, "alone": ml.predict}
""",
    )
    project.start_node()
    project.start_gunicorn("-c", "python:settings", "app:app")
    project.wait_attached()
    assert project.call("ml.predict", "this") == "this is good"
    assert [project.call(name, "abc") for name in ("model.predict", "some.length")] == ["cba", 3]
    assert project.call("alone", "it") == "it is good"


DECORATED = """
import shm_protocol

@shm_protocol.expose(name="ml.length")
def length(text):
    return len(text)
"""


@pytest.mark.parametrize("arguments", [[], ["--preload"]])
def test_what_is_decorated_is_exposed_where_no_setting_says_what_is(project: OwnProject, arguments: list[str]) -> None:
    project.write("app.py", PLAIN + DECORATED)
    project.start_node()
    project.start_gunicorn(*arguments, "app:app")
    project.wait_attached()
    assert project.call("ml.length", "this") == 4


def test_a_setting_that_says_what_is_exposed_goes_before_what_is_decorated(project: OwnProject) -> None:
    project.write("app.py", PLAIN + DECORATED)
    project.start_node()
    project.start_gunicorn("app:app", SHM_POLYGLOT_EXPOSE="ml=myapp.ml")
    project.wait_attached()
    assert project.call("ml.predict", "this") == "this is good"
    assert "UnknownMethod" in project.call("ml.length", "this")


def test_what_is_decorated_and_cannot_be_served_ends_gunicorn_at_once(project: OwnProject) -> None:
    project.write("app.py", PLAIN + DECORATED.replace("def length", "async def length"))
    project.start_gunicorn("app:app")
    assert project.wait_for_end() == 3
    assert "ConfigError: @shm_protocol.expose: ml.length is a coroutine function" in project.log()


def test_an_app_exposes_more_while_it_is_imported(project: OwnProject) -> None:
    project.write("app.py", f"{PLAIN}\nfrom myapp import ml\nbridge().expose({{'late': ml}})")
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    assert project.call("ml.predict", "this") == project.call("late.predict", "this") == "this is good"


def test_a_call_waits_as_long_as_the_settings_say_unless_it_says_otherwise(project: OwnProject) -> None:
    project.write(
        "app.py",
        """
from shm_protocol import CallTimeout
from shm_protocol.gunicorn import bridge

def app(environ, start_response):
    timeouts = {"timeout": 0.01} if environ["QUERY_STRING"] else {}
    try:
        bridge().call("text.never", **timeouts)
    except CallTimeout as error:
        body = str(error).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
""",
    )
    project.write("gunicorn.conf.py", "shm_call_timeout = 0.05")
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    assert b"0.05 s" in project.get("/").body
    assert b"0.01 s" in project.get("/?own").body


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("shm_ring_bytes = 5000", "shm_ring_bytes=5000: must be a power of two from 4096 to 268435456"),
        ("shm_max_message = 1", "shm_max_message=1: must be an integer from 1024 to 4294967295"),
        ("shm_spin_us = -1", "shm_spin_us=-1: must be an integer from 0 to 1000000"),
        ("shm_transport = 'tcp'", 'shm_transport="tcp": must be auto, shm or socket'),
        ("shm_dir = 'run'", 'shm_dir="run": must be an absolute path'),
        ("shm_dir = '/' + 'x' * 120", "has 131 bytes and must have at most 107: /xx"),
        ("shm_dir = '/' + 'x' * 120", "/node.sock; set shm_dir to a shorter directory on both sides"),
        ("shm_dir = '/a\\0b'", 'no zero byte: "/a\\u0000b/node.sock"; set shm_dir to a directory without one'),
        ("threads = 0", "threads=0: must be an integer of at least 1: handlers that a worker runs at once"),
        ("worker_connections = 0", "worker_connections=0: must be an integer of at least 1"),
        ("shm_call_timeout = '5 s'", 'shm_call_timeout="5 s": must be a number from 0.001 to 3600'),
        ("shm_max_connections = 0", "shm_max_connections=0: must be an integer from 1 to 10000"),
        ("shm_request_timeout = True", "shm_request_timeout=True: must be a number from 0.1 to 3600"),
        ("shm_memory_limit_mib = 0", "shm_memory_limit_mib=0: must be an integer from 1 to 1048576"),
        ("shm_expose = 'ml'", 'shm_expose="ml": must give what TypeScript may call a name each'),
        ("shm_expose = ['ml']", "shm_expose=(a list): must give what TypeScript may call a name each"),
    ],
)
def test_a_setting_that_cannot_be_ends_gunicorn_at_once_with_a_line_that_says_what_may_be(
    project: OwnProject, setting: str, told: str
) -> None:
    project.write("gunicorn.conf.py", setting)
    project.start_gunicorn("app:app")
    assert project.wait_for_end() == 1
    (line,) = [line for line in project.log().splitlines() if line.startswith("Error: ")]
    assert told in line
    assert "Traceback" not in project.log()
    assert "Booting worker" not in project.log()


def test_a_variable_that_cannot_be_is_told_likewise(project: OwnProject) -> None:
    project.start_gunicorn("app:app", SHM_POLYGLOT_EXPOSE="ml=a,ml=b", SHM_POLYGLOT_MAX_CONNECTIONS="many")
    assert project.wait_for_end() == 1
    assert 'Error: SHM_POLYGLOT_EXPOSE="ml=a,ml=b": gives ml twice' in project.log()
    project.start_gunicorn("app:app", SHM_POLYGLOT_MAX_CONNECTIONS="many")
    assert project.wait_for_end() == 1
    assert 'Error: SHM_POLYGLOT_MAX_CONNECTIONS="many": must be an integer from 1 to 10000' in project.log()


def test_a_slip_in_the_name_of_a_setting_is_told(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", "import shm_protocol\nshm_exposes = {}")
    project.start_node()
    project.start_gunicorn("app:app")
    assert project.get("/?hello").body == b"HELLO"
    assert "shm_exposes: there is no such setting" in project.log()
    assert "TypeScript may call nothing: see shm_expose\n" in project.log()
    assert "shm_protocol: there is" not in project.log()


BROKEN = {
    "missing": ("", "myapp.gone", "shm_expose: ml: the module 'myapp.gone' cannot be imported: ModuleNotFoundError"),
    "raises": ("\n\nimport no_such_package\n", "myapp.broken", "myapp/broken.py, line 3)"),
    "syntax": ("x = 1\ndef (", "myapp.broken", "myapp/broken.py, line 2)"),
    "exits": ("import sys\nsys.exit(0)", "myapp.broken", "SystemExit: 0 ({folder}/myapp/broken.py, line 2)"),
    "nothing": ("def _private(): ...", "myapp.broken", "shm_expose: ml has no public functions"),
    "imports": ("from os.path import join", "myapp.broken", "shm_expose: ml has no public functions of its own"),
    "no such": ("", "myapp.ml:gone", "'myapp.ml:gone' has nothing of the name 'gone'"),
    "no name": ("", "my app", "must be the name of a module, such as 'myapp.ml'"),
    "a class": ("class Model: ...", "myapp.broken:Model", "shm_expose: ml is a class; expose an instance"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_exposed_ends_gunicorn_at_once_and_is_told_with_the_line(project: OwnProject, case: str) -> None:
    source, exposed, told = BROKEN[case]
    project.write("myapp/broken.py", source)
    project.write("gunicorn.conf.py", f"shm_expose = {{'ml': {exposed!r}}}")
    project.start_gunicorn("app:app")
    assert project.wait_for_end() == 3
    assert told.format(folder=project.folder) in project.log().replace("myapp/../", "")
    assert project.log().count("Booting worker") == 1
    assert "Worker failed to boot" in project.log()


def test_with_preload_what_is_exposed_is_imported_once_by_the_master(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}')
    project.start_node()
    project.start_gunicorn("--preload", "app:app")
    project.wait_attached()
    assert project.call("ml.who") == [project.gunicorn_pid, *project.worker_pids()]
    assert project.get("/?hello").body == b"HELLO"


def test_without_preload_each_worker_imports_what_is_exposed(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    assert project.call("ml.who") == project.worker_pids() * 2


def test_with_preload_an_import_that_fails_ends_gunicorn_before_it_has_a_worker(project: OwnProject) -> None:
    project.write("myapp/broken.py", "\nraise OSError('no model')")
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.broken"}')
    project.start_gunicorn("--preload", "app:app")
    assert project.wait_for_end() == 1
    assert "cannot be imported: OSError: no model (" in project.log()
    assert "myapp/broken.py, line 2)" in project.log()
    assert "Booting worker" not in project.log()


def test_sighup_takes_the_configuration_file_and_the_modules_anew(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    project.write("myapp/ml.py", "def predict(text): return f'{text} is new'")
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml", "more": "myapp.ml:predict"}')
    project.signal_gunicorn(signal.SIGHUP)
    project.wait_until(lambda: project.call("more", "this") == "this is new", "the new worker serves")
    project.wait_until(lambda: project.call("ml.predict", "this") == "this is new", "the old worker has gone")


def test_sighup_with_a_setting_that_cannot_be_ends_gunicorn_as_with_one_of_its_own(project: OwnProject) -> None:
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    project.write("gunicorn.conf.py", "shm_ring_bytes = 5000")
    project.signal_gunicorn(signal.SIGHUP)
    assert project.wait_for_end() == 1
    assert "Error: shm_ring_bytes=5000: must be a power of two from 4096 to 268435456" in project.log()


def edit(project: OwnProject, text: str, condition: Callable[[], bool]) -> None:
    """Writes the module that is exposed until the condition holds. Once is not enough: to gunicorn's reloader a change
    before its first look is none. The texts have different lengths, which Python tells a compiled file's age by, too.
    """
    written = -math.inf

    def holds() -> bool:
        nonlocal written
        if time.monotonic() - written > EDIT_AGAIN_S:
            project.write("myapp/ml.py", text)
            written = time.monotonic()
        try:
            return condition()
        except OSError:
            # In between two workers.
            return False

    project.wait_until(holds, f"reloaded with {text}")


def test_reload_has_what_is_exposed_imported_anew_and_survives_a_mistake_in_it(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", 'shm_expose = {"ml": "myapp.ml"}\nreload = True\nreload_engine = "poll"')
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    edit(project, "def predict(text): return f'{text} is new'", lambda: project.call("ml.predict", "it") == "it is new")
    edit(project, "def predict(text) return", lambda: b"myapp/ml.py, line 1)" in project.get("/?hello").body)
    edit(project, "def predict(text): return f'{text} is ok'", lambda: project.call("ml.predict", "it") == "it is ok")
    project.wait_until(lambda: project.get("/?hello").body == b"HELLO", "the app is served again")


def test_ctrl_c_ends_gunicorn_and_its_workers_without_a_word_of_errors(project: OwnProject) -> None:
    project.start_node()
    project.start_gunicorn("--workers", "2", "app:app")
    project.wait_attached()
    project.wait_attached()
    assert project.get("/?hello").body == b"HELLO"
    project.press_ctrl_c()
    assert project.wait_for_end() == 0
    assert "Traceback" not in project.log()


def test_a_worker_that_is_told_twice_to_quit_quits_once(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", "def worker_int(worker):\n    print('is quitting', flush=True)")
    project.start_node()
    project.start_gunicorn("app:app")
    project.wait_attached()
    (worker,) = project.worker_pids()
    for number in (signal.SIGINT, signal.SIGQUIT):
        os.kill(worker, number)
    project.wait_attached()
    assert project.log().count("is quitting") == 1
    assert "Traceback" not in project.log()


def test_bridge_says_what_to_do_where_there_is_no_worker(project: OwnProject) -> None:
    program = "import shm_protocol.gunicorn\nshm_protocol.gunicorn.bridge()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 1
    assert "RuntimeError: bridge() is for what a BridgeWorker runs" in done.stderr
    project.write("app.py", f"{PLAIN}\nnode = bridge()")
    project.start_gunicorn("--preload", "app:app")
    assert project.wait_for_end() == 1
    assert "with --preload the app is imported in the master" in project.log()


def test_where_the_settings_are_registered_before_gunicorn_starts_it_lists_them(project: OwnProject) -> None:
    project.write("gunicorn.conf.py", "shm_ring_bytes = 8192")
    project.write("serve.py", "import shm_protocol.gunicorn\nfrom gunicorn.app.wsgiapp import run\nrun()")
    done = subprocess.run(
        [sys.executable, "serve.py", "--print-config", "app:app"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert "shm_ring_bytes" in done.stdout, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("shm_ring_bytes")]
    assert line.endswith("= 8192")


def test_the_ten_lines_of_the_page_run_and_say_what_they_promise(project: OwnProject) -> None:
    files = re.findall(r"^`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["myapp/ml.py", "app.py", "gunicorn.conf.py", "server.js"]
    for name, text in files:
        project.write(name, text)
    with subprocess.Popen(
        ["node", "server.js"], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            project.start_gunicorn("app:app")
            assert node.stdout is not None
            assert node.stdout.readline() == "{ text: 'I love this', sentiment: 'positive' }\n"
            assert project.get("/shout?text=hello").body == b"HELLO"
        finally:
            node.terminate()


def test_the_page_has_every_setting_with_its_variable_and_its_limits() -> None:
    rows = re.findall(r"^\| `(shm_\w+)` \| `(\w+)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    known = {kind.name: kind.desc for kind in KNOWN_SETTINGS if kind.section == settings.SECTION}
    assert [name for name, *_ in rows] == list(known)
    for name, variable, default, meaning in rows:
        about = known[name]
        assert about is not None
        assert variable == settings.variable_of(name)
        assert f"({variable})." in about
        if default[0].isdigit():
            assert f"By default {default}" in about
        for limit in re.findall(r"\d+(?:\.\d+)?", meaning):
            assert limit in about, name

"""Python and JavaScript in one JVM: right answers both ways, a description that is true, and no JVM left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import http_client
import pytest
from required import require
from services import free_ports

from bench import graalvm_setup, workload
from bench.cases import DIRECTIONS, FIRST, PREDICT, Direction
from bench.graalvm import jvm
from bench.graalvm.jvm import Jdk, NoJdk, find_jdk
from bench.peers import PEERS, graalvm
from bench.services.endpoints import BATCH, HEALTH, Answer, Endpoint
from bench.services.endpoints import PREDICT as PREDICT_ROUTE

ROOT: Final = Path(__file__).resolve().parents[2]
HANG_S: Final = 500
WITHOUT_COMPILER: Final = "-Dtruffle.UseFallbackRuntime=true"
"""For JDK_JAVA_OPTIONS: the JVM is up sooner."""
FEW_CALLS: Final = 3
ENOUGH_S: Final = 60.0
COMPILED_SOMETHING: Final = "opt done"
"""How the engine's log begins a line on what its compiler has compiled."""

pytestmark = pytest.mark.timeout(HANG_S)


@pytest.fixture(scope="session")
def built() -> None:
    """The languages have been got by Maven."""
    if not graalvm_setup.is_built():
        require(f"{jvm.BUILD} is not there, or not up to date; to build it: .venv/bin/python -m bench.graalvm_setup")


@dataclass(frozen=True)
class Started:
    caller: graalvm.Caller
    direction: Direction
    log: Path
    """Where the engine writes what it compiles."""


@pytest.fixture(scope="module", params=DIRECTIONS)
def started(request: pytest.FixtureRequest, built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    direction: Direction = request.param
    log = tmp_path_factory.mktemp("engine") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", f"-Dpolyglot.engine.TraceCompilation=true -Dpolyglot.log.file={log}")
        caller = graalvm.Caller(direction)
    yield Started(caller, direction, log)
    caller.stop()


@pytest.fixture
def interpreted(built: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JVM started now does without the compiler."""
    monkeypatch.setenv("JDK_JAVA_OPTIONS", WITHOUT_COMPILER)


def test_every_function_answers_as_it_should(started: Started) -> None:
    functions = ["predict", "batch"] if started.direction == "ts->py" else ["predict", "batch", "format", "segment"]
    for function in functions:
        fixed = workload.FIXED[function]
        assert started.caller.call(function, fixed["argument"]) == fixed["answer"], function


@pytest.mark.parametrize("value", [None, "", "ä\n\x00日本\U0001f600", b"\x00\xff\n", 1.5, True, [1, "b", [None]]])
def test_what_is_echoed_comes_back(started: Started, value: object) -> None:
    answer = started.caller.call("echo", value)
    assert answer == value
    assert type(answer) is type(value)


def test_every_case_is_measured_without_an_error(started: Started) -> None:
    peer = next(peer for peer in PEERS if peer.name == "graalvm")
    for case in peer.cases(started.direction):
        measured = started.caller.measure(case, FEW_CALLS, ENOUGH_S)
        assert (measured.errors, measured.first_error) == (0, ""), case
        assert len(measured.times_ns) == FEW_CALLS
        assert min(measured.times_ns) > 0
        assert sum(measured.times_ns) <= measured.elapsed_ns


def test_no_call_is_begun_after_its_time(started: Started) -> None:
    assert started.caller.measure(PREDICT, 1_000_000, 0.0).times_ns == []


def test_a_wrong_answer_is_counted_and_shown(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    right = workload.answer_to(FIRST)
    assert isinstance(right, dict)
    monkeypatch.setattr(graalvm, "answer_to", lambda case: {**right, "positive_words": 77})
    measured = started.caller.measure(FIRST, FEW_CALLS, ENOUGH_S)
    assert measured.errors == FEW_CALLS
    assert measured.first_error.startswith("call 0 answered ")
    assert "77" in measured.first_error, measured.first_error


def test_what_the_other_language_raises_is_an_error_with_its_message(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = "text must be a string" if started.direction == "ts->py" else "text.toLowerCase is not a function"
    with pytest.raises(graalvm.CallFailed, match=theirs):
        started.caller.call("predict", 3)
    monkeypatch.setattr(graalvm, "argument_of", lambda case: 3)
    measured = started.caller.measure(FIRST, FEW_CALLS, ENOUGH_S)
    assert measured.errors == FEW_CALLS
    assert theirs in measured.first_error


def test_the_clock_is_measured_where_the_calls_are(started: Started) -> None:
    assert started.caller.clock_us() > 0


def has_compiled(log: Path) -> bool:
    return log.exists() and COMPILED_SOMETHING in log.read_text()


def test_the_compiler_is_called_active_where_the_engine_compiles(started: Started) -> None:
    description = started.caller.describe()
    if find_jdk().major != jvm.COMPILED:
        assert "no optimising compiler" in description
        return
    assert "the optimising compiler is active" in description
    end = time.monotonic() + HANG_S / 2
    while not has_compiled(started.log):
        assert time.monotonic() < end, "the engine has compiled nothing"
        started.caller.measure(PREDICT, 1_000_000, 1.0)


def test_the_description_names_the_versions(started: Started) -> None:
    version = (jvm.BUILD / "modules").glob("polyglot-*.jar")
    assert next(version).stem.removeprefix("polyglot-") in started.caller.describe()
    release = (find_jdk().home / "release").read_text()
    java = next(line for line in release.splitlines() if line.startswith("JAVA_VERSION=")).split('"')[1]
    assert java in started.caller.describe()


def is_running(pid: int) -> bool:
    """Whether the process is there, and has not ended unreaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat[stat.rindex(")") + 2] != "Z"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_without_its_compiler_the_description_says_so_and_stop_ends_the_jvm(interpreted: None) -> None:
    before = set(children(os.getpid()))
    caller = graalvm.Caller("py->ts")
    try:
        (pid,) = set(children(os.getpid())) - before
        assert is_running(pid)
        assert "only interpreted: no optimising compiler" in caller.describe()
    finally:
        caller.stop()
    assert not is_running(pid)


CALLS_FOR_LONG: Final = """
import dataclasses
from bench.cases import FIRST
from bench.peers import graalvm
caller = graalvm.Caller("py->ts")
print("ready", flush=True)
caller.measure(dataclasses.replace(FIRST, pause_s=600.0), 1, 600.0)
"""


def test_the_jvm_is_gone_after_its_caller_was_killed_during_a_measurement(interpreted: None) -> None:
    with subprocess.Popen([sys.executable, "-c", CALLS_FOR_LONG], cwd=ROOT, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"ready\n"
        (pid,) = children(killed.pid)
        assert is_running(pid)
        killed.send_signal(signal.SIGKILL)
    end = time.monotonic() + HANG_S
    while is_running(pid):
        assert time.monotonic() < end, f"the JVM {pid} lives on"
        time.sleep(0.01)


def test_a_jvm_that_does_not_start_is_reported(interpreted: None) -> None:
    with pytest.raises(RuntimeError, match="the JVM ended with exit code 1"):
        graalvm.Caller("py->rust")


@pytest.fixture(scope="module")
def server(built: None) -> Iterator[str]:
    """Node's side of the showcase on the JVM; its URL."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.inprocess.graalvm", str(port)]
    environment = {**os.environ, "JDK_JAVA_OPTIONS": WITHOUT_COMPILER}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
    assert process.returncode == 128 + signal.SIGTERM


def ask(url: str, endpoint: Endpoint) -> Answer:
    answer = http_client.request(endpoint.method, url + endpoint.path, body=endpoint.text.encode() or None)
    return Answer(answer.status, answer.body.decode())


@pytest.mark.parametrize("endpoint", [HEALTH, PREDICT_ROUTE, BATCH], ids=str)
def test_the_server_answers_as_the_contract_says(server: str, endpoint: Endpoint) -> None:
    assert endpoint.difference(ask(server, endpoint)) == ""


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/predict", b"", 400, "Missing text field"),
        ("/api/predict", b"{}", 400, "Missing text field"),
        ("/api/predict", b'{"text": ""}', 400, "Missing text field"),
        ("/api/predict", b'{"text": 3}', 400, "text must be a string"),
        ("/api/predict", b"[]", 400, "The body must be a JSON object"),
        ("/api/predict", b"{", 400, "Malformed JSON: "),
        ("/api/predict", b'{"text": "\xff"}', 400, "Malformed JSON: not UTF-8"),
        ("/api/predict", b" " * (1024 * 1024 + 1), 413, "1048576 bytes"),
        ("/api/batch", b"{}", 400, "Missing texts array"),
        ("/api/batch", b'{"texts": "good"}', 400, "texts must be an array"),
        ("/api/batch", b'{"texts": ["good", 3]}', 400, "texts[1] must be a string"),
        ("/api/batch", b'{"texts": [' + b'"good",' * 100 + b'"bad"]}', 400, "Maximum 100 texts per batch"),
        ("/nothing", b"", 404, "Not found"),
        ("/health", b"", 405, "Method not allowed"),
    ],
)
def test_the_server_refuses_as_the_contract_says(
    server: str, path: str, body: bytes, status: int, message: str
) -> None:
    answer = http_client.request("POST", server + path, body=body)
    assert answer.status == status
    assert message in answer.json()["error"]
    assert answer.headers.get("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)


def test_the_server_allows_other_origins(server: str) -> None:
    for method, path in (("OPTIONS", "/anything"), ("GET", "/health"), ("GET", "/nothing")):
        assert http_client.request(method, server + path).headers["access-control-allow-origin"] == "*"


def test_the_server_answers_those_who_ask_at_once(server: str) -> None:
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda endpoint: ask(server, endpoint), [PREDICT_ROUTE, BATCH, HEALTH] * 20))
    wrong = [
        endpoint.difference(answer)
        for endpoint, answer in zip([PREDICT_ROUTE, BATCH, HEALTH] * 20, answers, strict=True)
    ]
    assert wrong == [""] * len(answers)


def test_the_server_says_what_it_runs_on(server: str) -> None:
    health = http_client.get(server + "/health").json()
    assert "only interpreted: no optimising compiler" in health["runtime"]
    assert health["features"] == {"wsgi": False, "cross_language_calls": True, "shared_memory": True}


def test_a_port_that_is_none_is_named() -> None:
    command = [sys.executable, "-m", "bench.inprocess.graalvm", "http"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 1
    assert "http" in done.stderr


def make_jdk(home: Path, version: str, *more: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "javac").touch()
    (home / "release").write_text("\n".join([f'JAVA_VERSION="{version}"', *more]))
    return home


def test_the_jdk_that_the_compiler_is_made_for_is_taken_before_a_newer_one(tmp_path: Path) -> None:
    for version in ("17.0.15", "21.0.2", "25.0.3", "26"):
        make_jdk(tmp_path / version, version)
    assert find_jdk({}, tmp_path).home.name == "25.0.3"
    shutil.rmtree(tmp_path / "25.0.3")
    assert find_jdk({}, tmp_path).home.name == "26"
    assert find_jdk({"BENCH_JAVA_HOME": str(tmp_path / "21.0.2")}, tmp_path).home.name == "21.0.2"


def test_a_missing_jdk_is_named_with_what_there_is_instead(tmp_path: Path) -> None:
    with pytest.raises(NoJdk, match=f"Java 21 or newer; in JAVA_HOME or {tmp_path} there is none"):
        find_jdk({}, tmp_path)
    old = make_jdk(tmp_path / "old", "17.0.15")
    with pytest.raises(NoJdk, match=f"Java 17 in {old}.*temurin-25-jdk.*BENCH_JAVA_HOME"):
        find_jdk({"JAVA_HOME": str(old)}, tmp_path / "nothing")
    make_jdk(tmp_path / "new", "25")
    with pytest.raises(NoJdk, match=f"BENCH_JAVA_HOME \\({old}\\)"):
        find_jdk({"BENCH_JAVA_HOME": str(old)}, tmp_path)


@pytest.mark.parametrize(
    ("jdk", "brings_compiler"),
    [
        (Jdk(Path("/jdk"), 25, is_graalvm=False), True),
        (Jdk(Path("/jdk"), 25, is_graalvm=True), False),
        (Jdk(Path("/jdk"), 21, is_graalvm=False), False),
    ],
)
def test_only_a_stock_jdk_of_its_java_is_given_the_compiler(jdk: Jdk, brings_compiler: bool) -> None:
    command = jvm.command(jdk, "bench.Calls")
    assert ("-XX:+EnableJVMCI" in command) is brings_compiler
    assert any(option.startswith("--upgrade-module-path=") for option in command) is brings_compiler


def test_a_graalvm_is_known_by_its_release_file(tmp_path: Path) -> None:
    make_jdk(tmp_path / "stock", "25.0.3")
    make_jdk(tmp_path / "graal", "25.0.3", 'GRAALVM_VERSION="25.0.3"')
    assert not find_jdk({"BENCH_JAVA_HOME": str(tmp_path / "stock")}).is_graalvm
    assert find_jdk({"BENCH_JAVA_HOME": str(tmp_path / "graal")}).is_graalvm


def test_without_maven_setup_says_how_to_get_it_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(graalvm_setup.SetupFailed, match="apt-get install maven"):
        graalvm_setup.build(tmp_path / "graalvm", {"PATH": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_when_maven_fails_setup_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    maven = programs / "mvn"
    maven.write_text("#!/bin/sh\nexit 7\n")
    maven.chmod(0o755)
    jdk = make_jdk(tmp_path / "jdk", "25")
    with pytest.raises(graalvm_setup.SetupFailed, match=r"exit code 7.*mvn"):
        graalvm_setup.build(tmp_path / "build" / "graalvm", {"PATH": str(programs), "BENCH_JAVA_HOME": str(jdk)})
    assert list((tmp_path / "build").iterdir()) == []


def test_what_was_built_from_other_sources_is_not_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    shutil.copytree(graalvm_setup.SOURCE, source)
    monkeypatch.setattr(graalvm_setup, "SOURCE", source)
    result = tmp_path / "graalvm"
    assert not graalvm_setup.is_built(result)
    result.mkdir()
    (result / graalvm_setup.MADE_FROM).write_text(graalvm_setup.sources())
    assert graalvm_setup.is_built(result)
    (source / "src" / "bench" / "Calls.java").write_text("class Calls {}")
    assert not graalvm_setup.is_built(result)

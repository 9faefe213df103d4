"""`shm-polyglot run`: a project's two sides, with real processes, from the first line to the last process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import http_client
import pytest
import services
from running import HANG_S, Supervised, until

ROOT = Path(__file__).resolve().parent.parent
RUN = (sys.executable, "-m", "shm_protocol", "run")

SERVER = """
const { existsSync, writeFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { listen } = require("@shm-polyglot/protocol");
const { spawn } = require("node:child_process");

async function main() {
  if (existsSync("doomed")) throw new Error("doomed to fail");
  const bridge = await listen({ expose: { text: { shout: (text) => text.toUpperCase() } } });
  const server = createServer((request, response) => {
    if (request.url === "/") return response.end(`node ${process.pid}\\n`);
    bridge.call("words.count", [request.url]).then(
      (count) => response.end(`${count} words\\n`),
      (error) => response.end(`${error.code}: ${error.message}\\n`),
    );
  });
  server.listen(0, "127.0.0.1");
  if (existsSync("with-a-child")) spawn("sleep", ["1000"]).on("spawn", () => console.log("has a child"));
  process.on("SIGUSR2", () => process.exit(0));
  process.on("SIGTERM", () => {
    server.close();
    server.closeAllConnections();
    bridge.close();
  });
}
main();
"""

HELD = """
while (!require("node:fs").existsSync("go")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
"""

APP = """
import os

import shm_protocol

def app(environ, start_response):
    if environ["PATH_INFO"] == "/shout":
        with shm_protocol.connect() as node:
            answer = node.call("text.shout", "hello")
    else:
        answer = f"python {os.getppid()}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
"""


WORDS = """
def count(text):
    return len(text.split("-"))
"""


class Project:
    """A folder with both sides, and the runs that a test has made there."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        (folder / "package.json").write_text('{"private": true}')
        (folder / "server.js").write_text(SERVER)
        (folder / "app.py").write_text(APP)
        (folder / "words.py").write_text(WORDS)
        kept = {name: value for name, value in os.environ.items() if name not in ("SHM_POLYGLOT_DIR", "NO_COLOR")}
        self.environment = {**kept, "XDG_RUNTIME_DIR": str(runtime), "TERM": "xterm"}
        self._runs: list[Supervised] = []

    def run(self, *arguments: str, on_terminal: bool = False) -> Supervised:
        """Starts it, with a port that the system chooses."""
        run = Supervised([*RUN, *arguments], self.folder, self.environment, "XDG_RUNTIME_DIR", on_terminal=on_terminal)
        self._runs.append(run)
        return run

    def run_and_wait(self, *arguments: str, on_terminal: bool = False) -> Supervised:
        """Starts it and waits until its sides are up."""
        run = self.run(*arguments, on_terminal=on_terminal)
        run.wait_for(r" up; Ctrl-C ends ")
        return run

    def discard(self) -> None:
        for run in self._runs:
            run.discard()


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Stands for $XDG_RUNTIME_DIR: short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shmp-") as path:
        yield Path(path)


@pytest.fixture
def project(tmp_path: Path, runtime: Path) -> Iterator[Project]:
    made = Project(tmp_path, runtime)
    yield made
    made.discard()


def url(run: Supervised, side: str, count: int = 1) -> str:
    """Where a side serves, when it has been told so many times."""
    return run.wait_for(rf"{side} serves (http://127\.0\.0\.1:\d+)", count)


def text(address: str) -> str:
    return http_client.get(address).body.decode().strip()


def test_ctrl_c_before_anything_is_started_ends_it_without_a_word(project: Project, tmp_path: Path) -> None:
    # It is asked for its version first.
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text("#!/bin/sh\nkill -INT $PPID\nexec sleep 1000\n")
    node.chmod(0o755)
    project.environment["PATH"] = f"{node.parent}:{project.environment['PATH']}"
    run = project.run()
    assert (run.process.wait(HANG_S), run.output()) == (0, "")


def test_what_is_exposed_needs_a_worker_that_exposes_it(project: Project) -> None:
    project.environment["GUNICORN_CMD_ARGS"] = "-k gthread"
    run = project.run("--wsgi", "app:app", "--expose", "words=words", "--port", "0")
    assert run.exit_code() == 1
    assert (
        "error: something is exposed, but worker_class = gthread exposes nothing: leave that setting out"
        in run.output()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_both_sides_serve_until_a_signal_ends_them_and_nothing_is_left(
    project: Project, number: signal.Signals
) -> None:
    run = project.run_and_wait("--node", "server.js", "--wsgi", "app:app", "--port", "0")
    assert text(f"{url(run, 'python')}/shout") == "HELLO"
    assert text(url(run, "node")) == f"node {run.child('server.js')}"
    run.process.send_signal(number)
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []
    assert list(project.runtime.iterdir()) == [], "the project's directory is left"


@pytest.mark.parametrize(
    ("arguments", "prepared"),
    [
        (("--wsgi", "app:app", "--port", "0", "--expose", "words=words"), ""),
        (("--wsgi", "app:app", "--port", "0", "--expose", "words=words"), 'shm_expose = {"others": "words"}'),
        (("--wsgi", "app:app", "--port", "0"), 'shm_expose = {"words": "words"}'),
        (("--expose", "words=words"), ""),
    ],
    ids=["with an app", "before gunicorn's file", "by gunicorn's file", "without http"],
)
def test_typescript_calls_what_is_exposed(project: Project, arguments: tuple[str, ...], prepared: str) -> None:
    (project.folder / "gunicorn.conf.py").write_text(prepared)
    run = project.run_and_wait("--node", "server.js", *arguments)
    node = url(run, "node")
    # At once: it is not up before a worker has attached.
    assert text(f"{node}/a-b-c") == "3 words"
    run.process.send_signal(signal.SIGINT)
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def test_what_is_exposed_and_cannot_be_imported_ends_both_with_its_reason(project: Project) -> None:
    run = project.run("--node", "server.js", "--expose", "words=no_such_module")
    assert run.exit_code() == 1
    assert "python | error: " in run.output()
    assert "No module named 'no_such_module'" in run.output()
    assert "Traceback" not in run.output()
    assert run.processes() == []


def test_without_arguments_the_sides_are_found_in_the_folder_and_how_they_run_is_told(project: Project) -> None:
    run = project.run_and_wait("--port", "0")
    assert "run    | node: server.js, JavaScript, Node " in run.output()
    assert "run    | python: app:app, gunicorn " in run.output()


def test_typescript_is_run_with_ts_node_where_the_project_has_that(project: Project) -> None:
    (project.folder / "server.js").unlink()
    (project.folder / "server.ts").write_text(
        'import { listen } from "@shm-polyglot/protocol";\n'
        "const port: number = 0;\n"
        'void listen().then(() => console.log("typed", port));\n'
    )
    (project.folder / "package.json").write_text('{"private": true, "devDependencies": {"ts-node": "*"}}')
    (project.folder / "tsconfig.json").write_text('{"compilerOptions": {"module": "commonjs"}}')
    project.environment["TS_NODE_TRANSPILE_ONLY"] = "1"
    run = project.run_and_wait("--node", "server.ts")
    run.wait_for("node   \\| typed 0")
    assert "run    | node: server.ts, ts-node " in run.output()


@pytest.mark.parametrize(
    ("side", "command", "other"), [("node", "server.js", "python"), ("python", "wsgi_server", "node")]
)
def test_a_side_that_is_killed_is_brought_back_and_the_other_answers_meanwhile(
    project: Project, side: str, command: str, other: str
) -> None:
    run = project.run_and_wait("--port", "0")
    its_url = url(run, other)
    url(run, side)
    before = text(its_url)
    os.kill(run.child(command), signal.SIGKILL)
    run.wait_for(f"{side} was killed by SIGKILL; it is started again in ")
    assert text(its_url) == before
    run.wait_for(f"{side} is back")
    assert text(its_url) == before
    # The system has chosen another port.
    python = url(run, "python", count=2 if side == "python" else 1)
    assert text(f"{python}/shout") == "HELLO"
    run.process.terminate()
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def test_a_killed_worker_is_replaced_by_gunicorn_and_the_sides_stay(project: Project) -> None:
    run = project.run_and_wait("--port", "0")
    master, node = run.child("wsgi_server"), run.child("server.js")
    [worker] = services.children(master)
    os.kill(worker, signal.SIGKILL)
    until(lambda: services.children(master) not in ([], [worker]), run.output)
    assert text(url(run, "python")) == f"python {master}"
    assert run.child("server.js") == node
    assert "started again" not in run.output()


def test_a_side_that_will_not_stay_up_ends_both_with_its_reason(project: Project) -> None:
    run = project.run_and_wait("--port", "0")
    (project.folder / "doomed").touch()
    os.kill(run.child("server.js"), signal.SIGKILL)
    assert run.exit_code() == 1
    last = run.output().strip().splitlines()[-1]
    assert last == (
        "shm-polyglot run: node will not stay up: 5 times in a row it ended within 10 s; the last time node ended with "
        "exit code 1"
    )
    assert "Error: doomed to fail" in run.output()
    delays = [line.rpartition("in ")[2] for line in run.output().splitlines() if "started again" in line]
    assert delays in (["0.5 s", "1 s", "2 s", "4 s"], ["0.5 s", "0.5 s", "1 s", "2 s", "4 s"])
    assert run.processes() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 1), (signal.SIGUSR2, 0)])
def test_with_no_restart_the_end_of_a_side_is_the_end(project: Project, number: signal.Signals, code: int) -> None:
    run = project.run_and_wait("--port", "0", "--no-restart")
    os.kill(run.child("server.js"), number)
    assert run.exit_code() == code
    how = "was killed by SIGKILL" if code else "ended with exit code 0"
    assert run.output().strip().splitlines()[-1] == f"shm-polyglot run: node {how}"
    assert run.processes() == []


def test_a_side_that_ends_before_it_is_ready_ends_both_and_the_reason_is_on_stderr(project: Project) -> None:
    (project.folder / "doomed").touch()
    done = subprocess.run(
        [*RUN, "--port", "0"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 1
    first, second, *_ = done.stderr.splitlines()
    assert first == "shm-polyglot run: node ended with exit code 1 before it was ready"
    assert "throw new Error" in second or "Error: doomed to fail" in done.stderr
    assert list(project.runtime.iterdir()) == []


def test_a_reason_that_stands_right_above_is_not_repeated(project: Project) -> None:
    (project.folder / "doomed").touch()
    run = project.run("--port", "0")
    assert run.exit_code() == 1
    assert run.output().count("Error: doomed to fail") == 1


def test_an_app_that_cannot_be_loaded_ends_both(project: Project) -> None:
    (project.folder / "app.py").write_text("import no_such_module\n")
    run = project.run("--port", "0")
    assert run.exit_code() == 1
    assert "No module named 'no_such_module'" in run.output()
    assert "shm-polyglot run: python ended with exit code 3 before it was ready" in run.output()
    assert run.processes() == []


def test_a_node_side_that_ends_without_listening_is_asked_whether_it_listens(project: Project) -> None:
    (project.folder / "server.js").write_text("console.log('done');\n")
    run = project.run("--node", "server.js")
    assert run.exit_code() == 1
    assert "node ended with exit code 0 before it was ready (nothing listens at " in run.output()
    assert "does it call listen()?" in run.output()


@pytest.mark.parametrize(
    ("arguments", "mine", "other"),
    [(("--node", "server.js"), "node", "python"), (("--wsgi", "app:app", "--port", "0"), "python", "node")],
)
def test_either_side_runs_alone(project: Project, arguments: tuple[str, ...], mine: str, other: str) -> None:
    run = project.run_and_wait(*arguments)
    assert text(url(run, mine)).startswith(mine)
    assert f"{other} " not in run.output().replace(f"{other}_", "").replace(f"/{other}", "")
    run.process.send_signal(signal.SIGINT)
    assert run.exit_code() == 0


@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_the_names_are_coloured_unless_no_color_is_set_and_ctrl_c_ends_both(
    project: Project, no_color: str
) -> None:
    project.environment["NO_COLOR"] = no_color
    run = project.run_and_wait("--port", "0", on_terminal=True)
    run.press("\x03")
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []
    assert ("\x1b[36mnode   |\x1b[0m " in run.output()) == (not no_color)
    assert ("\x1b" in run.output()) == (not no_color)


def test_a_second_ctrl_c_kills_a_side_that_does_not_end(project: Project) -> None:
    run = project.run_and_wait("--port", "0", on_terminal=True)
    services.freeze(run.child("server.js"))
    run.press("\x03")
    run.wait_for("Shutting down: Master")
    run.press("\x03")
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []
    assert "has not ended" not in run.output()


def test_a_run_that_is_killed_takes_both_sides_with_it(project: Project) -> None:
    run = project.run_and_wait("--port", "0")
    assert len(run.processes()) >= 4, "the command, Node, gunicorn's master and its worker"
    run.process.kill()
    until(lambda: not run.processes(), lambda: f"left: {run.processes()}\n{run.output()}")


def test_what_a_side_has_started_ends_with_it(project: Project) -> None:
    (project.folder / "with-a-child").touch()
    run = project.run_and_wait("--node", "server.js")
    run.wait_for("has a child")
    run.process.terminate()
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def test_what_a_killed_side_has_started_is_ended_before_it_is_brought_back(project: Project) -> None:
    (project.folder / "with-a-child").touch()
    run = project.run_and_wait("--node", "server.js")
    run.wait_for("has a child")
    [child] = services.children(run.child("server.js"))
    os.kill(run.child("server.js"), signal.SIGKILL)
    run.wait_for("node is back")
    assert services.parent_of(child) is None


def test_where_nobody_reads_any_more_the_run_ends(project: Project) -> None:
    process = subprocess.Popen(
        [*RUN, "--node", "server.js"], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as lines:
        while "listening" not in lines.readline():
            pass
    assert process.wait(HANG_S) == 0
    assert list(project.runtime.iterdir()) == []


def test_top_ends_where_nobody_reads_any_more(project: Project) -> None:
    project.run_and_wait("--node", "server.js")
    process = subprocess.Popen(
        [sys.executable, "-m", "shm_protocol", "top", "--interval", "0.01"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert "node.sock" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.wait(HANG_S) == 0


def test_a_run_without_a_stdout_serves_all_the_same(project: Project) -> None:
    with subprocess.Popen(
        [*RUN, "--node", "server.js"], cwd=project.folder, env=project.environment, preexec_fn=lambda: os.close(1)
    ) as process:
        until(lambda: bool(list(project.runtime.glob("*/node.sock"))) or process.poll() is not None, lambda: "up")
        process.terminate()
        assert process.wait(HANG_S) == 0
    assert list(project.runtime.iterdir()) == []


def test_a_port_that_is_taken_is_named_with_who_has_it(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = project.run("--wsgi", "app:app", "--port", str(port))
        assert run.exit_code() == 1
    assert f"error: port {port} on 127.0.0.1 is taken by process {os.getpid()} (" in run.output()
    assert "choose another with --port" in run.output()


def test_a_host_that_has_no_name_to_look_up_is_named(project: Project) -> None:
    run = project.run("--wsgi", "app:app", "--host", "a" * 64, "--port", "0")
    assert run.exit_code() == 1
    assert f"error: {'a' * 64} port 0 cannot be listened on: that is no name of a host" in run.output()
    assert "Traceback" not in run.output()


def test_a_gunicorn_that_is_configured_to_go_into_the_background_stays_and_ends_with_the_run(project: Project) -> None:
    (project.folder / "gunicorn.conf.py").write_text("daemon = True\n")
    run = project.run_and_wait("--wsgi", "app:app", "--port", "0")
    assert text(url(run, "python")) == f"python {run.child('wsgi_server')}"
    run.process.terminate()
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def test_ctrl_c_before_a_side_is_started_ends_the_run_without_a_word(project: Project) -> None:
    node = project.folder / "bin" / "node"
    node.parent.mkdir()
    # It may be interrupted before it knows of its child, which then has to end by itself.
    node.write_text("#!/bin/sh\n: > asked-for-its-version\nwhile kill -0 $PPID; do sleep 0.05; done 2> /dev/null\n")
    node.chmod(0o755)
    project.environment["PATH"] = f"{node.parent}:{project.environment['PATH']}"
    run = project.run("--node", "server.js")
    until((project.folder / "asked-for-its-version").exists, run.output)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(HANG_S) == 0, run.output()
    assert run.output() == ""
    until(lambda: run.processes() == [], run.output)


def test_a_second_run_of_a_folder_is_told_which_process_runs_it_already_and_the_first_goes_on(
    project: Project,
) -> None:
    (project.folder / "server.js").write_text(HELD + SERVER)
    first = project.run("--node", "server.js")
    first.wait_for("SHM_POLYGLOT_DIR=")
    # The Node of the first does not listen yet.
    second = project.run("--node", "server.js")
    assert second.exit_code() == 1
    assert f"this folder is run already by process {first.process.pid} (" in second.output()
    assert "or give this run another SHM_POLYGLOT_DIR to have both, and ports of its own (--port)" in second.output()
    assert " up" not in second.output()
    (project.folder / "go").touch()
    first.wait_for(" up; Ctrl-C ends ")
    assert text(url(first, "node")).startswith("node ")
    # Nor does the lock outlive a run that is killed.
    first.process.kill()
    until(lambda: not first.processes(), first.output)
    project.run_and_wait("--node", "server.js")


def test_a_node_side_beside_one_that_was_started_by_hand_is_told_who_listens_already(project: Project) -> None:
    directory = project.runtime / "by-hand"
    project.environment["SHM_POLYGLOT_DIR"] = str(directory)
    with subprocess.Popen(["node", "server.js"], cwd=project.folder, env=project.environment) as node:
        until((directory / "node.sock").exists, lambda: "it listens")
        run = project.run("--node", "server.js")
        assert run.exit_code() == 1
        assert f"process {node.pid} (node server.js) listens at " in run.output()
        assert "and only one may: end it, or give this run another SHM_POLYGLOT_DIR" in run.output()
        node.terminate()


def test_a_directory_that_is_a_file_is_named_with_the_setting(project: Project) -> None:
    file = project.runtime / "file"
    file.touch()
    project.environment["SHM_POLYGLOT_DIR"] = str(file)
    run = project.run("--node", "server.js")
    assert run.exit_code() == 1
    assert f"shm-polyglot run: SHM_POLYGLOT_DIR={file}: {file} cannot be used: File exists" in run.output()


def test_a_run_is_up_once_its_python_side_has_attached_and_says_what_it_waits_for(project: Project) -> None:
    (project.folder / "server.js").write_text(SERVER.replace("const server =", f"{HELD}\n  const server ="))
    for arguments, reason in (
        (("--wsgi", "app:app", "--port", "0"), "no worker has loaded the app and attached to Node"),
        (("--expose", "words=words"), "it has not imported all of that and attached to Node"),
    ):
        run = project.run("--node", "server.js", *arguments)
        run.wait_for(f"python is not ready yet: {reason}")
        assert " up" not in run.output()
        (project.folder / "go").touch()
        run.wait_for(" up; Ctrl-C ends both")
        (project.folder / "go").unlink()
        run.process.terminate()
        assert run.exit_code() == 0, run.output()


def test_two_projects_of_one_user_do_not_meet(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Project(tmp_path_factory.mktemp("other"), project.runtime)
    try:
        for one, shouted in ((project, "one"), (other, "other")):
            server = SERVER.replace("text.toUpperCase()", f'"{shouted}"')
            (one.folder / "server.js").write_text(server)
        runs = [one.run_and_wait("--port", "0") for one in (project, other)]
        assert [text(f"{url(run, 'python')}/shout") for run in runs] == ["one", "other"]
        directories = list(project.runtime.iterdir())
        assert len(directories) == 2
        assert {directory.stat().st_mode & 0o777 for directory in directories} == {0o700}
    finally:
        other.discard()


def test_a_directory_that_is_set_wins_and_is_left_as_it_was(project: Project) -> None:
    chosen = project.runtime / "chosen"
    chosen.mkdir(mode=0o700)
    project.environment["SHM_POLYGLOT_DIR"] = str(chosen)
    run = project.run_and_wait("--node", "server.js")
    assert [path.name for path in chosen.iterdir()] == ["node.sock"]
    run.process.terminate()
    assert run.exit_code() == 0
    assert list(chosen.iterdir()) == []


@pytest.mark.parametrize("command", [("doctor",), ("top", "--count", "1", "--interval", "0.1")])
def test_doctor_and_top_find_the_directory_of_the_project_that_they_are_run_in(
    project: Project, command: tuple[str, ...]
) -> None:
    run = project.run_and_wait("--node", "server.js")
    done = subprocess.run(
        [sys.executable, "-m", "shm_protocol", *command],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    [directory] = project.runtime.iterdir()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{directory}/node.sock" in done.stdout
    assert str(directory) in run.output()


@pytest.mark.parametrize(
    ("file", "old", "new", "side"),
    [("server.js", "node $", "changed $", "node"), ("app.py", "python {", "changed {", "python")],
)
def test_with_reload_a_changed_file_takes_effect(project: Project, file: str, old: str, new: str, side: str) -> None:
    run = project.run_and_wait("--port", "0", "--reload")
    assert not text(url(run, side)).startswith("changed")
    path = project.folder / file
    path.write_text(path.read_text().replace(old, new))

    def has_changed() -> bool:
        try:
            return text(url(run, side)).startswith("changed")
        except OSError:
            return False

    until(has_changed, run.output)
    run.process.terminate()
    assert run.exit_code() == 0, run.output()
    assert run.processes() == []


def nothing_here(project: Project) -> None:
    (project.folder / "server.js").unlink()
    (project.folder / "app.py").unlink()


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "told"),
    [
        (nothing_here, (), 2, "has neither a server.ts nor an app.py: name the sides with --node FILE"),
        (None, ("--node", "none.ts"), 1, "there is no file none.ts"),
        (None, ("--node", "app.py"), 1, "app.py is neither TypeScript nor JavaScript"),
        (None, ("--node", "server.js", "--port", "5000"), 2, "--port is for gunicorn: name an app for it with --wsgi"),
        (None, ("--expose", "ml"), 2, "--expose ml: must be NAME=MODULE, such as ml=myapp.ml"),
        (None, ("--expose", "a=b", "--expose", "a=c"), 2, "--expose gives a twice"),
        (None, ("--port", "65536"), 2, "--port: '65536': must be a whole number from 0 to 65535"),
        (None, ("--wsgi", "app:app"), 2, 'WEB_CONCURRENCY="many": must be a whole number of at least 1'),
        (None, ("--workers", "0"), 2, "--workers: '0': must be a whole number from 1 to 256"),
    ],
)
def test_what_cannot_be_run_is_named_before_anything_is_started(
    project: Project, prepare: Callable[[Project], None] | None, arguments: tuple[str, ...], code: int, told: str
) -> None:
    if prepare is not None:
        prepare(project)
    # Passed over where --workers says how many, or nothing is run that has any.
    project.environment["WEB_CONCURRENCY"] = "many"
    run = project.run(*arguments)
    assert run.exit_code() == code
    assert told in run.output()
    assert list(project.runtime.iterdir()) == []


def test_without_a_node_in_the_path_it_is_told_what_to_install(project: Project) -> None:
    project.environment["PATH"] = str(project.folder)
    run = project.run("--node", "server.js")
    assert run.exit_code() == 1
    assert "there is no node in $PATH: install Node 20 or newer" in run.output()

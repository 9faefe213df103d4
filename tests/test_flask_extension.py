"""`shm_protocol.flask.Bridge` in an app of a user's own, under each server that runs one, with a real Node."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import http_client
import pytest
from http_client import Answer
from own_project import OwnProject
from services import HANG_S, ROOT

PAGE = (ROOT / "docs" / "flask.md").read_text()

APP = """
import os

from flask import Flask
from shm_protocol.flask import Bridge

bridge = Bridge()


def create_app():
    app = Flask("shop")
    bridge.init_app(app)

    @app.get("/shout/<text>")
    def shout(text):
        return bridge.call("text.shout", text)

    @app.get("/client")
    def client():
        return {"kind": type(bridge.client).__name__, "connections": len(bridge.client.connections), "pid": os.getpid()}

    return app


def twice(text):
    return bridge.call("text.shout", text) * 2
"""


class DevServer:
    """`flask run`."""

    def __init__(self, project: OwnProject, app: str = "app:create_app") -> None:
        self._log = project.folder / "flask.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", app, "run", "--port", "0"],
                cwd=project.folder,
                env=project.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + HANG_S
        while (found := re.search(r"Running on (http://\S+)", self._log.read_text())) is None:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.02)
        self._url = found[1]

    def get(self, path: str) -> Answer:
        return http_client.get(f"{self._url}{path}")

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(HANG_S)
        finally:
            self._process.kill()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[OwnProject]:
    with OwnProject(tmp_path / "project") as project:
        project.write("app.py", APP)
        yield project


@pytest.fixture(params=["shm", "socket"])
def over(request: pytest.FixtureRequest, project: OwnProject) -> str:
    """Each server, over both transports."""
    project.environment["SHM_POLYGLOT_TRANSPORT"] = request.param
    name: str = request.param
    return name


def flask(project: OwnProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`flask bridge …` in the project."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app:create_app", "bridge", *arguments],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


@pytest.mark.usefixtures("over")
def test_under_flask_run_requests_share_a_connection_and_node_may_come_later(project: OwnProject) -> None:
    server = DevServer(project)
    try:
        assert server.get("/client").json()["connections"] == 0
        assert server.get("/shout/x").status == 500
        project.start_node()
        end = time.monotonic() + HANG_S
        while (answer := server.get("/shout/hello")).status != 200:
            assert time.monotonic() < end
        assert answer.body == b"HELLO"
        # Each request has a thread of its own there.
        assert [server.get(f"/shout/{word}").body for word in "abc"] == [b"A", b"B", b"C"]
        assert server.get("/client").json()["kind"] == "Client"
        assert server.get("/client").json()["connections"] == 1
    finally:
        server.end()


def test_the_app_of_the_page_runs_as_printed(project: OwnProject) -> None:
    printed = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert printed is not None
    project.write("printed.py", printed[1])
    project.start_node()
    server = DevServer(project, "printed")
    try:
        assert server.get("/shout?text=hello").body == b"HELLO"
    finally:
        server.end()


@pytest.mark.usefixtures("over")
def test_under_gthread_each_worker_connects_for_itself_also_where_the_app_is_made_before_the_fork(
    project: OwnProject,
) -> None:
    project.start_node()
    project.start_gunicorn("-k", "gthread", "--threads", "2", "--preload", "app:create_app()")
    assert project.get("/shout/hello").body == b"HELLO"
    told: dict[str, Any] = project.get("/client").json()
    assert told["kind"] == "Client"
    assert (told["connections"], told["pid"]) == (1, project.worker_pids()[0])
    [first] = project.worker_pids()
    os.kill(first, signal.SIGKILL)
    project.wait_until(lambda: project.worker_pids() not in ([], [first]), "another worker is there")
    assert project.get("/shout/again").body == b"AGAIN"


@pytest.mark.usefixtures("over")
def test_under_bridge_worker_calls_go_by_the_workers_own_client_both_ways(project: OwnProject) -> None:
    project.start_node()
    project.start_gunicorn("app:create_app()", SHM_POLYGLOT_EXPOSE="ml=app:twice")
    assert project.get("/shout/hello").body == b"HELLO"
    assert project.get("/client").json()["kind"] == "WorkerClient"
    project.wait_attached()
    # Node calls the app, which calls Node for it, outside of any request.
    assert project.call("ml", "ab") == "ABAB"


def test_flask_bridge_calls_and_looks_after_it(project: OwnProject) -> None:
    done = flask(project, "call", "text.shout", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("PeerUnavailable: nobody listens at ")
    project.start_node()
    done = flask(project, "call", "text.shout", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, '"HELLO"\n', "")
    done = flask(project, "doctor")
    assert (done.returncode, f"socket {project.folder}/run/node.sock" in done.stdout) == (0, True), done.stdout
    done = flask(project, "top", "--count", "1", "--json")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    done = flask(project, "--help")
    assert done.returncode == 0
    for command in ("doctor", "top", "call"):
        assert command in done.stdout

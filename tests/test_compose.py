"""The two containers, built from the unmodified docker-compose.yml and run by Compose 1.29 and Compose 2.

Needs a Docker engine that this process may use, and either Compose. Without them the tests are skipped, with the
reason; under SHM_POLYGLOT_REQUIRE_ENGINE=1, as in CI, they fail.
"""

import contextlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import http_client
import pytest

ROOT = Path(__file__).resolve().parent.parent
UID = 10001
HANG_GUARD_S = 300.0
BUILD_GUARD_S = 900.0
SERVICES = ("node", "python")
PORT = {"node": 3000, "python": 5000}
pytestmark = pytest.mark.timeout(BUILD_GUARD_S)

COMPOSE = {"1": ["docker-compose"], "2": ["docker", "compose"]}


def cannot_run(reason: str) -> NoReturn:
    """Skips loudly, or fails where an engine is required."""
    if os.environ.get("SHM_POLYGLOT_REQUIRE_ENGINE") == "1":
        pytest.fail(f"SHM_POLYGLOT_REQUIRE_ENGINE=1, but {reason}")
    pytest.skip(f"CONTAINERS NOT TESTED: {reason}")


def run(*command: str, guard: float = HANG_GUARD_S, env: dict[str, str] | None = None) -> str:
    """Runs a command and gives what it printed; the test fails with all of it if the command does."""
    result = subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=guard, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout.strip()


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds; the test fails when it never does."""
    deadline = time.monotonic() + HANG_GUARD_S
    while not condition():
        assert time.monotonic() < deadline, f"still not after {HANG_GUARD_S:.0f} s: {what}"
        time.sleep(0.1)


def ports_for_the_engine(count: int) -> list[int]:
    """TCP ports that nobody listens on, of those that the system gives to nobody by itself.

    An engine may not share a port that is kept for it, as tests/services.py does, and a container that restarts has to
    find it free again.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 30_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("hardly any port from 20000 to 29999 is free")


class Project:
    """One run of the Compose file, under a name and on host ports of its own."""

    def __init__(self, compose: Sequence[str]) -> None:
        self.name = f"shm-polyglot-test-{secrets.token_hex(4)}"
        self.volume = f"{self.name}_shared_memory"
        self.host_port = dict(zip(SERVICES, ports_for_the_engine(len(SERVICES)), strict=True))
        self._containers: dict[str, str] = {}
        self._compose = [*compose, "--project-name", self.name]
        self._environment = {
            **os.environ,
            "SHM_POLYGLOT_NODE_PORT": str(self.host_port["node"]),
            "SHM_POLYGLOT_PYTHON_PORT": str(self.host_port["python"]),
        }

    def compose(self, *arguments: str, guard: float = HANG_GUARD_S) -> str:
        return run(*self._compose, *arguments, guard=guard, env=self._environment)

    def container(self, service: str) -> str:
        """The id of the service's container, which keeps it when it restarts."""
        if service not in self._containers:
            self._containers[service] = self.compose("ps", "-q", service)
        return self._containers[service]

    def inspect(self, service: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(run("docker", "inspect", self.container(service)))[0]
        return facts

    def inside(self, service: str, *command: str) -> str:
        """Runs a command in the service's container, as the service's user."""
        return run("docker", "exec", self.container(service), *command)

    def get(self, service: str, path: str) -> http_client.Answer:
        return http_client.get(f"http://127.0.0.1:{self.host_port[service]}{path}")

    def post(self, service: str, path: str, body: object) -> http_client.Answer:
        return http_client.post(f"http://127.0.0.1:{self.host_port[service]}{path}", body)

    def is_healthy(self, service: str) -> bool:
        """By its own GET /health, which each side answers with 200 only when it can call the other."""
        try:
            return self.get(service, "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False  # The container is starting; the engine's proxy accepts and hangs up.

    def until_healthy(self) -> None:
        try:
            until(lambda: all(map(self.is_healthy, SERVICES)), "both services are healthy")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.compose('ps')}\n{self.compose('logs', '--tail=40')}") from None

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module", params=["1", "2"], ids=["compose-1", "compose-2"])
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """Both services built, up and healthy, once for each generation of Compose."""
    compose = COMPOSE[request.param]
    if shutil.which(compose[0]) is None:
        cannot_run(f"there is no {compose[0]} here; install Docker with Compose {request.param}")
    version = subprocess.run([*compose, "version", "--short"], capture_output=True, text=True, check=False)
    major = version.stdout.strip().removeprefix("v").partition(".")[0]
    if not major.isdigit() or min(int(major), 2) != int(request.param):
        said = (version.stdout or version.stderr).strip().partition("\n")[0]
        cannot_run(f"`{' '.join(compose)}` is no Compose {request.param}: it says {said!r}")
    engine = subprocess.run(
        ["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True, check=False
    )
    if engine.returncode != 0:
        cannot_run(f"no Docker engine answers; start one, e.g. `service docker start` ({engine.stderr.strip()})")
    project = Project(compose)
    project.compose("build", guard=BUILD_GUARD_S)
    try:
        project.compose("up", "-d")
        project.until_healthy()
        yield project
    finally:
        project.down()


def call_both_ways(project: Project) -> None:
    prediction = project.post("node", "/api/predict", {"text": "I love this great thing"}).json()["prediction"]
    assert prediction["sentiment"] == "positive"
    assert project.post("python", "/api/slugify", {"text": "Hello, World"}).json() == {"slug": "hello-world"}


def test_each_side_serves_and_calls_the_other(project: Project) -> None:
    call_both_ways(project)
    for service, path in (("node", "/api/stats"), ("python", "/stats"), ("python", "/"), ("python", "/hello")):
        assert project.get(service, path).status == 200
    assert project.get("node", "/api/benchmark?iterations=100").status == 200


def test_the_containers_share_memory_and_do_not_fall_back_to_the_socket(project: Project) -> None:
    assert project.get("node", "/health").json()["features"]["shared_memory"] is True
    assert project.get("node", "/api/stats").json()["memory_shared"] is True


def test_doctor_and_top_run_inside_the_container(project: Project) -> None:
    assert json.loads(project.inside("python", "shm-polyglot", "doctor", "--json"))["ok"]
    look = json.loads(project.inside("python", "shm-polyglot", "top", "--json", "--count", "1"))
    assert {one["transport"] for one in look["connections"]} == {"shm"}
    assert "worker" in {one["role"] for one in look["connections"]}


def test_compose_sees_both_as_healthy(project: Project) -> None:
    def healthy() -> bool:
        return all(project.inspect(service)["State"]["Health"]["Status"] == "healthy" for service in SERVICES)

    until(healthy, "the engine calls both healthy")


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(project: Project, service: str) -> None:
    facts = project.inspect(service)
    assert facts["HostConfig"]["ReadonlyRootfs"] is True
    assert facts["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    processes = project.inside(service, "sh", "-c", "cat /proc/[0-9]*/status").splitlines()
    facts_of = {
        key: {line.split(":", 1)[1].strip() for line in processes if line.startswith(f"{key}:")} for key in STATUS
    }
    assert facts_of == STATUS
    with pytest.raises(AssertionError, match="Read-only file system"):
        project.inside(service, "touch", "/app/file")


# What /proc/PID/status says of every process in a container; four ids: real, effective, saved, file system.
STATUS = {
    "Uid": {"\t".join([str(UID)] * 4)},
    "Gid": {"\t".join([str(UID)] * 4)},
    "CapEff": {"0" * 16},
    "CapPrm": {"0" * 16},
    "CapBnd": {"0" * 16},
    "NoNewPrivs": {"1"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_carries_no_compiler_and_no_build_tool(project: Project, service: str) -> None:
    tools = "for tool in cc gcc make; do command -v $tool; done"
    libraries = "find / -xdev -path /proc -prune -o '(' -name tsc -o -name cython -o -name ts-node ')' -print"
    assert project.inside(service, "sh", "-c", f"{tools}; {libraries} 2>/dev/null; true") == ""


def by_engine(project: Project, service: str) -> None:
    run("docker", "restart", project.container(service))


def by_crash(project: Project, service: str) -> None:
    # `docker kill` would count as a wish to stop, and nothing would restart. All ends with the first process.
    try:
        os.kill(project.inspect(service)["State"]["Pid"], signal.SIGKILL)
    except (PermissionError, ProcessLookupError) as error:
        pytest.skip(f"the engine's processes are not this process's to kill: {error}")


@pytest.mark.parametrize("end", [by_engine, by_crash])
@pytest.mark.parametrize("service", SERVICES)
def test_a_side_that_restarts_is_found_again_by_the_other(
    project: Project, service: str, end: Callable[[Project, str], None]
) -> None:
    other = SERVICES[1 - SERVICES.index(service)]
    started = {name: project.inspect(name)["State"]["StartedAt"] for name in SERVICES}
    end(project, service)
    until(lambda: project.inspect(service)["State"]["StartedAt"] != started[service], f"{service} has started anew")
    project.until_healthy()
    call_both_ways(project)
    assert project.inspect(other)["State"]["StartedAt"] == started[other], f"{other} was restarted too"


def test_nothing_is_left_in_the_volume_but_the_socket(project: Project) -> None:
    call_both_ways(project)
    assert project.inside("node", "find", "/dev/shm", "-mindepth", "1", "-printf", "%y %m %U %P\n").splitlines() == [
        f"d 700 {UID} shm-polyglot",
        f"s 600 {UID} shm-polyglot/node.sock",
    ]


def test_a_service_stops_when_told_and_need_not_be_killed(project: Project) -> None:
    for service in reversed(SERVICES):
        project.compose("stop", service)
        # 137 would be SIGKILL, after stop_grace_period.
        assert project.inspect(service)["State"]["ExitCode"] in (0, 143), project.compose("logs", "--tail=20", service)
    project.compose("start", *SERVICES)
    project.until_healthy()

"""How the TypeScript server starts and ends."""

import os
import signal
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import http_client
import pytest
from services import HANG_S, NODE, ROOT, Services, free_ports, freeze


def run_node(directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the server until it ends by itself."""
    return subprocess.run(
        NODE,
        cwd=ROOT,
        env={**os.environ, "TS_NODE_TRANSPILE_ONLY": "1", "SHM_POLYGLOT_DIR": str(directory / "run"), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        umask=0o022,
    )


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    """The last line of the log without its time."""
    return result.stderr.splitlines()[-1].partition(" ")[2]


def test_a_port_that_is_taken_ends_it_with_a_line_that_names_the_variable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_node(tmp_path, SHM_POLYGLOT_NODE_PORT=str(port))
    assert result.returncode == 1
    assert last_line(result) == (
        f"ERROR [node] port {port} on 127.0.0.1 is taken; choose another with SHM_POLYGLOT_NODE_PORT"
    )


def test_a_host_that_is_not_this_machine_s_ends_it_with_a_line_that_names_the_variable(tmp_path: Path) -> None:
    result = run_node(tmp_path, SHM_POLYGLOT_NODE_HOST="192.0.2.1", SHM_POLYGLOT_NODE_PORT=str(free_ports(1)[0]))
    assert result.returncode == 1
    assert "SHM_POLYGLOT_NODE_HOST" in last_line(result)


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("SHM_POLYGLOT_NODE_PORT", "http", "an integer from 1 to 65535"),
        ("SHM_POLYGLOT_NODE_PORT", "0", "an integer from 1 to 65535"),
        ("SHM_POLYGLOT_CALL_TIMEOUT", "-1", "a number from 0.001 to 3600"),
    ],
)
def test_a_bad_setting_ends_it_with_a_line_that_names_it(tmp_path: Path, name: str, value: str, limits: str) -> None:
    result = run_node(tmp_path, **{name: value})
    assert result.returncode == 1
    assert last_line(result) == f'ERROR [node] {name}="{value}": must be {limits}'


def test_a_second_server_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with Services(sides=["node"]) as services:
        result = run_node(services.directory, SHM_POLYGLOT_NODE_PORT=str(free_ports(1)[0]))
        assert result.returncode == 1
        assert "node.sock" in last_line(result)
        assert len(result.stderr.splitlines()) == 1
        assert http_client.get(f"{services.node_url}/api/stats").status == 200


def test_a_socket_that_cannot_be_kept_from_others_is_not_listened_on(tmp_path: Path) -> None:
    # The file systems for which this is meant cannot be mounted everywhere, or (vfat) can hold no socket.
    library = tmp_path / "modes_not_kept.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    source = ROOT / "tests" / "modes_not_kept.c"
    subprocess.run([os.environ.get("CC", "cc"), *flags, str(source), "-o", str(library)], check=True)
    port = str(free_ports(1)[0])
    result = run_node(tmp_path, SHM_POLYGLOT_NODE_PORT=port, LD_PRELOAD=str(library))
    assert result.returncode == 1
    assert last_line(result) == (
        f"ERROR [node] {tmp_path}/run/node.sock has mode 0755 even after chmod 600: others may connect; set "
        "SHM_POLYGLOT_DIR to a directory on a file system that keeps modes, such as /run or /tmp"
    )
    assert list((tmp_path / "run").iterdir()) == []


def test_a_stale_socket_is_replaced() -> None:
    with Services(workers=1) as services:
        services.stop_side("node", signal.SIGKILL)
        services.start_node()
        services.wait_attached()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_request_that_has_begun_is_finished_when_it_stops_and_no_idle_client_holds_it_up(how: signal.Signals) -> None:
    with Services(workers=1) as services:
        address = services.node_url.removeprefix("http://")
        idle, busy = HTTPConnection(address, timeout=HANG_S), HTTPConnection(address, timeout=HANG_S)
        idle.request("GET", "/health")
        assert idle.getresponse().read()
        (worker,) = services.worker_pids()
        # The call waits for the worker, and the stop for the call.
        freeze(worker)
        busy.request("POST", "/api/predict", b'{"text":"love"}')
        for _ in range(10):  # requests that come after it have been answered, so it has been sent
            http_client.get(f"{services.node_url}/api/stats")
        os.kill(services.node_pid, how)
        services.wait_until(lambda: "stopping" in services.logs("node"), "it stops")
        os.kill(worker, signal.SIGCONT)
        assert busy.getresponse().status == 200
        # Both connections are still open on this side.
        assert services.wait_for_end("node") == 0
        idle.close()
        busy.close()

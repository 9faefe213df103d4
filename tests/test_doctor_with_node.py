"""`shm-polyglot doctor` with the TypeScript library, as installed, damaged, of another version, and listening."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import shm_protocol
from services import HANG_S, ROOT, freeze

LIBRARY = ROOT / "shm_protocol" / "node"
LISTEN = """
const [path, options] = process.argv.slice(1);
require("@shm-polyglot/protocol").listen({ path, ...JSON.parse(options) }).then(() => { console.log("ready"); });
"""

Findings = dict[str, dict[str, str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which the TypeScript library is installed, for a test to damage."""
    installed = tmp_path / "node_modules" / "@shm-polyglot" / "protocol"
    installed.mkdir(parents=True)
    for name in ("package.json", "index.js"):
        shutil.copy(LIBRARY / name, installed)
    for folder in ("dist", "src"):
        shutil.copytree(LIBRARY / folder, installed / folder)
    # What else lies in there belongs to tests, which may be compiling it just now.
    (installed / "build").mkdir()
    shutil.copy(LIBRARY / "build" / "shm_protocol.node", installed / "build")
    (tmp_path / "package.json").write_text("{}")
    return tmp_path


@pytest.fixture
def path() -> Iterator[Path]:
    """Where to listen: short, because a socket's path may have 107 bytes."""
    directory = tempfile.mkdtemp(prefix="shmp-")
    yield Path(directory) / "node.sock"
    shutil.rmtree(directory)


def library_of(project: Path) -> Path:
    return project / "node_modules" / "@shm-polyglot" / "protocol"


@contextmanager
def listening(project: Path, path: Path, options: dict[str, object] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Node process that listens with the library of this project."""
    command = ["node", "-e", LISTEN, str(path), json.dumps(options or {})]
    with (
        (project / "log").open("w") as log,
        subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=log, text=True) as node,
    ):
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == "ready\n", (project / "log").read_text()
            yield node
        finally:
            # One that a test has stopped cannot end.
            node.send_signal(signal.SIGCONT)
            node.kill()


def diagnose(
    project: Path, path: Path, *arguments: str, before: Sequence[str] = (), transport: str = "auto"
) -> tuple[int, Findings]:
    """The exit code, and the findings by the name of their check."""
    doctor = [sys.executable, "-m", "shm_protocol", "doctor", "--json", "--path", str(path)]
    done = subprocess.run(
        [*before, *doctor, "--node-project", str(project), *arguments],
        cwd=project,
        env={**os.environ, "SHM_POLYGLOT_TRANSPORT": transport},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.stderr == ""
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_with_both_sides_as_they_should_be_nothing_fails(project: Path, path: Path) -> None:
    with listening(project, path):
        code, found = diagnose(project, path)
    assert code == 0
    for check in ("node-side", "directory", "socket", "listener", "handshake", "versions", "sharing"):
        assert found[check]["status"] == "ok", found[check]
    assert "(node " in found["handshake"]["detail"]
    assert found["handshake"]["detail"].endswith(f' answers, of the project "{project}"')
    assert f"library {shm_protocol.__version__} with protocol 1.2 there" in found["versions"]["detail"]
    assert 'peer="shm-polyglot doctor"' in (project / "log").read_text()


def test_another_projects_node_is_told_from_this_ones(
    project: Path, path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("another")
    (other / "package.json").touch()
    with listening(project, path):
        _, found = diagnose(other, path)
    assert found["handshake"]["detail"].endswith(f'of the project "{project}"; this is "{other}"')


@pytest.mark.parametrize(("transport", "status", "exit_code"), [("auto", "warning", 0), ("shm", "failed", 1)])
def test_a_dev_shm_that_node_does_not_share_is_found(
    project: Path, path: Path, transport: str, status: str, exit_code: int
) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("only root may change mounts (unshare --mount)")
    own = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=64m tmpfs /dev/shm; exec "$@"', "sh"]
    with listening(project, path):
        code, found = diagnose(project, path, before=own, transport=transport)
    assert code == exit_code
    assert found["sharing"]["status"] == status
    assert "is not here: both sides must share /dev/shm" in found["sharing"]["detail"]
    assert "mount one tmpfs volume at /dev/shm in both containers" in found["sharing"]["fix"]
    assert found["handshake"]["status"] == found["versions"]["status"] == "ok"


def test_a_node_that_does_not_run_is_given_up_at_the_time_limit(project: Path, path: Path) -> None:
    with listening(project, path) as node:
        freeze(node.pid)
        code, found = diagnose(project, path, "--timeout", "0.2")
    assert code == 1
    assert found["listener"]["status"] == "ok"
    assert found["handshake"]["status"] == "failed"
    assert "has not answered within 0.2 s" in found["handshake"]["detail"]


def test_a_node_that_takes_only_the_other_transport_is_found(project: Path, path: Path) -> None:
    with listening(project, path, {"transport": "socket"}):
        _, found = diagnose(project, path)
        assert found["sharing"]["status"] == "warning"
        assert "takes only the socket transport" in found["sharing"]["detail"]
    with listening(project, path, {"transport": "shm"}):
        code, found = diagnose(project, path, transport="socket")
        assert code == 1
        assert "takes only the shm transport" in found["handshake"]["detail"]


def test_a_node_with_as_many_connections_as_it_takes_is_found(project: Path, path: Path) -> None:
    with listening(project, path, {"maxConnections": 1}), shm_protocol.connect(path):
        code, found = diagnose(project, path)
    assert code == 1
    assert "maxConnections" in found["handshake"]["detail"]
    assert "maxConnections" in found["handshake"]["fix"]
    assert found["sharing"]["status"] == "skipped"


def test_a_node_of_another_major_version_is_named_on_both_counts(project: Path, path: Path) -> None:
    handshake = library_of(project) / "dist" / "handshake.js"
    code = handshake.read_text()
    assert "PROTOCOL_MAJOR = 1" in code
    handshake.write_text(code.replace("PROTOCOL_MAJOR = 1", "PROTOCOL_MAJOR = 2"))
    with listening(project, path):
        exit_code, found = diagnose(project, path)
    assert exit_code == 1
    assert found["node-side"]["status"] == "failed"
    assert "speaks protocol 2.2, this side 1.2" in found["node-side"]["detail"]
    assert found["versions"]["status"] == "failed"
    assert "VersionMismatch: the peer speaks protocol 2.2, this side 1.2" in found["versions"]["detail"]


def test_another_release_with_the_same_protocol_is_a_warning(project: Path, path: Path) -> None:
    manifest = library_of(project) / "package.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": "0.0.9"}))
    compiled = library_of(project) / "dist" / "package_info.js"
    compiled.write_text(compiled.read_text().replace(shm_protocol.__version__, "0.0.9"))
    with listening(project, path):
        code, found = diagnose(project, path)
    assert code == 0
    assert found["node-side"]["status"] == found["versions"]["status"] == "warning"
    assert "library 0.0.9 with protocol 1.2 there" in found["versions"]["detail"]


@pytest.mark.parametrize(("transport", "status", "exit_code"), [("auto", "warning", 0), ("shm", "failed", 1)])
def test_a_missing_addon_is_found_where_it_is_installed_and_where_it_listens(
    project: Path, path: Path, transport: str, status: str, exit_code: int
) -> None:
    shutil.rmtree(library_of(project) / "build")
    with listening(project, path):
        code, found = diagnose(project, path, transport=transport)
    assert code == exit_code
    assert found["node-side"]["status"] == found["sharing"]["status"] == status
    for check in ("node-side", "sharing"):
        assert "there is no native addon for linux-" in found[check]["detail"]


def test_an_addon_that_does_not_load_says_why(project: Path, path: Path) -> None:
    (library_of(project) / "build" / "shm_protocol.node").write_bytes(b"for another machine")
    _, found = diagnose(project, path)
    assert found["node-side"]["status"] == "warning"
    assert "the native addon does not load" in found["node-side"]["detail"]
    assert "file too short" in found["node-side"]["detail"]


def test_a_library_that_is_not_built_fails(project: Path, path: Path) -> None:
    shutil.rmtree(library_of(project) / "dist")
    _, found = diagnose(project, path)
    assert found["node-side"]["status"] == "failed"
    assert "is not built: Cannot find module" in found["node-side"]["detail"]
    assert "npm run build" in found["node-side"]["fix"]


def test_a_folder_without_the_library_is_skipped_and_named(path: Path) -> None:
    _, found = diagnose(path.parent, path)
    assert found["node-side"]["status"] == "skipped"
    assert str(path.parent) in found["node-side"]["detail"]

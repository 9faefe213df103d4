"""`tests/audit.py` tells a finding from a registry that does not answer."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from services import HANG_S, ROOT, free_ports

AUDIT = ROOT / "tests" / "audit.py"


def audit(check: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs one check."""
    return subprocess.run(
        [sys.executable, str(AUDIT), check],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


@contextmanager
def registry(advisories: dict[str, Any]) -> Iterator[str]:
    """A registry of Node packages that knows of these vulnerabilities, as npm asks it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(advisories if self.path.endswith("/advisories/bulk") else {})

        def do_GET(self) -> None:
            name = unquote(self.path.strip("/"))
            self.answer({"name": name, "dist-tags": {}, "versions": {}})

        def answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


ADVISORY = {
    "id": 1,
    "url": "https://example.org/1",
    "title": "Reads your thoughts",
    "severity": "high",
    "vulnerable_versions": "*",
    "cwe": [],
    "cvss": {"score": 9, "vectorString": None},
}


def test_a_node_package_with_a_known_vulnerability_is_a_finding(tmp_path: Path) -> None:
    with registry({"node-api-headers": [ADVISORY]}) as url:
        done = audit("npm", npm_config_registry=url, npm_config_cache=str(tmp_path))
    assert done.returncode == 1, done.stdout
    assert "node-api-headers" in done.stdout
    assert "high: Reads your thoughts" in done.stdout


def test_no_known_vulnerability_of_a_node_package_is_no_finding(tmp_path: Path) -> None:
    with registry({}) as url:
        done = audit("npm", npm_config_registry=url, npm_config_cache=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "npm: no known vulnerabilities\n")


def test_a_registry_of_node_packages_that_does_not_answer_is_said_and_no_finding(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    done = audit("npm", npm_config_registry=url, npm_config_fetch_retries="0", npm_config_cache=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith("npm: COULD NOT BE ASKED, so nothing is known: ")


def pip_audit_that_says(folder: Path, output: str, errors: str = "") -> str:
    """A path on which pip-audit says so, in its own words: the index it asks cannot be chosen."""
    program = folder / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({output!r})\nprint({errors!r}, file=sys.stderr)\nsys.exit(1)\n"
    )
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


FLASK = {"name": "flask", "version": "3.1.0"}
CLICK = {"name": "click", "version": "8.0.0", "vulns": []}
SKIPPED = {"name": "odd", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("output", "errors", "code", "said"),
    [
        (
            json.dumps({"dependencies": [{**FLASK, "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.1"]}]}, CLICK]}),
            "Found 1 known vulnerability in 1 package",
            1,
            "pip: 1 known vulnerabilities\n  flask 3.1.0: PYSEC-1, mended in 3.1.1\n",
        ),
        (
            json.dumps({"dependencies": [CLICK, SKIPPED]}),
            "",
            0,
            "python: not asked about odd\npip: no known vulnerabilities\n",
        ),
        (
            json.dumps({"dependencies": [SKIPPED]}),
            "",
            0,
            "pip: COULD NOT BE ASKED, so nothing is known: the index knows nothing of vulnerabilities: not found\n",
        ),
        ("", "ERROR: no network", 0, "pip: COULD NOT BE ASKED, so nothing is known: pip-audit: ERROR: no network\n"),
    ],
    ids=["a finding", "none", "all skipped", "no network"],
)
def test_what_pip_audit_says_is_told_apart(tmp_path: Path, output: str, errors: str, code: int, said: str) -> None:
    done = audit("pip", PATH=pip_audit_that_says(tmp_path, output, errors))
    assert (done.returncode, done.stdout) == (code, said)


def test_a_check_that_there_is_not_is_named() -> None:
    done = audit("cargo")
    assert (done.returncode, done.stderr) == (2, "no such check: cargo; there are pip, npm\n")

"""`tests/audit.py` asks about every lock file, and tells a finding from a registry that does not answer."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import audit as audit_program
import pytest
from services import HANG_S, ROOT, free_ports


def tree(root: Path, *locks: str) -> Path:
    """A repository with these lock files, all of the same content, and tests/audit.py."""
    package = json.loads((ROOT / "shm_protocol/node/test/older_types/package.json").read_text())
    (root / "tests").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests" / "audit.py", root / "tests")
    for lock in locks:
        path = root / lock
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "package-lock.json":
            shutil.copy(ROOT / "shm_protocol/node/test/older_types/package-lock.json", path)
            path.with_name("package.json").write_text(json.dumps(package))
        else:
            path.write_text("")
    return root


def audit(root: Path, check: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs one check there."""
    return subprocess.run(
        [sys.executable, str(root / "tests" / "audit.py"), check],
        cwd=root,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


@contextmanager
def registry(advisories: dict[str, Any], answers: int | None = None) -> Iterator[str]:
    """A registry of Node packages that knows of these vulnerabilities, as npm asks it. answers: how often it does; then
    it refuses the question, as mirrors do.
    """
    asked = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if answers is not None and next(asked) > answers:
                self.send_response(405)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.answer(advisories if self.path.endswith("/advisories/bulk") else {})

        def do_GET(self) -> None:
            name = unquote(self.path.strip("/"))
            self.answer({"name": name, "dist-tags": {}, "versions": {"0.0.1": {}}})

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


LOCKED = "@types/node"
"""What the lock files of `tree` have."""

NOTHING_KNOWN = "COULD NOT BE ASKED about these, so nothing is known of them:"


def test_every_lock_file_of_the_repository_is_asked_about() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    # Of whatever package manager, but not what is written about them.
    locks = {name for name in files if re.search(r"\block\b", Path(name).name) and not name.endswith((".py", ".md"))}
    assert len(locks) > 10
    assert set(audit_program.python_locks()) | set(audit_program.node_locks()) == locks


def test_a_lock_file_is_found_wherever_it_lies_but_not_where_something_is_installed_or_built(tmp_path: Path) -> None:
    tree(
        tmp_path, "a/b/package-lock.json", "some.lock", "c/node_modules/d/package-lock.json", ".e/f.lock", "dist/g.lock"
    )
    assert audit_program.node_locks(tmp_path) == ["a/b/package-lock.json"]
    assert audit_program.python_locks(tmp_path) == ["some.lock"]


def test_a_node_package_with_a_known_vulnerability_is_a_finding_in_each_lock_file_that_has_it(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "package-lock.json", "deep/inside/package-lock.json")
    with registry({LOCKED: [ADVISORY]}) as url:
        done = audit(root, "npm", npm_config_registry=url, npm_config_cache=str(tmp_path / "cache"))
    assert done.returncode == 1, done.stdout
    assert done.stdout == (
        "npm: 2 known vulnerabilities in package-lock.json, deep/inside/package-lock.json\n"
        f"  package-lock.json: {LOCKED} *: high: Reads your thoughts\n"
        f"  deep/inside/package-lock.json: {LOCKED} *: high: Reads your thoughts\n"
    )


def test_no_known_vulnerability_of_a_node_package_is_no_finding(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "package-lock.json")
    with registry({}) as url:
        done = audit(root, "npm", npm_config_registry=url, npm_config_cache=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (0, "npm: no known vulnerabilities in package-lock.json\n")


def test_a_registry_of_node_packages_that_does_not_answer_is_said_and_no_finding(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "package-lock.json", "deep/package-lock.json")
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    cache = str(tmp_path / "cache")
    done = audit(root, "npm", npm_config_registry=url, npm_config_fetch_retries="0", npm_config_cache=cache)
    assert done.returncode == 0
    first, second, third = done.stdout.splitlines()
    assert first == f"npm: {NOTHING_KNOWN}"
    assert second.startswith("  package-lock.json: npm: ")
    assert third == "  deep/package-lock.json: not tried any more"


def test_what_has_been_found_is_told_even_when_the_registry_answers_no_more(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "package-lock.json", "deep/package-lock.json")
    with registry({LOCKED: [ADVISORY]}, answers=1) as url:
        done = audit(root, "npm", npm_config_registry=url, npm_config_cache=str(tmp_path / "cache"))
    assert done.returncode == 1, done.stdout
    assert done.stdout == (
        "npm: 1 known vulnerabilities in package-lock.json\n"
        f"  package-lock.json: {LOCKED} *: high: Reads your thoughts\n"
        f"npm: {NOTHING_KNOWN}\n"
        f"  deep/package-lock.json: npm: 405 Method Not Allowed - POST {url}-/npm/v1/security/advisories/bulk\n"
    )


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
            "pip: 1 known vulnerabilities in some.lock\n  some.lock: flask 3.1.0: PYSEC-1, mended in 3.1.1\n",
        ),
        (
            json.dumps({"dependencies": [CLICK, SKIPPED]}),
            "",
            0,
            "pip: no known vulnerabilities in some.lock\npip: NOT KNOWN to the registry: some.lock: odd\n",
        ),
        (
            json.dumps({"dependencies": [SKIPPED]}),
            "",
            0,
            f"pip: {NOTHING_KNOWN}\n  some.lock: the index knows nothing of vulnerabilities: not found\n",
        ),
        (
            "",
            "ERROR: no network",
            0,
            f"pip: {NOTHING_KNOWN}\n  some.lock: pip-audit: ERROR: no network\n",
        ),
    ],
    ids=["a finding", "none", "all skipped", "no network"],
)
def test_what_pip_audit_says_is_told_apart(tmp_path: Path, output: str, errors: str, code: int, said: str) -> None:
    root = tree(tmp_path / "root", "some.lock")
    done = audit(root, "pip", PATH=pip_audit_that_says(tmp_path, output, errors))
    assert (done.returncode, done.stdout) == (code, said)


def test_a_check_that_there_is_not_is_named() -> None:
    done = audit(ROOT, "cargo")
    assert (done.returncode, done.stderr) == (2, "no such check: cargo; there are pip, npm\n")

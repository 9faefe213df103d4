"""`python3 tests/audit.py`: is a vulnerability known of anything that the lock files name?

Asks pip-audit about Python's lock files and npm about Node's. Exit code 1 if there is a known vulnerability; 0 if there
is none, and also where a registry could not be asked, which is said: no network is no finding. With the names of checks
(`pip`, `npm`) as arguments, only those. pip-audit is taken from the path or .venv, or else installed, by
tests/audit.lock, into .make/audit.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON_LOCK: Final = "requirements-bench.lock"
"""Holds all that the other two hold: tests/test_locks.py sees to it."""

NODE_FOLDERS: Final = (".", "bench/peers")
OWN: Final = ROOT / ".make" / "audit"
LONGEST_S: Final = 300


class NotAsked(Exception):
    """The registry did not answer, or not to the question."""


def audit_python() -> list[str]:
    """What is known of the Python packages. Raises NotAsked."""
    shown = ["--format", "json", "--progress-spinner", "off", "--desc", "off"]
    # With hashes and without pip it asks about exactly what the file says, and installs nothing.
    report = answer_of([*pip_audit(), *shown, "--disable-pip", "--require-hashes", "-r", PYTHON_LOCK], ROOT)
    packages = report.get("dependencies")
    if not packages:
        raise NotAsked(f"pip-audit says nothing of any package: {str(report)[:200]}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        raise NotAsked(f"the index knows nothing of vulnerabilities: {packages[0]['skip_reason']}")
    if skipped:
        print(f"python: not asked about {', '.join(skipped)}")
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {' '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
    ]


def pip_audit() -> list[str]:
    """The command, installed first where there is none. Raises NotAsked."""
    for places in (None, ROOT / ".venv" / "bin", OWN / "bin"):
        if found := shutil.which("pip-audit", path=places):
            return [found]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(OWN)],
        [str(OWN / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(ROOT / "tests" / "audit.lock")],
    ):
        done = run(command, ROOT)
        if done.returncode != 0:
            raise NotAsked(f"pip-audit cannot be installed: {last_line(done.stderr)}")
    return [str(OWN / "bin" / "pip-audit")]


def audit_node() -> list[str]:
    """What is known of the Node packages. Raises NotAsked."""
    found = []
    for folder in NODE_FOLDERS:
        report = answer_of(["npm", "audit", "--json", "--package-lock-only"], ROOT / folder)
        if "auditReportVersion" not in report:
            error = report.get("error")
            reason = error.get("summary") or error.get("code") if isinstance(error, dict) else error
            raise NotAsked(f"npm: {report.get('message') or reason or str(report)[:200]}")
        for name, entry in report["vulnerabilities"].items():
            titles = [via["title"] for via in entry["via"] if isinstance(via, dict)]
            why = "; ".join(titles) or f"through {', '.join(entry['via'])}"
            found.append(f"{folder}: {name} {entry['range']}: {entry['severity']}: {why}")
    return found


def answer_of(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """The JSON that a command prints, whatever its exit code. Raises NotAsked."""
    done = run(command, folder)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise NotAsked(f"{Path(command[0]).name}: {last_line(done.stderr) or last_line(done.stdout)}") from None
    if not isinstance(report, dict):
        raise NotAsked(f"{Path(command[0]).name} prints something else than a report: {done.stdout[:200]}")
    return report


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Raises NotAsked if it cannot be run or does not end."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAsked(f"{Path(command[0]).name}: {error}") from None


def last_line(text: str) -> str:
    """The line that tells most, of what a command says when it fails."""
    return (text.strip().splitlines() or ["it says nothing"])[-1]


CHECKS: Final[dict[str, Callable[[], list[str]]]] = {"pip": audit_python, "npm": audit_node}


def main(names: Sequence[str]) -> int:
    """Makes the checks, prints what they find, and gives the exit code."""
    unknown = set(names) - CHECKS.keys()
    if unknown:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    vulnerable = False
    for name in names or CHECKS:
        try:
            found = CHECKS[name]()
        except NotAsked as error:
            print(f"{name}: COULD NOT BE ASKED, so nothing is known: {error}")
            continue
        vulnerable = vulnerable or bool(found)
        print(f"{name}: {len(found) or 'no'} known vulnerabilities")
        for line in found:
            print(f"  {line}")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    os.environ["NO_UPDATE_NOTIFIER"] = "1"
    sys.exit(main(sys.argv[1:]))

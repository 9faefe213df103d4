"""`python3 tests/audit.py`: is a vulnerability known of anything that the lock files name?

Asks pip-audit about each of Python's lock files and npm about each of Node's. Exit code 1 if there is a known
vulnerability; 0 if there is none, and also where a registry could not be asked, which is said: no network is no
finding. With the names of checks (`pip`, `npm`) as arguments, only those. pip-audit is taken from the path or .venv, or
else installed, by tests/audit.lock, into .make/audit.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
MADE: Final = {"node_modules", "build", "dist"}
"""Folders of what is installed or built, as are those whose names begin with a dot."""

OWN: Final = ROOT / ".make" / "audit"
LONGEST_S: Final = 300


class NotAsked(Exception):
    """The registry did not answer to the question."""


class NoRegistry(NotAsked):
    """It does not answer at all."""


@dataclass
class Found:
    """vulnerabilities: a line for each. asked: the lock files that are answered for. not_asked: the others, each with
    why. unknown: packages that the registry does not know, in the lock files that it answers for.
    """

    vulnerabilities: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def locks(pattern: str, root: Path = ROOT) -> list[str]:
    """Every lock file with such a name, wherever it lies."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in MADE and not name.startswith("."))
        found += (str((Path(folder) / name).relative_to(root)) for name in sorted(files) if fnmatch(name, pattern))
    return found


def python_locks(root: Path = ROOT) -> list[str]:
    """Those that pip installs by."""
    return locks("*.lock", root)


def node_locks(root: Path = ROOT) -> list[str]:
    """Those that npm installs by."""
    return locks("package-lock.json", root)


def audit_each(names: Iterable[str], audit: Callable[[str, Found], None]) -> Found:
    """Asks about one lock file after the other, until no registry answers: each would wait for it as long again."""
    found = Found()
    silent = False
    for name in names:
        if silent:
            found.not_asked[name] = "not tried any more"
            continue
        try:
            audit(name, found)
            found.asked.append(name)
        except NotAsked as error:
            found.not_asked[name] = str(error)
            silent = isinstance(error, NoRegistry)
    return found


def audit_python() -> Found:
    """What is known of the Python packages."""
    return audit_each(python_locks(), audit_python_lock)


def audit_python_lock(name: str, found: Found) -> None:
    """Adds what is known of the packages of one lock file. Raises NotAsked."""
    # With hashes and without pip it asks about exactly what the file says, and installs nothing. It refuses two files
    # that have different versions of a package.
    shown = ["--format", "json", "--progress-spinner", "off", "--desc", "off"]
    report = answer_of([*pip_audit(), *shown, "--disable-pip", "--require-hashes", "-r", name], ROOT)
    packages = report.get("dependencies")
    if not packages:
        raise NotAsked(f"pip-audit says nothing of any package: {str(report)[:200]}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        raise NotAsked(f"the index knows nothing of vulnerabilities: {packages[0]['skip_reason']}")
    found.unknown += (f"{name}: {package}" for package in skipped)
    found.vulnerabilities += (
        f"{name}: {package['name']} {package['version']}: {vulnerability['id']}, "
        f"mended in {' '.join(vulnerability['fix_versions']) or 'none'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    )


def pip_audit() -> list[str]:
    """The command, installed first where there is none. Raises NoRegistry."""
    for places in (None, ROOT / ".venv" / "bin", OWN / "bin"):
        if found := shutil.which("pip-audit", path=places):
            return [found]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(OWN)],
        [str(OWN / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(ROOT / "tests" / "audit.lock")],
    ):
        done = run(command, ROOT)
        if done.returncode != 0:
            raise NoRegistry(f"pip-audit cannot be installed: {last_line(done.stderr)}")
    return [str(OWN / "bin" / "pip-audit")]


def audit_node() -> Found:
    """What is known of the Node packages."""
    return audit_each(node_locks(), audit_node_lock)


def audit_node_lock(name: str, found: Found) -> None:
    """Adds what is known of the packages of one lock file. Raises NoRegistry."""
    report = answer_of(["npm", "audit", "--json", "--package-lock-only"], (ROOT / name).parent)
    if "auditReportVersion" not in report:
        error = report.get("error")
        reason = error.get("summary") or error.get("code") if isinstance(error, dict) else error
        raise NoRegistry(f"npm: {report.get('message') or reason or str(report)[:200]}")
    for package, entry in report["vulnerabilities"].items():
        titles = [via["title"] for via in entry["via"] if isinstance(via, dict)]
        why = "; ".join(titles) or f"through {', '.join(entry['via'])}"
        found.vulnerabilities.append(f"{name}: {package} {entry['range']}: {entry['severity']}: {why}")


def answer_of(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """The JSON that a command prints, whatever its exit code. Raises NoRegistry."""
    done = run(command, folder)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise NoRegistry(f"{Path(command[0]).name}: {last_line(done.stderr) or last_line(done.stdout)}") from None
    if not isinstance(report, dict):
        raise NoRegistry(f"{Path(command[0]).name} prints something else than a report: {done.stdout[:200]}")
    return report


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Raises NoRegistry if it cannot be run or does not end."""
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
        raise NoRegistry(f"{Path(command[0]).name}: {error}") from None


def last_line(text: str) -> str:
    """The line that tells most, of what a command says when it fails."""
    return (text.strip().splitlines() or ["it says nothing"])[-1]


CHECKS: Final[dict[str, Callable[[], Found]]] = {"pip": audit_python, "npm": audit_node}


def show(check: str, found: Found) -> None:
    """Prints what a check has found, and what it could not ask."""
    if found.asked:
        print(f"{check}: {len(found.vulnerabilities) or 'no'} known vulnerabilities in {', '.join(found.asked)}")
        for line in found.vulnerabilities:
            print(f"  {line}")
        if found.unknown:
            print(f"{check}: NOT KNOWN to the registry: {', '.join(found.unknown)}")
    if found.not_asked:
        print(f"{check}: COULD NOT BE ASKED about these, so nothing is known of them:")
        for name, why in found.not_asked.items():
            print(f"  {name}: {why}")


def main(names: Sequence[str]) -> int:
    """Makes the checks, prints what they find, and gives the exit code."""
    unknown = set(names) - CHECKS.keys()
    if unknown:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    vulnerable = False
    for name in names or CHECKS:
        found = CHECKS[name]()
        vulnerable = vulnerable or bool(found.vulnerabilities)
        show(name, found)
    return 1 if vulnerable else 0


if __name__ == "__main__":
    os.environ["NO_UPDATE_NOTIFIER"] = "1"
    sys.exit(main(sys.argv[1:]))

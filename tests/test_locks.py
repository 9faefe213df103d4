"""Every dependency is pinned, to a version and to the bytes of it."""

import json
import re
import tomllib
from pathlib import Path

import audit
import pytest
from services import ROOT

PYTHON_LOCKS = audit.python_locks()
NODE_LOCKS = audit.node_locks()
PACKAGES = [path for path in ROOT.glob("**/package.json") if not {"node_modules", "build", ".venv"} & set(path.parts)]
ENTRY = re.compile(r"^([\w.-]+)==([\w.+!-]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def entries(name: str) -> dict[str, str]:
    """What a lock file of Python's pins: version by name. Every line of it belongs to an entry or is a comment."""
    text = (ROOT / name).read_text()
    rest = ENTRY.sub("", text)
    left = [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")]
    assert not left, f"{name}: no version and hash: {left[:3]}"
    return {found[1]: found[2] for found in ENTRY.finditer(text)}


@pytest.mark.parametrize("name", PYTHON_LOCKS)
def test_every_python_package_has_a_version_and_hashes(name: str) -> None:
    assert entries(name)


def test_a_larger_lock_file_of_python_holds_all_that_a_smaller_one_does() -> None:
    locks = [
        entries(name).items() for name in ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
    ]
    assert locks[0] <= locks[1] <= locks[2]
    assert locks[1] <= entries("requirements-release.lock").items()


def largest() -> dict[str, str]:
    """All that is locked: what the bench compares with and what makes a release need nothing of each other."""
    locked = entries("requirements-bench.lock") | entries("requirements-release.lock")
    return {name.lower().replace("_", "-"): version for name, version in locked.items()}


def test_every_dependency_of_pyproject_is_in_a_lock_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!~ \[;]", name)[0].lower().replace("_", "-") for name in wanted}
    assert names <= set(largest())


def test_the_least_version_of_each_dependency_is_one_that_the_tests_pass_on() -> None:
    """Of what the library and the showcase run on: nobody has tried an older one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {name.lower().replace("_", "-"): version for name, version in entries("requirements.lock").items()}
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["gunicorn"], *extras["showcase"]]:
        name, least = requirement.partition(";")[0].split(">=")
        version = locked[name.lower().replace("_", "-")]
        assert version.split(".")[: least.count(".") + 1] == least.split("."), f"{requirement}, tried with {version}"


def test_no_bound_of_pyproject_is_above_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = largest()
    for extra in project["optional-dependencies"].values():
        for requirement in extra:
            name, _, least = requirement.replace("==", ">=").partition(">=")
            version = locked[name.lower().replace("_", "-")].split("+")[0].split("!")[-1]
            numbers = [int(part) for part in re.findall(r"\d+", version)]
            assert numbers >= [int(part) for part in re.findall(r"\d+", least)], f"{requirement}, locked is {version}"


@pytest.mark.parametrize("name", NODE_LOCKS)
def test_every_node_package_has_a_version_and_a_hash(name: str) -> None:
    lock = json.loads((ROOT / name).read_text())
    assert lock["lockfileVersion"] >= 2
    packages = {
        path: package for path, package in lock["packages"].items() if "node_modules/" in path and "link" not in package
    }
    assert packages
    for path, package in packages.items():
        assert package.get("integrity", "").startswith("sha512-"), path
        # From the registry that npm is set up with, whichever that is: the hash tells whether it is the same.
        assert package.get("resolved", "https://").startswith("https://"), path


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_dependency_of_a_package_json_is_an_exact_version(path: Path) -> None:
    package = json.loads(path.read_text())
    for kind in ("dependencies", "devDependencies", "optionalDependencies"):
        for name, version in package.get(kind, {}).items():
            assert re.fullmatch(r"(npm:[\w@/-]+@)?\d+\.\d+\.\d+(-[\w.]+)?", version), f"{name}: {version}"


def test_what_installs_goes_by_the_lock_files() -> None:
    installers = ["Makefile", *(str(path.relative_to(ROOT)) for path in ROOT.glob("*/Dockerfile"))]
    commands = re.compile(r"(?:pip install|npm (?:ci|i|install)\b)[^\n]*(?:\\\n[^\n]*)*")
    found = 0
    for name in installers:
        for command in commands.findall((ROOT / name).read_text()):
            found += 1
            # This project itself, from its own folder, with nothing beside it.
            own = "--no-deps" in command
            assert command.startswith("npm ci") or "--require-hashes" in command or own, f"{name}: {command}"
    assert found >= 4

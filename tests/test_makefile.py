"""What `make setup` runs and when: the real Makefile in a copy of the tree whose pip and npm only write down calls."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from services import HANG_S

ROOT = Path(__file__).resolve().parent.parent

ENDING = sysconfig.get_config_var("EXT_SUFFIX")
MODULES = "shm_protocol/python/shm_protocol"

# Stands for every Python: the machine's and the environment's. The check of preconditions runs on the real one.
PYTHON = f"""#!/bin/sh
case "$*" in
  "-E -S -c "*) exec {sys.executable} "$@" ;;
esac
echo "python $*" >>calls
[ "${{FAIL-none}}" = none ] || case "$*" in *"$FAIL"*) exit 1 ;; esac
case "$*" in
  "-m venv"*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"--editable .") for module in _binding _codec _direct_calls _memory; do
      >{MODULES}/${{module}}{ENDING}
    done ;;
esac
"""

NPM = """#!/bin/sh
echo "npm $*" >>calls
[ "${FAIL-none}" = none ] || case "$*" in *"$FAIL"*) exit 1 ;; esac
case "$*" in
  ci*) mkdir -p node_modules ;;
  *build*) mkdir -p shm_protocol/node/dist shm_protocol/node/build && >shm_protocol/node/build/shm_protocol.node ;;
esac
"""


class Tree:
    """A copy of the tree, and what was called in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        # Python may be writing to __pycache__ just now, wherever another test runs it.
        ignored = shutil.ignore_patterns(".*", "node_modules", "build", "dist", "*.so", "__pycache__")
        shutil.copytree(ROOT, self.folder, ignore=ignored)
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name, text in (("python3", PYTHON), ("npm", NPM)):
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)

    def make(self, *arguments: str, fail: str = "none") -> tuple[int, list[str], str]:
        """Runs make. Gives its exit code, the calls in order, and what it printed."""
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        environment = {**outer, "PATH": f"{self._bin}:{os.environ['PATH']}", "FAIL": fail}
        command = ["make", "--no-print-directory", *(arguments or ["setup"])]
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        return result.returncode, calls.read_text().splitlines() if calls.exists() else [], result.stdout

    def change(self, path: str) -> None:
        """Makes a file newer than everything."""
        later = time.time() + 60
        os.utime(self.folder / path, (later, later))


VENV = "python -m venv --clear .venv"
PACKAGES = "python -m pip install --quiet --require-hashes -r requirements.lock"
BINDING = "python -m pip install --quiet --no-build-isolation --no-deps --editable ."
NODE_PACKAGES = "npm ci --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error"
LIBRARY = "npm run --silent build --workspace @shm-polyglot/protocol"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree just cloned."""
    return Tree(tmp_path)


@pytest.fixture
def built(tree: Tree) -> Tree:
    """A tree that was set up."""
    code, _, output = tree.make()
    assert code == 0, output
    return tree


@pytest.mark.parametrize("jobs", ["--jobs=1", "--jobs=4"])
def test_the_first_setup_runs_every_step_once(tree: Tree, jobs: str) -> None:
    code, calls, output = tree.make(jobs, "setup")
    assert code == 0, output
    assert sorted(calls) == sorted([VENV, PACKAGES, BINDING, NODE_PACKAGES, LIBRARY])
    assert calls.index(VENV) < calls.index(PACKAGES) < calls.index(BINDING)
    assert calls.index(NODE_PACKAGES) < calls.index(LIBRARY)


def test_the_second_setup_runs_nothing_and_says_nothing(built: Tree) -> None:
    assert built.make() == (0, [], "")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("shm_protocol/core/ring.c", [BINDING, LIBRARY]),
        ("shm_protocol/core/layout.h", [BINDING, LIBRARY]),
        ("shm_protocol/python/shm_protocol/_binding.pyx", [BINDING]),
        ("shm_protocol/python/shm_protocol/_binding.pxd", [BINDING]),
        ("shm_protocol/python/shm_protocol/client.py", []),
        ("shm_protocol/node/src/index.ts", [LIBRARY]),
        ("shm_protocol/node/src/binding.c", [LIBRARY]),
        ("package-lock.json", [NODE_PACKAGES, LIBRARY]),
        ("requirements.lock", [VENV, PACKAGES, BINDING]),
        ("python_side/app.py", []),
        ("node_side/server.ts", []),
    ],
)
def test_a_changed_file_runs_only_what_depends_on_it(built: Tree, changed: str, expected: list[str]) -> None:
    built.change(changed)
    code, calls, output = built.make("--jobs=1", "setup")
    assert (code, calls) == (0, expected), output


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ("shm_protocol/node/build/shm_protocol.node", [LIBRARY]),
        ("shm_protocol/node/dist", [LIBRARY]),
        (f"{MODULES}/_binding{ENDING}", [BINDING]),
        (f"{MODULES}/_direct_calls{ENDING}", [BINDING]),
    ],
)
def test_what_was_removed_is_built_again(built: Tree, removed: str, expected: list[str]) -> None:
    path = built.folder / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, calls, output = built.make("--jobs=1", "setup")
    assert (code, calls) == (0, expected), output
    assert built.make() == (0, [], "")


def test_a_module_of_another_python_does_not_stand_for_one_that_was_removed(built: Tree) -> None:
    module = built.folder / MODULES / f"_codec{ENDING}"
    module.rename(module.with_name("_codec.cpython-399-x86_64-linux-gnu.so"))
    code, calls, output = built.make("--jobs=1", "setup")
    assert (code, calls) == (0, [BINDING]), output


@pytest.mark.parametrize("step", [PACKAGES, BINDING, NODE_PACKAGES, LIBRARY])
def test_a_step_that_failed_runs_again(tree: Tree, step: str) -> None:
    command = step.partition(" ")[2]
    code, calls, _ = tree.make(fail=command)
    assert code != 0
    assert step in calls
    code, calls, output = tree.make()
    assert code == 0, output
    assert step in calls
    assert tree.make() == (0, [], "")


def test_another_python_gets_a_new_environment(built: Tree) -> None:
    other = built.folder.parent / "other-python"
    other.write_text(PYTHON.replace('"$@" ;;', "-E -S -c \"import sys; sys.executable = '/other'\n$4\" ;;"))
    other.chmod(0o755)
    code, calls, output = built.make(f"PYTHON={other}", "setup")
    assert (code, calls) == (0, [VENV, PACKAGES, BINDING]), output


def test_a_missing_tool_stops_setup_before_its_first_step(tree: Tree) -> None:
    code, calls, output = tree.make("CC=no-such-compiler", "setup")
    assert code != 0
    assert calls == []
    assert "no-such-compiler" in output


def test_a_release_for_this_machine_alone_is_made_with_what_a_whole_one_is(built: Tree) -> None:
    whole, quick = (built.make("--dry-run", target)[2].splitlines() for target in ("dist", "dist-quick"))
    assert len(whole) > 1
    assert quick == [*whole[:-1], f"{whole[-1]} --quick"]


def test_make_alone_lists_the_targets(tree: Tree) -> None:
    code, calls, output = tree.make("--jobs=1", "help")
    assert tree.make("--jobs=1") == (code, calls, output)
    assert calls == []
    for target in ("setup", "up", "test", "bench", "clean"):
        assert f"make {target}" in output

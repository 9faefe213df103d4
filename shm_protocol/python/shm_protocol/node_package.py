"""The npm package that belongs to a TypeScript file: what is run of it describes the file, and serves its functions."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

from .errors import PeerUnavailable

PACKAGE: Final = "@shm-polyglot/protocol"
_TOO_OLD: Final = re.compile(r"Node \d+ or newer is needed \(this is [^)\n]*\)")
"""What the package's scripts say first: shm_protocol/node/src/node_version.ts."""
_CHECKOUT: Final = Path(__file__).parents[2] / "node"
"""Beside this package, where it is not installed but runs from a checkout."""


def script_of(file: Path, name: str) -> Path:
    """The script `name` of the npm package nearest to `file`, from its folder upward, else of this package's checkout.

    Raises PeerUnavailable, saying what to install.
    """
    found = [folder / "node_modules" / PACKAGE for folder in file.parents]
    for package in (*found, _CHECKOUT):
        script = package / "dist" / name
        if os.access(script, os.R_OK):
            # Node looks for the package's own imports from where the file really is.
            return script.resolve()
    installed = next((package for package in found if package.is_dir()), None)
    if installed is not None:
        raise PeerUnavailable(
            f"{file}: {installed} has no {name}: npm install {PACKAGE}@latest, in {installed.parents[2]}"
        )
    raise PeerUnavailable(f"{file}: the npm package that runs it is missing: npm install {PACKAGE}, in {file.parent}")


def find_node(file: Path) -> str:
    """The Node of this user's PATH. Raises PeerUnavailable."""
    node = shutil.which("node")
    if node is None:
        raise PeerUnavailable(f"{file}: there is no node in $PATH: install Node 20 or newer (https://nodejs.org)")
    return node


def check_new_enough(file: Path, said: str) -> None:
    """said: by a script of the package's to stderr. Raises PeerUnavailable where that is that its Node is too old."""
    if (found := _TOO_OLD.search(said)) is not None:
        raise PeerUnavailable(f"{file}: {found[0]}")

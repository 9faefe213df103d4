"""What of the packages that a peer or a service needs is not there."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
NODE_MODULES: Final = (ROOT / "node_modules", ROOT / "bench" / "peers" / "node_modules")
SETUP: Final = "make bench-setup"


def missing(python_packages: Iterable[str] = (), node_packages: Iterable[str] = (), files: Iterable[str] = ()) -> str:
    """What it is and how to install it; empty if nothing is missing. `files` from the root of the project."""
    absent = [name for name in python_packages if importlib.util.find_spec(name) is None]
    absent += [name for name in node_packages if not any((folder / name).exists() for folder in NODE_MODULES)]
    absent += [name for name in files if not (ROOT / name).exists()]
    return f"not installed: {', '.join(absent)}; install with `{SETUP}`" if absent else ""

"""The process that is called: `python -m bench.callee PACKAGE.MODULE ADDRESS`. Prints `ready` once it may be."""

from __future__ import annotations

import importlib
import sys
from typing import cast

from bench.peers.interface import PythonModule


def main() -> None:
    """Serve until ended."""
    name, address = sys.argv[1:]
    module = cast("PythonModule", importlib.import_module(name))
    module.serve(address, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()

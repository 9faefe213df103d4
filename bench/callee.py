"""The process that is called: `python -m bench.callee PEER_MODULE ADDRESS`. Prints `ready` once it may be."""

from __future__ import annotations

import importlib
import sys
from typing import cast

from bench.peers.interface import PythonHalf


def main() -> None:
    """Serve until ended."""
    module, address = sys.argv[1:]
    half = cast("PythonHalf", importlib.import_module(f"bench.peers.{module}"))
    half.serve(address, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()

"""A TypeScript file as one plain script for Node, so that its start is not the compiler's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).resolve().parent
ESBUILD: Final = PEERS / "node_modules" / ".bin" / "esbuild"


def bundle(name: str, address: str) -> str:
    """Bundle `peers/<name>.ts` into the directory `address`, unless it is there; give the script's path.

    Raises CalledProcessError where it does not compile: what the compiler says is on standard error.
    """
    script = Path(address) / f"{name}.js"
    if not script.exists():
        partial = script.with_suffix(f".{os.getpid()}.js")
        options = ["--bundle", "--platform=node", "--target=node20", "--log-level=warning", f"--outfile={partial}"]
        subprocess.run([ESBUILD, PEERS / f"{name}.ts", *options], check=True)
        partial.rename(script)
    return str(script)

"""Which children stand between the program and this process: one of it, one of that, and so on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from .errors import PeerUnavailable

CHAIN: Final = "SHM_POLYGLOT_CHILD_CHAIN"
"""The files that they were started for, each on a line. The library's own, for its children."""

MAX_CHILDREN: Final = 8


def chain_for(file: Path) -> str:
    """What a child that is started for this file has in CHAIN. Raises PeerUnavailable where there are too many."""
    chain = [one for one in os.environ.get(CHAIN, "").split("\n") if one]
    if len(chain) >= MAX_CHILDREN:
        names = " -> ".join(Path(one).name for one in (*chain, str(file)))
        raise PeerUnavailable(
            f"{file}: {MAX_CHILDREN} children have started each other already ({names}). Files that import each other "
            "across the languages start one at each turn: have a program that listens, or a worker, expose one of them"
        )
    return "\n".join([*chain, str(file)])

"""`ml.py.json`, `utils.ts.json`: descriptions that are carried to where nothing can read the module's source, such as a
container without it, or without its language. They are of the module as `shm-polyglot types --carried` saw it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from .description import Module

ENDING: Final = ".json"
"""Behind the name of the source, `.py` and all."""

_LAYOUT: Final = 1
"""Of another layout a description is of no use."""

_MAX_BYTES: Final = 64 * 2**20


class Unusable(Exception):
    """A file is there, and is no description that this version reads; the message says what to do."""


def path_of(source: Path) -> Path:
    """Where the description of this source lies."""
    return source.with_name(source.name + ENDING)


def written(module: Module, head: str) -> str:
    """The text of the file. head: what its first line says."""
    # Neither where it was made nor each edit is a difference.
    described = {**module, "file": Path(module["file"]).name, "sha256": ""}
    told = json.dumps({"layout": _LAYOUT, "module": described}, ensure_ascii=False, indent=1)
    return f'{{"head": {json.dumps(head, ensure_ascii=False)},{told[1:]}\n'


def read(source: Path) -> Module | None:
    """What is carried of this source; None where nothing is. Raises Unusable, and OSError."""
    place = path_of(source)
    try:
        with place.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        if found["layout"] == _LAYOUT:
            return cast("Module", {**found["module"], "file": str(source)})
    except (ValueError, TypeError, KeyError):
        pass
    raise Unusable(
        f"{place} is no description that this version of shm-polyglot reads: write it again with "
        f"`shm-polyglot types --carried`, where {source.name} is"
    )

"""The inputs that are kept: `corpora/NAME.hex`, one input a line, so that a change can be read and merged.

The decoders of both languages have the same corpora. There a line also has what becomes of the input, as
decoders.recorded says it: Python's answer when it was kept, and what both languages are tested against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent / "corpora"


def path_of(name: str) -> Path:
    """The file of a corpus."""
    return FOLDER / f"{name}.hex"


def read(name: str) -> dict[bytes, str]:
    """The inputs of a corpus, and what becomes of each; empty where it has not been recorded."""
    kept: dict[bytes, str] = {}
    path = path_of(name)
    for line in path.read_text().splitlines() if path.exists() else ():
        if not line.startswith("#"):
            wire, _, outcome = line.partition(" ")
            kept[bytes.fromhex(wire)] = outcome
    return kept


def write(name: str, kept: Mapping[bytes, str]) -> None:
    """Keep these inputs, and no others."""
    ordered = sorted(kept, key=lambda data: (len(data), data))
    path_of(name).write_text("".join(f"{data.hex()} {kept[data]}".rstrip(" ") + "\n" for data in ordered))


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """One file for each, as fuzzers want them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def pack(folder: Path) -> set[bytes]:
    """The inputs in a folder of a fuzzer's."""
    return {file.read_bytes() for file in folder.iterdir() if file.is_file()}

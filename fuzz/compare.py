"""Whether both languages make the same of the same bytes: a value of equal content, a frame, or a refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from fuzz import corpora, decoders
from fuzz.engines import NODE
from fuzz.targets import TARGETS

OUTCOMES: Final = NODE / "build" / "test" / "test" / "fuzz" / "outcomes.js"
SHOWN: Final = 20


def compare(mutations: int) -> int:
    """All inputs that are kept or were found here, and mutations of each. Exit code 1 where the languages differ."""
    code = 0
    for name in decoders.CHECKS:
        inputs = set(corpora.read(name))
        for target in TARGETS:
            if target.corpus == name and target.inputs.is_dir():
                inputs |= corpora.pack(target.inputs)
        tried = [data for one in sorted(inputs) for data in (one, *decoders.mutations(one, mutations))]
        python = [decoders.recorded(name, data) for data in tried]
        different = [row for row in zip(tried, python, _typescript(name, tried), strict=True) if row[1] != row[2]]
        print(f"{name:8} {len(tried):10,} compared, {len(different):,} different")
        for data, one, other in sorted(different, key=lambda row: len(row[0]))[:SHOWN]:
            print(f"  {data.hex()}: Python {one}, TypeScript {other}")
        code = 1 if different else code
    return code


def _typescript(name: str, tried: Sequence[bytes]) -> list[str]:
    lines = "".join(f"{data.hex()}\n" for data in tried)
    done = subprocess.run(["node", str(OUTCOMES), name], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()

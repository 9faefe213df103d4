"""Whether both languages make the same of the same bytes: a value of equal content, a frame, or a refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from fuzz import corpora, decoders
from fuzz.engines import NODE, compile_typescript
from fuzz.targets import TARGETS

OUTCOMES: Final = NODE / "build" / "test" / "test" / "fuzz" / "outcomes.js"
SHOWN: Final = 20


def compare(mutations: int) -> int:
    """All inputs that are kept or were found here, and mutations of each. Exit code 1 where the languages differ."""
    compile_typescript()
    code = 0
    for name in decoders.SHARED:
        inputs = set(corpora.read(name))
        for target in TARGETS:
            if target.corpus == name and target.inputs.is_dir():
                inputs |= corpora.pack(target.inputs)
        compared, different = differences(name, inputs, mutations)
        print(f"{name:8} {compared:10,} compared, {len(different):,} different")
        for data, one, other in sorted(different, key=lambda row: len(row[0]))[:SHOWN]:
            print(f"  {data.hex()}: Python {one}, TypeScript {other}")
        code = 1 if different else code
    return code


def differences(name: str, inputs: Iterable[bytes], mutations: int) -> tuple[int, list[tuple[bytes, str, str]]]:
    """How many inputs of this check were compared, with so many mutations of each; and those that differ, with what
    Python and what TypeScript says of them. TypeScript must have been compiled.
    """
    tried = [data for one in sorted(inputs) for data in (one, *decoders.mutations(one, mutations))]
    python = [decoders.recorded(name, data) for data in tried]
    rows = zip(tried, python, _typescript(name, tried), strict=True)
    return len(tried), [row for row in rows if row[1] != row[2]]


def _typescript(name: str, tried: Sequence[bytes]) -> list[str]:
    lines = "".join(f"{data.hex()}\n" for data in tried)
    done = subprocess.run(["node", str(OUTCOMES), name], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()

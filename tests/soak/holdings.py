"""What a process holds: descriptors, mappings, memory. All from /proc."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEGMENT: Final = re.compile(r" /dev/shm/shm-polyglot-")
SHARED_MEMORY: Final = "/dev/shm"
KIB_PER_MIB: Final = 1024
BYTES_PER_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Holdings:
    """At one moment. `segments`: mappings of the bridge's shared memory, which are among `mappings`. Memory in MiB."""

    descriptors: int
    mappings: int
    segments: int
    rss: float
    pss: float


def holdings(pid: int) -> Holdings:
    """Raises OSError for a process that has gone."""
    process = Path(f"/proc/{pid}")
    maps = (process / "maps").read_text().splitlines()
    memory = _sizes((process / "smaps_rollup").read_text())
    return Holdings(
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        mappings=len(maps),
        segments=sum(1 for line in maps if SEGMENT.search(line)),
        rss=memory["Rss"] / KIB_PER_MIB,
        pss=memory["Pss"] / KIB_PER_MIB,
    )


def shared_memory_used() -> float:
    """MiB of /dev/shm that are taken, by whatever program."""
    status = os.statvfs(SHARED_MEMORY)
    return (status.f_blocks - status.f_bfree) * status.f_frsize / BYTES_PER_MIB


def _sizes(rollup: str) -> dict[str, int]:
    """The lines of smaps_rollup, in KiB."""
    return {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in rollup.splitlines()[1:])}

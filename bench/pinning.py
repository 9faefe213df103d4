"""Which core each side runs on: the scheduler's choice alone moves a wake-up from 4 to 45 us (CONTRIBUTING.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

CALLEE_CORE: Final = "BENCH_CALLEE_CORE"
"""Environment variable: the core for a callee that the caller makes itself; -1 or unset: any."""


@dataclass(frozen=True)
class Cores:
    """Where the two processes run; -1: wherever the scheduler puts them."""

    caller: int = -1
    callee: int = -1

    def __str__(self) -> str:
        if self == ANY_CORES:
            return "nothing is pinned"
        return f"caller on core {self.caller}, callee on core {self.callee}; in-process peers on any"


ANY_CORES: Final = Cores()


def two_cores() -> Cores:
    """A core for each side, or any where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[1]) if len(cores) > 1 else ANY_CORES


def pinned(command: list[str], core: int) -> list[str]:
    """The command, kept on one core."""
    return command if core < 0 else ["taskset", "--cpu-list", str(core), *command]


def callee_command(command: list[str]) -> list[str]:
    """For a caller that makes its own callee: the command, on the core that is the callee's in this trial."""
    return pinned(command, int(os.environ.get(CALLEE_CORE, "-1")))

"""Runs `shm-polyglot doctor` for tests, as a program: also with mounts of its own, as in a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

HANG_S: Final = 200.0
DOCTOR: Final = (sys.executable, "-m", "shm_protocol", "doctor")


@dataclass(frozen=True)
class Run:
    """What a run has printed. statuses, details, fixes: by the name of the check."""

    code: int
    errors: str
    statuses: dict[str, str]
    details: dict[str, str]
    fixes: dict[str, str]


def run(socket: Path, *arguments: str, before: Sequence[str] = (), cwd: Path | None = None, **environment: str) -> Run:
    """Run it with --json for this socket. before: a command that runs it, e.g. `mounted`."""
    done = subprocess.run(
        [*before, *DOCTOR, "--json", "--path", str(socket), *arguments],
        env={**os.environ, **environment},
        cwd=socket.parent if cwd is None else cwd,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] == (done.returncode == 0)
    by = {finding["check"]: finding for finding in report["findings"]}
    return Run(
        done.returncode,
        done.stderr,
        *({check: finding[key] for check, finding in by.items()} for key in ("status", "detail", "fix")),
    )


def mounted(*commands: str) -> list[str]:
    """A command that runs another where these have changed the mounts; for nobody else. Skips without the right to."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may change mounts (unshare --mount)")
    return ["unshare", "--mount", "sh", "-ec", f'{"; ".join(commands)}; exec "$@"', "sh"]


def shm_of(size: str, source: str = "tmpfs") -> str:
    """For `mounted`: another /dev/shm, as a container has it."""
    return f"mount -t tmpfs -o size={size} {source} /dev/shm"

"""Programs that the making of a release runs, and what it says of its steps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Failed", "Missing", "run", "say"]

_LAST_LINES: Final = 40
_BEGAN: Final = time.monotonic()


class Failed(Exception):
    """A step has failed; the message has what its program said."""


class Missing(Exception):
    """Something that is needed is not on this machine; the message names it, with what brings it."""


def say(line: str) -> None:
    """One line of progress."""
    print(f"release {time.monotonic() - _BEGAN:5.1f} s  {line}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end, and give what it printed.

    Raises Failed, with its last lines; Missing where there is no such program.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} was not found: install it") from error
    if done.returncode != 0:
        shown = " ".join(str(word) for word in command)
        said = "\n".join(done.stdout.rstrip().splitlines()[-_LAST_LINES:])
        raise Failed(f"{shown} (in {cwd}) ended with exit code {done.returncode}:\n{said}")
    return done.stdout

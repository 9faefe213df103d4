"""Commands whose stdout or stderr is closed, is read by nobody, or takes nothing, or whose folder is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from running import HANG_S

COMMAND: Final = (sys.executable, "-m", "shm_protocol")


def close(descriptor: int) -> None:
    os.close(descriptor)


def leave_alone(descriptor: int) -> None:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, descriptor)
    os.close(writer)


def fill(descriptor: int) -> None:
    """A disk that is full."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, descriptor)
    os.close(full)


def run(folder: Path, arguments: tuple[str, ...], spoil: Callable[[int], None], *spoiled: int) -> tuple[int, str]:
    """The exit code, and what was said on the stream that was left as it is, if one was."""

    def spoil_all() -> None:
        for descriptor in spoiled:
            spoil(descriptor)

    kept = {name: value for name, value in os.environ.items() if name not in ("SHM_POLYGLOT_DIR", "PYTHONUNBUFFERED")}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**kept, "XDG_RUNTIME_DIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        preexec_fn=spoil_all,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("spoil", [close, leave_alone])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("--help",), 0),
        (("run", "--help"), 0),
        (("run",), 2),
        (("run", "--node", "none.js"), 1),
        (("doctor",), 1),
        (("doctor", "--json"), 1),
        (("top", "--count", "1"), 1),
        (("nonsense",), 2),
    ],
)
def test_a_command_that_nobody_reads_ends_with_the_code_of_its_verdict_and_no_stack(
    tmp_path: Path, spoil: Callable[[int], None], arguments: tuple[str, ...], code: int
) -> None:
    for spoiled in ((1,), (2,), (0, 1, 2)):
        returned, said = run(tmp_path, arguments, spoil, *spoiled)
        assert returned == code, f"{spoiled}\n{said}"
        assert "Traceback" not in said
        assert "Exception" not in said


@pytest.mark.parametrize(
    "arguments", [("--version",), ("doctor", "--help"), ("doctor",), ("doctor", "--json"), ("run", "--node", "node.js")]
)
def test_a_command_whose_output_cannot_be_written_says_why(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "node.js").write_text("")
    returned, said = run(tmp_path, arguments, fill, 1)
    assert returned == 1
    assert said.endswith("stdout cannot be written to: No space left on device\n"), said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "said_last"),
    [
        (("run",), 2, "shm-polyglot run: the current folder has been removed: change to one that is there\n"),
        (("doctor",), 1, "skipped\n"),
        (("top", "--count", "1"), 1, "see that both have the same SHM_POLYGLOT_DIR\n"),
    ],
)
def test_a_command_in_a_folder_that_has_been_removed_ends_with_its_verdict(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said_last: str
) -> None:
    removed = tmp_path / "removed"
    removed.mkdir()
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=removed,
        env={**os.environ, "SHM_POLYGLOT_DIR": "", "XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        preexec_fn=removed.rmdir,
    )
    assert (done.returncode, (done.stdout + done.stderr)[-len(said_last) :]) == (code, said_last)

"""What the command `shm-polyglot` says of itself."""

import subprocess
import sys

import pytest
from shm_protocol.handshake import LIBRARY_VERSION


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shm_protocol", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_its_version_is_the_library_s() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"shm-polyglot {LIBRARY_VERSION}, protocol ")


@pytest.mark.parametrize("command", ["run", "doctor", "top", "types"])
def test_the_help_of_every_command_has_its_exit_codes(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "exit code:\n  0  " in done.stdout

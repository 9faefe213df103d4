"""The stubs of the compiled modules say what is in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import shm_protocol
from tagged import SHM_PROTOCOL

HANG_S = 200.0
PACKAGE = Path(shm_protocol.__file__).parent
ALLOWED = SHM_PROTOCOL / "python" / "stubtest.allow"


def test_each_stub_agrees_with_its_module() -> None:
    modules = [f"shm_protocol.{stub.stem}" for stub in PACKAGE.glob("*.pyi")]
    assert len(modules) == len([*PACKAGE.glob("*.pyx")]) == 4
    command = [sys.executable, "-m", "mypy.stubtest", *modules, "--concise", "--ignore-unused-allowlist"]
    command += ["--allowlist", str(ALLOWED), "--mypy-config-file", str(SHM_PROTOCOL.parent / "pyproject.toml")]
    done = subprocess.run(command, cwd=SHM_PROTOCOL.parent, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

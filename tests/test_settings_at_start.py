"""The TypeScript server checks its settings where it starts, also those that only the other side makes use of."""

import os
import subprocess
from pathlib import Path

import pytest
from services import HANG_S, ROOT


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SHM_POLYGLOT_RING_BYTES", "5000", "a power of two from 4096 to 268435456"),
        ("SHM_POLYGLOT_SPIN_US", "1e3", "an integer from 0 to 1000000"),
        ("SHM_POLYGLOT_TRANSPORT", "tcp", "auto, shm or socket"),
        ("SHM_POLYGLOT_DIR", "run", "an absolute path"),
        ("SHM_POLYGLOT_NODE_PORT", "0", "an integer from 1 to 65535"),
    ],
)
def test_the_typescript_server_ends_with_one_line_that_says_what_is_wrong(
    tmp_path: Path, variable: str, value: str, allowed: str
) -> None:
    done = subprocess.run(
        ["node_modules/.bin/ts-node", "node_side/server.ts"],
        cwd=ROOT,
        env={**os.environ, "TS_NODE_TRANSPILE_ONLY": "1", "SHM_POLYGLOT_DIR": str(tmp_path), variable: value},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f'{variable}="{value}": must be {allowed}' in line

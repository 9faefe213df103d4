"""`shm-polyglot run --expose`: the process that answers TypeScript's calls, and says when it is ready."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from acceptor import Acceptor
from shm_protocol.cli.function_server import ATTACH

HANG_S = 200.0


@pytest.mark.parametrize("waits", [ATTACH, "nothing"])
def test_it_says_that_it_is_ready_and_serves(path: Path, listen: Callable[..., Acceptor], waits: str) -> None:
    acceptor = listen()
    told, ready = os.pipe()
    command = [sys.executable, "-m", "shm_protocol.cli.function_server", str(ready), waits, "m=math"]
    environment = {**os.environ, "SHM_POLYGLOT_DIR": str(path.parent)}
    with subprocess.Popen(command, env=environment, pass_fds=[ready]) as server:
        try:
            connection = acceptor.accept()
            os.close(ready)
            assert select.select([told], [], [], HANG_S)[0]
            assert os.read(told, 2) == b"\n"
            assert connection.call("m.factorial", 4, timeout=HANG_S) == 24
        finally:
            server.kill()
            os.close(told)

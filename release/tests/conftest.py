"""What has been released, for the tests that install it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from consumers import Released, make_quickly


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Released:
    """A release: that of $SHM_POLYGLOT_DIST, as `make test-dist` has it, else a quick one, made once for all tests."""
    given = os.environ.get("SHM_POLYGLOT_DIST")
    if given:
        return Released(Path(given))
    base = tmp_path_factory.getbasetemp()
    # Of all the processes of this run of the tests.
    shared = base if worker_id == "master" else base.parent
    out = shared / "released"
    with (shared / "released.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            make_quickly(out, shared / "release-work")
    return Released(out)

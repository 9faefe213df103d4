"""What a test of the bench needs but this machine may not have."""

from __future__ import annotations

import os

import pytest


def require(missing: str) -> None:
    """Skip the test where something is missing; fail it where $SHM_POLYGLOT_REQUIRE_PEERS is 1, as in CI."""
    if not missing:
        return
    if os.environ.get("SHM_POLYGLOT_REQUIRE_PEERS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)

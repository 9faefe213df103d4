"""How a gunicorn worker's link to Node dials again."""

from pathlib import Path

from shm_protocol.config import read_settings
from shm_protocol.exposed import Exposed
from shm_protocol.gunicorn.worker_link import FIRST_DELAY_S, WorkerLink

RECOVERY_S = 1.0
"""Promised in RELIABILITY.md: from the return of Node, with the handshake."""


def test_a_worker_that_has_long_found_nobody_pauses_for_half_of_the_promised_recovery_at_most(tmp_path: Path) -> None:
    link = WorkerLink(
        read_settings(tmp_path / "s"), Exposed(), name="worker", on_attach=lambda: None, on_exit=lambda: None
    )
    pauses = [link._next_delay() for _ in range(20)]
    assert max(pauses) <= RECOVERY_S / 2
    assert pauses[0] <= FIRST_DELAY_S < max(pauses)

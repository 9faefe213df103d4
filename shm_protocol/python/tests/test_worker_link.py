"""How a gunicorn worker's link to Node dials again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from acceptor import Acceptor
from shm_protocol.backoff import Backoff
from shm_protocol.config import read_settings
from shm_protocol.exposed import Exposed
from shm_protocol.gunicorn.worker_link import WorkerLink
from shm_protocol.handshake import Refusal

RECOVERY_S = 1.0
"""Promised in RELIABILITY.md: from the return of Node, with the handshake."""

Listen = Callable[..., Acceptor]


@contextmanager
def linked(path: Path, exposed: Exposed) -> Iterator[None]:
    settings = read_settings(environment={"SHM_POLYGLOT_DIR": str(path.parent)})
    link = WorkerLink(settings, exposed, name="worker", on_attach=lambda: None, on_exit=lambda: None)
    # It waits for the outcome of its first attempt, and the acceptor is this thread.
    opening = threading.Thread(target=link.open)
    opening.start()
    yield
    opening.join()
    link.close()


def test_a_worker_that_has_long_found_nobody_pauses_for_half_of_the_promised_recovery_at_most() -> None:
    backoff = Backoff()
    assert max(backoff.next() for _ in range(20)) <= RECOVERY_S / 2


def test_a_link_outlasts_a_peer_of_another_version_and_one_that_breaks_the_protocol(path: Path, listen: Listen) -> None:
    acceptor = listen(refusal=Refusal("VersionMismatch", "another version"))
    with linked(path, Exposed({"echo": lambda value: value})):
        assert acceptor._accept() is None
        acceptor.refusal = None
        acceptor.accept().link.post(b"\xc1")
        with acceptor.accept() as connection:
            assert connection.call("echo", 1) == 1

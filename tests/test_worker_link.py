"""How a gunicorn worker's link to Node dials again."""

from __future__ import annotations

from collections.abc import Callable

from python_side.worker_link import FIRST_DELAY_S, WorkerLink

RECOVERY_S = 1.0
"""Promised in RELIABILITY.md: from the return of Node, with the handshake."""


class Loop:
    def defer(self, callback: Callable[..., object], *args: object) -> None: ...

    def watch(self, descriptor: int) -> None: ...

    def unwatch(self, descriptor: int) -> None: ...


def test_a_worker_that_has_long_found_nobody_pauses_for_half_of_the_promised_recovery_at_most() -> None:
    link = WorkerLink("worker", {}, Loop())
    pauses = []
    for _ in range(20):
        link._back_off()
        pauses.append(link.serve())
    assert max(pauses) <= RECOVERY_S / 2
    assert pauses[0] <= FIRST_DELAY_S < max(pauses)

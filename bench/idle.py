"""What a connected but idle pair costs: processor time of the whole showcase while nobody calls it."""

from __future__ import annotations

import time
from typing import Final

from bench.services.running import Running
from bench.services.table import PAIR

SETTLE_S: Final = 25.0
"""V8 collects its garbage once more some seconds after its last work, which is no part of idling."""


def measure(seconds: float) -> float:
    """Per cent of one core that Node and gunicorn with one worker use together while idle.

    Raises ServiceFailed if they do not come up, BuildFailed if Node's side does not compile.
    """
    PAIR.prepare()
    with Running(PAIR) as running:
        running.await_ready()
        time.sleep(SETTLE_S)
        before, began = running.processor_ns(), time.monotonic_ns()
        time.sleep(seconds)
        return 100.0 * (running.processor_ns() - before) / (time.monotonic_ns() - began)

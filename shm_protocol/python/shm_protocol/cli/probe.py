"""One handshake with whoever listens, only to look at the answer: nothing is called, nothing is swept up."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from .. import dialing, project
from ..config import Settings
from ..dialing import Answer
from ..handshake import Hello, Transport
from ..transports import shm

NAME: Final = "shm-polyglot doctor"


def peer_uid(path: Path, timeout: float) -> int:
    """The user that listens at `path`. Raises OSError where nobody does. An acceptor takes this for no event."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed:
        dialing.reach(dialed, path, time.monotonic() + timeout)
        return dialing.peer_uid(dialed)


def shake_hands(settings: Settings, transport: Transport, deadline: float) -> Answer:
    """Say hello at `settings.path`, and leave again once the answer is there.

    With "shm" a segment is offered, as each connection does it; its name is gone at the end. deadline: of
    time.monotonic(). Raises what dialing.exchange and dialing.reach raise, and MemoryUnavailable where there is no
    memory to offer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed:
        dialing.reach(dialed, settings.path, deadline)
        hello = Hello("client", transport, NAME, settings.max_message, project=project.project_folder())
        if transport == "socket":
            return dialing.exchange(dialed, hello, deadline)
        with shm.offered_channel(dialed, settings) as (segment, channel), closing(channel):
            return dialing.exchange(dialed, replace(hello, segment=segment), deadline)

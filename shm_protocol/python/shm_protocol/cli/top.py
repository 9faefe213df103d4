"""`shm-polyglot top`: asks the acceptor again and again, and tells what has happened in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from .. import counters
from ..config import Settings
from ..connection import Connection
from ..counters import Counters, Watched
from ..dialing import dial
from ..errors import CallTimeout, UnknownMethod, VersionMismatch
from ..exposed import Exposed
from ..handshake import Peer

NAME: Final = "shm-polyglot top"

ANSWER_S: Final = 2.0
"""How long the acceptor may take to answer. It answers at once unless something holds its event loop."""


@dataclass(frozen=True)
class Activity:
    """What one side of a connection has done in a while, a second. p50_us, p99_us, longest_us: of the calls it made, in
    microseconds; None without one. ring_share: of the ring it sends on, the share that is not yet read, now.
    """

    calls: float
    failed: float
    p50_us: float | None
    p99_us: float | None
    longest_us: float | None
    messages: float
    bytes: float
    parks: float
    doorbells: float
    ring_share: float
    state: str
    spin_budget_us: float


@dataclass(frozen=True)
class Line:
    """A connection, and what its sides have done: None where nothing is counted, and at the first look."""

    connection: Watched
    dialer: Activity | None
    acceptor: Activity | None


@dataclass(frozen=True)
class View:
    """One look. seconds: since the look before, None at the first. acceptor: what it said of itself."""

    acceptor: Peer
    seconds: float | None
    lines: list[Line]


class Watch:
    """Looks at the acceptor's connections, over one of its own, which is left out.

    A look raises PeerUnavailable, PeerGone, CallTimeout, Busy, ProtocolError and VersionMismatch; the next one connects
    anew where that is needed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._connection: Connection | None = None
        self._looked = 0.0
        self._before: dict[int, Watched] = {}

    def look(self) -> View:
        """See what has happened since the last look."""
        connection = self._connected()
        try:
            answer = connection.call(counters.METHOD, timeout=ANSWER_S)
        except CallTimeout:
            raise CallTimeout(
                f"{connection.peer.name} has not answered for {ANSWER_S:g} s: a function holds its event loop (its log "
                "names it once it is done), or the process is stopped"
            ) from None
        except UnknownMethod:
            self.close()
            raise VersionMismatch(
                f"{connection.peer.name} has library {connection.peer.library}, which does not tell its connections; "
                "give both sides the same version"
            ) from None
        now = monotonic()
        watched = {one.id: one for one in counters.parse(answer) if not one.asks}
        seconds = now - self._looked if self._looked else None
        lines = [_line(one, self._before, seconds) for one in watched.values()]
        self._looked, self._before = now, watched
        return View(connection.peer, seconds, lines)

    def close(self) -> None:
        """Disconnect; a later look begins from the start."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._looked = 0.0
        self._before = {}

    def _connected(self) -> Connection:
        if self._connection is not None and self._connection.closed:
            self.close()
        if self._connection is None:
            self._connection = dial(self._settings, role="client", exposed=Exposed(), name=NAME)
        return self._connection


def _line(now: Watched, before: Mapping[int, Watched], seconds: float | None) -> Line:
    # A connection that is new has begun from nothing.
    then = before.get(now.id)
    return Line(
        now,
        _activity(now.dialer, None if then is None else then.dialer, seconds),
        _activity(now.acceptor, None if then is None else then.acceptor, seconds),
    )


def _activity(now: Counters | None, then: Counters | None, seconds: float | None) -> Activity | None:
    if now is None or seconds is None:
        return None

    then = then or counters.NOTHING
    # A side may store into its counters what it likes.
    latency = [max(0, count - before) for count, before in zip(now.latency, then.latency, strict=True)]
    return Activity(
        calls=sum(latency) / seconds,
        failed=(now.calls_failed - then.calls_failed) / seconds,
        p50_us=counters.percentile_us(latency, 0.5),
        p99_us=counters.percentile_us(latency, 0.99),
        longest_us=counters.percentile_us(latency, 1.0),
        messages=(now.messages_sent - then.messages_sent) / seconds,
        bytes=(now.bytes_sent - then.bytes_sent) / seconds,
        parks=(now.parks - then.parks) / seconds,
        doorbells=(now.doorbells_rung - then.doorbells_rung) / seconds,
        ring_share=now.ring_used / now.ring_bytes,
        state=counters.STATES.get(now.state, "?"),
        spin_budget_us=now.spin_budget_ns / 1000,
    )

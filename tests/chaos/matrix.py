"""What can happen to whom, and when: the cells of the matrix, and the load that brings each moment about."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

Level = Literal["library", "gunicorn", "service", "functions", "clients"]
Victim = Literal["node", "worker", "master", "all"]
How = Literal[
    "KILL", "STOP", "TERM", "SEGV",
    "raises", "returns", "streams", "sleeps", "overflows",
    "stalls", "half-closes", "garbles", "reads-nothing", "pipelines", "dribbles",
]  # fmt: skip
Moment = Literal["idle", "python-calls", "node-calls", "ring-full", "fragments", "handshake", "nested", "http"]

SIGNALS: Final[Sequence[How]] = ("KILL", "STOP", "TERM", "SEGV")
"""STOP is followed by CONT when every deadline that ran meanwhile has passed."""

FUNCTIONS_WAYS: Final[Sequence[How]] = ("raises", "returns", "streams", "sleeps", "overflows")
CLIENTS_WAYS: Final[Sequence[How]] = ("stalls", "half-closes", "garbles", "reads-nothing", "pipelines", "dribbles")

LIBRARY_VICTIMS: Final[Sequence[Victim]] = ("node", "worker", "all")
GUNICORN_VICTIMS: Final[Sequence[Victim]] = ("node", "worker", "master", "all")
SERVERS: Final[Sequence[Victim]] = ("node", "worker")
"""Whose functions misbehave, or whose HTTP clients."""


@dataclass(frozen=True)
class Lanes:
    """How each program asks: one lane for each word, each lane one question at a time (questions.py).

    worker: how each worker asks on its own connection, or "serve" if it only answers. http: how HTTP clients have a
    gunicorn worker ask, which is one that answers, too.
    """

    node: Sequence[str] = ()
    caller: Sequence[str] = ()
    worker: str = "serve"
    http: Sequence[str] = ()


LANES: Final[dict[Moment, Lanes]] = {
    # Both sides are parked most of the time.
    "idle": Lanes(node=["idle"] * 2, caller=["idle"] * 2),
    "python-calls": Lanes(caller=["answer"] * 4, worker="answer"),
    "node-calls": Lanes(node=["answer"] * 16),
    # While one lane makes the other side stand still, the others write until nothing fits in any more.
    "ring-full": Lanes(node=["stall", *["mirror"] * 4], caller=["stall", *["mirror"] * 3]),
    "fragments": Lanes(node=["mirror"] * 4, caller=["mirror"] * 4),
    "handshake": Lanes(caller=["handshake"] * 4, worker="handshake"),
    "nested": Lanes(node=["descend"] * 4, caller=["descend"] * 4),
}
"""By moment. The one that is missing, "http", is the load on the showcase (http_load.py): both directions at once."""

GUNICORN_LANES: Final[dict[Moment, Lanes]] = {
    **LANES,
    "idle": replace(LANES["idle"], http=["idle"] * 2),
    # One more than there are workers.
    "python-calls": replace(LANES["python-calls"], worker="serve", http=["answer"] * 4),
    "handshake": replace(LANES["handshake"], worker="serve", http=["handshake"] * 4),
    "nested": replace(LANES["nested"], http=["descend"] * 2),
}
"""The same moments, where the workers are those of a gunicorn: what asks on their connections is a request."""

FAST: Final[Sequence[Moment]] = ("python-calls", "node-calls")
"""Those of small calls, of which there can be many."""


class Cell(NamedTuple):
    """One field of the matrix."""

    level: Level
    victim: Victim
    how: How
    moment: Moment

    @property
    def name(self) -> str:
        """For example `library/node/KILL/nested`."""
        return "/".join(self)


CELLS: Final[Sequence[Cell]] = (
    *(Cell("library", victim, how, moment) for moment in LANES for victim in LIBRARY_VICTIMS for how in SIGNALS),
    *(Cell("gunicorn", victim, how, moment) for moment in LANES for victim in GUNICORN_VICTIMS for how in SIGNALS),
    *(Cell("service", victim, how, "http") for victim in GUNICORN_VICTIMS for how in SIGNALS),
    *(Cell("functions", "node", way, "python-calls") for way in FUNCTIONS_WAYS),
    *(Cell("functions", "worker", way, "node-calls") for way in FUNCTIONS_WAYS),
    *(Cell("clients", victim, way, "http") for victim in SERVERS for way in CLIENTS_WAYS),
)
"""All of them, those that share their programs side by side.

Node and the library's plain workers do not handle TERM, so it is a death like the others; gunicorn drains.
"""

QUICK: Final[Sequence[Cell]] = tuple(
    cell for cell in CELLS if cell.how in ("KILL", "STOP") and cell.victim in ("node", "worker")
)


def select(pattern: str, cells: Sequence[Cell] = CELLS) -> list[Cell]:
    """The cells whose name matches, e.g. `library/*/KILL/*`."""
    return [cell for cell in cells if fnmatch.fnmatch(cell.name, pattern)]

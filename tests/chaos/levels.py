"""How each level of the matrix is struck."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

from . import clients_level, functions_level, gunicorn_level, library, service
from .matrix import Cell, Level
from .report import Figures

STRIKES: Final[dict[Level, Callable[..., Iterator[tuple[Cell, Figures]]]]] = {
    "library": library.strikes,
    "gunicorn": gunicorn_level.strikes,
    "service": service.strikes,
    "functions": functions_level.strikes,
    "clients": clients_level.strikes,
}


def strikes(cells: Sequence[Cell], timeout_s: float | None = None) -> Generator[tuple[Cell, Figures], None, None]:
    """Once through the cells. Those that share their programs come together. Raises Stuck and AssertionError.

    timeout_s: the deadline of every question, in seconds, if it is to be another than the level's own.
    """
    deadline = {} if timeout_s is None else {"timeout_s": timeout_s}
    for (level, _), group in itertools.groupby(cells, key=lambda cell: (cell.level, cell.moment)):
        yield from STRIKES[level](list(group), **deadline)

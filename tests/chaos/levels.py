"""How each level of the matrix is struck."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

from . import gunicorn_level, library, service
from .matrix import Cell, Level
from .report import Figures

STRIKES: Final[dict[Level, Callable[[Sequence[Cell]], Iterator[tuple[Cell, Figures]]]]] = {
    "library": library.strikes,
    "gunicorn": gunicorn_level.strikes,
    "service": service.strikes,
}


def strikes(cells: Sequence[Cell]) -> Generator[tuple[Cell, Figures], None, None]:
    """Once through the cells. Those that share their programs come together. Raises Stuck and AssertionError."""
    for (level, _), group in itertools.groupby(cells, key=lambda cell: (cell.level, cell.moment)):
        yield from STRIKES[level](list(group))

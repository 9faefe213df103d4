"""`python -m tests.chaos`: kills, stops and restarts either side in every way, under verified load, and counts; then
has exposed functions and HTTP clients misbehave beside that load.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

# Where pytest finds the helpers of the tests, too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from . import levels, matrix, report
from .matrix import Cell
from .programs import Stuck
from .report import Figures

DEFAULT_CALLS: Final = 1_000_000
SHOWN: Final = 5
"""Of the faults of one strike."""

EPILOG: Final = """
The names of the cells are LEVEL/VICTIM/HOW/MOMENT; --list prints them. How: a signal, or a way to misbehave.

exit codes: 0; 1 something is not as promised; 2 bad usage; 130 Ctrl-C, with what was counted
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--rounds", type=int, default=1, metavar="N", help="strikes in each cell (default 1)")
    made.add_argument(
        "--calls",
        type=int,
        metavar="N",
        help=f"then rounds of the fast cells until N are verified (default {DEFAULT_CALLS:,})",
    )
    made.add_argument("--only", metavar="PATTERN", help="cells whose name matches, e.g. 'library/*/KILL/*'")
    made.add_argument("--quick", action="store_true", help="KILL and STOP of Node and one worker; --calls is 0")
    made.add_argument("--list", action="store_true", help="print the cells and exit")
    return made


def run(cells: Sequence[Cell], least_rounds: int, least_calls: int, total: Figures) -> None:
    """Rounds until there are enough of them and of verified calls. Counts into `total`, and prints each strike."""
    fast = [cell for cell in cells if cell.level == "library" and cell.moment in matrix.FAST] or cells
    done = 0
    while done < least_rounds or total.verified < least_calls:
        # Closed at once when something is wrong, and not when it is collected: the programs must end.
        with closing(levels.strikes(cells if done < least_rounds else fast)) as struck:
            for cell, figures in struck:
                total += figures
                if figures.strikes:
                    print(report.line(cell.name, figures), flush=True)
                for fault in figures.faults[:SHOWN]:
                    print(f"    BROKEN: {fault}", flush=True)
        done += 1


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    cells = matrix.select(options.only or "*", matrix.QUICK if options.quick else matrix.CELLS)
    if options.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    if not cells:
        made.error(f"--only {options.only}: matches no cell; --list prints them")
    calls = options.calls if options.calls is not None else 0 if options.quick or options.only else DEFAULT_CALLS
    if options.rounds < 1 or calls < 0:
        made.error(f"--rounds {options.rounds} --calls {calls}: at least 1 and 0")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    total, began = Figures(), time.monotonic()
    interrupted = False
    try:
        run(cells, options.rounds, calls, total)
    except KeyboardInterrupt:
        interrupted = True
    except (Stuck, AssertionError) as error:
        total.broken.append(f"the run could not go on: {error}")
    print(f"\n{len(cells)} cells in {time.monotonic() - began:.0f} s{', interrupted' if interrupted else ''}")
    print(report.summary(total), flush=True)
    if interrupted:
        return 130
    return 1 if total.faults or total.over_limits() else 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m bench`: what a call between Python and TypeScript costs, in process and out of it, from one run."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

if importlib.util.find_spec("rich") is None:
    sys.exit("error: the bench's packages are not installed; `make bench-quick` installs them, and measures")

from rich.console import Console

from bench import results
from bench.peers import PEERS, Peer
from bench.pinning import ANY_CORES, two_cores
from bench.run import DEFAULT_ROUNDS, QUICK_ROUNDS, Plan, run

PIPE_COLUMNS: Final = 120

COMMANDS: Final = """
other commands:
  python -m bench http NAME=URL [NAME=URL ...]   measure running services, endpoint by endpoint
  python -m bench diff A B                       compare two result files
  python -m bench report RESULTS                 write the page report.html from a results.json
  python -m bench readme RESULTS                 put the figures of a results.json into README.md, and those
                                                 of all peers into a README.md beside it

exit codes: 0; 1 a peer failed or answered wrongly; 2 bad usage; 130 Ctrl-C, with what was measured
"""


class UsageError(Exception):
    """What was asked cannot be done; the message says what can."""


def parser() -> argparse.ArgumentParser:
    """The command line of a run."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--list", action="store_true", help="print the peers, and which are not installed, and exit")
    made.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        help="peers whose name matches, e.g. 'shm*'; nothing else. May be given more than once",
    )
    made.add_argument(
        "--rounds", type=int, metavar="N", help=f"trials of each row, interleaved (default {DEFAULT_ROUNDS})"
    )
    made.add_argument(
        "--service-rounds", type=int, metavar="N", help="the same of HTTP and cold start (default: as --rounds)"
    )
    made.add_argument(
        "--quick", action="store_true", help=f"the main peers and rows, {QUICK_ROUNDS} rounds: under three minutes"
    )
    made.add_argument("--no-pin", action="store_true", help="leave it to the scheduler which core each side runs on")
    made.add_argument("--no-services", action="store_true", help="only calls: no HTTP, cold start and memory")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="keep the results there")
    return made


def plan(arguments: Sequence[str]) -> Plan | None:
    """What to measure; None for --list. Exits with 2, naming the option, for what cannot be."""
    made = parser()
    options = made.parse_args(arguments)
    if options.list:
        return None
    rounds = options.rounds
    if rounds is None:
        rounds = QUICK_ROUNDS if options.quick else DEFAULT_ROUNDS
    service_rounds = rounds if options.service_rounds is None else options.service_rounds
    for name, value in (("--rounds", rounds), ("--service-rounds", service_rounds)):
        if value < 1:
            made.error(f"{name} is {value}: it must be at least 1")
    patterns = options.only or ["*"]
    for pattern in patterns:
        if not any(fnmatch.fnmatch(peer.name, pattern) for peer in PEERS):
            made.error(f"--only is {pattern!r}: no peer has such a name; `python -m bench --list` names them")
    peers = [peer for peer in PEERS if any(fnmatch.fnmatch(peer.name, pattern) for pattern in patterns)]
    if options.quick and not options.only:
        peers = [peer for peer in peers if peer.quick]
    return Plan(
        peers=peers,
        rounds=rounds,
        service_rounds=service_rounds,
        quick=options.quick,
        services=not (options.no_services or options.quick or options.only),
        cores=ANY_CORES if options.no_pin else two_cores(),
        folder=options.out or results.new_folder(),
    )


def print_peers(console: Console, peers: Sequence[Peer] = PEERS) -> None:
    """Each with who waits how, and what is to be installed."""
    for peer in peers:
        console.print(
            f"{peer.name:20}{peer.kind:16}{peer.waits:32}{peer.missing()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def measure(arguments: Sequence[str], console: Console) -> int:
    """`python -m bench [options]`."""
    what = plan(arguments)
    if what is None:
        print_peers(console)
        return 0
    return run(what, console)


def http(arguments: Sequence[str], console: Console) -> int:
    """`python -m bench http`."""
    from bench import http_command

    return http_command.main(arguments, console)


def diff(arguments: Sequence[str], _: Console) -> int:
    """`python -m bench diff A B`."""
    from bench import diff

    if len(arguments) != 2:
        raise UsageError("usage: python -m bench diff A B, two results.json or the folders that hold them")
    return diff.main(Path(arguments[0]), Path(arguments[1]))


def report(arguments: Sequence[str], console: Console) -> int:
    """`python -m bench report RESULTS`."""
    from bench.report import write_report

    if len(arguments) != 1:
        raise UsageError("usage: python -m bench report RESULTS, a results.json or the folder that holds it")
    path = Path(arguments[0])
    folder = path if path.is_dir() else path.parent
    console.print(str(write_report(results.read(path), folder)), soft_wrap=True)
    return 0


def readme(arguments: Sequence[str], _: Console) -> int:
    """`python -m bench readme RESULTS`."""
    from bench import readme

    if len(arguments) != 1:
        raise UsageError("usage: python -m bench readme RESULTS, a results.json or the folder that holds it")
    readme.update(Path(arguments[0]))
    return 0


OTHERS: Final[dict[str, Callable[[Sequence[str], Console], int]]] = {
    "http": http,
    "diff": diff,
    "report": report,
    "readme": readme,
}


def main() -> int:
    """See COMMANDS for the exit codes."""
    # A table squeezed into a pipe's assumed 80 columns cannot be read.
    # Whoever asks us to end gets the same as with Ctrl-C: no child is left, and what was measured is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)
    command, *rest = sys.argv[1:] or [""]
    try:
        if command in OTHERS:
            return OTHERS[command](rest, console)
        return measure(sys.argv[1:], console)
    except (UsageError, results.ResultsError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

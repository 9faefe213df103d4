"""`python -m bench http NAME=URL [NAME=URL ...]`: services that run already, endpoint by endpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from bench.services.urls import UrlError, measure_urls
from bench.table import http_table

DEFAULT_ROUNDS: Final = 10
DEFAULT_SECONDS: Final = 1.0
INTERRUPTED: Final = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench http",
        description="Measure running builds of the HTTP contract endpoint by endpoint, and check that they agree.",
        epilog="Example: python -m bench http ours=http://127.0.0.1:3000 theirs=http://127.0.0.1:8080",
        allow_abbrev=False,
    )
    made.add_argument("services", nargs="+", metavar="NAME=URL", help="a name of your choice, and where it listens")
    made.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, metavar="N", help="(default %(default)s)")
    made.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help="a load in a round (default %(default)s)"
    )
    return made


def services(arguments: Sequence[str]) -> dict[str, str]:
    """By name. Raises ValueError, naming the argument, for what is no NAME=URL or a name given twice."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, url = argument.partition("=")
        if not (name and equals and url):
            raise ValueError(f"{argument!r} is not NAME=URL, such as ours=http://127.0.0.1:3000")
        if name in found:
            raise ValueError(f"the name {name!r} is given twice")
        found[name] = url
    return found


def main(arguments: Sequence[str], console: Console) -> int:
    """Exit code 0; 1 if a service failed, answered wrongly or not as the others; 2 bad usage; 130 after Ctrl-C."""
    made = parser()
    options = made.parse_args(arguments)
    if options.rounds < 1:
        made.error(f"--rounds is {options.rounds}: it must be at least 1")
    if not options.seconds > 0:
        made.error(f"--seconds is {options.seconds}: it must be above 0")
    rows: list[dict[str, Any]] = []
    interrupted = False
    try:
        named = services(options.services)
        with console.status("") as status:
            measure_urls(named, options.rounds, options.seconds, status.update, rows)
    except (ValueError, UrlError) as error:
        made.error(str(error))
    except KeyboardInterrupt:
        interrupted = True
    console.print(http_table(rows, console.width))
    if interrupted:
        return INTERRUPTED
    return 1 if any(row["failed"] or row["errors"] or row["agrees"] is False for row in rows) else 0

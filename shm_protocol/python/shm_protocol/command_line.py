"""The command `shm-polyglot`: its arguments, and how it prints what was found."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import doctor, handshake
from .client import DEFAULT_MAX_CONNECTIONS
from .config import Settings
from .doctor import Finding, Options, Status

ABOUT_DOCTOR: Final = """\
Checks what usually goes wrong between the two sides, from the Python side, and prints each finding with its fix:
ok, warning (it works, but not as well as it could), failed (it does not work), skipped (it cannot be told here).

Run it as the user of the service and with its environment; in containers, inside the one with Python. Nothing is
changed. It connects to the Node side, which the log of that side shows, and runs `node` where there is one.
"""

AFTER_DOCTOR: Final = """\
exit code:
  0  nothing has failed; there may be warnings
  1  something has failed
  2  the arguments are wrong

--json prints one object:
  format    1; another number when a key is removed or means something else
  ok        true with exit code 0, false with 1
  socket    the path of the acceptor's socket
  language, library, protocol
            the versions of this side, e.g. "python 3.12.1", "0.1.0", "1.0"
  findings  a list with an object for each check, always all of them:
              check   {checks}
              status  ok, warning, failed or skipped
              detail  what was found, for people
              fix     what to do, for people; "" where there is nothing to do
"""

MARKS: Final[dict[Status, str]] = {"ok": "ok", "warning": "WARNING", "failed": "FAILED", "skipped": "skipped"}
COLOURS: Final[dict[Status, str]] = {"ok": "32", "warning": "33", "failed": "31", "skipped": "2"}
"""Parameters of the terminal's SGR sequence."""
INDENT: Final = " " * 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the program; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="shm-polyglot", description="Looks after the bridge of Python and TypeScript."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_doctor(commands.add_parser("doctor", help="check what usually goes wrong, and say what to do"))
    given = parser.parse_args(arguments)
    return _doctor(given)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = ABOUT_DOCTOR
    checks = textwrap.fill(", ".join(doctor.CHECKS), 90, subsequent_indent=" " * 22, break_on_hyphens=False)
    parser.epilog = AFTER_DOCTOR.format(checks=checks)
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "--path", type=Path, metavar="SOCKET", help="the acceptor's socket (default: $SHM_POLYGLOT_DIR/node.sock)"
    )
    parser.add_argument(
        "--connections",
        type=_count,
        default=DEFAULT_MAX_CONNECTIONS,
        metavar="N",
        help="how many connections there are to be: gunicorn workers, and threads that call (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=handshake.TIMEOUT_S,
        metavar="SECONDS",
        help="how long the Node side may take to answer (default: %(default)g)",
    )
    parser.add_argument(
        "--node-project",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where the Node side is installed, if on this machine (default: the current folder)",
    )


def _doctor(given: argparse.Namespace) -> int:
    options = Options(given.path, given.connections, given.timeout, given.node_project)
    settings, findings = doctor.examine(options)
    ok = all(finding.status != "failed" for finding in findings)
    sys.stdout.write(_as_json(settings, findings, ok=ok) if given.json else _as_text(settings, findings))
    return 0 if ok else 1


def _as_json(settings: Settings, findings: Sequence[Finding], *, ok: bool) -> str:
    report = {
        "format": 1,
        "ok": ok,
        "socket": os.fspath(settings.path),
        "language": handshake.LANGUAGE,
        "library": handshake.LIBRARY_VERSION,
        "protocol": doctor.PROTOCOL,
        "findings": [
            {"check": one.check, "status": one.status, "detail": one.detail, "fix": one.fix} for one in findings
        ],
    }
    return json.dumps(report, indent=2) + "\n"


def _as_text(settings: Settings, findings: Sequence[Finding]) -> str:
    width = max(60, min(120, shutil.get_terminal_size().columns))
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    lines = [
        f"shm-polyglot {handshake.LIBRARY_VERSION}, protocol {doctor.PROTOCOL}, {handshake.LANGUAGE}",
        _printable(f"socket {settings.path}"),
        "",
    ]
    for finding in findings:
        mark = f"{MARKS[finding.status]:8}"
        if colours:
            mark = f"\x1b[{COLOURS[finding.status]}m{mark}\x1b[0m"
        # The mark is put in afterwards: to textwrap its colour would have a width.
        [first, *more] = _wrapped(f"{finding.check:16} {finding.detail}", width, " " * 8)
        lines += [mark + first.removeprefix(" " * 8), *more]
        if finding.fix:
            lines += _wrapped(f"fix: {finding.fix}", width, INDENT)
    counts = {status: sum(one.status == status for one in findings) for status in MARKS}
    lines += ["", ", ".join(f"{count} {status}" for status, count in counts.items() if count)]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    # Neither paths nor commands are cut, so that they can be copied.
    return textwrap.wrap(
        _printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Without what would steer the terminal or cannot be encoded for it: a peer may call itself anything."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 to 1000000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number greater than 0, at most 3600")
    return seconds

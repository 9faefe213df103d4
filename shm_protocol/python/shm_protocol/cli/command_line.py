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
from contextlib import suppress
from pathlib import Path
from typing import Final

from .. import config, handshake
from ..client import DEFAULT_MAX_CONNECTIONS
from ..config import ConfigError, Settings
from ..errors import BridgeError
from . import colours, doctor, project_directory, run, standard_streams, top_table
from .doctor import Finding, Options, Status
from .printable import printable
from .standard_streams import CannotWrite, ReaderGone
from .top import Watch

ABOUT_RUN: Final = """\
Runs the two sides of a project in the foreground: a Node program, and a WSGI app under gunicorn, whose workers answer
TypeScript's calls as well; with --expose and no app, a Python process that only does that. Without --node and --wsgi it
takes what the folder has: server.ts (main, index; .js and the like), and `app` in app.py (wsgi.py, main.py). Either
side may run alone.

The lines of both are shown under their names, and the ports that they open. They are up once Python has attached to
Node; until then it says what it waits for. A side that ends is started again, after 0.5 s, 1 s, 2 s, …, while the other
answers; one that ends five times in a row within 10 s ends the run, and so does one that ends before it has been ready
at all. Ctrl-C ends both in order, a second one at once. A folder has one run with a Node side; a second is refused.

Node runs TypeScript with tsx or ts-node where a package.json asks for it, else by itself (Node 22.18 and newer).
gunicorn is configured as ever, by gunicorn.conf.py and GUNICORN_CMD_ARGS; an option here wins.

The sides meet in a directory of the project's own, which `shm-polyglot doctor` and `top` find when they are run in
this folder; SHM_POLYGLOT_DIR wins.
"""

AFTER_RUN: Final = """\
exit code:
  0  ended by Ctrl-C, SIGTERM or SIGHUP, or because nobody reads the output any more; with --no-restart also if a
     side ended with 0
  1  a side could not be started, ended, or did not stay up: the reason is printed
  2  the arguments or the settings are wrong
"""

ABOUT_DOCTOR: Final = """\
Checks what usually goes wrong between the two sides, from the Python side, and prints each finding with its fix:
ok, warning (it works, but not as well as it could), failed (it does not work), skipped (it cannot be checked here).

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
            the versions of this side, e.g. "python 3.12.1", "0.1.0", "1.1"
  findings  a list with an object for each check, always all of them:
              check   {checks}
              status  ok, warning, failed or skipped
              detail  what was found, for people
              fix     what to do, for people; "" where there is nothing to do
"""

ABOUT_TOP: Final = """\
Shows what goes over the bridge, live: each connection, its calls a second in both directions, how long they take, how
full the rings are, how often the sides sleep and wake each other. q or Ctrl-C ends it.

It is another client of the Node side, as the user of the service, and asks it for what both sides have counted in
their shared memory. They count whether somebody watches or not, so watching costs the callers nothing; it costs the
Node side the time to read the counters at each look. Connections over the socket transport count nothing.
"""

AFTER_TOP: Final = """\
columns, a line for each side of a connection:
  FROM        the side that made the calls; all of the line is what this side did
  calls/s     its calls that ended; streams and notifications are none
  p50, p99, longest
              from the call to its answer, of those that ended since the last look. Counted in buckets, and at most a
              quarter off
  fail/s      those that ended with an error or without an answer
  ring        how much of the ring that it sends on is not yet read, now
  parks/s     how often it went to sleep
  bells/s     how often it woke the other side
  MB/s        what it sent, in messages
  now         awake: not asleep on the bridge, which is so of a client between its calls as well; busy: serving
              something else, such as an HTTP request; parked: asleep

A terminal of 80 columns shows all but bells/s and MB/s; a narrower one leaves out more, a wider one none. Where
the output is not a terminal, the tables are printed one after another, with all columns.

--json prints a line for each look, an object:
  format      1; another number when a key is removed or means something else
  socket      the path of the acceptor's socket
  acceptor    name, language, library and project folder of the side that listens
  seconds     since the look before
  connections a list of: id, name, role, language, library, project, transport, outstanding, being_served,
              late_answers, and dialer and acceptor, what each side did: calls, failed, messages, bytes, parks,
              doorbells (each a second), p50_us, p99_us, longest_us (null without a call), ring_share (0 to 1), state,
              spin_budget_us; null over the socket transport

exit code:
  0  ended by q, Ctrl-C or --count, or because nobody reads the output any more
  1  nobody listens, the peer went away or did not answer; on a terminal it is tried again instead
  2  the arguments or the settings are wrong
"""

ABOUT_TYPES: Final = """\
Writes the types of modules that are imported across the languages: of a Python file ml.py the declarations ml.d.py.ts,
for TypeScript's compiler and editors; of a TypeScript file utils.ts the stub file utils.pyi, for mypy, Pyright and
editors. Nothing is imported or run: Python's files are read, TypeScript's are asked of the project's own compiler.

PATH is a file, or a folder (default: the current one), of which those files are meant that the other language imports
(`from "./ml.py"`, `import utils`), and those that types have been written for before. A file is written only where
something changes, and never over one that was not written so.

What cannot be told, such as a type of another module, is said, one line each.
"""

AFTER_TYPES: Final = """\
TypeScript needs "allowArbitraryExtensions": true in tsconfig.json. With --out gen, "rootDirs": ["src", "gen"] has it
look there as well; mypy finds stub files there by mypy_path, Pyright by stubPath.

With --stubs .py, and "imports": {"#py/*": "./.py/*.mjs"} in package.json, `import … from "#py/ml"` finds the stubs of
ml.py.

exit code:
  0  the types are written, or with --check: as they should be
  1  with --check: some are not; or a file cannot be read or written, or does not compile: the reason is printed
  2  the arguments are wrong, or there is no such file in the folder
"""

MARKS: Final[dict[Status, str]] = {"ok": "ok", "warning": "WARNING", "failed": "FAILED", "skipped": "skipped"}
COLOURS: Final[dict[Status, str]] = {"ok": "32", "warning": "33", "failed": "31", "skipped": "2"}
"""Parameters of the terminal's SGR sequence."""
INDENT: Final = " " * 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the program; returns the exit code."""
    standard_streams.open_closed()
    try:
        return _main(arguments)
    except ReaderGone:
        # It has seen enough.
        return 0
    except CannotWrite as error:
        standard_streams.complain(f"shm-polyglot: {error}\n")
        return 1


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="shm-polyglot", description="Looks after the bridge of Python and TypeScript."
    )
    version = f"shm-polyglot {handshake.LIBRARY_VERSION}, protocol {doctor.PROTOCOL}, {handshake.LANGUAGE}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="run a project's Node and Python sides in the foreground"))
    _add_doctor(commands.add_parser("doctor", help="check what usually goes wrong, and say what to do"))
    _add_top(commands.add_parser("top", help="watch connections, calls and latencies live"))
    _add_types(commands.add_parser("types", help="write the types of what is imported across the languages"))
    try:
        given = parser.parse_args(arguments)
    except SystemExit:
        # After --help, --version, and what is wrong with the arguments.
        standard_streams.flush()
        raise
    return {"run": _run, "doctor": _doctor, "top": _top, "types": _types}[given.command](given)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = ABOUT_RUN
    parser.epilog = AFTER_RUN
    parser.add_argument("--node", type=Path, metavar="FILE", help="the Node program, TypeScript or JavaScript")
    parser.add_argument("--wsgi", metavar="MODULE:APP", help="the WSGI app, as gunicorn takes it")
    parser.add_argument(
        "--expose",
        action="append",
        default=[],
        metavar="NAME=MODULE",
        help="let TypeScript call the functions of this module as NAME.function, e.g. ml=myapp.ml; may be repeated",
    )
    parser.add_argument("--host", metavar="HOST", help="where gunicorn listens (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, metavar="PORT", help="its port (default: 5000; 0: the system chooses)")
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="gunicorn's workers (default: $WEB_CONCURRENCY, or 1)"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="start a side anew when a file that it has loaded changes; Node notices by its own --watch, which sees "
        "no later change of a file that an editor has replaced by a new one, as vim does",
    )
    parser.add_argument("--no-restart", dest="restart", action="store_false", help="end as soon as a side has ended")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = ABOUT_DOCTOR
    checks = textwrap.fill(", ".join(doctor.CHECKS), 90, subsequent_indent=" " * 22, break_on_hyphens=False)
    parser.epilog = AFTER_DOCTOR.format(checks=checks)
    _add_common(parser)
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
        default=handshake.HANDSHAKE_TIMEOUT_S,
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


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = ABOUT_TOP
    parser.epilog = AFTER_TOP
    _add_common(parser)
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="from one look to the next (default: %(default)g)",
    )
    parser.add_argument("--count", type=_count, metavar="N", help="end after so many looks (default: never)")


def _add_types(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = ABOUT_TYPES
    parser.epilog = AFTER_TYPES
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a .py or .ts file, or a folder")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write them there, in folders as those of PATH, of a file as in the current one (default: beside each)",
    )
    parser.add_argument(
        "--stubs",
        type=Path,
        metavar="FOLDER",
        help="of Python files, write modules of stubs (.mjs, with .d.mts) there instead, for bundlers and test "
        "runners, which know no import hooks; those that are there are kept up to date anyway",
    )
    parser.add_argument(
        "--carried",
        action="store_true",
        help="write descriptions too (ml.py.json, utils.ts.json): with one an import needs neither the file itself nor "
        "its language, as in a container that has the other one only; those that are there are kept up to date anyway",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print the difference where types are stale, and exit with 1",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "--path", type=Path, metavar="SOCKET", help="the acceptor's socket (default: $SHM_POLYGLOT_DIR/node.sock)"
    )


def _run(given: argparse.Namespace) -> int:
    options = run.Options(
        node=given.node,
        wsgi=given.wsgi,
        expose=given.expose,
        host=given.host,
        port=given.port,
        workers=given.workers,
        reload=given.reload,
        restart=given.restart,
    )
    try:
        return run.run(options)
    except KeyboardInterrupt:
        # Before the sides were started, or after they had ended: in between it is the supervisor's.
        return 0


def _types(given: argparse.Namespace) -> int:
    # Here, because of all commands only this one needs what reads sources.
    from . import types

    return types.run(types.Options(given.paths, given.out, given.check, given.stubs, given.carried))


def _top(given: argparse.Namespace) -> int:
    try:
        settings = config.read_settings(given.path, environment=project_directory.environment_in(Path()))
    except ConfigError as error:
        standard_streams.complain(f"shm-polyglot top: {error}\n")
        return 2
    watch = Watch(settings)
    try:
        if sys.stdout.isatty() and sys.stdin.isatty() and not given.json:
            # Here, because some Pythons are built without curses, and only this needs it.
            from .top_live import show_live

            show_live(watch, settings, given.interval, given.count)
        else:
            top_table.print_looks(watch, settings, given.interval, given.count, as_lines=given.json)
    except ConfigError as error:
        standard_streams.complain(printable(f"shm-polyglot top: {error}") + "\n")
        return 2
    except BridgeError as error:
        standard_streams.complain(printable(f"shm-polyglot top: {error.code}: {error}") + "\n")
        return 1
    except KeyboardInterrupt:
        # The way to end what has no end.
        return 0
    finally:
        watch.close()
    return 0


def _doctor(given: argparse.Namespace) -> int:
    options = Options(given.path, given.connections, given.timeout, given.node_project)
    settings, findings = doctor.examine(options, project_directory.environment_in(Path()))
    ok = all(finding.status != "failed" for finding in findings)
    with suppress(ReaderGone):
        # Who has read enough of them, as `head` does, still asks for the verdict.
        standard_streams.write(_as_json(settings, findings, ok=ok) if given.json else _as_text(settings, findings))
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
    are_coloured = colours.are_wanted()
    lines = [
        f"shm-polyglot {handshake.LIBRARY_VERSION}, protocol {doctor.PROTOCOL}, {handshake.LANGUAGE}",
        printable(f"socket {settings.path}"),
        "",
    ]
    for finding in findings:
        mark = f"{MARKS[finding.status]:8}"
        if are_coloured:
            mark = colours.coloured(mark, COLOURS[finding.status])
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
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(text: str) -> int:
    return _whole_number(text, 1, 1_000_000)


def _port(text: str) -> int:
    return _whole_number(text, 0, 65535)


def _workers(text: str) -> int:
    return _whole_number(text, 1, 256)


def _whole_number(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from {least} to {most}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number greater than 0, at most 3600")
    return seconds

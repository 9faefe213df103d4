"""`shm-polyglot run`: a project's two sides, a directory for them, and a supervisor for both."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Final

from .. import config, node_command
from ..config import ConfigError
from ..node_command import CannotRunNode
from ..project import directory_of
from . import ports, probe, project_directory, run_lock, standard_streams
from .function_server import ATTACH
from .printable import printable
from .side import READY_FD, Program
from .side_output import Output
from .supervisor import SideFailed, Signals, Supervisor

WSGI_APPS: Final = (("app.py", "app:app"), ("wsgi.py", "wsgi:app"), ("main.py", "main:app"))
"""Flask's own convention and its usual neighbours, the likeliest first."""
EXPOSED: Final = re.compile(r"[^\s=,]+=[^\s=,]+")
NAME: Final = "run"


class UsageError(Exception):
    """The arguments or the folder do not say what to run; the message says what to give."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, as the command line has it.

    node: a file. wsgi: module and name, as gunicorn takes them. expose: what TypeScript may call, each as
    "ml=myapp.ml". host, port, workers: None: gunicorn's settings, or else the defaults. project: the folder.
    """

    node: Path | None = None
    wsgi: str | None = None
    expose: Sequence[str] = ()
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    reload: bool = False
    restart: bool = True
    project: Path = Path()


def run(options: Options) -> int:
    """Run the sides until a signal ends them; the exit code."""
    try:
        with ExitStack() as kept:
            return _run(options, kept)
    except KeyboardInterrupt:
        # Before there was a side to be ended: from then on it is counted.
        return 0


def _run(options: Options, kept: ExitStack) -> int:
    """kept: what the run has to itself, until its directory has been removed."""
    try:
        if sys.platform != "linux":
            raise UsageError("it supervises by means of Linux; elsewhere, start both sides by hand, or use containers")
        settings = config.read_settings(environment=_environment(options))
        sides = _find_sides(options)
        directory, is_own = settings.path.parent, not os.environ.get("SHM_POLYGLOT_DIR")
        output = Output(NAME, ("node", "python"))
        programs = _programs(options, sides, settings.path, output)
        names = [program.name for program in programs]
        if is_own:
            project_directory.make(directory)
        if sides.node is not None:
            _keep_to_itself(directory, kept, is_own=is_own)
    except (UsageError, ConfigError) as error:
        return _failed(str(error), 2)
    except (CannotRunNode, SideFailed, OSError) as error:
        return _failed(str(error), 1)
    try:
        if sides.node is not None:
            check_nobody_listens(settings.path)
        found = "; doctor and top find it in this folder, others by SHM_POLYGLOT_DIR" if is_own else ""
        output.say(f"SHM_POLYGLOT_DIR={directory}{found}")
        with Signals() as signals:
            supervisor = Supervisor(programs, output, signals, restart=options.restart)
            supervisor.run(lambda: output.say(f"{' and '.join(names)} {_verb(names)} up; Ctrl-C ends {_them(names)}"))
            output.say(f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} ended")
        if output.failure:
            return _failed(output.failure, 1)
    except SideFailed as failed:
        return _failed(failed.told(), failed.code)
    finally:
        if is_own:
            project_directory.remove(directory)
    return 0


def _keep_to_itself(directory: Path, kept: ExitStack, *, is_own: bool) -> None:
    """Raises SideFailed where another run has a Node side there. It may not listen yet."""
    what = "this folder" if is_own else f"SHM_POLYGLOT_DIR={directory}"
    try:
        kept.enter_context(run_lock.held(directory))
    except run_lock.IsRun as other:
        who = "another container" if other.pid is None else f"process {other.pid} ({ports.command(other.pid)})"
        raise SideFailed(
            f"{what} is run already by {who}: end that, or give this run another SHM_POLYGLOT_DIR to have both, and "
            "ports of its own (--port)"
        ) from None
    except OSError as error:
        raise SideFailed(f"{what}: {directory} cannot be used: {error.strerror}") from None


def check_nobody_listens(path: Path) -> None:
    """Raises SideFailed where a process listens at this socket, and names it: only one may."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed:
            dialed.settimeout(1.0)
            dialed.connect(os.fspath(path))
            pid, _, _ = struct.unpack("3i", dialed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return
    # 0: it runs in another container.
    who = f"process {pid} ({ports.command(pid)})" if pid else "a process of another container"
    raise SideFailed(
        f"{who} listens at {path} already, and only one may: end it, or give this run another SHM_POLYGLOT_DIR"
    )


def listens(path: Path) -> bool:
    """Whether a process listens at this socket. It takes the question for no event."""
    try:
        probe.peer_uid(path, 1.0)
    except OSError:
        return False
    return True


def _environment(options: Options) -> dict[str, str]:
    """What the sides get."""
    environment = dict(os.environ)
    if not environment.get("SHM_POLYGLOT_DIR"):
        environment["SHM_POLYGLOT_DIR"] = str(directory_of(options.project))
    # Its output is a pipe: without this, what it prints would come much later.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    return environment


def _checked_exposed(options: Options) -> str:
    """As SHM_POLYGLOT_EXPOSE has it, "" where nothing is given. Raises UsageError."""
    pairs = [pair for given in options.expose for pair in given.split(",")]
    for pair in pairs:
        if not EXPOSED.fullmatch(pair):
            raise UsageError(f"--expose {pair}: must be NAME=MODULE, such as ml=myapp.ml")
    names = [pair.partition("=")[0] for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--expose gives {name} twice")
    return ",".join(pairs)


@dataclass(frozen=True, slots=True)
class _Sides:
    """What there is to run. node: the file. wsgi: the app. exposed: as SHM_POLYGLOT_EXPOSE has it."""

    node: Path | None
    wsgi: str | None
    exposed: str


def _find_sides(options: Options) -> _Sides:
    """Raises UsageError where there is nothing to run, or an option without what it is for."""
    exposed = _checked_exposed(options)
    node, wsgi = options.node, options.wsgi
    if node is None and wsgi is None:
        folder = options.project
        node = next(node_command.entries(folder), None)
        wsgi = next((app for file, app in WSGI_APPS if (folder / file).is_file()), None)
        if node is None and wsgi is None and not exposed:
            raise UsageError(
                f"{folder.resolve()} has neither a server.ts nor an app.py: name the sides with --node FILE and "
                "--wsgi MODULE:APP, or one of them"
            )
    if wsgi is None:
        for option, value in (("--host", options.host), ("--port", options.port), ("--workers", options.workers)):
            if value is not None:
                raise UsageError(f"{option} is for gunicorn: name an app for it with --wsgi MODULE:APP")
    elif options.workers is None and (text := os.environ.get("WEB_CONCURRENCY")) and not config.whole_number(text):
        raise UsageError(f"WEB_CONCURRENCY={config.shown(text)}: must be a whole number of at least 1")
    return _Sides(node, wsgi, exposed)


def _programs(options: Options, sides: _Sides, path: Path, output: Output) -> list[Program]:
    """What to run, in the order of starting. Raises CannotRunNode and SideFailed."""
    environment = _environment(options)
    if sides.node is not None and (sides.wsgi is not None or sides.exposed):
        # What one of them imports of the other's, that one runs: it is there, or about to be.
        environment.setdefault("SHM_POLYGLOT_CHILD", "0")
    programs = []
    if sides.node is not None:
        command = node_command.choose(sides.node, node_command.find_node(), reload=options.reload)
        output.say(f"node: {sides.node}, {command.told}")
        unready = f"nothing listens at {path}: does it call listen()?"
        programs.append(Program("node", command.words, options.project, environment, lambda: listens(path), unready))
    # Alone it is up without Node, which may come later.
    waits, to_attach = ("", "") if sides.node is None else (ATTACH, " and attached to Node")
    if sides.wsgi is not None:
        if util.find_spec("gunicorn") is None:
            raise SideFailed(f"gunicorn is not installed: {sys.executable} -m pip install 'shm-polyglot[gunicorn]'")
        output.say(f"python: {sides.wsgi}, gunicorn {metadata.version('gunicorn')}, {sys.executable}")
        words = _gunicorn(options, sides.wsgi, waits, sides.exposed)
        unready = f"no worker has loaded the app{to_attach}"
        programs.append(Program("python", words, options.project, environment, None, unready))
    elif sides.exposed:
        not_again = ", which is not started anew when a file changes" if options.reload else ""
        output.say(f"python: {sides.exposed} without HTTP{not_again}, {sys.executable}")
        words = [sys.executable, "-m", "shm_protocol.cli.function_server", READY_FD, waits, sides.exposed]
        unready = f"it has not imported all of that{to_attach}"
        programs.append(Program("python", words, options.project, environment, None, unready))
    return programs


def _gunicorn(options: Options, wsgi: str, waits: str, exposed: str) -> list[str]:
    words = [sys.executable, "-m", "shm_protocol.cli.wsgi_server", READY_FD, waits, exposed]
    if options.host is not None or options.port is not None:
        from .wsgi_server import HOST, PORT

        host = options.host or HOST
        port = PORT if options.port is None else options.port
        words += ["--bind", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    if options.workers is not None:
        words += ["--workers", str(options.workers)]
    if options.reload:
        words += ["--reload"]
    return [*words, wsgi]


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "both"


def _failed(message: str, code: int) -> int:
    standard_streams.complain(printable(f"shm-polyglot run: {message}", keep="\n") + "\n")
    return code

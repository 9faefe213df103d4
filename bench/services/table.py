"""The services that the bench starts itself, by name: how, on which ports, and what each is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.installed import missing
from bench.services import build
from bench.services.endpoints import BATCH, FORMAT, HEALTH, HELLO, PREDICT, STATS, Endpoint

WARM_UP_REQUESTS: Final = 200


@dataclass(frozen=True, eq=False)
class Program:
    """One program of a service, with a port of its own."""

    command: tuple[str, ...]
    """How it is run, from the root of the project; {port} and {workers} stand for what a trial has."""
    endpoints: tuple[Endpoint, ...]
    """What it is loaded with: the simple route first, then the model, then the JSON document."""
    label: str = ""
    """Tells it from the other programs of its service."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """With the same places to fill in."""
    crossing: Endpoint | None = None
    """Answered with the help of the other language. None: the program knows one language."""
    first: Endpoint | None = None
    """Answered as soon as HTTP is served; the simple route if left out."""
    forks: bool = False
    """Whether it is a master that forks its workers, and replaces one that ends."""

    @property
    def alive(self) -> Endpoint:
        """What to ask to see whether HTTP is served."""
        return self.first or self.endpoints[0]


@dataclass(frozen=True, eq=False)
class Service:
    """One build of the showcase, or a floor."""

    name: str
    programs: tuple[Program, ...]
    """In the order in which they are started; none waits for another to be ready."""
    workers: tuple[int, ...] = (1,)
    """The numbers of worker processes that it is weighed with."""
    prepare: Callable[[], None] = lambda: None
    """Compiles what is to be run."""
    python_packages: tuple[str, ...] = ()
    node_packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    warm_up_requests: int = WARM_UP_REQUESTS
    """Untimed, before the first load of each endpoint."""
    start_s: float = 1.5
    """What it takes to start and end, roughly: for the time left."""
    most_rounds: int = sys.maxsize
    """For one that takes so long to start that more would cost the others theirs."""
    note: str = ""
    """What a reader has to know to read its rows fairly."""

    def name_of(self, program: Program) -> str:
        """As the rows of that program have it."""
        return f"{self.name}: {program.label}" if program.label else self.name

    def missing(self) -> str:
        """Why it cannot be started, and what to do about it; empty if it can."""
        return missing(self.python_packages, self.node_packages, self.files)


GUNICORN: Final = (sys.executable, "-m", "gunicorn")
# The control socket would be in the home directory, and a thread in the process that forks.
STOCK_GUNICORN: Final = (*GUNICORN, "--workers", "{workers}", "--no-control-socket", "--bind", "127.0.0.1:{port}")
CLOSES: Final = "gunicorn's sync worker closes the connection after each answer."

PAIR: Final = Service(
    "this bridge",
    (
        Program(
            ("node", "node_side/dist/node_side/server.js"),
            (HEALTH, PREDICT, BATCH),
            label="Node",
            environment={"SHM_POLYGLOT_NODE_PORT": "{port}", "NODE_ENV": "production"},
            crossing=PREDICT,
            # Its health is 503 as long as no Python worker is attached.
            first=STATS,
        ),
        Program(
            (*GUNICORN, "-c", "python_side/gunicorn_conf.py"),
            (HELLO, PREDICT, BATCH, FORMAT),
            label="Flask",
            environment={"SHM_POLYGLOT_PYTHON_PORT": "{port}", "WEB_CONCURRENCY": "{workers}"},
            crossing=FORMAT,
            forks=True,
        ),
    ),
    workers=(1, 2, 4),
    prepare=build.node_side,
    note="Two programs: gunicorn, and Node.",
)

SERVICES: Final[tuple[Service, ...]] = (
    PAIR,
    Service(
        "Flask alone",
        (Program((*STOCK_GUNICORN, "python_side.app:app"), (HELLO, PREDICT, BATCH), forks=True),),
        workers=(1, 2, 4),
        note=f"No TypeScript. {CLOSES}",
    ),
    Service(
        "bare node:http",
        (Program(("node", "bench/build/bare_node.js", "{port}"), (HEALTH, PREDICT, BATCH)),),
        prepare=build.bare_node,
        node_packages=("esbuild",),
        note="Floor: no Python, no checks, and as much as the generator of the load can do.",
    ),
    Service(
        "Flask with PythonMonkey",
        (
            Program(
                (*STOCK_GUNICORN, "bench.inprocess.flask_with_javascript:app"),
                (HELLO, PREDICT, BATCH, FORMAT),
                crossing=FORMAT,
                forks=True,
            ),
        ),
        workers=(1, 2, 4),
        prepare=build.embedded,
        python_packages=("pythonmonkey",),
        node_packages=("esbuild",),
        note=f"In process. {CLOSES}",
    ),
    Service(
        "Node with Pyodide",
        (
            Program(
                ("node", "bench/build/node_with_pyodide.js", "{port}"),
                (HEALTH, PREDICT, BATCH),
                crossing=PREDICT,
            ),
        ),
        prepare=build.node_with_pyodide,
        node_packages=("esbuild", "pyodide"),
        start_s=3.0,
        note="In process. It listens once Python is loaded.",
    ),
    Service(
        "GraalVM",
        (
            Program(
                (sys.executable, "-m", "bench.inprocess.graalvm", "{port}"),
                (HEALTH, PREDICT, BATCH),
                crossing=PREDICT,
            ),
        ),
        files=("bench/build/graalvm",),
        warm_up_requests=5_000,
        start_s=15.0,
        most_rounds=2,
        note="In process. At most 2 rounds; loaded after 5,000 requests or 3 s an endpoint, for its compiler.",
    ),
)

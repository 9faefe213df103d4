"""Runs the showcase's two sides in the foreground, as `shm-polyglot run` runs a project's: what `make up` does once
everything is built. Containers have Compose for all this.

It differs from a project's run in what it knows of its sides: where they serve, that a side is ready when its /health
says so, and that they meet in the default directory, where whatever is started by hand finds them.
"""

import http
import http.client
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import shm_protocol
from shm_protocol import node_command
from shm_protocol.cli import ports, standard_streams
from shm_protocol.cli.run import check_nobody_listens
from shm_protocol.cli.side import Program
from shm_protocol.cli.side_output import Output
from shm_protocol.cli.supervisor import SideFailed, Signals, Supervisor
from shm_protocol.node_command import CannotRunNode

from python_side import settings

ROOT: Final = Path(__file__).resolve().parent.parent
HEALTH_TIMEOUT_S: Final = 1.0
NODE: Final = Path("node_side/server.ts")
PYTHON: Final = (sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py")

READY: Final = """
  Node    {node}
  Flask   {python}

  TypeScript answers, with Python's model:
    curl -s {node}/api/predict -H 'Content-Type: application/json' -d '{{"text": "I love this"}}'

  Ctrl-C ends both.
"""


class UpError(Exception):
    """Why the two sides cannot run; the message is for the terminal."""


@dataclass(frozen=True)
class Address:
    """Where one side serves HTTP, and the environment variables that change it."""

    host: str
    port: int
    host_variable: str
    port_variable: str

    @property
    def url(self) -> str:
        """The URL to print."""
        return ports.url((self.host, self.port))

    def health(self) -> int | None:
        """The status that GET /health answers with, None if there is no answer."""
        connection = http.client.HTTPConnection(ports.reachable(self.host), self.port, timeout=HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def addresses(environ: Mapping[str, str]) -> tuple[Address, Address]:
    """Where Node and Python are told to serve. Raises UpError or SettingError for what cannot be meant."""
    python_settings = settings.load(environ)
    python = Address(python_settings.host, python_settings.port, "SHM_POLYGLOT_PYTHON_HOST", "SHM_POLYGLOT_PYTHON_PORT")
    port = settings.integer(environ, "SHM_POLYGLOT_NODE_PORT", 3000, 1, 65535)
    host = environ.get("SHM_POLYGLOT_NODE_HOST") or "127.0.0.1"
    node = Address(host, port, "SHM_POLYGLOT_NODE_HOST", "SHM_POLYGLOT_NODE_PORT")
    if node.port == python.port:
        raise UpError(f"{node.port_variable} and {python.port_variable} are both {node.port}: each side needs its own")
    return node, python


def is_free(address: Address) -> bool:
    """Whether nobody listens on the address yet. Raises UpError when nobody can."""
    try:
        return ports.is_free(address.host, address.port)
    except OSError as error:
        raise UpError(
            f"{address.host} port {address.port} cannot be listened on: {error.strerror}; "
            f"see {address.host_variable} and {address.port_variable}"
        ) from None


def check_free(*sides: Address) -> None:
    """Raises UpError when nobody can listen on one of the addresses, naming who does already and what to set."""
    taken = [address for address in sides if not is_free(address)]
    if not taken:
        return
    who = "\n".join(f"port {address.port} is taken by {ports.who_listens(address.port)}" for address in taken)
    other_ports = " ".join(f"{address.port_variable}={_other_port(address, sides)}" for address in taken)
    if len(taken) == len(sides):
        # Most likely by another pair, which has the directory as well.
        other_ports += f" SHM_POLYGLOT_DIR={shm_protocol.config.directory()}-2"
    raise UpError(f"{who}; stop that, or choose another:\n    {other_ports} make up")


def _other_port(address: Address, sides: Sequence[Address]) -> int:
    others = {side.port for side in sides}
    return next(port for port in (address.port % 65535 + step for step in (1, 2, 3)) if port not in others)


def programs(node: Address, python: Address) -> tuple[Program, Program]:
    """What to run, in the order of starting. Raises CannotRunNode."""
    os.chdir(ROOT)
    node_words = node_command.choose(NODE, node_command.find_node(), reload=False).words

    # Without a worker Node answers 503, and is there for workers to attach to; Flask is healthy only with Node.
    def node_is_there() -> bool:
        return node.health() is not None

    def both_are_healthy() -> bool:
        return python.health() == node.health() == http.HTTPStatus.OK

    def program(name: str, words: Sequence[str], address: Address, is_ready: Callable[[], bool]) -> Program:
        unready = f"{address.url}/health is not healthy"
        environment = {"SHM_POLYGLOT_CHILD": "0"} | os.environ
        return Program(name, words, ROOT, environment, is_ready, unready, tells_urls=False)

    return program("node", node_words, node, node_is_there), program("python", PYTHON, python, both_are_healthy)


def main() -> int:
    """Exit code 0 after Ctrl-C or SIGTERM, 1 with the reason when the two sides do not run."""
    standard_streams.open_closed()
    try:
        # The library's own, before anything is started: both sides would only end with the same.
        library_settings = shm_protocol.config.read_settings()
        node, python = addresses(os.environ)
        check_free(node, python)
        check_nobody_listens(library_settings.path)
        output = Output("up", ("node", "python"))
        with Signals() as signals:
            supervisor = Supervisor(programs(node, python), output, signals, restart=True)
            supervisor.run(lambda: output.write_text(READY.format(node=node.url, python=python.url)))
    except SideFailed as failed:
        standard_streams.complain(f"up: {failed.told()}\n")
        return 1
    except (UpError, CannotRunNode, settings.SettingError, shm_protocol.ConfigError) as error:
        standard_streams.complain(f"up: {error}\n")
        return 1
    output.say("both sides have ended")
    if output.failure:
        standard_streams.complain(f"up: {output.failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs both sides in the foreground: what `make up` does once everything is built.

It is a runner for development, not a supervisor: when one side ends, it ends the other and says why. Each side has
a session of its own, so that Ctrl-C reaches only the runner, which then ends both in order. A runner that is killed
takes its sides with it (PR_SET_PDEATHSIG). Containers have Compose for all this.
"""

import ctypes
import errno
import http
import http.client
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from python_side import settings

ROOT: Final = Path(__file__).resolve().parent.parent

START_TIMEOUT_S: Final = 60.0
"""How long a side may take to become healthy; ts-node's type check alone takes a second or two."""

STOP_GRACE_S: Final = 15.0
"""How long a side may take to end after SIGTERM before it is killed: longer than gunicorn's graceful_timeout."""

HEALTH_TIMEOUT_S: Final = 1.0
TICK_S: Final = 0.1
LINES_KEPT: Final = 30
ERROR_LINE: Final = re.compile(r"\berror\b|Error:", re.IGNORECASE)
PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
TCP_LISTEN: Final = "0A"  # <net/tcp_states.h>, as /proc/net/tcp prints it
LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (to connect, not to bind)

NODE: Final = ("node_modules/.bin/ts-node", "node_side/server.ts")
PYTHON: Final = (sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py")

READY: Final = """
  Node    {node}
  Flask   {python}

  TypeScript answers, with Python's model:
    curl -s {node}/api/predict -H 'Content-Type: application/json' -d '{{"text": "I love this"}}'

  Ctrl-C ends both.
"""


class UpError(Exception):
    """Why the two sides cannot run, or have ended; the message is for the terminal."""


class StopRequested(Exception):
    """A signal has asked the runner to end."""


class Stop:
    """Counts the signals that ask the runner to end: the first ends both sides, the second kills them."""

    SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.requests = 0
        for number in self.SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.requests += 1


@dataclass(frozen=True)
class Address:
    """Where one side serves HTTP, and the environment variable that changes its port."""

    host: str
    port: int
    port_variable: str

    @property
    def reachable_host(self) -> str:
        """A host to connect to, also when the side listens on every address."""
        return LOOPBACK_OF.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The URL to print."""
        host = self.reachable_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Side:
    """One of the two programs while it runs."""

    def __init__(self, name: str, address: Address, command: Sequence[str]) -> None:
        """Starts it. Raises UpError if it cannot be started."""
        self.name = name
        self.address = address
        self._last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._unfinished_line = b""
        self.output, inherited = os.pipe()
        os.set_blocking(self.output, False)
        try:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=inherited,
                stderr=inherited,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 (there is one thread)
            )
        except OSError as error:
            raise UpError(f"{name} cannot be started: {error}") from None
        finally:
            os.close(inherited)

    def pass_on_output(self) -> bool:
        """Prints what the side has written, each line under its name. False: there will be no more."""
        with suppress(BlockingIOError):
            while data := os.read(self.output, 1 << 16):
                *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
                for line in lines:
                    self._print(line)
            if self._unfinished_line:
                self._print(self._unfinished_line)
                self._unfinished_line = b""
            return False
        return True

    def _print(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._last_lines.append(text)
        print(f"{self.name:6} | {text}", file=sys.stderr, flush=True)

    def health(self) -> int | None:
        """The status that GET /health answers with, None if there is no answer."""
        connection = http.client.HTTPConnection(
            self.address.reachable_host, self.address.port, timeout=HEALTH_TIMEOUT_S
        )
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def has_ended(self) -> bool:
        """Whether the program has ended. It is left unreaped, so that nobody else gets its number."""
        return self._process.returncode is not None or (
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def terminate(self) -> None:
        """Asks the program to end."""
        if not self.has_ended():
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the program if it still runs, with whatever it left in its process group, and reaps it."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def how_it_ended(self) -> str:
        """For example: `node ended with exit code 1: Error: listen EADDRINUSE`."""
        code = self._process.returncode
        if code < 0:
            return f"{self.name} was killed by {signal.Signals(-code).name}"
        # The last line of a stack trace says less than the one that names the error.
        telling = [line for line in self._last_lines if ERROR_LINE.search(line)] or list(self._last_lines)
        return f"{self.name} ended with exit code {code}" + (f": {telling[-1]}" if telling else "")


class Runner:
    """Both sides, from start to end."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._sides: list[Side] = []
        self._selector = selectors.DefaultSelector()

    def run(self, node_address: Address, python_address: Address) -> None:
        """Starts both sides, says so when they are healthy, and returns when asked to stop.

        Raises UpError when one side cannot be started, has ended, or is not healthy in time.
        """
        try:
            node = self._start("node", node_address, NODE)
            # Without a worker it answers 503, and is there for workers to attach to.
            self._wait_for(node, lambda status: status is not None)
            python = self._start("python", python_address, PYTHON)
            for side in (python, node):
                self._wait_for(side, lambda status: status == http.HTTPStatus.OK)
            self._pass_on_output()
            print(READY.format(node=node_address.url, python=python_address.url), flush=True)
            while True:
                self._tick()
        except StopRequested:
            pass

    def end(self) -> None:
        """Ends the sides one after the other, the last started first, so that none sees its peer go."""
        enough = self._stop.requests + 1
        for side in reversed(self._sides):
            side.terminate()
            deadline = time.monotonic() + STOP_GRACE_S
            while not side.has_ended() and self._stop.requests < enough:
                if time.monotonic() > deadline:
                    print(
                        f"up: {side.name} has not ended {STOP_GRACE_S:.0f} s after SIGTERM: killing it", file=sys.stderr
                    )
                    break
                self._pass_on_output()
            side.kill()
            side.pass_on_output()

    def _start(self, name: str, address: Address, command: Sequence[str]) -> Side:
        side = Side(name, address, command)
        self._sides.append(side)
        self._selector.register(side.output, selectors.EVENT_READ, side)
        return side

    def _wait_for(self, side: Side, enough: Callable[[int | None], bool]) -> None:
        """Waits until the status of the side's health is `enough`."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not enough(status := side.health()):
            self._tick()
            if time.monotonic() > deadline:
                answer = "no answer" if status is None else f"status {status}"
                raise UpError(f"{side.name} is not healthy: {answer} from {side.address.url}/health")

    def _tick(self) -> None:
        """Passes on output for a moment. Raises UpError when a side has ended, StopRequested after a signal."""
        self._pass_on_output()
        if self._stop.requests:
            raise StopRequested
        for side in self._sides:
            if side.has_ended():
                side.kill()
                side.pass_on_output()
                raise UpError(side.how_it_ended())

    def _pass_on_output(self) -> None:
        """Waits for output, but never longer than TICK_S."""
        if not self._selector.get_map():
            time.sleep(TICK_S)
        for key, _ in self._selector.select(TICK_S):
            side: Side = key.data
            if not side.pass_on_output():
                self._selector.unregister(side.output)


def _die_with(parent: int) -> Callable[[], None]:
    """What a child calls before it becomes its program, so that it gets SIGTERM when the runner dies of anything."""
    prctl = ctypes.CDLL(None).prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # The runner died before the line above.
            os._exit(1)

    return in_child


def addresses(environ: Mapping[str, str]) -> tuple[Address, Address]:
    """Where Node and Python are told to serve. Raises UpError or SettingError for what cannot be meant."""
    python_settings = settings.load(environ)
    python = Address(python_settings.host, python_settings.port, "SHM_POLYGLOT_PYTHON_PORT")
    port = environ.get("SHM_POLYGLOT_NODE_PORT", "3000")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise UpError(f"SHM_POLYGLOT_NODE_PORT={port!r}: must be a whole number from 1 to 65535")
    node = Address(environ.get("SHM_POLYGLOT_NODE_HOST", "127.0.0.1"), int(port), "SHM_POLYGLOT_NODE_PORT")
    if node.port == python.port:
        raise UpError(f"{node.port_variable} and {python.port_variable} are both {node.port}: each side needs its own")
    return node, python


def check_free(address: Address) -> None:
    """Raises UpError when nobody can listen on the address, naming who does already and what to set."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of a former run that still linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UpError(f"{address.host} port {address.port} cannot be listened on: {error.strerror}") from None
        raise UpError(
            f"port {address.port} is taken by {listener(address.port)}; stop that, or choose another port:\n"
            f"    {address.port_variable}={address.port % 65535 + 1} make up"
        ) from None


def listener(port: int) -> str:
    """Who listens on a TCP port, as far as /proc lets this user see."""
    sockets = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_, inode = line.split()[:10]
            if state == TCP_LISTEN and int(local.rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{inode}]")
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        # A process of another user, or one that has just ended.
        with suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parent.parent
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:100]})"
    return "another user's process"


def main() -> int:
    """Exit code 0 after Ctrl-C or SIGTERM, 1 with the reason when the two sides do not run."""
    stop = Stop()
    runner = Runner(stop)
    try:
        node, python = addresses(os.environ)
        for address in (node, python):
            check_free(address)

        try:
            runner.run(node, python)
        finally:
            runner.end()
    except (UpError, settings.SettingError) as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    print("up: both sides have ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())

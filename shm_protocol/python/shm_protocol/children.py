"""Node processes of this program's own that load TypeScript files, and end with it, however it ends."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from . import forks, node_command
from .child_chain import CHAIN, chain_for
from .client import connect
from .errors import CallTimeout, PeerGone, PeerUnavailable, RemoteError
from .node_package import check_new_enough, find_node, script_of

START_TIMEOUT_S: Final = 30.0
"""So long Node may take to start, with what runs TypeScript."""
LOAD_TIMEOUT_S: Final = 60.0
"""So long a module's own body may take."""
END_TIMEOUT_S: Final = 2.0
"""So long a child may take to end by itself."""
STDERR_LINES: Final = 20
"""So many of what it has written last are told where it has ended."""
_DYING_S: Final = 1.0
"""A process whose connection has ended may take so long until it has."""
_LOAD: Final = "shm_polyglot.load"
_CONNECTIONS: Final = 64
"""Calls at once, each from a thread of its own."""
_SCRIPT: Final = "child.js"
_READ_BYTES: Final = 64 * 1024
_NEVER_READY: Final = "Node has closed the connection to this program before it was ready"


class Export(NamedTuple):
    """What a module exports, as the module that runs says. kind: "function", "stream", "class", "object" or
    "value".
    methods: of an object.
    """

    name: str
    kind: str
    methods: list[str]


class Loaded(NamedTuple):
    """What a child has loaded. Its functions are called as `key.function`."""

    child: NodeChild
    key: str
    exports: list[Export]


def load_in_child(file: Path, *, fresh: bool = False) -> Loaded:
    """Load a file in the child that this program has for files like it; one is started where there is none.

    Of files that are run alike, one child loads all: modules that import each other share their state. fresh: as the
    file is now, also where it has been loaded before. Raises PeerUnavailable where it cannot be.
    """
    node, script = find_node(file), script_of(file, _SCRIPT)
    try:
        options = node_command.preloads(file, node_command.find_node)
    except node_command.CannotRunNode as error:
        raise PeerUnavailable(f"{file}: {error}") from None
    # By where ts-node looks for its configuration as well.
    kind = (node, *options, str(script), str(_project_of(file) if options else ""))
    with _Children.starting:
        child = _Children.running.get(kind)
        if child is not None and child.has_ended():
            child.bury()
            child = None
        if child is None:
            child = _Children.running[kind] = NodeChild([node, *options, str(script)], file)
    return child.load(file, fresh=fresh)


def _project_of(file: Path) -> Path:
    return next((folder for folder in file.parents if (folder / "tsconfig.json").is_file()), file.parent)


class NodeChild:
    """A Node that loads files of this program's. words: what runs it. file: the first that it is to load.

    Making one waits until it listens. Raises PeerUnavailable where it does not.
    """

    def __init__(self, words: list[str], file: Path) -> None:
        chain = chain_for(file)
        self._file: Final = file
        self._is_closed = False
        self._folder: Final = tempfile.mkdtemp(prefix="shm-polyglot-child-")
        path = Path(self._folder) / "node.sock"
        self._to_child, theirs = socket.socketpair()
        self._stderr: Final = _Stderr()
        try:
            with _beyond_standard_streams(theirs) as theirs:
                words = [*words, str(path), str(theirs.fileno())]
                self._process: Final = _start(words, file.parent, chain, theirs.fileno(), self._stderr.write_end)
        except OSError as error:
            self._to_child.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise PeerUnavailable(f"{file}: {words[0]} cannot be run: {error}") from error
        finally:
            self._stderr.begin()
        forks.register(self)
        try:
            self._wait_until_ready()
            self.client: Final = connect(path, max_connections=_CONNECTIONS)
        except BaseException:
            self.close()
            raise

    def load(self, file: Path, *, fresh: bool) -> Loaded:
        """Load a file, once unless `fresh`. Raises PeerUnavailable."""
        try:
            told = self.client.call(_LOAD, str(file), fresh, timeout=LOAD_TIMEOUT_S)
        except RemoteError as error:
            raise PeerUnavailable(f"{file}: it cannot be loaded: {error}\n{error.stack}".rstrip()) from None
        except CallTimeout:
            # It may be in a loop without end, and nobody else is served then.
            self._process.kill()
            self._process.wait()
            raise PeerUnavailable(f"{file}: it has not been loaded within {LOAD_TIMEOUT_S:g} s") from None
        except PeerGone as error:
            raise PeerUnavailable(f"{file}: it cannot be loaded: {self.epitaph() or error}") from None
        return Loaded(self, told["key"], [Export(**one) for one in told["exports"]])

    def has_ended(self, within: float = 0) -> bool:
        """Whether the process has, or does within so many seconds."""
        if not self._is_closed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
        return self._is_closed or self._process.returncode is not None

    def epitaph(self) -> str:
        """How it has ended, and the last lines that it wrote to stderr. "" where it goes on."""
        if not self.has_ended(_DYING_S):
            return ""
        said = self._stderr.last_lines(END_TIMEOUT_S)
        told = f"Node has ended with {_how(self._process.returncode)}"
        return f"{told}; its last lines:\n{said}" if said else told

    def close(self) -> None:
        """End it. Safe to call twice."""
        if self._is_closed:
            return
        # Not there where it did not come to listen.
        if (client := getattr(self, "client", None)) is not None:
            client.close()
        # It notices, and ends.
        self._to_child.close()
        if not self.has_ended(END_TIMEOUT_S):
            self._process.kill()
            self._process.wait()
        self._clear_away()

    def bury(self) -> None:
        """What is left of one that has ended. Calls that were under way are told so by their connections."""
        self.client.close_idle()
        self._to_child.close()
        self._clear_away()

    def _clear_away(self) -> None:
        self._is_closed = True
        self._stderr.last_lines(END_TIMEOUT_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def after_fork_in_child(self) -> None:
        """See forks.py: a process that this one has forked is not its parent."""
        self._is_closed = True
        self._to_child.close()
        self._stderr.forget()
        # Nobody is to wait for it here, nor to be told that nobody has.
        self._process.returncode = 0

    def _wait_until_ready(self) -> None:
        self._to_child.settimeout(START_TIMEOUT_S)
        try:
            told = self._to_child.recv(_READ_BYTES)
        except TimeoutError:
            raise PeerUnavailable(f"{self._file}: Node has not started within {START_TIMEOUT_S:g} s") from None
        except OSError:
            told = b""
        if not told:
            epitaph = self.epitaph()
            check_new_enough(self._file, epitaph)
            raise PeerUnavailable(f"{self._file}: it cannot be run: {epitaph or _NEVER_READY}")


class _Children:
    """Those of this process, by how they run."""

    running: ClassVar[dict[tuple[str, ...], NodeChild]] = {}
    starting: ClassVar[threading.Lock] = threading.Lock()


def _beyond_standard_streams(their_end: socket.socket) -> socket.socket:
    """The same with a descriptor above theirs. Of a program where they are closed, the next that is opened gets one of
    them, and the child has its own there.
    """
    if their_end.fileno() > 2:
        return their_end
    with their_end:
        return socket.socket(fileno=fcntl.fcntl(their_end, fcntl.F_DUPFD_CLOEXEC, 3))


def _start(words: list[str], folder: Path, chain: str, kept: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # the node of this user's PATH, with a script of ours
        words,
        # ts-node looks for the file's own tsconfig.json; to check types takes it a second at each start.
        env={"TS_NODE_CWD": str(folder), "TS_NODE_TRANSPILE_ONLY": "true", **os.environ, CHAIN: chain},
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=[kept],
        # It ends when this program does, not when somebody presses Ctrl-C and this program goes on.
        start_new_session=True,
    )


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class _Stderr:
    """What a child writes to stderr: copied to this program's own, and the last lines are kept."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._lines: Final[deque[str]] = deque(maxlen=STDERR_LINES)
        # It holds neither the child nor the program.
        self._thread: Final = threading.Thread(
            target=_copy, args=(self._read_end, self._lines), name="stderr of a Node child", daemon=True
        )

    def begin(self) -> None:
        """The child has its end now, or could not be started."""
        os.close(self.write_end)
        self._thread.start()

    def last_lines(self, within: float) -> str:
        """within: seconds to wait for what is still on its way; a process of the child's own may write for ever."""
        self._thread.join(within)
        return "".join(list(self._lines)).rstrip()

    def forget(self) -> None:
        """In a forked child, where the thread is not."""
        with contextlib.suppress(OSError):
            os.close(self._read_end)


def _copy(descriptor: int, lines: deque[str]) -> None:
    rest = b""
    while part := os.read(descriptor, _READ_BYTES):
        with contextlib.suppress(OSError):
            view = memoryview(part)
            # Where it was closed when the program began, anything may have its descriptor.
            while view and sys.__stderr__ is not None:
                view = view[os.write(2, view) :]
        *whole, rest = (rest + part)[-_READ_BYTES:].split(b"\n")
        lines.extend(f"{line.decode(errors='replace')}\n" for line in whole[-STDERR_LINES:])
    if rest:
        lines.append(rest.decode(errors="replace"))
    os.close(descriptor)


@atexit.register
def _close_all() -> None:
    for child in _Children.running.values():
        child.close()


def _after_fork_in_child() -> None:
    _Children.running.clear()
    _Children.starting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)

"""The checks of `shm-polyglot doctor`: what usually goes wrong, each with what to do about it.

Every check is a function that returns a Finding; examine() says which are made, and in what order. Nothing is changed:
no directory is made, no stale name removed. What is left of the one handshake is a line in the peer's log.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .. import config, handshake
from ..client import DEFAULT_MAX_CONNECTIONS
from ..config import SOCKET_NAME, ConfigError, Settings
from ..dialing import Answer
from ..errors import ProtocolError, VersionMismatch
from ..handshake import Header, Refusal, Welcome
from ..project import are_two, project_folder, shown
from ..transports import segment_names, shm, stale_segments
from . import machine, node_installation, probe
from .node_installation import NodeFailed, NodeInstallation

Status = Literal["ok", "warning", "failed", "skipped"]

DOCKER_SHM_BYTES: Final = 64 * 1024 * 1024
DESCRIPTORS_BESIDES: Final = 64
"""What a server holds besides its connections: its listeners, logs and files, generously."""
MIN_NODE_MAJOR: Final = 20
PROTOCOL: Final = f"{handshake.PROTOCOL_MAJOR}.{handshake.PROTOCOL_MINOR}"

CHECKS: Final = (
    "settings",
    "architecture",
    "python-binding",
    "node-side",
    "directory",
    "socket",
    "listener",
    "handshake",
    "versions",
    "sharing",
    "shm",
    "shm-space",
    "stale-segments",
    "cores",
    "descriptors",
)
"""The name of every check, in the order of the report, which has each once."""

ONE_VOLUME: Final = "mount one tmpfs volume at /dev/shm in both containers, as docker-compose.yml does"
NOT_USED: Final = "shared memory is not used: see settings and python-binding"
START_NODE: Final = "start the Node side, and give both sides the same SHM_POLYGLOT_DIR"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    check: its name; names are kept. status: "ok"; "warning": it works, but not as well as it could; "failed": it does
    not work; "skipped": it cannot be told, `detail` says why. fix: what to do, "" where there is nothing to do.
    """

    check: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What to examine.

    path: the acceptor's socket, None: as the environment says. connections: how many there are to be. timeout: seconds
    for the handshake. node_project: the folder in which Node looks for the TypeScript library.
    """

    path: Path | None = None
    connections: int = DEFAULT_MAX_CONNECTIONS
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S
    node_project: Path = Path()


def examine(options: Options, environment: Mapping[str, str] = os.environ) -> tuple[Settings, list[Finding]]:
    """Make every check: the settings that were found, and one finding for each of CHECKS.

    Takes at most `options.timeout` and what node_installation.py gives Node.
    """
    settings, finding = check_settings(options.path, environment)
    findings = {finding.check: finding}

    def passes(name: str, check: Callable[[], Finding]) -> bool:
        """Make a check. False if there is no sense in those that build on it."""
        try:
            findings[name] = check()
        except OSError as error:
            fix = "see that this user may read it"
            findings[name] = Finding(name, "warning", f"it cannot be looked at: {error}", fix)
        return findings[name].status in ("ok", "warning")

    if passes("architecture", check_architecture):
        passes("python-binding", lambda: check_python_binding(settings))
        passes("node-side", lambda: check_node_side(settings, options.node_project))
        if (
            passes("directory", lambda: check_directory(settings.path.parent, environment))
            and passes("socket", lambda: check_socket(settings.path, environment))
            and passes("listener", lambda: check_listener(settings.path, options.timeout))
        ):
            findings |= {finding.check: finding for finding in check_peer(settings, options.timeout)}
        else:
            passes("sharing", lambda: check_sharing_alone(settings))
        if passes("shm", lambda: check_shm(settings)):
            passes("shm-space", lambda: check_shm_space(settings, options.connections))
        passes("stale-segments", check_stale_segments)
        passes("cores", lambda: check_cores(settings))
        passes("descriptors", lambda: check_descriptors(options.connections))
    not_made = "not made: it builds on a check above"
    return settings, [findings.get(name, Finding(name, "skipped", not_made)) for name in CHECKS]


def check_settings(path: Path | None, environment: Mapping[str, str]) -> tuple[Settings, Finding]:
    """The variables of this library. Where one is wrong, the other checks are made with the defaults."""
    try:
        settings = config.read_settings(path, environment=environment)
    except ConfigError as error:
        defaults = Settings(path if path is not None else _directory_tried(environment) / SOCKET_NAME)
        return defaults, Finding("settings", "failed", str(error), "set it so, or unset it, on both sides")
    spin = "adaptive" if settings.spin_us is None else f"{settings.spin_us} us"
    return settings, Finding(
        "settings",
        "ok",
        f"transport {settings.transport}, rings of {settings.ring_bytes} bytes, messages of at most "
        f"{settings.max_message} bytes, spin budget {spin}",
    )


def check_architecture(
    system: str = sys.platform, architecture: str = platform.machine(), byte_order: str = sys.byteorder
) -> Finding:
    """Linux on a little-endian machine, x86-64 or aarch64."""
    found = f"{system}, {architecture}, {byte_order}-endian"
    if system != "linux" or byte_order != "little":
        return Finding(
            "architecture", "failed", found, "run both sides on little-endian Linux, in containers elsewhere"
        )
    if architecture not in ("x86_64", "aarch64"):
        fix = "use x86-64 or aarch64, or run the project's `make test` here first"
        return Finding("architecture", "warning", f"{found}: not one that this library is tested on", fix)
    return Finding("architecture", "ok", found)


def check_python_binding(settings: Settings) -> Finding:
    """The compiled parts of this side."""
    if settings.transport == "socket":
        return Finding("python-binding", "skipped", "the socket transport does without")
    reason = shm.why_unavailable()
    if reason is not None:
        return Finding("python-binding", _without_memory(settings), reason, shm.how_to_build())
    try:
        from .. import _direct_calls  # noqa: F401
    except ImportError as error:
        detail = f"the compiled call path cannot be imported ({error}): calls are slower"
        return Finding("python-binding", "warning", detail, shm.how_to_build())
    makes = segment_names.described()
    return Finding("python-binding", "ok", f"the native binding can be imported; segments are made by {makes}")


def check_node_side(settings: Settings, project: Path, timeout: float = node_installation.TIMEOUT_S) -> Finding:
    """Node, the TypeScript library and its native addon, where they are on this machine too."""
    try:
        found = node_installation.look(project, timeout)
    except NodeFailed as failure:
        return Finding("node-side", "warning", str(failure), "run `node --version`, and unset NODE_OPTIONS")
    if found is None:
        return Finding("node-side", "skipped", "there is no node here; the handshake tells what the peer is")
    return _judge_node_side(found, settings, project)


def _judge_node_side(found: NodeInstallation, settings: Settings, project: Path) -> Finding:
    known = f"node {found.node}, {node_installation.PACKAGE} {found.library}"
    if int(found.node.partition(".")[0]) < MIN_NODE_MAJOR:
        return Finding(
            "node-side", "failed", f"node {found.node} is too old", f"install Node {MIN_NODE_MAJOR} or newer"
        )
    if not found.root:
        detail = f"node {found.node} finds no {node_installation.PACKAGE} from {project.resolve()}"
        return Finding("node-side", "skipped", f"{detail}; --node-project names the folder of the Node side")
    if found.missing:
        fix = f'run "npm run build" in {found.root}'
        return Finding("node-side", "failed", f"{known} in {found.root} is not built: {found.missing}", fix)
    if found.protocol.partition(".")[0] != str(handshake.PROTOCOL_MAJOR):
        detail = f"{known} speaks protocol {found.protocol}, this side {PROTOCOL}"
        return Finding("node-side", "failed", detail, "install the same release on both sides")
    if found.binding and settings.transport != "socket":
        return Finding("node-side", _without_memory(settings), f"{known}: {found.binding}", "build it as it says")
    if found.library != handshake.LIBRARY_VERSION:
        detail = f"{known}; this side is {handshake.LIBRARY_VERSION}"
        return Finding("node-side", "warning", detail, "install the same release on both sides")
    return Finding("node-side", "ok", f"{known}, protocol {found.protocol}, in {found.root}")


def check_directory(directory: Path, environment: Mapping[str, str]) -> Finding:
    """The private directory, judged as connecting judges it."""
    try:
        config.check_directory(directory)
    except FileNotFoundError:
        return Finding("directory", "failed", f"{directory} is missing", where_else(directory, environment))
    except OSError as error:
        fix = (
            f"run both sides, and this command, as one user, who alone may enter it (chmod 700 {directory}); "
            "or set SHM_POLYGLOT_DIR to another directory on both sides"
        )
        return Finding("directory", "failed", str(error), fix)
    return Finding("directory", "ok", f"{directory} is this user's alone")


def check_socket(path: Path, environment: Mapping[str, str]) -> Finding:
    """The socket's file."""
    try:
        config.check_socket_path(path)
    except ConfigError as error:
        return Finding("socket", "failed", str(error), "as it says")
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Finding(
            "socket", "failed", f"{path} is missing: Node does not listen", where_else(path.parent, environment)
        )
    if not stat.S_ISSOCK(status.st_mode):
        kind = "a symbolic link, which is not followed" if stat.S_ISLNK(status.st_mode) else "not a socket"
        return Finding("socket", "failed", f"{path} is {kind}", "remove it, and start the Node side again")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        detail = f"{path} has mode {mode:04o}; only the directory keeps others out"
        return Finding("socket", "warning", detail, f"chmod 600 {path}")
    return Finding("socket", "ok", f"{path} has mode {mode:04o}")


def check_listener(path: Path, timeout: float) -> Finding:
    """Who listens."""
    try:
        uid = probe.peer_uid(path, timeout)
    except ConnectionRefusedError:
        detail = f"nobody listens at {path}: a killed run has left it"
        return Finding("listener", "failed", detail, "start the Node side; it replaces the socket")
    except BlockingIOError:
        detail = f"the process that listens at {path} accepts nobody: its queue of connections is full"
        return Finding("listener", "failed", detail, "see what blocks the event loop of the Node side, or restart it")
    except OSError as error:
        return Finding("listener", "failed", f"{path} cannot be reached: {error}", START_NODE)
    if uid != os.geteuid():
        detail = f"the user {uid} listens at {path}, this one is {os.geteuid()}; only the same user is trusted"
        return Finding("listener", "failed", detail, "run both sides, and this command, as one user")
    return Finding("listener", "ok", f"a process of the same user ({uid}) listens")


def check_peer(settings: Settings, timeout: float) -> tuple[Finding, ...]:
    """Shake hands: the findings handshake, versions and sharing, as far as it comes to them."""
    deadline = time.monotonic() + timeout
    sharing = Finding("sharing", "skipped", NOT_USED)
    answer: Answer | None = None
    try:
        if _uses_memory(settings):
            answer, sharing = _offer_memory(settings, deadline)
        if answer is None:
            answer = probe.shake_hands(settings, "socket", deadline)
    except TimeoutError:
        detail = f"the process that listens has not answered within {timeout:g} s"
        return (
            Finding("handshake", "failed", detail, "see what blocks the event loop of the Node side, or restart it"),
        )
    except VersionMismatch as error:
        return _handshake_ok("the peer answers"), _mismatch(str(error))
    except ProtocolError as error:
        detail = f"what listens at {settings.path} is not the Node side: {error}"
        return (Finding("handshake", "failed", detail, "end it, or set SHM_POLYGLOT_DIR to another directory"),)
    except (EOFError, OSError) as error:
        detail = f"the handshake was cut off: {error}"
        return (Finding("handshake", "failed", detail, "the log of the Node side says why"),)
    if isinstance(answer.body, Refusal):
        return *_refused(answer.body), sharing
    return _handshake_ok(_who_answers(answer.body)), _versions(answer.header, answer.body), sharing


def _offer_memory(settings: Settings, deadline: float) -> tuple[Answer | None, Finding]:
    """Shake hands over shared memory, which tells whether it is shared. The answer is None where the socket may do."""
    try:
        answer = probe.shake_hands(settings, "shm", deadline)
    except shm.MemoryUnavailable as error:
        return None, Finding("sharing", "failed", str(error), "as it says")
    refusal = answer.body
    if not isinstance(refusal, Refusal):
        return answer, Finding(
            "sharing", "ok", f"the peer has opened a segment that was made in {stale_segments.SHM_DIRECTORY} here"
        )
    if refusal.code in ("VersionMismatch", "Busy"):
        return answer, Finding("sharing", "skipped", f"the peer has refused before it looked: {refusal.message}")
    fix = f"if it is not there on the other side: {ONE_VOLUME}; else see the log of the Node side"
    detail = f"the peer refuses shared memory: {refusal.message}"
    return None, Finding("sharing", _without_memory(settings), detail, fix)


def _refused(refusal: Refusal) -> tuple[Finding, ...]:
    if refusal.code == "VersionMismatch":
        return _handshake_ok("the peer answers"), _mismatch(refusal.message)
    fix = "allow more (maxConnections of listen), or connect less" if refusal.code == "Busy" else "as it says"
    return (Finding("handshake", "failed", f"the peer refuses with {refusal.code}: {refusal.message}", fix),)


def _who_answers(peer: Welcome) -> str:
    said = f"{peer.name} ({peer.language}) answers"
    if peer.project is None:
        return said
    said += f", of the project {shown(peer.project)}"
    own = project_folder()
    return said if own is None or not are_two(own, peer.project) else f"{said}; this is {shown(own)}"


def _handshake_ok(detail: str) -> Finding:
    return Finding("handshake", "ok", detail)


def _mismatch(detail: str) -> Finding:
    fix = f"install the same release on both sides; this one is {handshake.LIBRARY_VERSION}"
    return Finding("versions", "failed", f"VersionMismatch: {detail}", fix)


def _versions(header: Header, peer: Welcome) -> Finding:
    detail = (
        f"library {peer.library} with protocol {header.major}.{header.minor} there, "
        f"library {handshake.LIBRARY_VERSION} with protocol {PROTOCOL} here"
    )
    if peer.library != handshake.LIBRARY_VERSION:
        return Finding("versions", "warning", detail, "install the same release on both sides")
    return Finding("versions", "ok", detail)


def check_sharing_alone(settings: Settings) -> Finding:
    """What can be told of sharing with another container while nobody answers.

    Where there is a node in this one, the Node side is meant to run here, most likely.
    """
    if not machine.in_container() or shutil.which("node") is not None:
        return Finding("sharing", "skipped", "it shows when the Node side listens")
    directory, mounted = settings.path.parent, stale_segments.SHM_DIRECTORY
    if machine.mount_of(directory).point == Path("/"):
        detail = f"{directory} lies in this container's own file system, which no other container sees"
        fix = f"{ONE_VOLUME}, with SHM_POLYGLOT_DIR inside it"
        return Finding("sharing", "warning", detail, fix)
    # Docker's own has this source; a volume's is what `device` says.
    if _uses_memory(settings) and machine.mount_of(mounted).source == "shm":
        detail = f"{mounted} is the one that the engine makes for each container"
        return Finding("sharing", "warning", detail, f"{ONE_VOLUME}; fine if they share it by `ipc:`")
    compare = f"stat -c %d:%i {mounted} {directory}"
    detail = f"it shows when the Node side listens; both containers must print the same for `{compare}`"
    return Finding("sharing", "skipped", detail)


def check_shm(settings: Settings, directory: Path = stale_segments.SHM_DIRECTORY) -> Finding:
    """Where the segments are made."""
    if not _uses_memory(settings):
        return Finding("shm", "skipped", NOT_USED)
    if not directory.is_dir():
        return Finding("shm", "failed", f"{directory} is missing", f"mount -t tmpfs -o mode=1777 tmpfs {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        detail = f"{directory} is read-only, or not to be written by this user"
        return Finding("shm", "failed", detail, "mount it without `ro`, and with this user's uid or mode=1777")
    mount = machine.mount_of(directory)
    if mount.kind != "tmpfs":
        detail = f"{directory} is not a tmpfs but on {mount.point} ({mount.kind}): the rings may be written to a disk"
        return Finding("shm", "warning", detail, f"mount a tmpfs at {directory}")
    return Finding("shm", "ok", f"{directory} is a tmpfs that this user may write")


def check_shm_space(settings: Settings, connections: int, directory: Path = stale_segments.SHM_DIRECTORY) -> Finding:
    """The room for as many segments as there are to be connections."""
    from .. import _binding

    status = os.statvfs(directory)
    total, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    segment = _binding.segment_bytes(settings.ring_bytes)
    if total == 0:
        return Finding("shm-space", "ok", f"{directory} has no limit of its own")
    rooms = free // segment
    default = " (what Docker gives a container)" if total == DOCKER_SHM_BYTES else ""
    detail = (
        f"{free} of {total} bytes{default} are free in {directory}: room for {rooms} more connections "
        f"of {segment} bytes, {connections} are wanted"
    )
    if rooms >= connections:
        return Finding("shm-space", "ok", detail)
    fix = (
        f"{segment * connections} bytes must be free: make it larger (docker run --shm-size=256m, or the size of the "
        "tmpfs volume), or set SHM_POLYGLOT_RING_BYTES lower"
    )
    return Finding("shm-space", "warning" if rooms else "failed", detail, fix)


def check_stale_segments(directory: Path = stale_segments.SHM_DIRECTORY) -> Finding:
    """Names of segments that processes killed during their handshake have left."""
    stale, bytes_held = [], 0
    for entry, status in stale_segments.stale(directory):
        stale.append(f"{entry.name} of the user {status.st_uid}")
        bytes_held += status.st_blocks * 512
    if not stale:
        return Finding("stale-segments", "ok", f"none in {directory}")
    detail = f"{len(stale)} in {directory}, with {bytes_held} bytes: {', '.join(sorted(stale)[:4])}"
    if len(stale) > 4:
        detail += ", ..."
    fix = "the next side of that user that listens or connects removes them; or remove them by hand"
    return Finding("stale-segments", "warning", detail, fix)


def check_cores(
    settings: Settings,
    *,
    cores: int | None = None,
    allowed: int | None = None,
    quota: float | None = None,
) -> Finding:
    """Whether polling pays here. cores: of the machine, which is what the library goes by; allowed: by the affinity of
    this process; quota: by its control groups, math.inf: none. What is left out is asked of the system.
    """
    cores = os.sysconf("SC_NPROCESSORS_ONLN") if cores is None else cores
    allowed = len(os.sched_getaffinity(0)) if allowed is None else allowed
    quota = machine.cpu_quota() if quota is None else quota
    found = f"{cores} cores, {allowed} allowed to this process, quota " + (
        "none" if quota == math.inf else f"{quota:g}"
    )
    two = "give the two sides two cores (docker: cpus: 2)"
    if settings.spin_us == 0:
        return Finding("cores", "ok", f"{found}; SHM_POLYGLOT_SPIN_US=0: nobody polls")
    if cores < 2:
        ignored = "" if settings.spin_us is None else "; SHM_POLYGLOT_SPIN_US is ignored"
        return Finding("cores", "warning", f"{found}: nobody polls, and each call costs two wake-ups{ignored}", two)
    if min(allowed, quota) < 2:
        detail = (
            f"{found}: the library polls, because the machine has {cores}, and takes from the peer what little there is"
        )
        return Finding("cores", "warning", detail, f"{two}, or set SHM_POLYGLOT_SPIN_US=0 on both sides")
    return Finding("cores", "ok", found)


def check_descriptors(connections: int, limit: int | None = None) -> Finding:
    """RLIMIT_NOFILE, as a process started from here would have it; `limit`: another than that."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if soft == resource.RLIM_INFINITY:
        return Finding("descriptors", "ok", "no limit")
    needed = DESCRIPTORS_BESIDES + connections
    detail = f"at most {soft} open descriptors; {connections} connections and a server take up to {needed}"
    if soft >= needed:
        return Finding("descriptors", "ok", detail)
    fix = f"ulimit -n {max(1024, needed)} (systemd: LimitNOFILE=, docker: --ulimit nofile=)"
    return Finding("descriptors", "warning", detail, fix)


def _uses_memory(settings: Settings) -> bool:
    return settings.transport != "socket" and shm.why_unavailable() is None


def _without_memory(settings: Settings) -> Status:
    """How bad it is that shared memory cannot be used: with "auto" the socket is taken instead, which is slower."""
    return "failed" if settings.transport == "shm" else "warning"


def _directory_tried(environment: Mapping[str, str]) -> Path:
    """Where the socket would be, for a report on the rest, even where SHM_POLYGLOT_DIR is what is wrong."""
    try:
        return config.directory(environment)
    except ConfigError:
        return config.default_directory(environment)


def where_else(directory: Path, environment: Mapping[str, str]) -> str:
    """The fix where there is no socket in `directory`.

    If that is one of the two defaults, with or without XDG_RUNTIME_DIR, Node may have taken the other.
    """
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    defaults = (config.default_directory({"XDG_RUNTIME_DIR": runtime}), config.default_directory({}))
    if directory in defaults:
        for other in defaults:
            if other != directory and os.access(other / SOCKET_NAME, os.F_OK):
                return f"set SHM_POLYGLOT_DIR={other} on both sides: there is a socket in it"
    return START_NODE

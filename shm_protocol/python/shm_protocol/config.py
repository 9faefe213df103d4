"""What the environment sets (the table in README.md), checked.

Every function takes its default from here; an argument wins over the environment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

TransportChoice = Literal["auto", "shm", "socket"]

SOCKET_NAME: Final = "node.sock"
RING_BYTES_MIN: Final = 4 * 1024
RING_BYTES_MAX: Final = 256 * 1024 * 1024
RING_BYTES_DEFAULT: Final = 256 * 1024
MAX_MESSAGE_MIN: Final = 1024
MAX_MESSAGE_MAX: Final = 2**32 - 1
"""Lengths on the wire are u32."""
MAX_MESSAGE_DEFAULT: Final = 64 * 1024 * 1024
SPIN_US_MAX: Final = 1_000_000


class ConfigError(ValueError):
    """A setting or an argument that cannot be; the message names it, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force.

    path: the acceptor's socket. transport: what to use. spin_us: the fixed spin budget in microseconds, None: adaptive.
    ring_bytes: capacity of a new ring. max_message: the largest message to send or take, in bytes.
    """

    path: Path
    transport: TransportChoice = "auto"
    spin_us: int | None = None
    ring_bytes: int = RING_BYTES_DEFAULT
    max_message: int = MAX_MESSAGE_DEFAULT


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    ring_capacity: int | None = None,
    max_message: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force: each argument, or else the environment, or else the default. Raises ConfigError."""
    choice = transport if transport is not None else environment.get("SHM_POLYGLOT_TRANSPORT", "auto")
    if choice not in get_args(TransportChoice):
        source = "transport" if transport is not None else "SHM_POLYGLOT_TRANSPORT"
        raise ConfigError(f"{source}={choice!r}: must be auto, shm or socket")
    spin = environment.get("SHM_POLYGLOT_SPIN_US", "")
    ring_bytes = _number(
        "ring_capacity", ring_capacity, "SHM_POLYGLOT_RING_BYTES", environment, RING_BYTES_MIN, RING_BYTES_MAX
    )
    if ring_bytes is not None and ring_bytes & (ring_bytes - 1):
        source = "ring_capacity" if ring_capacity is not None else "SHM_POLYGLOT_RING_BYTES"
        raise ConfigError(f"{source}={ring_bytes}: must be a power of two")
    message = _number(
        "max_message", max_message, "SHM_POLYGLOT_MAX_MESSAGE", environment, MAX_MESSAGE_MIN, MAX_MESSAGE_MAX
    )
    return Settings(
        path=Path(path) if path is not None else default_directory(environment) / SOCKET_NAME,
        transport=cast("TransportChoice", choice),
        spin_us=_number("", None, "SHM_POLYGLOT_SPIN_US", environment, 0, SPIN_US_MAX) if spin else None,
        ring_bytes=ring_bytes if ring_bytes is not None else RING_BYTES_DEFAULT,
        max_message=message if message is not None else MAX_MESSAGE_DEFAULT,
    )


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """$SHM_POLYGLOT_DIR, else a directory of this user's under $XDG_RUNTIME_DIR or /tmp."""
    if directory := environment.get("SHM_POLYGLOT_DIR"):
        return Path(directory)
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "shm-polyglot"
    return Path(f"/tmp/shm-polyglot-{os.getuid()}")  # noqa: S108  # private: made with mode 0700 and checked


def check_directory(directory: Path) -> None:
    """Raise PermissionError if others could put a socket of theirs into `directory`, FileNotFoundError if it is
    missing.
    """
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to the user {status.st_uid}, not to {os.geteuid()}")
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{directory} is no directory")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(
            f"{directory} has mode {stat.S_IMODE(status.st_mode):04o}: others may enter; chmod 700 {directory}"
        )


def check_socket(path: Path) -> None:
    """Raise PermissionError if others could connect to the socket `path`, or if it is not this user's;
    FileNotFoundError if it is missing.
    """
    status = path.lstat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to the user {status.st_uid}, not to {os.geteuid()}")
    # To connect takes the right to write. A listener sets 0600 as soon as it listens; until then the umask does.
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise PermissionError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others may connect; chmod 600 {path}"
        )


def _number(
    argument: str, given: int | None, variable: str, environment: Mapping[str, str], least: int, most: int
) -> int | None:
    if given is not None:
        if type(given) is not int or not least <= given <= most:
            raise ConfigError(f"{argument}={given!r}: must be an int from {least} to {most}")
        return given
    text = environment.get(variable, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise ConfigError(f"{variable}={text!r}: must be a whole number from {least} to {most}")
    return int(text)

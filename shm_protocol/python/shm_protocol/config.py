"""What the environment sets (the table in README.md), checked. The same names, limits and sentences as in TypeScript.

Every function takes its default from here; an argument wins over the environment.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

TransportChoice = Literal["auto", "shm", "socket"]

SOCKET_NAME: Final = "node.sock"
MAX_SOCKET_PATH_BYTES: Final = 107
"""`sun_path` has 108 bytes, the last of which is zero (unix(7))."""
MIN_RING_BYTES: Final = 4 * 1024
MAX_RING_BYTES: Final = 256 * 1024 * 1024
DEFAULT_RING_BYTES: Final = 256 * 1024
MIN_MAX_MESSAGE: Final = 1024
MAX_MAX_MESSAGE: Final = 2**32 - 1
"""Lengths on the wire are u32."""
DEFAULT_MAX_MESSAGE: Final = 64 * 1024 * 1024
MAX_SPIN_US: Final = 1_000_000
MIN_BUFFER_BYTES: Final = 4 * 1024
DEFAULT_BUFFER_BYTES: Final = 512 * 1024
"""From so many bytes on handing a buffer over is quicker than copying it through the ring: docs/large-buffers.md."""
DEFAULT_POOL_BYTES: Final = 256 * 1024 * 1024
MAX_POOL_BYTES: Final = 2**40
CHILD: Final = "SHM_POLYGLOT_CHILD"
WATCH: Final = "SHM_POLYGLOT_WATCH"

_MAX_SHOWN_CHARACTERS: Final = 100
"""So much of a value is shown in an error."""
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
"""No limit has more than ten of them."""


class ConfigError(ValueError):
    """A setting or an argument that cannot be; the message names it, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force.

    path: the acceptor's socket. transport: what to use. spin_us: the fixed spin budget in microseconds, None: adaptive.
    ring_bytes: capacity of a new ring. max_message: the largest message to send or take, in bytes. buffer_bytes: how
    large a buffer is that is handed over outside of its message, 0: none is.
    """

    path: Path
    transport: TransportChoice = "auto"
    spin_us: int | None = None
    ring_bytes: int = DEFAULT_RING_BYTES
    max_message: int = DEFAULT_MAX_MESSAGE
    buffer_bytes: int = DEFAULT_BUFFER_BYTES


def read_settings(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    ring_capacity: int | None = None,
    max_message: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force: each argument, or else the environment, or else the default.

    A variable that an argument wins over is not looked at; one that is empty counts as unset. Raises ConfigError, and
    TypeError for a path that is none.
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)}: must be a string or a path, that of the socket")
    if transport is not None:
        choice = checked_transport("transport", transport)
    else:
        choice = checked_transport("SHM_POLYGLOT_TRANSPORT", environment.get("SHM_POLYGLOT_TRANSPORT") or "auto")
    spin_us = _integer(environment, "SHM_POLYGLOT_SPIN_US", 0, MAX_SPIN_US)
    if ring_capacity is not None:
        ring_bytes = checked_ring_bytes("ring_capacity", shown(ring_capacity), ring_capacity)
    elif text := environment.get("SHM_POLYGLOT_RING_BYTES"):
        ring_bytes = checked_ring_bytes("SHM_POLYGLOT_RING_BYTES", shown(text), whole_number(text))
    else:
        ring_bytes = DEFAULT_RING_BYTES
    if max_message is not None:
        message: int | None = checked_integer(
            "max_message", shown(max_message), max_message, MIN_MAX_MESSAGE, MAX_MAX_MESSAGE
        )
    else:
        message = _integer(environment, "SHM_POLYGLOT_MAX_MESSAGE", MIN_MAX_MESSAGE, MAX_MAX_MESSAGE)
    # Here nothing depends on them, but what is started may have got this environment.
    starts_children(environment)
    watches(environment)
    socket_path = Path(path) if path is not None else directory(environment) / SOCKET_NAME
    check_socket_path(socket_path)
    return Settings(
        path=socket_path,
        transport=choice,
        spin_us=spin_us,
        ring_bytes=ring_bytes,
        max_message=message if message is not None else DEFAULT_MAX_MESSAGE,
        buffer_bytes=_buffer_bytes(environment),
    )


def pool_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """How much memory is kept for buffers to come: $SHM_POLYGLOT_POOL_BYTES, or the default. Raises ConfigError."""
    found = _integer(environment, "SHM_POLYGLOT_POOL_BYTES", 0, MAX_POOL_BYTES)
    return DEFAULT_POOL_BYTES if found is None else found


def _buffer_bytes(environment: Mapping[str, str]) -> int:
    name = "SHM_POLYGLOT_BUFFER_BYTES"
    if environment.get(name) == "0":
        return 0
    found = _integer(environment, name, MIN_BUFFER_BYTES, MAX_MAX_MESSAGE)
    return DEFAULT_BUFFER_BYTES if found is None else found


def directory(environment: Mapping[str, str] = os.environ) -> Path:
    """$SHM_POLYGLOT_DIR, else default_directory. Raises ConfigError for a relative one."""
    given = environment.get("SHM_POLYGLOT_DIR")
    if not given:
        return default_directory(environment)
    if not given.startswith("/"):
        raise ConfigError(f"SHM_POLYGLOT_DIR={shown(given)}: must be an absolute path")
    return Path(given)


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """A directory of this user's under $XDG_RUNTIME_DIR or /tmp."""
    runtime = Path(environment.get("XDG_RUNTIME_DIR", ""))
    # A relative one is to be ignored, says its specification.
    if runtime.is_absolute() and runtime.is_dir():
        return runtime / "shm-polyglot"
    return Path(f"/tmp/shm-polyglot-{os.getuid()}")  # noqa: S108  # private: made with mode 0700 and checked


def check_socket_path(path: Path, setting: str = "SHM_POLYGLOT_DIR") -> None:
    """Raise ConfigError for a path that cannot be a Unix socket's. setting: where its directory is from."""
    if "\0" in str(path):
        raise ConfigError(
            f"the socket's path must have no zero byte: {shown(str(path))}; set {setting} to a directory without one"
        )
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"the socket's path has {size} bytes and must have at most {MAX_SOCKET_PATH_BYTES}: {path}; "
            f"set {setting} to a shorter directory on both sides"
        )


def check_directory(directory: Path) -> None:
    """Raise PermissionError if others could put a socket of theirs into `directory`, FileNotFoundError if it is
    missing.
    """
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to the user {status.st_uid}, not to {os.geteuid()}")
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{directory} is not a directory; set SHM_POLYGLOT_DIR to another")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(
            f"{directory} has mode {stat.S_IMODE(status.st_mode):04o}: others may enter; chmod 700 {directory}"
        )


def check_socket(path: Path) -> None:
    """Raise PermissionError if others could connect to the socket `path`, or if it is not this user's;
    FileNotFoundError if it is missing, FileExistsError if it is a symbolic link.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise FileExistsError(f"{path} is a symbolic link, which is not followed: remove it, or name what it points to")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to the user {status.st_uid}, not to {os.geteuid()}")
    # To connect takes the right to write. A listener sets 0600 as soon as it listens; until then the umask does.
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise PermissionError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others may connect; chmod 600 {path}"
        )


def checked_transport(name: str, value: object) -> TransportChoice:
    """What is to be used. Raises ConfigError."""
    if type(value) is not str or value not in get_args(TransportChoice):
        raise ConfigError(f"{name}={shown(value)}: must be auto, shm or socket")
    return cast("TransportChoice", value)


def _integer(environment: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = environment.get(name)
    return checked_integer(name, shown(text), whole_number(text), least, most) if text else None


def checked_integer(name: str, given: str, value: object, least: int, most: int) -> int:
    """An integer from `least` to `most`; given: as it is shown. Raises ConfigError."""
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name}={given}: must be an integer from {least} to {most}")
    return value


def checked_ring_bytes(name: str, given: str, value: object) -> int:
    """The capacity of a ring. Raises ConfigError."""
    if type(value) is not int or not MIN_RING_BYTES <= value <= MAX_RING_BYTES or value & (value - 1):
        raise ConfigError(f"{name}={given}: must be a power of two from {MIN_RING_BYTES} to {MAX_RING_BYTES}")
    return value


def whole_number(text: str) -> int | None:
    """Decimal digits and nothing else; int() takes much more."""
    return int(text) if _DIGITS.fullmatch(text) else None


def shown(value: object) -> str:
    """A value printable in any terminal, a text in quotes, and no longer than is of use."""
    if isinstance(value, str):
        return json.dumps(value[:_MAX_SHOWN_CHARACTERS] + "..." if len(value) > _MAX_SHOWN_CHARACTERS else value)
    if type(value) is int and value.bit_length() > 128:
        return f"(an int of {value.bit_length()} bits)"
    # Another's repr() may do anything.
    return repr(value) if type(value) in (int, float, bool) else f"(a {type(value).__name__})"


def starts_children(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a process may be started for what is imported of the other language. Raises ConfigError."""
    return _flag(environment, CHILD, default=True)


def watches(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether edited modules are to be loaded again: see reloading.py. Raises ConfigError."""
    return _flag(environment, WATCH, default=False)


def _flag(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name)
    if text and text not in ("0", "1"):
        raise ConfigError(f"{name}={shown(text)}: must be 0 or 1")
    return text == "1" if text else default

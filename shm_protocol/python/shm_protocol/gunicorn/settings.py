"""What can be set of a worker: as `shm_…` in gunicorn's configuration file, or as `SHM_POLYGLOT_…` in the environment.

The file wins. They are settings as gunicorn's own are, but gunicorn makes its table of settings before it imports a
worker class, and passes over whatever of its file is not in there. So `adopt` adds them to a configuration that is
older than this module, and takes them from the file it was read from. A newer one, as after SIGHUP, has them anyway.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeGuard, TypeVar

from gunicorn.config import Config, Setting, SettingMeta

from .. import config
from ..config import ConfigError
from ..exposables import looked_at
from ..options import DEFAULT_TIMEOUT_S

SECTION: Final = "Shared Memory Bridge"

_PREFIX: Final = "shm_"
_DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?|\.[0-9]{1,15}")
_PAIR: Final = re.compile(r"\s*([^\s=,]+)\s*=\s*([^\s=,]+)\s*")

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerSettings:
    """What is in force in a worker."""

    bridge: config.Settings
    """Where and how it is connected to Node."""
    expose: Mapping[str, object] | None
    """What TypeScript may call. None: what is decorated with @shm_protocol.expose."""
    expose_set_by: str
    """What says so: the setting, the variable, or the decorator."""
    call_timeout: float
    """Seconds that a call to TypeScript waits where it does not say otherwise."""
    max_connections: int
    """How many calls to TypeScript may be under way at once."""
    request_timeout: float
    """Seconds that an HTTP client may take to send a request."""
    memory_limit_mib: int
    """A quarter of it is the most that is kept of unfinished requests, and of unsent answers."""


def load(cfg: Config, environ: Mapping[str, str] = os.environ) -> WorkerSettings:
    """The settings in force. A variable that is empty counts as unset. Raises ConfigError, which names the setting."""
    of_the_library = {variable_of(kind.name): cfg.settings[kind.name].get() for kind in _OF_THE_LIBRARY}
    overlaid = {variable: str(value) for variable, value in of_the_library.items() if value is not None}
    expose = _value_of(cfg, environ, _EXPOSE)
    if expose is None:
        set_by = "@shm_protocol.expose"
    else:
        set_by = variable_of(_EXPOSE.name) if cfg.settings[_EXPOSE.name].get() is None else _EXPOSE.name
    return WorkerSettings(
        bridge=config.read_settings(environment={**environ, **overlaid}),
        expose=expose,
        expose_set_by=set_by,
        call_timeout=_value_of(cfg, environ, _CALL_TIMEOUT) or DEFAULT_TIMEOUT_S,
        max_connections=_value_of(cfg, environ, _MAX_CONNECTIONS) or cfg.threads,
        request_timeout=_value_of(cfg, environ, _REQUEST_TIMEOUT) or 10.0,
        memory_limit_mib=_value_of(cfg, environ, _MEMORY_LIMIT_MIB) or 512,
    )


def adopt(cfg: Config) -> None:
    """Adds these settings to a configuration that does not know them yet. Raises ConfigError for what its file says."""
    file = vars(_file_of(cfg))
    for name, setting in _SETTINGS.items():
        if name not in cfg.settings:
            cfg.settings[name] = setting()
            cfg.set(name, file.get(name))


def unknown_names(cfg: Config) -> list[str]:
    """What the configuration file sets that begins as one of these and is none: a slip, most likely."""
    return [
        name
        for name, value in vars(_file_of(cfg)).items()
        if name.startswith(_PREFIX) and name not in cfg.settings and not isinstance(value, ModuleType)
    ]


def variable_of(name: str) -> str:
    """The environment's variable for a setting."""
    return f"SHM_POLYGLOT_{name.removeprefix(_PREFIX).upper()}"


def _file_of(cfg: Config) -> ModuleType:
    """The configuration file, as gunicorn has run it. Empty if there is none."""
    location: str = cfg.config or ""
    name = location.removeprefix("python:") if location.startswith("python:") else "__config__"
    return sys.modules.get(name) or ModuleType(name)


@dataclass(frozen=True)
class _Kind(Generic[T]):
    """A setting. about: for whoever lists gunicorn's settings. read: what the text of a variable means, None if
    nothing. check: the value, of a name, what was given as it is shown, and what that means; raises ConfigError.
    """

    name: str
    about: str
    read: Callable[[str], object]
    check: Callable[[str, str, object], T]

    def validate(self, value: object) -> T | None:
        """As gunicorn asks it, to which a setting that is None is not set."""
        return None if value is None else self.check(self.name, config.shown(value), value)


def _value_of(cfg: Config, environ: Mapping[str, str], kind: _Kind[T]) -> T | None:
    value: T | None = cfg.settings[kind.name].get()
    variable = variable_of(kind.name)
    text = environ.get(variable)
    if value is not None or not text:
        return value
    return kind.check(variable, config.shown(text), kind.read(text))


def _integer(name: str, least: int, most: int, about: str) -> _Kind[int]:
    def check(name: str, given: str, value: object) -> int:
        return config.checked_integer(name, given, value, least, most)

    return _Kind(name, about, config.whole_number, check)


def _number(name: str, least: float, most: float, about: str) -> _Kind[float]:
    def check(name: str, given: str, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError(f"{name}={given}: must be a number from {least} to {most}")
        return float(value)

    return _Kind(name, about, lambda text: float(text) if _DECIMAL.fullmatch(text) else None, check)


def _checked_directory(name: str, given: str, value: object) -> str:
    path = os.fspath(value) if isinstance(value, (str, Path)) else ""
    if not path.startswith("/"):
        raise ConfigError(f"{name}={given}: must be an absolute path")
    config.check_socket_path(Path(path) / config.SOCKET_NAME, name)
    return path


def _checked_exposables(name: str, given: str, value: object) -> Mapping[str, object]:
    if isinstance(value, str):
        parts = [_PAIR.fullmatch(part) for part in value.split(",")]
        pairs = [(pair[1], pair[2]) for pair in parts if pair is not None]
        if len(pairs) == len(parts):
            names = [pair[0] for pair in pairs]
            for one in names:
                if names.count(one) > 1:
                    raise ConfigError(f"{name}={given}: gives {one} twice")
            return dict(pairs)
    elif _is_mapping_of_names(value, name):
        return value
    raise ConfigError(
        f"{name}={given}: must give what TypeScript may call a name each, as in "
        '{"ml": "myapp.ml", "model": "myapp.ml:model"}, or as text in "ml=myapp.ml,model=myapp.ml:model"'
    )


def _is_mapping_of_names(value: object, name: str) -> TypeGuard[Mapping[str, object]]:
    """Raises ConfigError where that cannot be told."""
    try:
        return looked_at(name, lambda: isinstance(value, Mapping) and all(isinstance(key, str) for key in value))
    except TypeError as error:
        raise ConfigError(str(error)) from error


_EXPOSE: Final = _Kind(
    "shm_expose",
    """What TypeScript may call, by name (SHM_POLYGLOT_EXPOSE).

    A mapping of names to modules, objects, functions or mappings of functions, or to the dotted name of one, as may
    the functions of a mapping be named:
    ``{"ml": "myapp.ml", "model": "myapp.ml:model"}``; the same as text: ``"ml=myapp.ml,model=myapp.ml:model"``. A
    dotted name is imported by each worker after the app, with ``preload_app`` once by the master. Where it is not set,
    what is decorated with ``@shm_protocol.expose`` in what the app has imported.
    """,
    str,
    _checked_exposables,
)
_DIR: Final = _Kind(
    "shm_dir",
    """The directory of Node's socket, an absolute path (SHM_POLYGLOT_DIR).

    Where it is not set, ``$XDG_RUNTIME_DIR/shm-polyglot``, or ``/tmp/shm-polyglot-<uid>``.
    """,
    str,
    _checked_directory,
)
_TRANSPORT: Final = _Kind(
    "shm_transport",
    """How to talk to Node: ``auto``, ``shm`` or ``socket`` (SHM_POLYGLOT_TRANSPORT).

    By default ``auto``: over shared memory where both sides can, and otherwise over the socket.
    """,
    str,
    lambda name, _, value: config.checked_transport(name, value),
)
_SPIN_US: Final = _integer(
    "shm_spin_us",
    0,
    config.MAX_SPIN_US,
    """Microseconds to look for a message before sleeping, from 0 to 1000000 (SHM_POLYGLOT_SPIN_US).

    Where it is not set, it adapts, up to 100.
    """,
)
_RING_BYTES: Final = _Kind(
    "shm_ring_bytes",
    """The capacity of each ring in bytes, a power of two from 4096 to 268435456 (SHM_POLYGLOT_RING_BYTES).

    By default 262144.
    """,
    config.whole_number,
    config.checked_ring_bytes,
)
_MAX_MESSAGE: Final = _integer(
    "shm_max_message",
    config.MIN_MAX_MESSAGE,
    config.MAX_MAX_MESSAGE,
    """The largest message to send or take in bytes, from 1024 to 4294967295 (SHM_POLYGLOT_MAX_MESSAGE).

    By default 67108864.
    """,
)
_CALL_TIMEOUT: Final = _number(
    "shm_call_timeout",
    0.001,
    3600,
    """Seconds that a call of ``bridge()`` waits for its answer, from 0.001 to 3600 (SHM_POLYGLOT_CALL_TIMEOUT).

    By default 30. The call's own ``timeout=`` wins.
    """,
)
_MAX_CONNECTIONS: Final = _integer(
    "shm_max_connections",
    1,
    10_000,
    """How many calls of ``bridge()`` may be under way at once in each worker (SHM_POLYGLOT_MAX_CONNECTIONS).

    From 1 to 10000, by default as many as there are ``threads``. An app that calls in threads of its own needs more.
    """,
)
_REQUEST_TIMEOUT: Final = _number(
    "shm_request_timeout",
    0.1,
    3600,
    """Seconds that an HTTP client may take to send its request, from 0.1 to 3600 (SHM_POLYGLOT_REQUEST_TIMEOUT).

    By default 10. Past it the client is answered with 408.
    """,
)
_MEMORY_LIMIT_MIB: Final = _integer(
    "shm_memory_limit_mib",
    1,
    1 << 20,
    """The memory that a worker is to get by with in MiB, from 1 to 1048576 (SHM_POLYGLOT_MEMORY_LIMIT_MIB).

    By default 512. A quarter of it is the most that is kept of unfinished requests, and as much of unsent answers.
    """,
)

_OF_THE_LIBRARY: Final = (_DIR, _TRANSPORT, _SPIN_US, _RING_BYTES, _MAX_MESSAGE)
_KINDS: Final[tuple[_Kind[Any], ...]] = (
    _EXPOSE,
    *_OF_THE_LIBRARY,
    _CALL_TIMEOUT,
    _MAX_CONNECTIONS,
    _REQUEST_TIMEOUT,
    _MEMORY_LIMIT_MIB,
)


def _as_of_gunicorn(kind: _Kind[Any]) -> Callable[[], Setting]:
    """gunicorn has a class for each. Once it has been made, each new configuration has the setting."""
    members = {"name": kind.name, "section": SECTION, "desc": kind.about, "validator": kind.validate}
    made: Callable[[], Setting] = SettingMeta(kind.name, (Setting,), members)
    return made


_SETTINGS: Final = {kind.name: _as_of_gunicorn(kind) for kind in _KINDS}

"""What the environment sets for the Python side. The library has its own settings (shm_protocol.config)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingError(ValueError):
    """An environment variable has a value that cannot be used; the message names it, the value and the range."""


@dataclass(frozen=True)
class Settings:
    """The settings of the Python side, read once when a process starts."""

    host: str
    """SHM_POLYGLOT_PYTHON_HOST: the address gunicorn listens on."""
    port: int
    """SHM_POLYGLOT_PYTHON_PORT: its port."""
    workers: int
    """WEB_CONCURRENCY: gunicorn's worker processes."""
    call_timeout: float
    """SHM_POLYGLOT_CALL_TIMEOUT: seconds a call to TypeScript may take before the client gets a 504."""
    request_timeout: float
    """SHM_POLYGLOT_REQUEST_TIMEOUT: seconds an HTTP client may take to send a request."""
    memory_limit_mib: int
    """SHM_POLYGLOT_MEMORY_LIMIT_MIB: the resident memory of a worker above which it reports itself unhealthy."""


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings. Raises SettingError."""
    return Settings(
        host=environ.get("SHM_POLYGLOT_PYTHON_HOST", "127.0.0.1"),
        port=int(_number(environ, "SHM_POLYGLOT_PYTHON_PORT", 5000, 1, 65535, whole=True)),
        workers=int(_number(environ, "WEB_CONCURRENCY", 2, 1, 256, whole=True)),
        call_timeout=_number(environ, "SHM_POLYGLOT_CALL_TIMEOUT", 5.0, 0.001, 3600),
        request_timeout=_number(environ, "SHM_POLYGLOT_REQUEST_TIMEOUT", 10.0, 0.1, 3600),
        memory_limit_mib=int(_number(environ, "SHM_POLYGLOT_MEMORY_LIMIT_MIB", 512, 1, 1 << 20, whole=True)),
    )


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    text = environ.get(name)
    if text is None:
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise SettingError(f"{name}={text!r}: must be {kind} from {low} to {high}")
    return value

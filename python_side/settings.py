"""What the environment sets for the Python side. The library and its worker have their own settings
(shm_protocol.config, shm_protocol.gunicorn.settings).
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

INTEGER: Final = re.compile(r"[0-9]{1,15}")
DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?|\.[0-9]{1,15}")
"""What TypeScript's settings take as well."""


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
    memory_limit_mib: int
    """SHM_POLYGLOT_MEMORY_LIMIT_MIB: the resident memory of a worker above which it reports itself unhealthy."""


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings; a variable that is empty counts as unset. Raises SettingError."""
    return Settings(
        host=environ.get("SHM_POLYGLOT_PYTHON_HOST") or "127.0.0.1",
        port=integer(environ, "SHM_POLYGLOT_PYTHON_PORT", 5000, 1, 65535),
        workers=integer(environ, "WEB_CONCURRENCY", 2, 1, 256),
        call_timeout=_number(environ, "SHM_POLYGLOT_CALL_TIMEOUT", 5.0, 0.001, 3600),
        memory_limit_mib=integer(environ, "SHM_POLYGLOT_MEMORY_LIMIT_MIB", 512, 1, 1 << 20),
    )


def integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """One setting that is an integer. Raises SettingError."""
    text = environ.get(name)
    if not text:
        return default
    # int() takes much more than digits.
    value = int(text) if INTEGER.fullmatch(text) else low - 1
    if not low <= value <= high:
        raise _refused(name, text, f"an integer from {low} to {high}")
    return value


def _number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    value = float(text) if DECIMAL.fullmatch(text) else low - 1
    if not low <= value <= high:
        raise _refused(name, text, f"a number from {low} to {high}")
    return value


def _refused(name: str, text: str, allowed: str) -> SettingError:
    return SettingError(f"{name}={json.dumps(text)}: must be {allowed}")

"""What can be set of the extension, in `app.config` under the names of the environment's variables.

The app wins over the environment, and what is None in `app.config` is not set there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import config, dialing
from ..client import DEFAULT_MAX_CONNECTIONS
from ..config import ConfigError
from ..handshake import HANDSHAKE_TIMEOUT_S, MAX_NAME_CHARACTERS

OF_THE_LIBRARY: Final = (
    "SHM_POLYGLOT_DIR",
    "SHM_POLYGLOT_TRANSPORT",
    "SHM_POLYGLOT_SPIN_US",
    "SHM_POLYGLOT_RING_BYTES",
    "SHM_POLYGLOT_MAX_MESSAGE",
)
"""What the library reads from the environment: README.md has the meanings."""

DEFAULTS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(OF_THE_LIBRARY),
    "SHM_POLYGLOT_CALL_TIMEOUT": None,
    "SHM_POLYGLOT_CONNECT_TIMEOUT": HANDSHAKE_TIMEOUT_S,
    "SHM_POLYGLOT_WAIT": None,
    "SHM_POLYGLOT_MAX_CONNECTIONS": None,
    "SHM_POLYGLOT_NAME": None,
}

_MOST_CONNECTIONS: Final = 1_000_000


@dataclass(frozen=True)
class AppSettings:
    """What is in force in an app."""

    bridge: config.Settings
    """Where and how Node is connected to."""
    name: str
    """What this side is called in Node's logs."""
    connect_timeout: float
    """Seconds for each connect and handshake."""
    call_timeout: float | None
    """Seconds that a call waits that does not say otherwise; None: the library's default."""
    max_connections: int
    """How many calls may be under way at once in a process."""
    wait: float | None
    """Seconds that the first call waits for a Node that is still starting; None: not at all."""


def load(app_config: Mapping[str, Any], app_name: str, environ: Mapping[str, str] = os.environ) -> AppSettings:
    """The settings in force. Raises ConfigError and TypeError, which name the key, its value and what is allowed."""
    name = app_config["SHM_POLYGLOT_NAME"]
    default_name = f"flask {app_name}"[:MAX_NAME_CHARACTERS]
    return AppSettings(
        bridge=config.read_settings(environment={**environ, **variables(app_config)}),
        name=dialing.checked_name("SHM_POLYGLOT_NAME", default_name if name is None else name),
        connect_timeout=dialing.checked_seconds(
            "SHM_POLYGLOT_CONNECT_TIMEOUT", app_config["SHM_POLYGLOT_CONNECT_TIMEOUT"]
        ),
        call_timeout=_call_timeout(app_config, environ),
        max_connections=_max_connections(app_config, environ),
        wait=_seconds("SHM_POLYGLOT_WAIT", app_config["SHM_POLYGLOT_WAIT"]),
    )


def variables(app_config: Mapping[str, Any]) -> dict[str, str]:
    """What the app sets of the library's own settings, as the environment would. Raises TypeError."""
    found: dict[str, str] = {}
    for key in OF_THE_LIBRARY:
        value = app_config[key]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | os.PathLike):
            raise TypeError(f"{key}={config.shown(value)}: must be text or a number, or None")
        found[key] = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    return found


def _call_timeout(app_config: Mapping[str, Any], environ: Mapping[str, str]) -> float | None:
    key = "SHM_POLYGLOT_CALL_TIMEOUT"
    value, text = app_config[key], environ.get(key)
    if value is None and text:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(f"{key}={config.shown(text)}: must be a number of seconds") from None
    return _seconds(key, value)


def _max_connections(app_config: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    key = "SHM_POLYGLOT_MAX_CONNECTIONS"
    value, text = app_config[key], environ.get(key)
    if value is not None:
        return config.checked_integer(key, config.shown(value), value, 1, _MOST_CONNECTIONS)
    if not text:
        return DEFAULT_MAX_CONNECTIONS
    return config.checked_integer(key, config.shown(text), config.whole_number(text), 1, _MOST_CONNECTIONS)


def _seconds(key: str, value: object) -> float | None:
    return None if value is None else dialing.checked_seconds(key, value, or_else=", or None")

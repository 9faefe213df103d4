"""Colours of a terminal, where there is one and its user wants them (https://no-color.org)."""

from __future__ import annotations

import os
import sys

RESET = "\x1b[0m"


def are_wanted() -> bool:
    """Whether to colour what goes to stdout."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, parameters: str) -> str:
    """The text in this colour. parameters: of the terminal's SGR sequence, e.g. "32"."""
    return f"\x1b[{parameters}m{text}{RESET}"

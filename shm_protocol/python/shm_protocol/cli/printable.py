"""Text from elsewhere, on a terminal."""

from __future__ import annotations

import sys


def printable(text: str, keep: str = "") -> str:
    """Without what would steer the terminal or cannot be encoded for it: a peer may call itself anything. `keep`:
    characters that may stay although they steer.
    """
    shown = "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)

"""A Python side without HTTP: answers TypeScript's calls until a signal ends it.

`python -m shm_protocol.cli.function_server FD WAITS ml=myapp.ml,…`: a byte is written to FD once all of that is
imported, and where WAITS is "attach", once it has attached to Node.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from ..connection import Connection
from ..wake import Wake
from ..worker import Worker, serve_until_stopped

ATTACH: Final = "attach"
"""The argument WAITS of a worker that is of use only once Node is there."""


class _Telling(Worker):
    """Tells once, when it has attached."""

    ready: int | None = None

    def _serve(self, connection: Connection, wake: Wake) -> None:
        if self.ready is not None:
            _tell(self.ready)
            self.ready = None
        super()._serve(connection, wake)


def _tell(ready: int) -> None:
    os.write(ready, b"\n")
    os.close(ready)


def main() -> None:
    """Serve what the arguments name."""
    ready, waits, given = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    expose: dict[str, object] = {}
    for pair in given.split(","):
        name, _, target = pair.partition("=")
        expose[name] = target
    try:
        worker = _Telling(expose=expose)
    except (ImportError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    if waits == ATTACH:
        worker.ready = ready
    else:
        _tell(ready)
    serve_until_stopped(worker)


if __name__ == "__main__":
    main()

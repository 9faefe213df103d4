"""A Python side without HTTP: answers TypeScript's calls until a signal ends it.

`python -m shm_protocol.cli.function_server FD ml=myapp.ml,…`: a byte is written to FD once all of that is imported.
"""

from __future__ import annotations

import os
import sys

from ..exposed import Exposed
from ..worker import serve


def main() -> None:
    """Serve what the arguments name."""
    ready, given = int(sys.argv[1]), sys.argv[2]
    expose: dict[str, object] = {}
    for pair in given.split(","):
        name, _, target = pair.partition("=")
        expose[name] = target
    try:
        Exposed(expose)
    except (ImportError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    os.write(ready, b"\n")
    os.close(ready)
    serve(expose=expose)


if __name__ == "__main__":
    main()

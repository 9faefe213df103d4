"""The packages that this one cannot do without. Imported first, so that a missing one is named with its fix."""

import sys
from pathlib import Path

try:
    import msgpack  # noqa: F401
    import posix_ipc  # noqa: F401
except ImportError as error:
    fix = f"shm-polyglot needs msgpack and posix_ipc ({error}): {sys.executable} -m pip install msgpack posix_ipc"
    # The command itself cannot say it: its package is imported before any of its own code.
    if Path(sys.argv[0]).name == "shm-polyglot" or (sys.argv[0] == "-m" and "shm_protocol" in sys.orig_argv):
        sys.exit(fix)
    raise ImportError(fix, name=error.name) from error

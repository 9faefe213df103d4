"""A child ends with its parent, however that ends and whatever the child is doing."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

PARENT_FD: Final = 3
"""A pipe of which the parent has the other end, and writes nothing: it ends with the parent."""

GRACE_S: Final = 1.0
"""So long the child may take to end by itself, after the pipe has."""

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """See to it, from now on."""
    threading.Thread(target=_watch, name="shm-polyglot parent", daemon=True).start()


def _watch() -> None:
    import ctypes

    # Where a function holds the interpreter's lock this thread does not run: the kernel ends the process then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os.read(PARENT_FD, 1)
    except OSError:
        pass
    time.sleep(GRACE_S)
    os._exit(1)

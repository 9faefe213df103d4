"""`gunicorn -k shm_protocol.gunicorn.BridgeWorker app:app` serves a WSGI app, and TypeScript's calls beside it.

Needs gunicorn, which nothing else of this package does.
"""

import sys

FIX = f"{sys.executable} -m pip install 'shm-polyglot[gunicorn]'"

try:
    import gunicorn
except ImportError as error:
    raise ImportError(f"shm_protocol.gunicorn needs gunicorn ({error}): {FIX}", name=error.name) from error

LEAST = 27
"""The oldest that the tests pass on; those before it have another parser."""

if gunicorn.version_info[0] < LEAST:
    raise ImportError(
        f"shm_protocol.gunicorn needs gunicorn {LEAST} or newer (this is {gunicorn.__version__}): {FIX}",
        name="gunicorn",
    )

from .bridge_worker import BridgeWorker  # noqa: E402
from .worker_client import bridge  # noqa: E402

__all__ = ["BridgeWorker", "bridge"]

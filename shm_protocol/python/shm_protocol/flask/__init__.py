"""`shm_protocol.flask.Bridge`: calls to TypeScript from a Flask app, as an extension of Flask's.

Needs Flask, which nothing else of this package does.
"""

import sys

try:
    import flask  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"shm_protocol.flask needs Flask ({error}): {sys.executable} -m pip install 'shm-polyglot[flask]'",
        name=error.name,
    ) from error

from .bridge import Bridge

__all__ = ["Bridge"]

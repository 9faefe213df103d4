"""A child that a handler or an exposed function has forked, and that comes back from it.

It is a copy of the worker with one thread, the one that handles the request: it would answer the worker's client a
second time, run the worker's loop, whose poller it shares with the worker, and dial Node as one more worker.
"""

import logging
import os
import sys
from typing import Final

logger: Final = logging.getLogger(__name__)

FAILED: Final = 1


class Owner:
    """The process that made it."""

    def __init__(self) -> None:
        self._pid: Final = os.getpid()

    def end_others(self) -> None:
        """Ends this process if it is another one, a forked child, with the exit code of the SystemExit on its way, if
        any. Children of `multiprocessing`, for example, have ended themselves before.
        """
        if os.getpid() == self._pid:
            return
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            code = error.code
            os._exit(code & 0xFF if isinstance(code, int) else FAILED if code else 0)
        logger.error("a child that was forked in a request came back from it, and is ended", exc_info=error)
        os._exit(FAILED)

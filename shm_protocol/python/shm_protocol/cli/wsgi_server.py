"""gunicorn with the defaults of `shm-polyglot run`, which a gunicorn.conf.py or an option wins over.

`python -m shm_protocol.cli.wsgi_server FD WAITS ml=myapp.ml,… …gunicorn's arguments`: a byte is written to FD once a
worker has loaded the app, and where WAITS is "attach", once it has attached to Node, if it is one that does. The third
argument is what TypeScript may call, "": as the file and the environment say.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.workers.base import Worker

# Before gunicorn makes its table of settings, so that it has the worker's.
from .. import gunicorn as bridge_gunicorn
from ..gunicorn import BridgeWorker
from . import ports
from .function_server import ATTACH

WORKER_CLASS: Final = f"{bridge_gunicorn.__name__}.BridgeWorker"
HOST: Final = "127.0.0.1"
PORT: Final = 5000
THREADS: Final = 4
"""Handlers that a worker runs at once."""
GRACEFUL_TIMEOUT_S: Final = 10
"""Less than the supervisor gives."""


class WsgiServer(WSGIApplication):
    """gunicorn, for one app."""

    def __init__(self, ready: int, waits: str, exposed: str) -> None:
        self._ready = ready
        self._waits = waits
        self._exposed = exposed
        super().__init__()

    def load_default_config(self) -> None:
        """Below gunicorn's own sources of settings: the file, the environment and the command line."""
        super().load_default_config()
        self.cfg.set("worker_class", WORKER_CLASS)
        self.cfg.set("bind", f"{HOST}:{PORT}")
        self.cfg.set("threads", THREADS)
        self.cfg.set("graceful_timeout", GRACEFUL_TIMEOUT_S)
        if "control_socket_disable" in self.cfg.settings:
            # It would be a thread in the process that forks, and a socket in the home directory.
            self.cfg.set("control_socket_disable", True)

    def load_config(self) -> None:
        """The settings from everywhere, and those that are this program's business."""
        super().load_config()
        # In the background it would outlive the supervisor, and keep the port.
        self.cfg.set("daemon", False)
        if self._exposed:
            self.cfg.set("shm_expose", self._exposed)
        if self.cfg.shm_expose and not issubclass(self.cfg.worker_class, BridgeWorker):
            sys.exit(
                f"error: something is exposed, but worker_class = {self.cfg.worker_class_str} exposes nothing: leave "
                f"that setting out, or set it to {WORKER_CLASS}"
            )
        theirs = self.cfg.post_worker_init

        def tell() -> None:
            # The supervisor has died: its workers will as well.
            with suppress(OSError):
                os.write(self._ready, b"\n")

        def post_worker_init(worker: Worker) -> None:
            theirs(worker)
            if self._waits == ATTACH and isinstance(worker, BridgeWorker):
                worker.when_attached = tell
            else:
                tell()

        self.cfg.set("post_worker_init", post_worker_init)

    def check_ports(self) -> None:
        """End the process where a port is taken; gunicorn would try for seconds and not say who has it."""
        for address in [] if self.cfg.reuse_port else self.cfg.address:
            if isinstance(address, tuple):
                host, port = address
                try:
                    is_free = ports.is_free(host, port)
                except UnicodeError:
                    # A part of a host's name has 1 to 63 characters.
                    sys.exit(f"error: {host[:100]} port {port} cannot be listened on: that is no name of a host")
                except OSError as error:
                    sys.exit(f"error: {host} port {port} cannot be listened on: {error.strerror}")
                if not is_free:
                    sys.exit(
                        f"error: port {port} on {host} is taken by {ports.who_listens(port)}; "
                        "choose another with --port, or stop that"
                    )


def main() -> None:
    """Serve until a signal ends it."""
    ready, waits, exposed = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1)
    # The app's own programs need not have it.
    os.set_inheritable(ready, False)
    server = WsgiServer(ready, waits, exposed)
    server.check_ports()
    server.run()


if __name__ == "__main__":
    main()

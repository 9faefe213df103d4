"""Where the two processes of one trial meet: a private directory, removed with everything in it afterwards."""

from __future__ import annotations

import socket
from pathlib import Path


def socket_path(address: str) -> str:
    """The Unix socket of a trial whose directory is `address`."""
    return str(Path(address) / "node.sock")


def port_file(address: str) -> Path:
    """Where a callee that listens on TCP says which port it got."""
    return Path(address) / "port"


def write_port(address: str, port: int) -> None:
    """Tell the port so that a reader sees all of it or nothing."""
    partial = port_file(address).with_suffix(".partial")
    partial.write_text(str(port))
    partial.rename(port_file(address))


def keep_port() -> socket.socket:
    """A TCP port of the loopback interface that nobody listens on, and that nobody is given until this is closed.

    It is bound with SO_REUSEADDR and does not listen: a server, which sets that too, can listen on the port.
    """
    kept = socket.socket()
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
    except OSError:
        kept.close()
        raise
    return kept

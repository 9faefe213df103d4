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


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

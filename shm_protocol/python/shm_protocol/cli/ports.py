"""TCP ports: whether one is free, who has it, and which ones a process has, as far as /proc lets this user see."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

TCP_LISTEN: Final = "0A"  # <net/tcp_states.h>, as /proc/net/tcp prints it
LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to connect, not to bind

Address = tuple[str, int]
"""A host and a port."""


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens on the address yet. Raises OSError where nobody can."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of a former run that still linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def url(address: Address) -> str:
    """The URL to open, also where a server listens on every address."""
    host = reachable(address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def reachable(host: str) -> str:
    """A host to connect to, also where a server listens on every address."""
    return LOOPBACK_OF.get(host, host)


def who_listens(port: int) -> str:
    """Who listens on a port, for people: `process 17 (node server.js)`."""
    inodes = {inode for inode, (_, its_port) in _listening().items() if its_port == port}
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & _sockets(process):
            return f"process {process.name} ({command(int(process.name))})"
    return "another user's process"


def command(pid: int) -> str:
    """What a process was started with, for people; shortened."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "unknown"
    return words.replace(b"\0", b" ").decode(errors="replace").strip()[:100]


def of_processes(pids: Iterable[int]) -> list[Address]:
    """Where these processes listen, the lowest port first."""
    listening = _listening()
    inodes = {inode for pid in pids for inode in _sockets(Path(f"/proc/{pid}"))}
    return sorted({listening[inode] for inode in inodes if inode in listening}, key=lambda address: address[1])


def _listening() -> dict[str, Address]:
    """Every TCP socket that listens, by its inode."""
    found: dict[str, Address] = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_, inode = line.split()[:10]
            if state == TCP_LISTEN:
                host, _, port = local.rpartition(":")
                found[inode] = (_host(host), int(port, 16))
    return found


def _host(text: str) -> str:
    """An address as /proc prints it: words of four bytes, each in the order of this machine, which is little-endian."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _sockets(process: Path) -> set[str]:
    """The inodes of the sockets that a process has open; none of one that is another user's, or has just ended."""
    found = set()
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    found.add(target[len("socket:[") : -1])
    return found

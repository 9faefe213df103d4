"""HTTP by the byte, for clients that do not behave."""

import http
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import http_client
from services import HANG_S, Services

BODY: Final = b'{"text":"I love this great product"}'
LENGTH: Final = b"Content-Length: %d" % len(BODY)
POST: Final = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + LENGTH + b"\r\n"
"""The head of a request that both services take, without the empty line at its end."""

REQUEST: Final = POST + b"\r\n" + BODY


def connect(url: str, receive_bytes: int = 0) -> socket.socket:
    """A connection. `receive_bytes`: the size of its receive buffer, else the system's."""
    parts = urlsplit(url)
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(HANG_S)
    sock.connect((parts.hostname, parts.port))
    return sock


def read_answer(sock: socket.socket, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer, and not a byte of what follows it. Names of headers are in lower case. An
    answer to HEAD has no body, whatever it announces."""
    with sock.makefile("rb", buffering=0) as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(body) < length:
            data = stream.read(length - len(body))
            assert data, "the answer is cut off"
            body += data
    return status, headers, body


def post_until_in_time(services: Services, url: str, json: object) -> int:
    """The status of a request that has arrived in the time that a server gives a client.

    Where that is short, a machine that stands still for as long gets a 408, and asks again.
    """
    statuses: list[int] = []

    def is_in_time() -> bool:
        statuses.append(http_client.post(url, json).status)
        return statuses[-1] != http.HTTPStatus.REQUEST_TIMEOUT

    services.wait_until(is_in_time, f"a request to {url} arrives in time")
    return statuses[-1]


def is_at_end(sock: socket.socket) -> bool:
    """Whether the server sends no more and closes the connection."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def is_held(local: int, remote: int) -> bool:
    """Whether a process has the local end of a TCP connection between two ports of this machine."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # An end that its process has closed has no inode, whatever the kernel has still to send.
        if (fields[1][-4:], fields[2][-4:]) == (f"{local:04X}", f"{remote:04X}") and fields[9] != "0":
            return True
    return False

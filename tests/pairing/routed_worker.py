"""A worker of the routing tests: its functions tell who has answered.

    python routed_worker.py KIND WHO NAME...

KIND: "thread": a thread serves. "asyncio": an event loop does. "1.0": what the library spoke before protocol 1.1, by
hand and over the socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import shm_protocol
from shm_protocol import handshake, values

MAX_MESSAGE = 2**20


def functions_of(who: str, names: list[str], expose: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The functions, and those by which a test has more exposed."""

    def answer(*_: Any) -> str:
        return who

    def more(added: list[str]) -> None:
        expose(dict.fromkeys(added, answer))

    def more_in_a_thread(added: list[str]) -> None:
        thread = threading.Thread(target=more, args=(added,))
        thread.start()
        thread.join()

    return {**dict.fromkeys(names, answer), f"{who}.expose": more, f"{who}.expose_in_a_thread": more_in_a_thread}


def serve_in_a_thread(who: str, names: list[str]) -> None:
    """As attach() has it, so that the connection is at hand."""
    with shm_protocol.attach(
        expose=functions_of(who, names, lambda functions: connection.expose(functions)), name=who
    ) as connection:
        connection.serve()


async def serve_in_a_loop(who: str, names: list[str]) -> None:
    """Until the process is ended."""
    functions = functions_of(who, names, lambda added: client.expose(added))
    async with await shm_protocol.connect_async(expose=functions, name=who, role="worker") as client:
        await asyncio.Event().wait()


def serve_by_hand(who: str, names: list[str]) -> None:
    """No project, no names: only what 1.0 has."""
    hello = {"role": "worker", "transport": "socket", "name": who, "language": "by hand", "library": "0.1.0"}
    body = values.Encoder().pack({**hello, "max_message": MAX_MESSAGE})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed, dialed.makefile("rwb") as stream:
        dialed.connect(f"{os.environ['SHM_POLYGLOT_DIR']}/node.sock")
        stream.write(handshake.HEADER.pack(b"SHMP", 1, 0, len(body)) + body)
        stream.flush()
        _, major, _, length = handshake.HEADER.unpack(stream.read(handshake.HEADER.size))
        assert major == 1
        assert values.decode(stream.read(length))["status"] == "welcome"
        while head := stream.read(4):
            kind, call_id, method, _ = values.decode(stream.read(int.from_bytes(head, "little")))
            assert kind == 0, "1.0 knows no other frame that is sent here"
            unknown = {"code": "UnknownMethod", "message": f"{method}: nothing of that name is exposed"}
            found = method in names
            answer = values.Encoder().pack((1, call_id, None if found else unknown, who if found else None))
            stream.write(len(answer).to_bytes(4, "little") + answer)
            stream.flush()


if __name__ == "__main__":
    _, kind, name, *exposed = sys.argv
    if len(exposed) == 1 and exposed[0].isdigit():
        exposed = [f"a_module_with_many.function_{number}" for number in range(int(exposed[0]))]
    if kind == "asyncio":
        asyncio.run(serve_in_a_loop(name, exposed))
    else:
        {"thread": serve_in_a_thread, "1.0": serve_by_hand}[kind](name, exposed)

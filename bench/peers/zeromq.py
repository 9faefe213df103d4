"""ZeroMQ over a Unix socket, with MessagePack of [function, argument] and of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import zmq

from bench.workload import FUNCTIONS


def endpoint(address: str) -> str:
    """Where the callee listens."""
    return f"ipc://{Path(address) / 'zeromq.sock'}"


def unpack(frame: zmq.Frame) -> Any:
    """What a frame holds."""
    buffer: Any = frame.buffer
    return msgpack.unpackb(buffer)


class Caller:
    """A socket for requests, which waits for each answer."""

    def __init__(self, address: str) -> None:
        # One context a process, whatever the number of threads, as the guide has it.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._socket.connect(endpoint(address))
        self._pack = msgpack.Packer().pack

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        # Not copied: of small messages pyzmq makes a copy all the same, because that is quicker.
        self._socket.send(self._pack([function, argument]), copy=False)
        return unpack(self._socket.recv(copy=False))

    def stop(self) -> None:
        """See interface.py."""
        self._socket.close(linger=0)


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    pack = msgpack.Packer().pack
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint(address))
        ready()
        while True:
            # Whose call it is, and which of theirs: it goes back as it came.
            *envelope, call = router.recv_multipart(copy=False)
            function, argument = unpack(call)
            router.send_multipart([*envelope, pack(FUNCTIONS[function](argument))], copy=False)

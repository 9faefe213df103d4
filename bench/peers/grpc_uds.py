"""gRPC over a Unix socket: unary calls, the function's name as the method's, MessagePack of [value] as the message.

That is gRPC with a serializer of one's own: Protocol Buffers would need a message type for each function's values. The
value stands in a list because gRPC takes null for no message at all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Final

import grpc
import msgpack

from bench.workload import FUNCTIONS

SERVICE: Final = "bench.Workload"
OPTIONS: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""No limit: the largest payload has as many bytes as gRPC's own limit, and a frame around them."""


def target(address: str) -> str:
    """Where the callee listens."""
    return f"unix:{Path(address) / 'grpc.sock'}"


class Caller:
    """A channel of its own, and a method of it for each function called so far."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(target(address), options=OPTIONS)
        self._methods: dict[str, Callable[[list[object]], list[object]]] = {}

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        method = self._methods.get(function)
        if method is None:
            method = self._channel.unary_unary(f"/{SERVICE}/{function}", msgpack.packb, msgpack.unpackb)
            self._methods[function] = method
        (answer,) = method([argument])
        return answer

    def stop(self) -> None:
        """See interface.py."""
        self._channel.close()


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""

    def handler(function: Callable[..., object]) -> grpc.RpcMethodHandler:
        def behaviour(request: list[object], _: grpc.ServicerContext) -> list[object]:
            (argument,) = request
            return [function(argument)]

        return grpc.unary_unary_rpc_method_handler(behaviour, msgpack.unpackb, msgpack.packb)

    # A single call costs such a pool of threads less than it costs grpc.aio.
    server = grpc.server(futures.ThreadPoolExecutor(), options=OPTIONS)
    methods = {name: handler(function) for name, function in FUNCTIONS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(target(address))
    server.start()
    ready()
    server.wait_for_termination()

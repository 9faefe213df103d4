"""Reference, Python to Python: iceoryx2 request and response over shared memory, both sides polling.

The bodies are MessagePack of [function, argument] and of the answer, in slices of bytes.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import iceoryx2
import msgpack

from bench.workload import FUNCTIONS

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a message: the shared memory for so many is taken at the start."""
BYTES: Final = iceoryx2.Slice[ctypes.c_uint8]


def prefix(address: str) -> str:
    """With what the names of a trial's files begin: two trials never meet."""
    return f"iox2_{Path(address).name}_"


def create_node(address: str) -> Any:
    """What this process is to iceoryx2. Its files are in the directory `address`, but for those in /dev/shm."""
    config = iceoryx2.config.default()
    config.global_cfg.root_path = iceoryx2.Path.new(str(Path(address) / "iceoryx2"))
    config.global_cfg.prefix = iceoryx2.FileName.new(prefix(address))
    # Python's own handler of a signal is to go on being that.
    by_python = iceoryx2.SignalHandlingMode.Disabled
    builder = iceoryx2.NodeBuilder.new().config(config).signal_handling_mode(by_python)
    return builder.create(iceoryx2.ServiceType.Ipc)


def service_builder(node: Any) -> Any:
    """The service between the two."""
    return node.service_builder(iceoryx2.ServiceName.new("workload")).request_response(BYTES, BYTES)


def fill(loan: Any, body: bytes) -> Any:
    """Put the body into the shared memory that was lent for it."""
    ctypes.memmove(loan.payload_ptr, body, len(body))
    return loan.assume_init()


def body_of(message: Any) -> Any:
    """What a message holds."""
    payload = message.payload()
    return msgpack.unpackb(ctypes.string_at(payload.as_ptr(), payload.len()))


class Caller:
    """A client, which polls for the answer."""

    def __init__(self, address: str) -> None:
        self._node = create_node(address)
        self._service = service_builder(self._node).open()
        self._client = self._service.client_builder().initial_max_slice_len(MOST_BYTES).create()
        self._pack = msgpack.Packer().pack

    def call(self, function: str, argument: object) -> object:
        """See interface.py. Raises ValueError for what is too large."""
        body = self._pack([function, argument])
        if len(body) > MOST_BYTES:
            raise ValueError(f"{function}: a message of {len(body)} bytes; iceoryx2 has room for {MOST_BYTES} here")
        pending = fill(self._client.loan_slice_uninit(len(body)), body).send()
        while (response := pending.receive()) is None:
            pass
        return body_of(response)

    def stop(self) -> None:
        """See interface.py."""
        self._client.delete()
        del self._client, self._service, self._node


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)


def answer_calls(address: str, ready: Callable[[], None], ended: list[int]) -> None:
    """Poll for calls until there is something in `ended`."""
    service = service_builder(create_node(address)).create()
    server = service.server_builder().initial_max_slice_len(MOST_BYTES).create()
    pack = msgpack.Packer().pack
    ready()
    while not ended:
        request = server.receive()
        if request is not None:
            function, argument = body_of(request)
            body = pack(FUNCTIONS[function](argument))
            fill(request.loan_slice_uninit(len(body)), body).send()


def serve(address: str, ready: Callable[[], None]) -> None:
    """See interface.py."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    try:
        answer_calls(address, ready, ended)
    finally:
        # iceoryx2 leaves one in any case, and more where a caller was killed.
        for file in Path("/dev/shm").glob(f"{prefix(address)}*"):
            file.unlink()

"""A worker names what it exposes to an acceptor of protocol 1.1, and to no other."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import shm_protocol
from shm_protocol import frames, handshake, values
from shm_protocol.exposed import Exposed

HANG_S = 30.0
MAX_MESSAGE = 2**20


class Acceptor:
    """One connection over the socket, frame by frame. minor: of the protocol it speaks."""

    def __init__(self, stream: BinaryIO, minor: int, max_message: int) -> None:
        self.stream = stream
        self.minor = minor
        self.max_message = max_message
        self.hello: dict[str, Any] = {}

    def welcome(self) -> None:
        header = handshake.HEADER.unpack(self.stream.read(handshake.HEADER.size))
        self.hello = values.decode(self.stream.read(header[3]))
        told = {"status": "welcome", "name": "by hand", "language": "l", "library": "0.1.0"}
        body = values.Encoder().pack({**told, "max_message": self.max_message})
        self.stream.write(handshake.HEADER.pack(b"SHMP", 1, self.minor, len(body)) + body)
        self.stream.flush()

    def receive(self) -> Any:
        length = int.from_bytes(self.stream.read(4), "little")
        assert length <= self.max_message
        return values.decode(self.stream.read(length))

    def send(self, *frame: Any) -> None:
        message = values.Encoder().pack(frame)
        self.stream.write(len(message).to_bytes(4, "little") + message)
        self.stream.flush()

    def names(self, count: int) -> list[str]:
        """What is named, until it is so many."""
        names: list[str] = []
        while len(names) < count:
            kind, more = self.receive()
            assert kind == frames.EXPOSE
            names += more
        return names


@contextmanager
def accepting(path: Path, work: Any, *, minor: int = 1, max_message: int = MAX_MESSAGE) -> Iterator[Acceptor]:
    """Listen at `path`, run `work` in a thread, which dials, and welcome it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        listening.settimeout(HANG_S)
        thread = threading.Thread(target=work)
        thread.start()
        try:
            connected, _ = listening.accept()
            connected.settimeout(HANG_S)
            with connected, connected.makefile("rwb") as stream:
                acceptor = Acceptor(stream, minor, max_message)  # type: ignore[arg-type]  # a BufferedRWPair is one
                acceptor.welcome()
                yield acceptor
        finally:
            thread.join(HANG_S)
        assert not thread.is_alive()


def serving(path: Path, expose: dict[str, Any]) -> Any:
    def serve() -> None:
        with (
            pytest.raises((shm_protocol.PeerGone, shm_protocol.ConnectionClosed)),
            shm_protocol.attach(path, expose=expose, transport="socket") as connection,
        ):
            connection.serve()

    return serve


def serving_in_a_loop(path: Path, expose: dict[str, Any]) -> Any:
    async def serve() -> None:
        client = await shm_protocol.connect_async(path, expose=expose, transport="socket", role="worker")
        while not client.closed:  # noqa: ASYNC110  # there is no event of its end
            await asyncio.sleep(0.01)

    return lambda: asyncio.run(serve())


both = pytest.mark.parametrize("serve", [serving, serving_in_a_loop])


@both
def test_a_worker_names_what_it_exposes_first_and_says_in_its_hello_how_much(path: Path, serve: Any) -> None:
    expose = {"ml": {"predict": len, "train": len}, "f": lambda: "answered"}
    with accepting(path, serve(path, expose)) as acceptor:
        assert acceptor.hello["exposes"] == 3
        assert acceptor.receive() == [frames.EXPOSE, ["ml.predict", "ml.train", "f"]]
        acceptor.send(0, 1, "f", [])
        assert acceptor.receive() == [1, 1, None, "answered"]


@both
def test_to_an_acceptor_of_protocol_1_0_nothing_is_named(path: Path, serve: Any) -> None:
    with accepting(path, serve(path, {"f": lambda: "answered"}), minor=0) as acceptor:
        acceptor.send(0, 1, "f", [])
        assert acceptor.receive() == [1, 1, None, "answered"]


@pytest.mark.parametrize("expose", [{"f": len}, None])
def test_a_client_names_what_it_exposes_before_its_first_call(path: Path, expose: dict[str, Any] | None) -> None:
    def call() -> None:
        with shm_protocol.connect(path, transport="socket", expose=expose) as client:
            assert client.call("g") == "answered"

    with accepting(path, call) as acceptor:
        assert acceptor.hello["exposes"] == len(expose or {})
        if expose:
            assert acceptor.receive() == [frames.EXPOSE, ["f"]]
        assert acceptor.receive() == [0, 1, "g", []]
        acceptor.send(1, 1, None, "answered")


def test_what_is_exposed_by_a_function_that_is_served_is_named_before_its_answer(path: Path) -> None:
    def more() -> None:
        current = shm_protocol.current_call()
        assert current is not None
        current.connection.expose({"late": {"f": len, "g": len}})  # type: ignore[attr-defined]

    with accepting(path, serving(path, {"more": more})) as acceptor:
        assert acceptor.names(1) == ["more"]
        acceptor.send(0, 1, "more", [])
        assert acceptor.receive() == [frames.EXPOSE, ["late.f", "late.g"]]
        assert acceptor.receive() == [1, 1, None, None]


@both
@pytest.mark.parametrize("max_message", [1024, MAX_MESSAGE])
def test_many_names_are_cut_into_messages_that_the_acceptor_takes(path: Path, serve: Any, max_message: int) -> None:
    names = [f"function_{number}".ljust(number % 257, "x") for number in range(5000)]
    with accepting(path, serve(path, dict.fromkeys(names, len)), max_message=max_message) as acceptor:
        assert acceptor.hello["exposes"] == 5000
        assert acceptor.names(5000) == names


def test_a_name_that_the_acceptor_could_not_call_is_left_out(path: Path) -> None:
    with accepting(path, serving(path, {"f": lambda: 1, "x" * 100: len}), max_message=64) as acceptor:
        assert acceptor.receive() == [frames.EXPOSE, ["f"]]
        acceptor.send(0, 1, "f", [])
        assert acceptor.receive() == [1, 1, None, 1]


def test_more_functions_than_can_be_named_are_refused_where_they_are_exposed() -> None:
    exposed = Exposed({"module": {f"f{number}": len for number in range(65_536)}})
    with pytest.raises(ValueError, match="expose: 65537 functions: at most 65536 are allowed"):
        exposed.add({"one_more": len})
    assert len(exposed.functions) == 65_536


def test_an_acceptor_that_goes_while_it_is_told_leaves_an_error_that_serve_dials_after(path: Path) -> None:
    names = {"x" * 250 + str(number): len for number in range(20_000)}
    raised: list[BaseException] = []

    def attach() -> None:
        try:
            with shm_protocol.attach(path, expose=names, transport="socket") as connection:
                connection.serve()
        except shm_protocol.BridgeError as error:
            raised.append(error)

    with accepting(path, attach):
        pass
    assert isinstance(raised[0], shm_protocol.PeerGone | shm_protocol.PeerUnavailable)


def test_a_connection_that_is_gone_is_named_nothing_and_not_kept_alive() -> None:
    exposed = Exposed({"f": len})

    class Named:
        def __init__(self) -> None:
            self.names: list[str] = []

        def name_exposed(self, names: Any) -> None:
            self.names += names

    first, second = Named(), Named()
    exposed.name_to(first)
    exposed.name_to(second)
    exposed.add({"g": len})
    del first
    exposed.add({"h": len})
    assert second.names == ["f", "g", "h"]
    assert len(exposed._namers) == 1

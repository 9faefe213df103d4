"""A call of Node's goes to a worker that exposes the function, whatever serves there; UnknownMethod is the answer only
where nobody does.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shm_protocol
from peers import HERE, ROOT, Pair
from shm_protocol import handshake, values

KINDS = ["thread", "asyncio"]


@pytest.fixture
def routed(transport: str) -> Iterator[Pair]:
    """A Node of its own, without workers."""
    with Pair(transport) as running:
        yield running


def add(pair: Pair, kind: str, who: str, *names: str) -> subprocess.Popen[bytes]:
    """Start a worker of routed_worker.py and wait until it is attached."""
    before = pair.count_workers()
    command = [sys.executable, str(HERE / "routed_worker.py"), kind, who, *names]
    with (pair.directory / "log").open("ab") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=pair.environment, stderr=log)
    pair.workers.append(worker)
    pair.wait_until(lambda: pair.count_workers() == before + 1, f"{who} is attached")
    return worker


def attempt(client: shm_protocol.Client, method: str, *args: Any) -> Any:
    """Have Node call a worker: what it answers, or the error's code and message."""
    outcome = client.call("driver.attempt", method, list(args))
    return outcome["value"] if "value" in outcome else (outcome["error"]["code"], outcome["error"]["message"])


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_finds_a_worker_that_has_the_function(routed: Pair, kind: str) -> None:
    add(routed, kind, "a", "ml.predict")
    add(routed, "thread", "b", "ml.predict", "mine.f")
    add(routed, kind, "c", "mine.g")
    with routed.connect() as client:
        answers = [[attempt(client, method) for method in ("ml.predict", "mine.f", "mine.g")] for _ in range(6)]
        assert {answer for answer, _, _ in answers} == {"a", "b"}
        assert {tuple(rest) for _, *rest in answers} == {("b", "c")}
        for _ in range(3):
            assert attempt(client, "none.at_all") == (
                "UnknownMethod",
                "none.at_all: nothing of that name is exposed",
            )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_worker_exposes_later_is_found_by_the_next_call(routed: Pair, kind: str) -> None:
    add(routed, kind, "a", "f")
    add(routed, kind, "b", "g")
    with routed.connect() as client:
        assert attempt(client, "late.f")[0] == "UnknownMethod"
        assert attempt(client, "b.expose", ["late.f", "late.g"]) is None
        # More than once, so that each of the two would have its turn.
        assert [attempt(client, "late.f") for _ in range(3)] == ["b"] * 3
        # From another thread it may take the worker a moment.
        assert attempt(client, "a.expose_in_a_thread", ["later.f"]) is None
        routed.wait_until(lambda: attempt(client, "later.f") == "a", "what a thread has exposed is found")
        assert [attempt(client, "later.f") for _ in range(3)] == ["a"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_where_those_that_had_a_function_have_gone_the_error_names_it(routed: Pair, kind: str) -> None:
    goes = add(routed, kind, "goes", "f", "g")
    add(routed, "thread", "stays", "g")
    with routed.connect() as client:
        assert attempt(client, "f") == "goes"
        goes.kill()
        routed.wait_until(lambda: routed.count_workers() == 1, "Node knows that it has gone")
        missed = ("PeerUnavailable", f"f: no worker that exposes it is attached to {routed.path}")
        assert [attempt(client, "f"), attempt(client, "g")] == [missed, "stays"]
        add(routed, kind, "again", "f")
        assert [attempt(client, "f") for _ in range(3)] == ["again"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_many_thousands_of_functions_fit_through_the_smallest_ring_and_messages(transport: str, kind: str) -> None:
    small = {"SHM_POLYGLOT_RING_BYTES": "4096", "SHM_POLYGLOT_MAX_MESSAGE": "4096"}
    with Pair(transport, environment=small) as pair, pair.connect() as client:
        add(pair, kind, "many", "20000")
        add(pair, "thread", "few", "f")
        for number in (0, 9_999, 19_999):
            assert attempt(client, f"a_module_with_many.function_{number}") == "many"
        assert attempt(client, "f") == "few"


def test_a_worker_of_protocol_1_0_is_asked_for_what_nobody_else_is_known_to_have() -> None:
    with Pair("auto") as routed, routed.connect() as client:
        add(routed, "1.0", "old", "f", "g")
        assert [attempt(client, method) for method in ("f", "g")] == ["old", "old"]
        assert attempt(client, "h")[0] == "UnknownMethod"
        add(routed, "thread", "new", "f")
        answers = [[attempt(client, method) for method in ("f", "g")] for _ in range(4)]
        assert answers == [["new", "old"]] * 4


def test_a_client_of_protocol_1_0_calls_node_as_ever() -> None:
    hello = {"role": "client", "transport": "socket", "name": "old", "language": "l", "library": "0.1.0"}
    body = values.Encoder().pack({**hello, "max_message": 2**20})
    request = values.Encoder().pack((0, 1, "functions.echo", ["hello"]))
    with (
        Pair("socket") as pair,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialed,
        dialed.makefile("rwb") as stream,
    ):
        dialed.connect(str(pair.path))
        stream.write(handshake.HEADER.pack(b"SHMP", 1, 0, len(body)) + body)
        stream.write(len(request).to_bytes(4, "little") + request)
        stream.flush()
        length = handshake.HEADER.unpack(stream.read(handshake.HEADER.size))[3]
        assert values.decode(stream.read(length))["status"] == "welcome"
        answer = stream.read(int.from_bytes(stream.read(4), "little"))
        assert values.decode(answer) == [1, 1, None, "hello"]


def test_a_call_made_while_serving_a_client_goes_to_a_worker_where_only_that_has_the_function(routed: Pair) -> None:
    add(routed, "thread", "a", "mine.score", "both")
    with routed.connect(expose={"own": lambda: "client", "both": lambda: "client"}) as client:
        for _ in range(3):
            found = [client.call("functions.callBack", name, []) for name in ("own", "both", "mine.score")]
            assert found == ["client", "client", "a"]
        client.expose({"later": lambda: "client"})
        assert client.call("functions.callBack", "later", []) == "client"

    async def call_by_asyncio() -> list[str]:
        async with await shm_protocol.connect_async(routed.path, expose={"own": lambda: "client"}) as client:
            return [await client.call("functions.callBack", name, []) for name in ("own", "mine.score")]

    assert asyncio.run(call_by_asyncio()) == ["client", "a"]


def test_a_client_that_has_found_another_projects_node_is_told_whose_it_is(
    routed: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other project"
    other.mkdir()
    (other / "pyproject.toml").touch()
    monkeypatch.chdir(other)
    with routed.connect() as client:
        with pytest.raises(shm_protocol.UnknownMethod) as raised:
            client.call("mine.f")
        assert str(raised.value) == (
            f"mine.f: nothing of that name is exposed; the Node side that listens at {routed.path} is of the project "
            f'"{ROOT}", this process of "{other}": if it is not the one that is meant, set SHM_POLYGLOT_DIR to another '
            "directory for this project, on both sides"
        )
        assert raised.value.from_peer
        assert client.connections[0].peer.project == str(ROOT)
        assert client.call("functions.echo", 1) == 1
    # In a part of the same project there is nothing to be told.
    monkeypatch.chdir(ROOT / "tests")
    with (
        routed.connect() as client,
        pytest.raises(shm_protocol.UnknownMethod, match=r"nothing of that name is exposed$"),
    ):
        client.call("mine.f")

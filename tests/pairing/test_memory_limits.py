"""A process that can have no more memory: the call that needed it fails, its connection or process ends, none hangs."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import shm_protocol
from peers import HANG_S, ROOT, Pair

MIB = 1 << 20

CALLER = """
import resource, sys
import shm_protocol

path, transport, method = sys.argv[1:]
node = shm_protocol.connect(path, transport=transport)
assert node.call("functions.bytes", 1000) == b"\\7" * 1000
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + (16 << 20), limits[1]))
try:
    node.call(method, 48 << 20)
except (MemoryError, shm_protocol.EncodeError) as error:
    print(error)
print(len(node.connections))
print(node.call("functions.echo", "after it"))
try:
    node.call("functions.echo", bytearray(1 << 20) * 60)
except MemoryError:
    print("no memory for the arguments")
print(node.call("functions.echo", "after that"))
"""


ASYNC_CALLER = """
import asyncio, resource, sys
import shm_protocol

async def main(path, transport, method):
    node = await shm_protocol.connect_async(path, transport=transport)
    await node.call("functions.echo", 1)
    mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (16 << 20), limits[1]))
    try:
        await node.call(method, 48 << 20, timeout=None)
    except (shm_protocol.PeerGone, shm_protocol.EncodeError) as error:
        print(error)
    print("closed" if node.closed else "open")
    if node.closed:
        node = await shm_protocol.connect_async(path, transport=transport)
    print(await node.call("functions.echo", "after it"))

asyncio.run(main(*sys.argv[1:]))
"""


WITHHELD = (
    f"a buffer of {48 * MIB} bytes cannot be received: the receiving process can have no more memory (ENOMEM): let go "
    "of some, or raise its limit"
)


def is_beside(transport: str, method: str) -> bool:
    """Whether the answer is in memory beside its message: then it can be withheld alone."""
    return (transport, method) == ("shm", "functions.bytes")


def mapped_bytes(pid: int) -> int:
    """The address space that a process has taken."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def limit_memory(pid: int, more: int) -> None:
    """A running process may take so many bytes more."""
    resource.prlimit(pid, resource.RLIMIT_AS, (mapped_bytes(pid) + more, resource.RLIM_INFINITY))


@pytest.mark.parametrize("method", ["functions.bytes", "functions.text"], ids=["beside-the-message", "in-the-message"])
def test_a_caller_without_memory_for_the_answer_is_told_and_its_next_call_is_answered(
    pair: Pair, transport: str, method: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLER, str(pair.path), transport, method],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *(
            [f"{method}: result: {WITHHELD}", "1"]
            if is_beside(transport, method)
            else [f"{method}: there is no memory for the answer; the connection has ended", "0"]
        ),
        "after it",
        "no memory for the arguments",
        "after that",
    ]


@pytest.mark.parametrize("method", ["functions.bytes", "functions.text"], ids=["beside-the-message", "in-the-message"])
def test_an_event_loop_without_memory_for_an_answer_tells_its_caller_and_the_next_client_is_answered(
    pair: Pair, transport: str, method: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASYNC_CALLER, str(pair.path), transport, method],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    if is_beside(transport, method):
        assert done.stdout.splitlines() == [f"{method}: result: {WITHHELD}", "open", "after it"]
        return
    told = f"{method}: there was no memory for a message of the peer's"
    assert done.stdout.splitlines() == [told, "closed", "after it"]
    assert "MemoryError" in done.stderr


def test_a_python_function_that_runs_out_of_memory_fails_its_call_alone(pair: Pair, node: shm_protocol.Client) -> None:
    limit_memory(pair.workers[0].pid, 16 * MIB)
    try:
        error = node.call("driver.attempt", "worker.text", [48 * MIB])["error"]
        assert (error["code"], error["type"]) == ("RemoteError", "MemoryError")
        assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
    finally:
        resource.prlimit(pair.workers[0].pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("part", [b"x", "x"], ids=["beside-the-message", "in-the-message"])
def test_a_worker_without_memory_for_a_request_ends_unless_it_is_a_buffer_and_its_caller_is_told(
    transport: str, part: bytes | str
) -> None:
    with Pair(transport) as pair, pair.connect() as node:
        victim = pair.add_worker()
        limit_memory(victim.pid, 16 * MIB)
        answer = node.call("driver.attempt", "worker.describe", [part * (48 * MIB)])
        if transport == "shm" and isinstance(part, bytes):
            told = f"worker.describe: args: {WITHHELD}"
            assert answer == {"error": {"code": "EncodeError", "message": told}}
            assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}
            assert victim.poll() is None
            return
        assert answer["error"]["code"] == "PeerGone"
        assert victim.wait(HANG_S) == 1
        assert "MemoryError" in pair.log()
        pair.workers.remove(victim)
        pair.add_worker()
        assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}


def test_a_node_that_runs_out_of_heap_ends_and_its_caller_is_told(transport: str) -> None:
    # Three times what the newest Node takes to start with ts-node.
    with Pair(transport, {"NODE_OPTIONS": "--max-old-space-size=96"}) as pair, pair.connect() as node:
        with pytest.raises(shm_protocol.PeerGone, match=r"functions\.hoard"):
            node.call("functions.hoard", timeout=HANG_S)
        assert pair.node.wait(HANG_S) != 0
        assert "heap out of memory" in pair.log()
        pair.restart_node()
        assert node.call("functions.echo", 1) == 1


@pytest.mark.parametrize("part", [b"x", "x"], ids=["beside-the-message", "in-the-message"])
def test_a_node_without_memory_for_a_request_ends_that_connection_unless_it_is_a_buffer_and_its_caller_is_told(
    transport: str, part: bytes | str
) -> None:
    with Pair(transport) as pair, pair.connect() as node, pair.connect() as bystander:
        assert bystander.call("functions.echo", 1) == 1
        limit_memory(pair.node.pid, 24 * MIB)
        if transport == "shm" and isinstance(part, bytes):
            with pytest.raises(shm_protocol.EncodeError) as raised:
                node.call("functions.describe", part * (48 * MIB), timeout=HANG_S)
            assert str(raised.value) == f"functions.describe: args: {WITHHELD}"
            limit_memory(pair.node.pid, 200 * MIB)
            assert node.call("functions.describe", part * (48 * MIB), timeout=HANG_S) == "Uint8Array"
            assert len(node.connections) == 1
            return
        with pytest.raises(shm_protocol.PeerGone, match=r"functions\.describe"):
            node.call("functions.describe", part * (60 * MIB), timeout=HANG_S)
        # Over the socket it is Node's own reading that finds no memory, which may end the process.
        if transport == "shm":
            assert bystander.call("functions.echo", 2) == 2
            assert 'reason="shared memory (receive): ENOMEM"' in pair.log()

"""Large bytes and arrays, which over shared memory travel outside of their messages (PROTOCOL.md section 12)."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shm_protocol
from peers import Pair
from shm_protocol.cli.top import Watch
from shm_protocol.cli.top_table import table
from shm_protocol.config import read_settings
from shm_protocol.dialing import dial
from shm_protocol.exposed import Exposed

LENGTH = 64 * 1024
WORKER = "worker 0"
DTYPES = ("int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64", "uint64", "uint8")


def sample(dtype: str = "float64", length: int = LENGTH) -> np.ndarray[Any, Any]:
    """Elements that are different from each other, and enough of them."""
    return np.arange(length * 8 // np.dtype(dtype).itemsize).astype(dtype)


def memory_descriptors(pid: int | str = "self") -> list[str]:
    """Memory of ours that a process has open."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("/memfd:shm-polyglot"):
            found.append(target)
    return found


def mapped_memory(pid: int | str = "self") -> int:
    """How often a process has such memory mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("/memfd:shm-polyglot")


@pytest.fixture(scope="module")
def shm_pair() -> Iterator[Pair]:
    """Over shared memory, and no memory is kept: what is returned shows at once."""
    with Pair("shm", {"SHM_POLYGLOT_POOL_BYTES": "0"}) as pair:
        pair.add_worker()
        yield pair


@pytest.fixture
def client(shm_pair: Pair) -> Iterator[shm_protocol.Connection]:
    """One connection, whose counters tell what is lent; nothing is kept from the test before."""
    settings = read_settings(shm_pair.path, transport="shm")
    with dial(settings, role="client", exposed=Exposed(), name="large buffers") as connection:
        connection.call("arrays.forget")
        connection.call("driver.attempt", "worker.forget", [])
        yield connection


def mine(client: shm_protocol.Connection) -> dict[str, Any]:
    """What Node tells of the connection."""
    told: dict[str, Any] = client.call("arrays.stats", "large buffers")
    return told


def wait_until_returned(pair: Pair, client: shm_protocol.Connection) -> None:
    """Node returns in a later turn of its event loop, so that the next answers may come before that."""

    def is_returned() -> bool:
        client.call("functions.echo", 1)
        return bool(client.stats["bytes_lent"] == 0)

    pair.wait_until(is_returned, "what was lent is returned")


def test_arrays_of_every_dtype_cross_both_ways(node: shm_protocol.Client) -> None:
    for dtype in DTYPES:
        sent = sample(dtype)
        returned = node.call("functions.echo", sent)
        assert (returned.dtype, returned.shape) == (sent.dtype, sent.shape)
        assert (returned == sent).all()
        index = node.call("arrays.keep", sent)
        assert node.call("arrays.pass", "worker.keep", index) == [["ndarray", [len(sent)]]]
        assert node.call("arrays.pass", "worker.echo", index).tobytes() == sent.tobytes()


def test_arrays_of_any_shape_and_layout_arrive_in_c_order(node: shm_protocol.Client) -> None:
    square = sample().reshape(256, 256)
    for sent in (square, square.T, square[::2, ::3], square[::-1], np.asfortranarray(square), square[:, None, :]):
        returned = node.call("functions.echo", sent)
        assert returned.shape == sent.shape
        assert (returned == sent).all()
        assert returned.flags.c_contiguous
    assert node.call("functions.echo", np.array(2.5)) == 2.5
    assert node.call("functions.echo", square.astype(">f8")).tobytes() == square.tobytes()
    assert node.call("arrays.shape", node.call("arrays.keep", square)) == [256, 256]


class Tensor:
    """An array of another library, known by DLPack alone."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_a_buffer_of_more_than_4_gib_is_refused_before_it_is_copied(node: shm_protocol.Client) -> None:
    # Never touched, so that it takes address space and no memory.
    said = r"^args\[0\]: an array of 4294967\d{3} bytes; at most 2\*\*32 - 1 can be sent$"
    with pytest.raises(shm_protocol.EncodeError, match=said):
        node.call("functions.echo", np.zeros(2**29, "float64"))
    assert node.call("functions.echo", 1) == 1


def test_what_speaks_dlpack_is_sent_as_an_array(node: shm_protocol.Client) -> None:
    for sent in (sample("float32").reshape(-1, 2), np.arange(3)):
        returned = node.call("functions.echo", Tensor(sent))
        assert (returned == sent).all()
        assert returned.dtype == sent.dtype
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]: looking at it raised AttributeError"):
        node.call("functions.echo", Tensor(None))  # type: ignore[arg-type]


def test_bytes_of_any_kind_arrive_as_bytes_and_as_a_uint8array(node: shm_protocol.Client) -> None:
    data = os.urandom(1024 * 1024)
    for sent in (data, bytearray(data), memoryview(data), memoryview(data)[5:-7]):
        returned = node.call("functions.echo", sent)
        assert type(returned) is bytes
        assert returned == sent
        assert node.call("arrays.kind", node.call("arrays.keep", sent)) == "Uint8Array"
    many = node.call("functions.echo", {"one": data, "others": [data[::-1], b"small"]})
    assert many == {"one": data, "others": [data[::-1], b"small"]}


def test_streams_and_notifications_carry_them(node: shm_protocol.Client) -> None:
    sent = sample()
    node.notify("arrays.keep", sent)
    items = list(node.stream("arrays.each", [sent, sent * 2]))
    assert [item[7] for item in items] == [7, 14]


def test_they_do_not_pass_through_the_ring(client: shm_protocol.Connection) -> None:
    before = client.stats
    assert client.call("functions.echo", sample()).nbytes == LENGTH * 8
    after = client.stats
    assert after["bytes_sent"] - before["bytes_sent"] < 200
    assert after["bytes_received"] - before["bytes_received"] < 200
    assert (after["buffers_lent"], after["buffers_borrowed"]) == (1, 1)
    assert mine(client)["path"] == "memory"


def test_what_is_smaller_stays_in_its_message(client: shm_protocol.Connection) -> None:
    client.call("functions.echo", bytes(512 * 1024 - 1))
    assert client.stats["buffers_lent"] == 0
    client.call("functions.echo", bytes(512 * 1024))
    assert client.stats["buffers_lent"] == 1


def test_a_received_array_cannot_be_written_to_in_python(client: shm_protocol.Connection) -> None:
    returned = client.call("functions.echo", sample())
    assert not returned.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        returned[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        returned.flags.writeable = True
    copied = returned.copy()
    copied[0] = 1


def test_a_write_in_node_is_seen_by_nobody_else(client: shm_protocol.Connection) -> None:
    shared = shm_protocol.empty(LENGTH)
    shared[:] = 1
    index = client.call("arrays.keep", shared)
    client.call("arrays.write", index, 0, 7)
    assert client.call("arrays.read", index, 0) == 7
    assert shared[0] == 1
    assert client.call("arrays.give", index)[0] == 7


def test_what_was_copied_may_be_changed_by_its_sender(client: shm_protocol.Connection) -> None:
    sent = sample()
    index = client.call("arrays.keep", sent)
    sent[:] = 0
    assert client.call("arrays.read", index, 9) == 9


def test_what_is_made_in_shared_memory_is_not_copied_and_its_changes_are_seen(client: shm_protocol.Connection) -> None:
    shared = shm_protocol.empty((4, LENGTH))
    shared[:] = 1
    whole = client.call("arrays.keep", shared)
    part = client.call("arrays.keep", shared[2])
    shared[2, 5] = 8
    assert client.call("arrays.read", whole, 2 * LENGTH + 5) == 8
    assert client.call("arrays.read", part, 5) == 8
    assert client.stats["bytes_lent"] == shared.nbytes
    # What begins elsewhere is copied.
    copied = client.call("arrays.keep", shared.reshape(-1)[1:])
    shared[0, 1] = 9
    assert client.call("arrays.read", copied, 0) == 1


def test_what_node_makes_in_shared_memory_is_not_copied_either(client: shm_protocol.Connection) -> None:
    index = client.call("arrays.makeShared", LENGTH)
    one = client.call("arrays.give", index)
    assert one.sum() == LENGTH
    client.call("arrays.write", index, 3, 5)
    assert one[3] == 5
    assert client.call("arrays.letGo", index) == 0
    assert one[3] == 5


def test_what_nobody_holds_any_more_is_returned(shm_pair: Pair, client: shm_protocol.Connection) -> None:
    index = client.call("arrays.keep", sample())
    assert client.stats["bytes_lent"] == LENGTH * 8
    client.call("arrays.letGo", index)
    wait_until_returned(shm_pair, client)
    held = client.call("arrays.give", client.call("arrays.makeShared", LENGTH))
    assert mine(client)["bytesLent"] == LENGTH * 8
    del held
    client.call("functions.echo", 1)
    assert mine(client)["bytesLent"] == 0


def test_the_same_array_may_be_lent_many_times_over(shm_pair: Pair, client: shm_protocol.Connection) -> None:
    shared = shm_protocol.empty(LENGTH)
    indices = [client.call("arrays.keep", shared) for _ in range(3)]
    assert len({client.call("arrays.read", index, 0) for index in indices}) == 1
    assert client.stats["buffers_lent"] == 3
    for index in indices:
        assert client.stats["bytes_lent"] == shared.nbytes
        client.call("arrays.letGo", index)
    wait_until_returned(shm_pair, client)


def test_node_survives_when_many_views_of_one_memory_go_together(client: shm_protocol.Connection) -> None:
    # From Node 24 on V8 ends the process where what it counts of memory would come to less than nothing.
    shared = shm_protocol.empty(4 * 1024 * 1024)
    for _ in range(30):
        assert client.call("arrays.length", shared) == shared.size
    client.call("arrays.collect")
    assert client.call("arrays.length", shared) == shared.size


def test_nothing_stays_lent_of_a_call_that_was_not_made(client: shm_protocol.Connection) -> None:
    with pytest.raises(shm_protocol.EncodeError, match=re.escape("args[1].deep[0]")):
        client.call("functions.echo", sample(), {"deep": [object()]})
    assert client.stats["bytes_lent"] == 0
    with pytest.raises(shm_protocol.MessageTooLarge):
        client.call("functions.echo", sample(), "x" * 2**26)
    assert client.stats["bytes_lent"] == 0
    assert client.call("functions.echo", sample())[3] == 3


def test_a_worker_lends_and_borrows_too(shm_pair: Pair, client: shm_protocol.Connection) -> None:
    index = client.call("arrays.keep", sample())
    assert client.call("arrays.pass", "worker.keep", index) == [["ndarray", [LENGTH]]]
    told = client.call("arrays.stats", WORKER)
    assert told["path"] == "memory"
    assert told["bytesLent"] >= LENGTH * 8
    client.call("driver.attempt", "worker.forget", [])
    shm_pair.wait_until(lambda: client.call("arrays.stats", WORKER)["bytesLent"] == 0, "all is returned")


def test_no_descriptor_and_no_mapping_stays_where_nothing_is_lent(
    shm_pair: Pair, client: shm_protocol.Connection
) -> None:
    client.call("driver.attempt", "worker.forget", [])

    def is_clean(pid: int | str) -> bool:
        client.call("arrays.collect")
        return not memory_descriptors(pid) and not mapped_memory(pid)

    # On a connection of its own, which ends: this process keeps what it gets back, and whoever knows it has it open.
    with shm_pair.connect() as other:
        for _ in range(20):
            other.call("functions.echo", sample())
            other.call("arrays.pass", "worker.echo", other.call("arrays.makeShared", LENGTH))
    client.call("arrays.forget")
    for pid in (shm_pair.workers[0].pid, shm_pair.node.pid):
        shm_pair.wait_until(lambda pid=pid: is_clean(pid), f"nothing is left in {pid}")  # type: ignore[misc]


def test_a_large_buffer_does_not_count_towards_max_message(transport: str) -> None:
    with Pair(transport, max_message=100_000) as pair, pair.connect() as client:
        if transport == "socket":
            with pytest.raises(shm_protocol.MessageTooLarge, match="max_message is 100000"):
                client.call("functions.echo", sample())
        else:
            assert client.call("functions.echo", sample())[5] == 5
            assert len(client.call("functions.echo", bytes(2**20))) == 2**20


def test_where_it_is_turned_off_and_over_the_socket_the_message_has_all_of_it(transport: str) -> None:
    with Pair(transport, {"SHM_POLYGLOT_BUFFER_BYTES": "0"}) as pair:
        pair.add_worker()
        with pair.connect() as client:
            assert client.call("functions.echo", sample()).flags.writeable
            told = client.call("arrays.stats", WORKER)
            assert told["path"].startswith("ring: ")
            watch = Watch(read_settings(pair.path, transport=transport))
            watch.look()
            shown = "\n".join(table(watch.look(), 200))
            watch.close()
        if transport == "shm":
            assert "large buffers by ring: SHM_POLYGLOT_BUFFER_BYTES is 0" in shown


def test_top_tells_what_is_lent(shm_pair: Pair, client: shm_protocol.Connection) -> None:
    held = client.call("arrays.give", client.call("arrays.makeShared", LENGTH))
    watch = Watch(read_settings(shm_pair.path, transport="shm"))
    watch.look()
    shown = "\n".join(table(watch.look(), 200))
    watch.close()
    assert "large buffers by memory: 1 sent, 0 received, 0.5 MB not returned, 0.0 MB kept" in shown
    assert held[0] == 1


@pytest.mark.parametrize("dies", ["node", "worker"])
def test_whoever_dies_while_an_array_is_mapped_the_other_keeps_it_and_nothing_leaks(dies: str) -> None:
    with Pair("shm") as pair:
        worker = pair.add_worker()
        with pair.connect() as client:
            index = client.call("arrays.makeShared", LENGTH)
            client.call("arrays.pass", "worker.keep", index)
            kept = client.call("arrays.keep", sample())
            mapped = client.call("functions.echo", sample())
            returned = client.call("functions.callBack", "worker.give_kept", [0])
            assert returned[0] == 1
            if dies == "worker":
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                pair.workers.remove(worker)
                assert client.call("arrays.read", kept, 9) == 9
                assert client.call("functions.echo", sample())[9] == 9
            else:
                pair.node.send_signal(signal.SIGKILL)
                pair.node.wait()
                with pytest.raises((shm_protocol.PeerGone, shm_protocol.PeerUnavailable)):
                    client.call("functions.echo", sample())
            assert mapped[LENGTH - 1] == LENGTH - 1
            assert returned[LENGTH - 1] == 1
            left = memory_descriptors()
        del mapped, returned
    # What this process has is its own, kept for the next: nothing of the other's is open.
    assert len(memory_descriptors()) <= len(left)


def test_a_forked_child_reuses_no_memory_of_its_parents(client: shm_protocol.Connection) -> None:
    shared = shm_protocol.empty(LENGTH)
    shared[:] = 1
    index = client.call("arrays.keep", shared)
    child = os.fork()
    if child == 0:
        del shared
        other = shm_protocol.empty(LENGTH)
        other[:] = 9
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.call("arrays.read", index, 0) == 1
    assert shared[0] == 1

"""A /dev/shm that is full, or as small as a container's, or read-only: who wants shared memory is told, and who takes
either transport is served over the socket and told that, too.
"""

import contextlib
from pathlib import Path

import http_client
import own_dev_shm
import pytest
import shm_protocol
from services import Services

SEGMENT_BYTES = 4096 + 2 * 256 * 1024
"""What a connection takes with the default capacity of its rings."""

FULL = rf"/dev/shm is full \(ENOSPC\): a connection takes {SEGMENT_BYTES} bytes, \d+ of \d+ are free\. .*--shm-size"


def node_socket(services: Services) -> Path:
    return services.directory / "run" / "node.sock"


def slugify_status(services: Services) -> int:
    return http_client.post(f"{services.python_url}/api/slugify", {"text": "Hello"}).status


def test_with_no_room_for_a_segment_the_socket_is_taken_and_the_log_says_why() -> None:
    def body() -> None:
        with Services(workers=1) as services:
            assert slugify_status(services) == 200
            assert http_client.post(f"{services.node_url}/api/predict", {"text": "good"}).status == 200
            assert "the socket transport is used, which is slower: /dev/shm is full (ENOSPC)" in services.logs("python")
            with shm_protocol.connect(node_socket(services)) as node:
                assert (node.transport, node.call("typescript_utils.slugify", "A b")) == ("socket", "a-b")

    own_dev_shm.run("256k", body)


def test_a_read_only_dev_shm_is_told_and_the_socket_is_taken() -> None:
    def body() -> None:
        own_dev_shm.make_read_only()
        with Services(sides=["node"]) as services:
            with pytest.raises(shm_protocol.PeerUnavailable, match="in /dev/shm: .*Read-only file system"):
                shm_protocol.connect(node_socket(services), transport="shm")
            with shm_protocol.connect(node_socket(services)) as node:
                assert (node.transport, node.call("typescript_utils.slugify", "A b")) == ("socket", "a-b")

    own_dev_shm.run("64m", body)


def test_where_only_shared_memory_is_taken_both_sides_serve_what_they_can_and_meet_when_there_is_room() -> None:
    def body() -> None:
        with Services(workers=1, sides=["node"], transport="shm") as services:
            services.start_python()
            services.wait_until(
                lambda: "/dev/shm is full (ENOSPC)" in services.logs("python"),
                "the worker says why it is not attached",
            )
            worker = services.worker_pids()
            assert http_client.get(f"{services.python_url}/hello").status == 200
            assert http_client.get(f"{services.node_url}/api/stats").status == 200
            refused = http_client.post(f"{services.python_url}/api/slugify", {"text": "Hello"})
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            with pytest.raises(shm_protocol.PeerUnavailable, match=FULL):
                shm_protocol.connect(node_socket(services), transport="shm")

            own_dev_shm.resize("64m")
            services.wait_until(lambda: slugify_status(services) == 200, "the worker attaches by itself")
            assert services.worker_pids() == worker
            with shm_protocol.connect(node_socket(services)) as node:
                assert node.call("typescript_utils.slugify", "A b") == "a-b"

    own_dev_shm.run("256k", body)


def test_64_mb_hold_120_connections_and_the_first_that_does_not_fit_disturbs_none_of_them() -> None:
    def body() -> None:
        with Services(sides=["node"]) as services, contextlib.ExitStack() as stack:
            clients: list[shm_protocol.Client] = []
            with pytest.raises(shm_protocol.PeerUnavailable, match=FULL):
                while True:
                    client = shm_protocol.connect(node_socket(services), transport="shm")
                    clients.append(stack.enter_context(client))
            assert 120 <= len(clients) <= (64 << 20) / SEGMENT_BYTES
            for number, client in enumerate(clients):
                assert client.call("typescript_utils.slugify", f"Client {number}") == f"client-{number}"
            # A client that is to have a second connection is told the same, and its first goes on.
            with clients[1].stream("typescript_utils.slugify", "x") as stream:
                with pytest.raises(shm_protocol.PeerUnavailable, match=FULL):
                    clients[1].call("typescript_utils.slugify", "no room")
                stream.close()
            assert clients[1].call("typescript_utils.slugify", "Room") == "room"

            clients[0].close()
            services.wait_until(lambda: own_dev_shm.free_bytes() >= SEGMENT_BYTES, "both have let go of the memory")
            with shm_protocol.connect(node_socket(services)) as node:
                assert node.call("typescript_utils.slugify", "A b") == "a-b"

    own_dev_shm.run("64m", body)

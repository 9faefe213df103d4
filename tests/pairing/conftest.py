"""The pair that the tests of one module share, once for each transport. A test that harms it makes its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import shm_protocol
from peers import Pair


@pytest.fixture(scope="module", params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each test runs over both."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pair(transport: str) -> Iterator[Pair]:
    """Node, and one Python worker."""
    with Pair(transport) as running:
        running.add_worker()
        yield running


@pytest.fixture
def node(pair: Pair) -> Iterator[shm_protocol.Client]:
    """A client of Node."""
    with pair.connect() as client:
        yield client

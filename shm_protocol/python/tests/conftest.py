"""What the tests share: a private directory for a socket, and an acceptor listening there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptor import Acceptor


@pytest.fixture
def path() -> Iterator[Path]:
    """Where to listen: short, because a socket's path may have 107 bytes, and in a directory of mode 0700."""
    directory = tempfile.mkdtemp(prefix="shmp-")
    yield Path(directory) / "node.sock"
    shutil.rmtree(directory)


@pytest.fixture
def listen(path: Path) -> Iterator[Callable[..., Acceptor]]:
    """Makes acceptors at `path`, and ends them."""
    acceptors: list[Acceptor] = []

    def make(*args: Any, **options: Any) -> Acceptor:
        acceptor = Acceptor(path, *args, **options)
        acceptors.append(acceptor)
        return acceptor

    yield make
    for acceptor in acceptors:
        acceptor.close()

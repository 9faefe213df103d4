"""A Node process that is kept, and lines of JSON over its standard input and output."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Final

from bench.json_value import unwrap, wrap
from bench.peers.bundle import bundle
from bench.pinning import callee_command

PIPE_BYTES: Final = 64 * 1024
"""What a pipe holds: to read less at once would only cost system calls."""
READY: Final = '"ready"'
"""What a child says first."""


class Caller:
    """The process and the pipes to it. Each caller has its own."""

    def __init__(self, address: str) -> None:
        self._child = subprocess.Popen(
            callee_command(["node", bundle("stdio_callee", address)]),
            bufsize=PIPE_BYTES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to, self._from = self._child.stdin, self._child.stdout
        self._next_line()

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        self._to.write(json.dumps([function, wrap(argument)]).encode() + b"\n")
        self._to.flush()
        return unwrap(json.loads(self._next_line()))

    def stop(self) -> None:
        """See interface.py."""
        # A child that has ended has not read all: the call that found it so has said that.
        with self._child, contextlib.suppress(BrokenPipeError):
            self._to.close()

    def _next_line(self) -> bytes:
        line = self._from.readline()
        if not line:
            raise ConnectionError(f"the child has ended with exit code {self._child.wait()}")
        return line


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)

"""A Node process for every call: function and argument as JSON on its standard input, the answer on its output."""

from __future__ import annotations

import json
import subprocess

from bench.json_value import unwrap, wrap
from bench.peers.bundle import bundle
from bench.pinning import callee_command


class Caller:
    """What has to be known to make the process."""

    def __init__(self, address: str) -> None:
        self._command = callee_command(["node", bundle("spawn_callee", address)])

    def call(self, function: str, argument: object) -> object:
        """See interface.py. Raises CalledProcessError; what the child says is on standard error."""
        call = json.dumps([function, wrap(argument)]).encode()
        child = subprocess.run(self._command, input=call, stdout=subprocess.PIPE, check=True)
        return unwrap(json.loads(child.stdout))

    def stop(self) -> None:
        """See interface.py. There is nothing to end."""


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)

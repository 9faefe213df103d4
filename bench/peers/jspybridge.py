"""JSPyBridge, from Python: `javascript` starts Node and gives its objects as proxies, functions too."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from bench.json_value import unwrap, wrap
from bench.peers.bundle import bundle
from bench.pinning import callee_command


def node_program(address: str) -> str:
    """A program that is Node on the callee's core: JSPyBridge takes no arguments for it."""
    program = Path(address) / "node"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(callee_command(["node"]))} "$@"\n')
    program.chmod(0o755)
    return str(program)


class Caller:
    """The bridge, of which there is one in a process: it starts when it is imported."""

    def __init__(self, address: str) -> None:
        os.environ["NODE_BIN"] = node_program(address)
        import javascript
        from javascript.proxy import Proxy

        self._bridge = javascript
        self._proxy = Proxy
        self._callee: Any = javascript.require(bundle("jspybridge_callee", address))
        # A function's proxy is of use only as long as that of the object it was taken from.
        self._functions: Any = self._callee.FUNCTIONS
        self._taken: dict[str, Any] = {}

    def call(self, function: str, argument: object) -> object:
        """See interface.py. An object comes as a proxy: to have its value is one message more there and back."""
        if isinstance(argument, bytes):
            # They would come as a proxy for an object that stays here: nothing of them would have been sent.
            return unwrap(self._callee.callWithBytes(function, wrap(argument)).valueOf())
        proxy = self._taken.get(function)
        if proxy is None:
            proxy = self._taken[function] = getattr(self._functions, function)
        answer = proxy(argument)
        return answer.valueOf() if isinstance(answer, self._proxy) else answer

    def stop(self) -> None:
        """See interface.py."""
        child = self._bridge.connection.proc
        self._bridge.terminate()
        child.wait()


def start(address: str) -> Caller:
    """See interface.py."""
    return Caller(address)

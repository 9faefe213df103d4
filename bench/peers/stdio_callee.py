"""The child of stdio.ts: answers each line of its standard input with one. It says `ready`, and ends with its input."""

from __future__ import annotations

import json
import sys

from bench.json_value import unwrap, wrap
from bench.peers.stdio import PIPE_BYTES, READY
from bench.workload import FUNCTIONS


def main() -> None:
    """Answer until there is no more input."""
    print(READY, flush=True)
    with open(sys.stdin.fileno(), "rb", buffering=PIPE_BYTES) as lines:  # noqa: PTH123  # a descriptor is no path
        for line in lines:
            function, argument = json.loads(line)
            sys.stdout.write(json.dumps(wrap(FUNCTIONS[function](unwrap(argument)))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

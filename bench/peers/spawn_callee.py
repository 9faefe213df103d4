"""The child of spawn.ts: one call from its standard input, its answer on its output.

It is started with as little of Python as there can be (`python -I -S`) and imports only what the call needs: not
bench.workload, which would double the time to its first line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

# The root of the project, which -I leaves out.
sys.path.insert(0, __file__.rsplit("/", 3)[0])

from bench.json_value import unwrap, wrap
from python_side import ml_service

FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "echo": lambda value: value,
    "predict": ml_service.predict,
    "batch": ml_service.predict_batch,
}


def main() -> None:
    """Make the call."""
    function, argument = json.load(sys.stdin)
    sys.stdout.write(json.dumps(wrap(FUNCTIONS[function](unwrap(argument)))))


if __name__ == "__main__":
    main()

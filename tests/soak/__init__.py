"""Full load for minutes or hours, and what every process holds meanwhile: `python -m tests.soak`."""

import sys
from pathlib import Path

# The tests' helpers lie beside this folder: pytest finds them by itself, `python -m` does not.
_TESTS = str(Path(__file__).resolve().parent.parent)
if _TESTS not in sys.path:
    sys.path.append(_TESTS)

"""The check of decoders.py named by $FUZZ_CHECK, under Atheris: under_atheris.py [option of libFuzzer or folder ...]"""

from __future__ import annotations

import os
import sys
from typing import Final

import atheris

# The compiled decoder reports its coverage to the fuzzer in here, so it has to see it.
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
import atheris.core_with_libfuzzer  # noqa: E402

COMPARED_ONE_IN: Final = 32
SEEN: Final = ("values.decoder", "values.ext_types", "frames", "handshake")

with atheris.instrument_imports(include=[f"shm_protocol.{module}" for module in SEEN]):
    from fuzz import decoders


def main() -> None:
    """Fuzz until an option says that it is enough."""
    decoders.compared_one_in = COMPARED_ONE_IN
    check = decoders.CHECKS[os.environ["FUZZ_CHECK"]]

    def run_once(data: bytes) -> None:
        check(data)

    atheris.Setup(sys.argv, run_once, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The compiled part of the package: the C core with its Cython binding, MessagePack of plain values, and the calls that
need nothing else. All else is in pyproject.toml.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

CORE = "shm_protocol/core"
PACKAGE = "shm_protocol/python/shm_protocol"


def compiled(name: str, core: tuple[str, ...] = ()) -> Extension:
    """One module of the package, with the parts of the core it is built on."""
    return Extension(
        f"shm_protocol.{name}",
        sources=[f"{PACKAGE}/{name}.pyx", *(f"{CORE}/{part}.c" for part in core)],
        # Named, so that a source distribution has them and a change builds anew.
        depends=[str(header) for header in sorted([*Path(CORE).glob("*.h"), *Path(PACKAGE).glob("*.pxd")])],
        include_dirs=[CORE],
        # Elsewhere the socket transport does without; on Linux a module that does not compile is an error.
        optional=sys.platform != "linux",
        extra_compile_args=["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
    )


setup(
    ext_modules=[
        compiled("_binding", ("bus_guard", "channel", "ring", "segment", "waiter")),
        compiled("_plain_values"),
        compiled("_direct_calls"),
    ]
)

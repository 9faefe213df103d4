"""The compiled part of the package: the C core and its Cython binding. All else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup

CORE = "shm_protocol/core"

setup(
    ext_modules=[
        Extension(
            "shm_protocol._binding",
            sources=[
                "shm_protocol/python/shm_protocol/_binding.pyx",
                *(f"{CORE}/{name}.c" for name in ("channel", "ring", "segment", "waiter")),
            ],
            # Named, so that a source distribution has them and a change builds anew.
            depends=[str(header) for header in sorted(Path(CORE).glob("*.h"))],
            include_dirs=[CORE],
            # Elsewhere the socket transport does without; on Linux a binding that does not compile is an error.
            optional=sys.platform != "linux",
            extra_compile_args=["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
        )
    ]
)

"""The compiled part of the package: the C core with its Cython binding, the codec, and the calls that
need nothing else. All else is in pyproject.toml.

SHM_POLYGLOT_EXTENSIONS says what becomes of it:
    auto      (default) it is compiled where that succeeds; elsewhere the package is installed without it, and says so
    required  what does not compile is an error
    none      the package is installed without it
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

CORE = "shm_protocol/core"
PACKAGE = "shm_protocol/python/shm_protocol"
CHOICES = ("auto", "required", "none")
CHOICE = os.environ.get("SHM_POLYGLOT_EXTENSIONS", "auto")

WITHOUT = """\
********************************************************************************
shm-polyglot is installed WITHOUT its compiled part, which could not be built:
    {reason}
It has no shared memory then, only the socket transport, and a codec in Python:
a call takes about thirty times as long. To have all of it, install a wheel, or
a C compiler with Python's headers (Debian, Ubuntu: apt-get install gcc libc6-dev
python3-dev; Fedora: dnf install gcc python3-devel; Alpine: apk add gcc musl-dev
python3-dev) and then: pip install --force-reinstall --no-cache-dir shm-polyglot
********************************************************************************"""


class BuildWhatCanBe(build_ext):
    """Compiles all of the modules or none: a half of them is a state that nobody tests."""

    def run(self) -> None:
        """Says what was lost, on the terminal, past what pip keeps to itself."""
        try:
            super().run()
        except (BaseError, CompileError, LinkError, OSError) as error:
            if CHOICE == "required":
                raise
            self.extensions.clear()
            print(WITHOUT.format(reason=" ".join(str(error).split())), file=sys.stderr, flush=True)


def compiled(name: str, core: tuple[str, ...] = ()) -> Extension:
    """One module of the package, with the parts of the core it is built on."""
    return Extension(
        f"shm_protocol.{name}",
        sources=[f"{PACKAGE}/{name}.pyx", *(f"{CORE}/{part}.c" for part in core)],
        # Named, so that a source distribution has them and a change builds anew.
        depends=[str(header) for header in sorted([*Path(CORE).glob("*.h"), *Path(PACKAGE).glob("*.pxd")])],
        include_dirs=[CORE],
        # For shm_open, before glibc 2.34.
        libraries=["rt"] if core and sys.platform == "linux" else [],
        extra_compile_args=["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
    )


if CHOICE not in CHOICES:
    sys.exit(f"SHM_POLYGLOT_EXTENSIONS is {CHOICE!r}, not one of {', '.join(CHOICES)}")

setup(
    cmdclass={"build_ext": BuildWhatCanBe},
    ext_modules=[]
    if CHOICE == "none"
    else [
        compiled("_binding", ("bus_guard", "channel", "ring", "segment", "waiter")),
        compiled("_codec"),
        compiled("_direct_calls"),
        compiled("_memory", ("descriptors", "memory")),
    ],
)

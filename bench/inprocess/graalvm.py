"""Node's side of the showcase with Python in its own process, on the JVM: `python -m bench.inprocess.graalvm PORT`.

This process becomes the JVM, which says `ready` once it listens. GraalJS answers, and calls GraalPy for the model; one
thread at a time is in either (bench/graalvm/src/bench/Server.java).
"""

from __future__ import annotations

import os
import sys

from bench.graalvm import jvm


def main() -> None:
    """Never returns."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(f"usage: python -m bench.inprocess.graalvm PORT, a number; not {' '.join(sys.argv[1:]) or 'nothing'}")
    if not jvm.BUILD.exists():
        sys.exit(f"{jvm.BUILD} is not there; {sys.executable} -m bench.graalvm_setup makes it")
    try:
        jdk = jvm.find_jdk()
    except jvm.NoJdk as error:
        sys.exit(str(error))
    command = jvm.command(jdk, "bench.Server", sys.argv[1], str(jvm.ROOT))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

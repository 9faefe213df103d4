"""Gets GraalPy and GraalJS by Maven and builds the programs that run them: `python -m bench.graalvm_setup`.

The result is bench/build/graalvm: there whole or not at all, and left alone unless something it is made of changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.graalvm import jvm

SOURCE: Final = jvm.ROOT / "bench" / "graalvm"
GOALS: Final = ("dependency:copy-dependencies@modules", "dependency:copy-dependencies@compiler", "compiler:compile")
MADE_FROM: Final = "made_from"
"""In the result: the digest of each of its sources."""


class SetupFailed(Exception):
    """It could not be built. The message says what is missing, and how to get it."""


def sources() -> str:
    """What the result is made from, with a digest of each file."""
    files = [SOURCE / "pom.xml", *sorted((SOURCE / "src").rglob("*.java"))]
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(SOURCE)}\n" for file in files)


def is_built(build: Path = jvm.BUILD) -> bool:
    """Whether the result is there and no older than what it is made from."""
    stamp = build / MADE_FROM
    return stamp.exists() and stamp.read_text() == sources()


def build(target: Path = jvm.BUILD, environment: Mapping[str, str] = os.environ) -> None:
    """Make the result in `target`. Raises SetupFailed or NoJdk."""
    maven = shutil.which("mvn", path=environment.get("PATH"))
    if maven is None:
        raise SetupFailed("GraalVM's languages come by Maven, and there is no mvn: apt-get install maven")
    jdk = jvm.find_jdk(environment)
    made_from = sources()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="graalvm-", dir=target.parent) as directory:
        output = Path(directory) / "graalvm"
        print(f"graalvm: Maven gets GraalPy, GraalJS and the Graal compiler, with Java {jdk.major} in {jdk.home}")
        maven_command = [maven, "--batch-mode", "--quiet", f"--file={SOURCE / 'pom.xml'}", f"-Doutput={output}", *GOALS]
        run(maven_command, {**environment, "JAVA_HOME": str(jdk.home)})
        print("graalvm: they run once, and say what they are:")
        run(jvm.command(jdk, "bench.Describe", str(jvm.ROOT), build=output), environment)
        (output / MADE_FROM).write_text(made_from)
        if target.exists():
            shutil.rmtree(target)
        output.rename(target)
    print(f"graalvm: built in {target}")


def run(command: list[str], environment: Mapping[str, str]) -> None:
    """Run it where the user sees what it says. Raises SetupFailed."""
    sys.stdout.flush()
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != 0:
        raise SetupFailed(f"exit code {code}, its message stands above: {' '.join(command)}")


def main() -> None:
    """Build what is not built."""
    if is_built():
        print(f"graalvm: {jvm.BUILD} is up to date")
        return
    try:
        build()
    except (SetupFailed, jvm.NoJdk) as error:
        sys.exit(f"graalvm: {error}")


if __name__ == "__main__":
    main()

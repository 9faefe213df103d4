"""The JVM in which GraalPy and GraalJS run: which JDK, and the command that starts a program of src/ on it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BUILD: Final = ROOT / "bench" / "build" / "graalvm"
SYSTEM: Final = Path("/usr/lib/jvm")

OLDEST: Final = 21
"""What GraalVM's libraries need."""
COMPILED: Final = 25
"""The one Java that the Graal compiler in pom.xml is made for; on another its languages are interpreted."""
UNSAFE_WARNS: Final = 24
"""From which Java on the JVM warns of what GraalVM's libraries use, unless told not to."""


class NoJdk(Exception):
    """There is no JDK that would do. The message says where was looked, and how to get one."""


@dataclass(frozen=True)
class Jdk:
    """An installed JDK."""

    home: Path
    major: int
    """25 for Java 25.0.3."""
    is_graalvm: bool
    """Whether it has the Graal compiler already."""


def jdk_at(home: Path) -> Jdk | None:
    """The JDK in that folder; None if it is none, or one without a compiler for Java."""
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "javac").exists():
        return None
    text = release.read_text(errors="replace")
    version = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return Jdk(home, int(version[1]), "GRAALVM_VERSION=" in text) if version else None


def find_jdk(environment: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Jdk:
    """The one of BENCH_JAVA_HOME; else, of that of JAVA_HOME and those in `system`, one that compiles, or the newest.

    Raises NoJdk.
    """
    wanted = environment.get("BENCH_JAVA_HOME", "")
    if wanted:
        places = [Path(wanted)]
    else:
        places = [Path(environment["JAVA_HOME"])] if environment.get("JAVA_HOME") else []
        places += sorted({place.resolve() for place in system.glob("*")})
    found = [jdk for jdk in map(jdk_at, places) if jdk is not None]
    fit = [jdk for jdk in found if jdk.major >= OLDEST]
    if not fit:
        where = f"BENCH_JAVA_HOME ({wanted})" if wanted else f"JAVA_HOME or {system}"
        seen = ", ".join(f"Java {jdk.major} in {jdk.home}" for jdk in found) or "none"
        raise NoJdk(
            f"GraalVM's languages need a JDK of Java {OLDEST} or newer; in {where} there is {seen}. Install one, best"
            f" of Java {COMPILED} (the package temurin-{COMPILED}-jdk or openjdk-{COMPILED}-jdk), or say where it is by"
            " BENCH_JAVA_HOME"
        )
    return max(fit, key=lambda jdk: (jdk.major == COMPILED, jdk.major))


def command(jdk: Jdk, main: str, *arguments: str, build: Path = BUILD) -> list[str]:
    """What starts the class `main` with GraalPy and GraalJS, and with their optimising compiler where that JDK can."""
    modules, compiler = build / "modules", build / "compiler"
    if jdk.major == COMPILED and not jdk.is_graalvm:
        # A stock JDK has only the interface to this compiler, and that switched off.
        options = ["-XX:+UnlockExperimentalVMOptions", "-XX:+EnableJVMCI"]
        options += [f"--upgrade-module-path={compiler}", f"--module-path={modules}"]
    else:
        options = [f"--module-path={modules}:{compiler}"]
    if jdk.major >= UNSAFE_WARNS:
        options.append("--sun-misc-unsafe-memory-access=allow")
    return [
        str(jdk.home / "bin" / "java"),
        *options,
        "--add-modules=org.graalvm.polyglot",
        "--enable-native-access=org.graalvm.truffle",
        # Standard output belongs to the program.
        "-Xlog:disable",
        "-Xlog:all=warning:stderr",
        # Python's standard library is unpacked there, and not in the home directory.
        f"-Dpolyglot.engine.userResourceCache={build / 'resources'}",
        f"--class-path={build / 'classes'}",
        main,
        *arguments,
    ]

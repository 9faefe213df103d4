"""CPython's C headers, of every version that a wheel is made for, and its interpreter, to try the wheel.

They come from org.bytedeco:cpython, which has whole CPythons for Linux and is the only registry package here that does;
versions are never replaced there. The headers of x86-64 serve every platform: those of aarch64 differ in pyconfig.h, in
what only CPython's own sources ask for (computed gotos, readline, the x87), and both are little-endian with 64-bit
pointers, under glibc and musl alike.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.running import Failed, Missing, run, say

__all__ = ["CPYTHONS", "CPython", "headers", "interpreter"]

_MAVEN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_INSIDE: Final = "org/bytedeco/cpython/linux-x86_64"


@dataclass(frozen=True, slots=True)
class CPython:
    """python: e.g. "3.12". release: of the package. sha256: of its archive."""

    python: str
    release: str
    sha256: str

    @property
    def tag(self) -> str:
        """As in the names of wheels, e.g. "cp312"."""
        return f"cp{self.python.replace('.', '')}"


CPYTHONS: Final = (
    CPython("3.11", "3.11.3-1.5.9", "668b42f6a8b1a9789de7d3ca54a81fefb754cd8e885554b42858bbcbc0dd497c"),
    CPython("3.12", "3.12.1-1.5.10", "a135fcf4dc01adebf7ea439252276fc3196db80f7e0dd3da0b61f1ec489b68bd"),
    CPython("3.13", "3.13.5-1.5.12", "50ad91aa0baa57f0235bb666b87d8bf2a44e215d28c250de1030502906af143b"),
    CPython("3.14", "3.14.3-1.5.13", "eb5f1a6fe2dc498ac18927189a37f28a47b0ba06ae6bd85112eff023fe2eb46f"),
)


def _archive(cpython: CPython, downloads: Path) -> Path:
    """The archive of this CPython, for x86-64, downloaded once. Raises Failed, Missing."""
    name = f"cpython-{cpython.release}-linux-x86_64.jar"
    file = downloads / name
    if not file.exists():
        say(f"downloading CPython {cpython.release}")
        artifact = f"-Dartifact=org.bytedeco:cpython:{cpython.release}:jar:linux-x86_64"
        downloads.mkdir(parents=True, exist_ok=True)
        try:
            run(["mvn", "-q", "-B", _MAVEN, artifact, f"-DoutputDirectory={downloads.resolve()}"], cwd=downloads)
        except Missing as missing:
            raise Missing(
                f"Maven, which brings CPython {cpython.python}, is missing: apt-get install maven"
            ) from missing
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != cpython.sha256:
        file.unlink()
        raise Failed(f"{file} has the SHA-256 {found}, not {cpython.sha256}; it was removed")
    return file


def headers(cpython: CPython, downloads: Path) -> Path:
    """The folder with its Python.h. Raises Failed, Missing."""
    inside = f"{_INSIDE}/include/python{cpython.python}"
    unpacked = downloads / "headers"
    folder = unpacked / inside
    if not (folder / "Python.h").exists():
        with zipfile.ZipFile(_archive(cpython, downloads)) as packed:
            packed.extractall(unpacked, [name for name in packed.namelist() if name.startswith(f"{inside}/")])
    return folder


def interpreter(cpython: CPython, downloads: Path, folder: Path) -> Path:
    """Its binary for x86-64, unpacked into `folder`, for tests. Raises Failed, Missing."""
    with zipfile.ZipFile(_archive(cpython, downloads)) as packed:
        packed.extractall(folder)
    python = folder / _INSIDE / "bin" / f"python{cpython.python}"
    python.chmod(0o755)
    return python

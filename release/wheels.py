"""The wheels: for each platform one a CPython whose headers can be had, and one of the stable ABI for newer ones.

The wheel without anything compiled is setuptools's, from the source distribution; the compiled modules are put into it
here, because setuptools compiles for the Python that runs it. A CPython of its own for each is worth it: through the
stable ABI the part of a call that Python does costs a quarter more.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.compiler import Compiler
from release.headers import CPYTHONS, CPython, headers
from release.platforms import PLATFORMS, Platform, is_own
from release.running import run, say
from release.source import Source

__all__ = ["Wheel", "all_wheels", "make", "own_wheel"]

MODULES: Final = {
    "_binding": ("bus_guard", "channel", "ring", "segment", "waiter"),
    "_codec": (),
    "_direct_calls": (),
    "_memory": ("descriptors", "memory"),
}
"""Each compiled module, with the parts of the core in it. As in setup.py; a test compares them."""
_LIMITED_API: Final = "0x030B0000"
_PACKAGE: Final = "shm_protocol"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One that is to be made. stable: of the stable ABI, for `cpython` and every newer one."""

    cpython: CPython
    platform: Platform
    stable: bool = False

    @property
    def tag(self) -> str:
        """E.g. "cp312-cp312-musllinux_1_2_x86_64"."""
        abi = "abi3" if self.stable else self.cpython.tag
        return f"{self.cpython.tag}-{abi}-{self.platform.wheel}"

    @property
    def suffix(self) -> str:
        """Of its modules' files, e.g. ".cpython-312-x86_64-linux-musl.so"."""
        if self.stable:
            return ".abi3.so"
        return f".cpython-{self.cpython.python.replace('.', '')}-{self.platform.extension}.so"


def all_wheels() -> list[Wheel]:
    """What is published."""
    versions = [Wheel(cpython, target) for target in PLATFORMS for cpython in CPYTHONS]
    return [*versions, *(Wheel(CPYTHONS[0], target, stable=True) for target in PLATFORMS)]


def own_wheel() -> Wheel | None:
    """The one for the Python that runs here; None where it gets that of the stable ABI."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return next((wheel for wheel in all_wheels() if wheel.cpython.python == own and is_own(wheel.platform)), None)


def make(
    wheels: list[Wheel],
    sdist: Path,
    source: Source,
    compiler: Compiler,
    work: Path,
    downloads: Path,
    out: Path,
    pool: Executor,
) -> list[Path]:
    """Make them in `out`, from the source distribution. `work`: a folder that is replaced. Raises Failed, Missing."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    includes = {wheel.cpython: headers(wheel.cpython, downloads) for wheel in wheels}
    with tarfile.open(sdist) as packed:
        packed.extractall(work, filter="data")
    tree = work / f"shm_polyglot-{source.version}"
    say("wheels: what is not compiled")
    environment = {**source.environment, "SHM_POLYGLOT_EXTENSIONS": "none"}
    build: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work, "."]
    run(build, cwd=tree, environment=environment)
    [pure] = work.glob("*.whl")
    generate(tree)
    say(f"wheels: {len(wheels)} to compile")
    made = [
        pool.submit(_make_one, wheel, pure, tree, includes[wheel.cpython], source, compiler, work, out)
        for wheel in wheels
    ]
    return [done.result() for done in made]


def generate(tree: Path) -> None:
    """The modules' C, which is the same for all."""
    for name in MODULES:
        # By relative names, because they are in what it makes, for tracebacks.
        cython: list[str | Path] = [
            sys.executable,
            "-m",
            "cython",
            "-3",
            f"{_PACKAGE}/{name}.pyx",
            "-o",
            tree / f"{name}.c",
        ]
        run(cython, cwd=tree / "shm_protocol" / "python")


def limited_api() -> list[str]:
    """The compiler's options for the stable ABI."""
    header = Path(__file__).with_name("limited_api.h")
    return [f"-DPy_LIMITED_API={_LIMITED_API}", f"-I{header.parent}", "-include", header.name]


def _make_one(
    wheel: Wheel, pure: Path, tree: Path, include: Path, source: Source, compiler: Compiler, work: Path, out: Path
) -> Path:
    folder = work / wheel.tag
    run([sys.executable, "-m", "wheel", "unpack", "--dest", folder, pure], cwd=work)
    [unpacked] = folder.iterdir()
    flags = [f"-I{include}", "-Ishm_protocol/core"]
    if wheel.stable:
        flags += limited_api()
    for name, parts in MODULES.items():
        # The last for shm_open, before glibc 2.34.
        sources = [f"{name}.c", *(f"shm_protocol/core/{part}.c" for part in parts), *(["-lrt"] if parts else [])]
        compiler.link(wheel.platform, sources, unpacked / _PACKAGE / f"{name}{wheel.suffix}", cwd=tree, flags=flags)
    [about] = unpacked.glob("*.dist-info/WHEEL")
    python, abi, platforms = wheel.tag.split("-")
    replaced = ("Root-Is-Purelib:", "Tag:")
    kept = [line for line in about.read_text().splitlines() if line and not line.startswith(replaced)]
    tags = [f"Tag: {python}-{abi}-{platform}" for platform in platforms.split(".")]
    about.write_text("\n".join([*kept, "Root-Is-Purelib: false", *tags, ""]))
    for file in unpacked.rglob("*"):
        # Whatever the umask here: modes are packed too.
        file.chmod(0o755 if file.is_dir() or file.suffix == ".so" else 0o644)
    packed = folder / "packed"
    packed.mkdir()
    run(
        [sys.executable, "-m", "wheel", "pack", "--dest-dir", packed, unpacked],
        cwd=work,
        environment=source.environment,
    )
    [file] = packed.iterdir()
    out.mkdir(parents=True, exist_ok=True)
    return file.replace(out / file.name)

"""What has been made is looked at with the tools of those who will take it: a finding of one of them is a failure."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from release.npm_package import ADDON
from release.platforms import PLATFORMS
from release.running import Failed, Missing, run, say
from release.source import ROOT
from release.wheels import MODULES, Wheel

__all__ = ["check_npm_package", "check_python"]

_NODE_TOOLS: Final = ROOT / "release" / "node_modules" / ".bin"
# Whatever is in the tarball is one of these.
_PUBLISHED: Final = re.compile(
    r"package/(LICENSE|README\.md|package\.json|build\.mjs|index\.js|core/\w+\.[ch]|src/\w+\.[ch]|src/[\w/]+\.ts"
    r"|python/described/\w+\.py|types/\w+/index\.d\.ts|dist/[\w/]+\.(js|js\.map|d\.ts)|prebuilds/[\w-]+/shm_protocol\.node)"
)


def check_python(made: Sequence[tuple[Wheel, Path]], sdist: Path) -> None:
    """auditwheel, abi3audit, twine, and what is in there. Raises Failed."""
    say(f"checks: {len(made)} wheels and the source distribution")
    files = [file for _, file in made]
    run([sys.executable, "-m", "twine", "check", "--strict", *files, sdist], cwd=ROOT)
    for wheel, file in made:
        _check_contents(wheel, file)
        shown = run([sys.executable, "-m", "auditwheel", "show", file], cwd=ROOT)
        if f'"{wheel.platform.audited}"' not in " ".join(shown.split()):
            raise Failed(f"{file.name}: auditwheel does not find {wheel.platform.audited}:\n{shown}")
        if wheel.stable:
            run([sys.executable, "-m", "abi3audit", "--strict", file], cwd=ROOT)


def _check_contents(wheel: Wheel, file: Path) -> None:
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
    compiled = {name for name in names if name.endswith(".so")}
    wanted = {f"shm_protocol/{module}{wheel.suffix}" for module in MODULES}
    if compiled != wanted:
        raise Failed(f"{file.name}: compiled are {sorted(compiled)}, not {sorted(wanted)}")
    strange = [name for name in names if not re.match(r"shm_protocol/|shm_polyglot-[\d.]+\.dist-info/", name)]
    if strange or "shm_protocol/py.typed" not in names:
        raise Failed(f"{file.name}: has {strange}, or no py.typed")


def check_npm_package(tarball: Path) -> None:
    """publint, are-the-types-wrong, and what is in there. Raises Failed, Missing."""
    say("checks: the npm package")
    if not (_NODE_TOOLS / "publint").exists():
        raise Missing("publint and attw are missing: `make dist` installs them, and makes the release")
    run([_NODE_TOOLS / "publint", "--strict", tarball], cwd=ROOT)
    run([_NODE_TOOLS / "attw", "--format", "ascii", "--no-color", tarball], cwd=ROOT)
    with tarfile.open(tarball) as packed:
        names = packed.getnames()
    strange = [name for name in names if not _PUBLISHED.fullmatch(name)]
    missing = {f"package/prebuilds/{target.node}/{ADDON}" for target in PLATFORMS} - set(names)
    if strange or missing:
        raise Failed(f"{tarball.name}: has {strange}, has not {sorted(missing)}")

"""`python -m release`: makes what is published, into dist/, and checks it. Nothing is published.

The wheels are for CPython 3.11 to 3.14 and, of the stable ABI, for newer ones, on Linux with glibc 2.17 or musl, x86-64
and aarch64; whatever else has a C compiler builds from the source distribution, and what has none installs it without
the compiled part. The npm package has the addon for the same platforms, and what builds it for others.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from release import checks, npm_package, sdist, source, wheels
from release.compiler import Compiler
from release.platforms import PLATFORMS
from release.running import Failed, Missing, say

RELEASED: Final = (".whl", ".tar.gz", ".tgz")
"""What the files of a release end with."""
COMMANDS: Final = """
exit codes: 0; 1 something could not be made, or a check failed; 2 bad usage, or a tool is missing; 130 Ctrl-C

The same commit makes the same bytes: time stamps are those of its last commit, or SOURCE_DATE_EPOCH.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m release",
        description=__doc__,
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--out",
        type=Path,
        default=source.ROOT / "dist",
        help="where to put it; an earlier release there is replaced (default: dist/)",
    )
    work = source.ROOT / "build" / "release"
    made.add_argument("--work", type=Path, default=work, help="for what is made on the way (default: build/release)")
    made.add_argument(
        "--downloads",
        type=Path,
        default=work / "downloads",
        help="for CPython's headers and what zig builds once a platform (default: build/release/downloads)",
    )
    made.add_argument(
        "--quick", action="store_true", help="of the wheels only the one for this Python and machine, to try things"
    )
    made.add_argument("--list", action="store_true", help="print the wheels and the addon's platforms, and exit")
    made.add_argument("--no-checks", dest="checked", action="store_false", help="leave the checks out")
    return made


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; give the exit code."""
    asked = parser().parse_args(arguments)
    wanted = wheels.all_wheels()
    if asked.quick:
        own = wheels.own_wheel()
        wanted = [wheel for wheel in wanted if wheel == own]
        if not wanted:
            print("error: --quick: there is no wheel for this Python on this machine alone", file=sys.stderr)
            return 2
    if asked.list:
        for target in PLATFORMS:
            print(f"npm    {target.node}")
        for wheel in wanted:
            print(f"wheel  {wheel.tag}")
        return 0
    if strange := not_released(asked.out):
        print(f"error: --out {asked.out}: {strange} is not of a release: give it a folder of its own", file=sys.stderr)
        return 2
    try:
        make(asked.out.resolve(), asked.work.resolve(), asked.downloads.resolve(), wanted, checked=asked.checked)
    except Missing as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C; nothing is left half made in the output folder", file=sys.stderr)
        return 130
    return 0


def not_released(out: Path) -> str:
    """What is at `out` and would be lost if a release were put there: the name of a file, or ""."""
    if out.exists() and not out.is_dir():
        return out.name
    return next((file.name for file in sorted(out.glob("*")) if not file.name.endswith(RELEASED)), "")


def make(out: Path, work: Path, downloads: Path, wanted: list[wheels.Wheel], *, checked: bool) -> None:
    """Make everything, check it, and only then put it into `out`. Raises Failed, Missing."""
    compiler = Compiler(downloads / "zig")
    taken = source.take(work / "tree")
    made = work / "made"
    shutil.rmtree(made, ignore_errors=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            archive = sdist.make(taken, work / "sdist", made)
            tarball = npm_package.make(taken, compiler, work / "npm", made, pool)
            files = wheels.make(wanted, archive, taken, compiler, work / "wheels", downloads, made, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if checked:
        checks.check_python(list(zip(wanted, files, strict=True)), archive)
        checks.check_npm_package(tarball)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in sorted(made.iterdir()):
        moved = Path(shutil.move(file, out / file.name))
        digest = hashlib.sha256(moved.read_bytes()).hexdigest()
        print(f"{digest[:16]}  {moved.stat().st_size:9,}  {moved.name}")
    say(f"{len([archive, tarball, *files])} files in {out}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

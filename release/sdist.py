"""The source distribution, with the same bytes whenever and wherever it is made."""

from __future__ import annotations

import gzip
import sys
import tarfile
from pathlib import Path

from release.running import run, say
from release.source import Source

__all__ = ["make"]


def make(source: Source, work: Path, out: Path) -> Path:
    """Make it in `out`. Raises Failed."""
    say("source distribution")
    build: list[str | Path] = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", work, "."]
    run(build, cwd=source.tree, environment=source.environment)
    [made] = work.glob("*.tar.gz")
    out.mkdir(parents=True, exist_ok=True)
    normalise(made, out / made.name, source.epoch)
    made.unlink()
    return out / made.name


def normalise(made: Path, normal: Path, epoch: int) -> None:
    """Pack an archive again: sorted, with one time stamp, and nobody's files."""
    with (
        tarfile.open(made) as old,
        normal.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime = epoch
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)

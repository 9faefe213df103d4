"""What is released: the files that git knows, in a folder of their own, and the time of the last commit."""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.running import Failed, run, say

__all__ = ["ROOT", "Source", "take"]

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Source:
    """tree: the copied files. epoch: seconds since 1970, for every time stamp. version: of the release."""

    tree: Path
    epoch: int
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """For the programs that write time stamps."""
        return {"SOURCE_DATE_EPOCH": str(self.epoch)}


def take(tree: Path, root: Path = ROOT) -> Source:
    """Copy the files of the checkout `root` to `tree`, which is replaced. Raises Failed where it is no checkout."""
    try:
        names = run(["git", "ls-files", "-z"], cwd=root).split("\0")
        committed = run(["git", "log", "-1", "--format=%ct"], cwd=root).strip()
        if run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=root):
            say("warning: there are changes that are not committed; they are released too")
    except Failed as failure:
        raise Failed(f"a release is made from a git checkout: {failure}") from failure
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or committed)
    shutil.rmtree(tree, ignore_errors=True)
    for name in filter(None, names):
        # One that was deleted and not yet committed is not there.
        if (root / name).is_file():
            copy = tree / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
            copy.chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)
    version = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    return Source(tree, epoch, version)

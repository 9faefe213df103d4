"""A TypeScript module's description, by the compiler of its project.

The compiler takes half a second, so what it has told is kept in $XDG_CACHE_HOME/shm-polyglot, or below ~/.cache: for as
long as the module, what it imports, its tsconfig.json and the compiler have the contents that it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from ..log import logger
from ..node_package import check_new_enough, find_node, script_of
from .description import Module

TIMEOUT_S: Final = 120.0
"""A compiler that takes longer hangs."""

SCRIPT: Final = "describe.js"
_KEPT_FOR: Final = 1
"""A cache of another layout is none."""


class CannotDescribe(Exception):
    """The description cannot be made; the message says why, and what to do."""


class NoCompiler(CannotDescribe):
    """The project has no TypeScript that could be asked."""


class NotTypeScript(CannotDescribe, SyntaxError):
    """The file does not compile; the message shows where."""


def describe(file: Path) -> Module:
    """What the module has. Runs Node where that has not been found out before.

    Raises CannotDescribe, PeerUnavailable where Node or its package is missing, OSError for a file that cannot be read.
    """
    file = file.resolve(strict=True)
    kept = _cache_folder() / f"{hashlib.sha256(os.fsencode(file)).hexdigest()}.json"
    module = _read(kept, file)
    if module is None:
        module, sources = _ask(file)
        _keep(kept, {"layout": _KEPT_FOR, "module": module, "sources": sources})
    return module


def _ask(file: Path) -> tuple[Module, list[tuple[str, str]]]:
    script = script_of(file, SCRIPT)
    try:
        done = subprocess.run(  # noqa: S603  # the node of this user's PATH, with a script of ours
            [find_node(file), str(script), str(file)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotDescribe(f"{file}: TypeScript's compiler has not ended within {TIMEOUT_S:g} s") from None
    told = _parsed(done.stdout)
    if told is None:
        check_new_enough(file, done.stderr)
        said = done.stderr.strip() or f"Node ended with {done.returncode}"
        raise CannotDescribe(f"{file}: it could not be described: {said}")
    if "error" in told:
        kind = {"NoCompiler": NoCompiler, "NotTypeScript": NotTypeScript}.get(told["error"], CannotDescribe)
        raise kind(told["message"])
    return cast("Module", told["module"]), told["sources"]


def _parsed(written: str) -> dict[str, Any] | None:
    """None where the script did not come to write it."""
    try:
        return cast("dict[str, Any]", json.loads(written))
    except ValueError:
        return None


def _cache_folder() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative one is to be ignored, says its specification.
    return (given if given.is_absolute() else Path.home() / ".cache") / "shm-polyglot" / "descriptions"


def _read(kept: Path, file: Path) -> Module | None:
    """What was kept, if it is of this file and of what all its sources are now."""
    try:
        found = json.loads(kept.read_bytes())
        if found["layout"] != _KEPT_FOR or found["module"]["file"] != str(file):
            return None
        if all(_sha256(path) == sha256 for path, sha256 in found["sources"]):
            return cast("Module", found["module"])
    # Whatever is in there instead: it is made again.
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _keep(kept: Path, what: dict[str, object]) -> None:
    """Whole or not at all: others may read it, and write it, meanwhile."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=kept.parent, delete=False) as out:
            try:
                json.dump(what, out)
                out.flush()
                Path(out.name).replace(kept)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(out.name).unlink()
                raise
    except OSError as error:
        logger.info("the description of a TypeScript module cannot be kept: %s", error)

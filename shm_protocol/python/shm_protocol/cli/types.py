"""`shm-polyglot types`: writes what TypeScript's and Python's type checkers need of modules of the other language."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..described import (
    carried,
    crossing_files,
    declarations,
    generated_files,
    python_source,
    stub_files,
    stub_modules,
    typescript_source,
)
from ..described.description import Module
from ..described.generated_files import TYPESCRIPT, NotOurs
from ..described.typescript_source import CannotDescribe
from ..errors import BridgeError
from . import standard_streams
from .printable import printable
from .standard_streams import ReaderGone

NAME: Final = "shm-polyglot types"


class UsageError(Exception):
    """The arguments or the folder do not say what to write types for; the message says what to give."""


class Failed(Exception):
    """Of this file no types can be written; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to write. paths: files, and folders in which to look for them. out: the folder for what is written; None:
    each beside its source. check: write nothing, and tell what would be written. stubs: the folder for modules of
    stubs, which Python's files get instead of types; None: they do not. carried: descriptions too; one that is there is
    kept up to date in any case, as are modules of stubs that are found in a folder.
    """

    paths: Sequence[Path] = ()
    out: Path | None = None
    check: bool = False
    stubs: Path | None = None
    carried: bool = False


@dataclass(slots=True)
class _Source:
    """file: of which something is to be written. folder: what the folder of the types mirrors. is_wanted: whether types
    are, or stubs where Options.stubs says so. stubs: modules of stubs that are there.
    """

    file: Path
    folder: Path
    is_wanted: bool = False
    stubs: list[Path] = field(default_factory=list)


def run(options: Options) -> int:
    """Write or check them; the exit code."""
    try:
        sources = _sources(options)
    except UsageError as error:
        _complain(f"{NAME}: {error}")
        return 2
    except OSError as error:
        _complain(f"{NAME}: {error.filename}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        _complain(f"{NAME}: interrupted")
        return 1
    counts = {"written": 0, "unchanged": 0, "stale": 0, "failed": 0}
    try:
        for source in sources:
            counts[_outcome(source, options)] += 1
    except KeyboardInterrupt:
        # Each file is whole, the old one or the new one.
        _complain(f"{NAME}: interrupted; {_summed_up(counts)}")
        return 1
    again = f"; `{NAME}` writes what is stale" if counts["stale"] else ""
    _complain(f"{NAME}: {_summed_up(counts)}{again}")
    return 1 if counts["stale"] or counts["failed"] else 0


def _summed_up(counts: dict[str, int]) -> str:
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return ", ".join(told) or "nothing written"


def _sources(options: Options) -> list[_Source]:
    """Raises UsageError and OSError."""
    found: dict[Path, _Source] = {}
    for path in options.paths or [Path()]:
        if path.is_dir():
            for file in crossing_files.crossing(path):
                found.setdefault(file.absolute(), _Source(file, path)).is_wanted = True
            for stub, file in crossing_files.stubbed(path).items():
                found.setdefault(file.absolute(), _Source(file, path)).stubs.append(stub)
            continue
        _check_file(path)
        found.setdefault(path.absolute(), _Source(path, Path())).is_wanted = True
    if not found:
        where = ", ".join(str(path.absolute()) for path in options.paths or [Path()])
        raise UsageError(
            f"in {where} no Python file is imported by TypeScript, and no TypeScript file by Python: name the files"
        )
    return list(found.values())


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}")
    if path.suffix not in (".py", *TYPESCRIPT) or ".d" in path.suffixes[-2:-1]:
        raise UsageError(f"{path}: types are written of Python (.py) and of TypeScript ({', '.join(TYPESCRIPT)}) only")


def _outcome(source: _Source, options: Options) -> str:
    """What has become of it: written, unchanged, stale or failed."""
    file = source.file
    try:
        module = _described(file)
        write = declarations.written if module["language"] == "python" else stub_files.written
        body, unknown = write(module)
        if not options.check:
            for line in _left_out(module, unknown):
                _complain(f"{file}: {line}")
        outcomes = [
            (_checked if options.check else _written)(target, text)
            for target, text in (*_texts(source, module, body, options), *_carried(source, module, options))
        ]
        return next((outcome for outcome in outcomes if outcome != "unchanged"), "unchanged")
    except (Failed, NotOurs) as error:
        _complain(f"{NAME}: {error}")
    except OSError as error:
        _complain(f"{NAME}: {error.filename or file}: {error.strerror}")
    return "failed"


def _described(file: Path) -> Module:
    """Raises Failed, and OSError for what cannot be read."""
    try:
        if file.suffix == ".py":
            return python_source.describe(file)
        return typescript_source.describe(file)
    except (CannotDescribe, BridgeError) as error:
        raise Failed(str(error)) from None
    except SyntaxError as error:
        place = f"{file}, line {error.lineno}" if error.lineno else str(file)
        raise Failed(f"{place}: {error.msg}") from None
    except ValueError as error:
        # Of bytes that are no text, or zero.
        raise Failed(f"{file}: {error}") from None
    except (RecursionError, MemoryError):
        raise Failed(f"{file}: its expressions are nested too deep to be read") from None


def _left_out(module: Module, unknown: Sequence[str]) -> Iterator[str]:
    for skipped in module["skipped"]:
        yield f"{skipped['name']} is left out: {skipped['why']}"
    as_what = "unknown" if module["language"] == "python" else "Any"
    for text in unknown:
        yield f"{text} is not known here, or cannot be sent, and told as {as_what}"


def _texts(source: _Source, module: Module, types: str, options: Options) -> Iterator[tuple[Path, str]]:
    """What is to be written where. Raises NotOurs."""
    file, folder = source.file, source.folder
    stubs = list(source.stubs)
    if source.is_wanted:
        if options.stubs is None or module["language"] != "python":
            yield generated_files.target_of(file, folder, options.out), generated_files.headed(file, types)
        else:
            stubs.append(generated_files.target_of(file, folder, options.stubs, generated_files.STUB_MODULES))
    for stub in {target.absolute(): target for target in stubs}.values():
        beside = os.path.relpath(file.absolute(), stub.absolute().parent)
        text = stub_modules.written(module, beside, os.path.relpath(file.absolute()))
        yield stub, generated_files.headed(file, text)
        yield stub.with_suffix(".d.mts"), generated_files.headed(file, types)


def _carried(source: _Source, module: Module, options: Options) -> Iterator[tuple[Path, str]]:
    """The description, where it is wanted or there. Raises NotOurs."""
    file = source.file
    target = generated_files.target_of(file, source.folder, options.out, file.suffix + carried.ENDING)
    if options.carried or generated_files.is_generated(target):
        yield target, carried.written(module, generated_files.head_of(file))


def _written(target: Path, text: str) -> str:
    if not generated_files.write(target, text):
        return "unchanged"
    _complain(f"{target}: written")
    return "written"


def _checked(target: Path, text: str) -> str:
    present = generated_files.present(target)
    if present == text:
        return "unchanged"
    before = [] if present is None else present.splitlines(keepends=True)
    name = os.devnull if present is None else str(target)
    diff = difflib.unified_diff(before, text.splitlines(keepends=True), name, f"{target} as it should be")
    # Who has seen enough of it still asks for the verdict.
    with suppress(ReaderGone):
        standard_streams.write("".join(diff))
    return "stale"


def _complain(line: str) -> None:
    standard_streams.complain(printable(line) + "\n")

"""How a project's Node side is run: with tsx, ts-node, Node's own stripping of types, or as JavaScript."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

JAVASCRIPT: Final = (".js", ".mjs", ".cjs")
TYPESCRIPT: Final = (".ts", ".mts", ".cts")
RUNNERS: Final = ("tsx", "ts-node")
"""In the order of preference, where the project has both."""
OLDEST_NODE: Final = 20
TIMEOUT_S: Final = 20.0
ABOUT_NODE: Final = "console.log(JSON.stringify([process.versions.node, process.features.typescript || false]))"


class CannotRunNode(Exception):
    """The Node side cannot be run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """What is installed. version: e.g. "22.18.0". strips_types: whether it runs TypeScript without a flag."""

    path: str
    version: str
    strips_types: bool


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """words: the command. told: how the file is run, for people, e.g. "tsx 4.20.3"."""

    words: list[str]
    told: str


def find_node() -> Node:
    """The Node of this user's PATH. Raises CannotRunNode."""
    path = shutil.which("node")
    if path is None:
        raise CannotRunNode("there is no node in $PATH: install Node 20 or newer (https://nodejs.org)")
    try:
        done = subprocess.run(  # noqa: S603  # the node of this user's PATH, with a script of ours
            [path, "-e", ABOUT_NODE], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True
        )
        version, types = json.loads(done.stdout)
        is_too_old = int(version.partition(".")[0]) < OLDEST_NODE
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise CannotRunNode(f"{path} does not run: {error}; try `node --version`") from None
    if is_too_old:
        raise CannotRunNode(f"Node {OLDEST_NODE} or newer is needed ({path} is {version})")
    return Node(path, version, bool(types))


def choose(file: Path, node: Node, *, reload: bool) -> NodeCommand:
    """How this Node runs this file, which is named as it is to stand in the command. reload: begin anew when a file
    that it has loaded changes. Raises CannotRunNode.
    """
    if not file.is_file():
        raise CannotRunNode(f"there is no file {file}")
    if file.suffix not in (*JAVASCRIPT, *TYPESCRIPT):
        raise CannotRunNode(f"{file} is neither TypeScript nor JavaScript ({', '.join((*TYPESCRIPT, *JAVASCRIPT))})")
    options, told = ([], "JavaScript") if file.suffix in JAVASCRIPT else _typescript(file, lambda: node, _as_program)
    watch = ["--watch", "--watch-preserve-output"] if reload else []
    return NodeCommand([node.path, *watch, *options, str(file)], f"{told}, Node {node.version}")


def preloads(file: Path, find: Callable[[], Node]) -> list[str]:
    """Node's options with which any program of its can load this file; see choose. find: asked where it matters what
    Node it is.
    """
    return [] if file.suffix in JAVASCRIPT else _typescript(file, find, _as_preload)[0]


Options = Callable[[str, Path, bool], list[str]]
"""Node's options for a runner: its name, where it is, and whether it is a module in ECMAScript's sense that is run."""


def _typescript(file: Path, find: Callable[[], Node], options_of: Options) -> tuple[list[str], str]:
    """Node's options for a file in TypeScript, and what that is called.

    What a package.json asks for comes first; then Node itself; last, what another package has brought along.
    """
    folders = [file.resolve().parent, *file.resolve().parent.parents]
    manifests = [manifest for folder in folders if (manifest := _read_manifest(folder)) is not None]
    groups = [manifest.get(group) for manifest in manifests for group in ("dependencies", "devDependencies")]
    asked_for = {name for group in groups if isinstance(group, dict) for name in group}
    is_module = file.suffix == ".mts" or (
        file.suffix == ".ts" and bool(manifests) and manifests[0].get("type") == "module"
    )
    for name in RUNNERS:
        if name in asked_for:
            found = _installed(name, folders)
            if found is None:
                raise CannotRunNode(f"package.json asks for {name}, which is not installed: npm install")
            return options_of(name, found, is_module), _told(name, found)
    node = find()
    if node.strips_types:
        return [], "TypeScript as Node runs it itself"
    for name in RUNNERS:
        if (found := _installed(name, folders)) is not None:
            return options_of(name, found, is_module), _told(name, found)
    raise CannotRunNode(
        f"nothing here runs TypeScript: npm install --save-dev tsx, or Node 22.18 or newer (this is {node.version})"
    )


def _told(name: str, found: Path) -> str:
    return f"{name} {(_read_manifest(found) or {}).get('version', '')}"


def _as_program(name: str, found: Path, is_module: bool) -> list[str]:
    return _as_preload(name, found, is_module) if name == "tsx" or is_module else [str(found / "dist" / "bin.js")]


def _as_preload(name: str, found: Path, is_module: bool) -> list[str]:
    if name == "tsx":
        return ["--import", (found / "dist" / "loader.mjs").as_uri()]
    if is_module:
        # Its own command for modules does not work with Node 20.
        return ["--loader", (found / "esm.mjs").as_uri(), "--no-warnings=ExperimentalWarning"]
    return ["--require", str(found / "register" / "index.js")]


def _installed(name: str, folders: list[Path]) -> Path | None:
    return next((found for folder in folders if (found := folder / "node_modules" / name).is_dir()), None)


def _read_manifest(folder: Path) -> dict[str, object] | None:
    """package.json of this folder; None where there is none that can be read: Node will say what is wrong with it."""
    try:
        manifest = json.loads((folder / "package.json").read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def entries(folder: Path) -> Iterator[Path]:
    """The files that are a Node side by their name, the likeliest first."""
    for name in ("server", "main", "index"):
        for suffix in (*TYPESCRIPT, *JAVASCRIPT):
            if (folder / f"{name}{suffix}").is_file():
                yield Path(f"{name}{suffix}")

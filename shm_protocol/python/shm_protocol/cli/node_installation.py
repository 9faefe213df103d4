"""What Node and the TypeScript library say of themselves where they are installed beside this side."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "@shm-polyglot/protocol"
TIMEOUT_S: Final = 10.0

SCRIPT: Final = """
const { dirname, join } = require("node:path");
const found = { node: process.versions.node, root: "", library: "", protocol: "", missing: "", binding: "" };
try {
  const manifest = require.resolve(process.argv[1] + "/package.json", { paths: [process.cwd()] });
  found.root = dirname(manifest);
  found.library = require(manifest).version;
} catch (error) {
  found.missing = String(error.message).split("\\n")[0];
}
if (found.root !== "") {
  try {
    const { PROTOCOL_MAJOR, PROTOCOL_MINOR } = require(join(found.root, "dist", "handshake.js"));
    found.protocol = `${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}`;
    const binding = require(join(found.root, "dist", "binding.js")).loadBinding();
    if (binding instanceof Error) {
      found.binding = binding.cause ? `${binding.message} (${binding.cause.message})` : binding.message;
    }
  } catch (error) {
    found.missing = String(error.message).split("\\n")[0];
  }
}
console.log(JSON.stringify(found));
"""
"""Asks the library's own files, so that what is told is what a program would get."""


@dataclass(frozen=True, slots=True)
class NodeInstallation:
    """What was found.

    node: its version, e.g. "22.1.0". root: the library's folder, "" where there is none. library, protocol: its
    versions, e.g. "0.1.0" and "1.1"; protocol is "" where it is not built. missing: why the library cannot be loaded,
    else "". binding: why its native addon cannot, else "".
    """

    node: str
    root: str
    library: str
    protocol: str
    missing: str
    binding: str


class NodeFailed(Exception):
    """Node did not run, or not to the end; the message says what it said."""


def look(project: Path, timeout: float = TIMEOUT_S) -> NodeInstallation | None:
    """Run node in the folder `project` for at most `timeout` seconds; None where there is no node.

    Raises NodeFailed.
    """
    node = shutil.which("node")
    if node is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # the node of this user's PATH, with a script of ours
            [node, "-e", SCRIPT, PACKAGE],
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NodeFailed(f"{node} has not ended within {timeout:g} s") from None
    except OSError as error:
        raise NodeFailed(f"{node} cannot be run in {project}: {error}") from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines()
        raise NodeFailed(f"{node} ended with exit code {done.returncode}" + (f": {said[-1]}" if said else ""))
    try:
        told: dict[str, Any] = json.loads(lines[-1])
        return NodeInstallation(**told)
    except (ValueError, TypeError) as error:
        raise NodeFailed(f"{node} said {lines[-1][:100]!r}: {error}") from error

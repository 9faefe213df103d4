"""`python -m bench.native_peers`: build the rivals that embed CPython in Node, against the Python that runs this.

`npm ci` in bench/peers has their sources only. Needed are a C++ compiler, make, and the headers of Node and Python. One
that is built already, for this Node and this Python, is left alone. One that cannot be built is reported with the last
lines of the compiler, and the bench skips it: that fails nothing, so the exit code is 0 unless none is built.

Headers of Node: where npm's setting `nodedir` says; else beside Node itself; else node-gyp downloads them.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).resolve().parent / "peers"
BUILT: Final = PEERS / "node_modules" / ".native-python"
"""Here is `<package>.json` for each that is built: what it was built for. Gone when npm installs anew."""
TOOLS: Final = BUILT / "bin"
"""First on the PATH of builds and of the bench (peers/embedded_python.ts): this Python as `python3`."""

PYTHON_VERSION_IN: Final[Mapping[str, str]] = {
    "node-calls-python": "(py => py.evalSync(py.importSync('sys', false), 'version'))(require(name).interpreter)",
    "pymport": "require(name).pymport('sys').get('version').toString()",
}
"""The packages, and the JavaScript by which each says which Python it has."""

LINES_SHOWN: Final = 15


class NotBuilt(Exception):
    """Why not, in words."""


def _output(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What the command printed. Raises NotBuilt, which has the last of it, if it failed."""
    try:
        done = subprocess.run(
            command,
            cwd=PEERS,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError as missing:
        raise NotBuilt(f"{command[0]} is not installed, or not on the PATH") from missing
    if done.returncode != 0:
        lines = done.stdout.splitlines()
        # What follows is where in node-gyp and npm that was noticed: longer, and of no help.
        end = next((count for count, line in enumerate(lines, 1) if line.startswith("gyp ERR! stack")), len(lines))
        last = "\n".join(f"  {line}" for line in lines[max(0, end - LINES_SHOWN) : end])
        raise NotBuilt(f"{' '.join(command)} ended with exit code {done.returncode}:\n{last}")
    return done.stdout


def _make_tools() -> None:
    """Fill TOOLS: the packages ask for `python3` and `python3-config`, which may be another Python's.

    Raises NotBuilt.
    """
    version = sysconfig.get_config_var("VERSION")
    config = Path(sysconfig.get_config_var("BINDIR")) / f"python{version}-config"
    if not config.exists():
        raise NotBuilt(f"{config} is not there: install the development files of this Python (python{version}-dev)")
    TOOLS.mkdir(parents=True, exist_ok=True)
    python = TOOLS / "python3"
    python.unlink(missing_ok=True)
    python.symlink_to(Path(sysconfig.get_config_var("BINDIR")) / f"python{version}")
    # No link: it derives its answers from the folder in which it finds itself.
    script = TOOLS / "python3-config"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(config))} "$@"\n')
    script.chmod(0o755)


def _environment() -> dict[str, str]:
    """For builds and for trying what was built."""
    inherited = os.environ
    folder = sysconfig.get_config_var("LIBDIR")
    python = f"-L{folder} -Wl,-rpath,{folder} -lpython{sysconfig.get_config_var('LDVERSION')}"
    environment = {
        **inherited,
        "PATH": f"{TOOLS}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        # pymport: not its own build of another Python, and not the Python that pkg-config knows.
        "npm_config_build_from_source": "true",
        "npm_config_external_python": "true",
        "LIBS": python,
        # Its C++14 does not compile the node-addon-api that npm gives it.
        "CXXFLAGS": f"{inherited.get('CXXFLAGS', '')} -std=c++17 -I{sysconfig.get_path('platinclude')}",
    }
    beside = Path(_output(["node", "--print", "process.execPath"]).strip()).resolve().parent.parent
    if "npm_config_nodedir" not in inherited and (beside / "include" / "node" / "node_api.h").exists():
        environment["npm_config_nodedir"] = str(beside)
    return environment


def _built_for(package: str) -> dict[str, str]:
    """What a build is good for: with any of these changed, it is to be built again."""
    manifest = json.loads((PEERS / "node_modules" / package / "package.json").read_text())
    return {
        "package": manifest["version"],
        "node": _output(["node", "--print", "`${process.version} ${process.arch}`"]).strip(),
        "python": sys.version,
        "libraries": sysconfig.get_config_var("LIBDIR"),
    }


def _build(package: str) -> str:
    """Build it unless it is built; give which of the two. Raises NotBuilt."""
    if not (PEERS / "node_modules" / package).exists():
        raise NotBuilt("not installed; `make bench-setup` does it")
    built, wanted = BUILT / f"{package}.json", _built_for(package)
    if built.exists() and json.loads(built.read_text()) == wanted:
        return "built already"
    built.unlink(missing_ok=True)
    _make_tools()
    environment = _environment()
    print(f"{package}: building, with Python {sys.version.split()[0]} of {sys.base_prefix}", flush=True)
    # By its name: npm 11 runs no install script of a package that it was not asked for.
    _output(["npm", "rebuild", package, "--foreground-scripts", "--ignore-scripts=false"], environment)
    script = f"const name = {json.dumps(package)}; console.log({PYTHON_VERSION_IN[package]})"
    found = _output(["node", "--eval", script], environment).strip()
    if found != sys.version:
        raise NotBuilt(f"it runs Python {found}, not {sys.version}")
    built.write_text(json.dumps(wanted))
    return "built"


def main() -> int:
    """Build what can be built, and say of each package what came of it."""
    outcomes = []
    for package in PYTHON_VERSION_IN:
        try:
            outcome = _build(package)
        except NotBuilt as reason:
            outcome = f"could not be built: {reason}"
        print(f"{package}: {outcome}", flush=True)
        outcomes.append(outcome)
    return 1 if all(outcome.startswith("could not") for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())

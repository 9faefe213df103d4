"""The npm package: the compiled TypeScript, the addon for every platform, and all that builds it by hand."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from release.compiler import Compiler
from release.platforms import PLATFORMS
from release.running import Missing, run, say
from release.source import ROOT, Source

__all__ = ["ADDON", "make"]

ADDON: Final = "shm_protocol.node"
# Of use in a checkout only.
_UNPUBLISHED: Final = ("scripts", "devDependencies")


def make(source: Source, compiler: Compiler, work: Path, out: Path, pool: Executor) -> Path:
    """Make the tarball in `out`. `work`: a folder that is replaced. Raises Failed, Missing."""
    packages = ROOT / "node_modules"
    node_headers = packages / "node-api-headers" / "include"
    if not node_headers.exists():
        raise Missing("the npm packages are missing: run `make setup`")
    say("npm package: TypeScript")
    # Where the compiler and its types are looked for.
    (source.tree / "node_modules").symlink_to(packages)
    library = source.tree / "shm_protocol" / "node"
    run(["node", packages / "typescript" / "bin" / "tsc", "-p", library], cwd=source.tree)

    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("build.mjs", "index.js", "README.md"):
        shutil.copy(library / name, work)
    shutil.copy(source.tree / "LICENSE", work)
    shutil.copytree(library / "src", work / "src")
    shutil.copytree(library / "dist", work / "dist", ignore=shutil.ignore_patterns(".*"))
    core = source.tree / "shm_protocol" / "core"
    (work / "core").mkdir()
    for file in core.glob("*.[ch]"):
        shutil.copy(file, work / "core")
    shutil.copytree(library / "types", work / "types")
    # What describes Python files: it needs no installed library.
    described = source.tree / "shm_protocol" / "python" / "shm_protocol" / "described"
    (work / "python" / "described").mkdir(parents=True)
    for file in (described / "__init__.py", described / "python_source.py", *described.glob("source_*.py")):
        shutil.copy(file, work / "python" / "described")
    manifest = json.loads((library / "package.json").read_text())
    published = {name: value for name, value in manifest.items() if name not in _UNPUBLISHED}
    (work / "package.json").write_text(json.dumps(published, indent=2) + "\n")

    say(f"npm package: the addon for {', '.join(target.node for target in PLATFORMS)}")
    # Relative, so that no folder of this machine is in what is made.
    sources = ["src/binding.c", "src/memory_binding.c", *sorted(f"core/{file.name}" for file in core.glob("*.c"))]
    flags = [f"-I{node_headers}", "-Icore", "-Isrc", "-Wall", "-Wextra", "-Werror"]
    made = [
        pool.submit(compiler.link, target, sources, work / "prebuilds" / target.node / ADDON, cwd=work, flags=flags)
        for target in PLATFORMS
    ]
    for done in made:
        done.result()
    out.mkdir(parents=True, exist_ok=True)
    run(["npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", out], cwd=work)
    return out / f"shm-polyglot-protocol-{source.version}.tgz"

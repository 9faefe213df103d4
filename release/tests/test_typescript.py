"""The npm package with compilers, a bundler and a test runner of its users."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from consumers import OVER_SHM, NodeProject, PythonProject, Released, call_both_ways
from full import TOOLS, needs_all, node_of, program_of, within_an_hour

pytestmark = [needs_all, within_an_hour]

# Without anything of Node's own but what the library gives: it is compiled without @types/node, too.
PROGRAM = """\
import {
  BridgeError, type CallOptions, type ConnectionInfo, currentCall, listen, type Logger, NdArray, RemoteError,
  type Value,
} from "@shm-polyglot/protocol";

const lines: string[] = [];
const log: Logger = { info: (message) => { lines.push(message); }, warn: () => undefined, error: () => undefined };

export async function main(): Promise<Value> {
  const bridge = await listen({
    log,
    expose: { greetings: { hello: (name: string) => `Hello, ${name}`, aborted: () => currentCall()?.signal.aborted } },
  });
  bridge.on("connect", (connection: ConnectionInfo) => { lines.push(JSON.stringify(connection)); });
  bridge.once("disconnect", (connection, error) => { lines.push(connection.name, error?.code ?? "ended"); });
  const options: CallOptions = { timeoutMs: 500 };
  try {
    for await (const item of bridge.stream("ml.items", [])) lines.push(String(item));
    return await bridge.call("ml.predict", [new NdArray(new Float64Array(4), [2, 2])], options);
  } catch (error) {
    if (error instanceof RemoteError || error instanceof BridgeError) lines.push(error.message);
    throw error;
  } finally {
    await bridge.close();
  }
}
"""


@pytest.fixture(scope="module")
def project(released: Released, tmp_path_factory: pytest.TempPathFactory) -> NodeProject:
    """Not to be changed but for new files: of several tests."""
    made = NodeProject(tmp_path_factory.mktemp("typescript") / "project")
    made.install(released.tarball)
    made.write("commonjs/program.ts", PROGRAM)
    made.write("esm/program.mts", PROGRAM)
    return made


@pytest.mark.parametrize("types", ["@types/node", "none"])
@pytest.mark.parametrize("resolution", ["node16", "nodenext", "bundler"])
@pytest.mark.parametrize("major", ["5", "6", "7"])
def test_declarations_compile(major: str, resolution: str, types: str, project: NodeProject) -> None:
    options = {
        "target": "ES2022",
        "lib": ["ES2022", "ESNext.Disposable"],
        "module": "esnext" if resolution == "bundler" else resolution,
        "moduleResolution": resolution,
        "types": ["node"] if types == "@types/node" else [],
        "typeRoots": [str(TOOLS / "@types")] if types == "@types/node" else [],
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": False,
        "noEmit": True,
    }
    folders = ["esm"] if resolution == "bundler" else ["esm", "commonjs"]
    name = f"tsconfig.{major}.{resolution}.{types.replace('/', '-')}.json"
    project.write(name, json.dumps({"compilerOptions": options, "include": folders}))
    # The native compiler of 7 has a launcher in JavaScript, too.
    assert project.run("node", program_of(f"typescript-{major}", "tsc"), "-p", name) == ""


BUNDLED = """\
import { listen } from "@shm-polyglot/protocol";
async function main(): Promise<void> {
  const shout = (name: string) => bridge.call<string>("text.shout", [name]);
  const bridge = await listen({
    expose: { greetings: { hello: async (name: string) => `Hello, ${await shout(name)}` } },
  });
  process.on("SIGTERM", () => { void bridge.close(); });
  console.log("ready");
}
void main();
"""


@pytest.fixture(scope="module")
def python(released: Released, tmp_path_factory: pytest.TempPathFactory) -> PythonProject:
    made = PythonProject(tmp_path_factory.mktemp("python") / "project")
    made.install("--find-links", released.folder, "--only-binary", ":all:", "shm-polyglot")
    return made


@pytest.mark.parametrize("form", ["cjs", "esm"])
def test_an_esbuild_bundle_finds_the_addon_in_the_installed_package_and_shares_memory(
    form: str, python: PythonProject, project: NodeProject
) -> None:
    project.write("bundled.ts", BUNDLED)
    out = f"bundle.{'mjs' if form == 'esm' else 'cjs'}"
    # As esbuild's own documentation has it for CommonJS packages in an ES module.
    require = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
    banner = [f"--banner:js={require}"] if form == "esm" else []
    arguments = ["bundled.ts", "--bundle", "--platform=node", f"--format={form}", f"--outfile={out}", *banner]
    project.run(TOOLS / "@esbuild" / "linux-x64" / "bin" / "esbuild", *arguments)
    assert call_both_ways(python, project, "node", out) == OVER_SHM


def test_vitest_runs_a_test_that_uses_the_library(released: Released, tmp_path: Path) -> None:
    # Vitest needs a newer Node than the library does.
    project = NodeProject(tmp_path / "project", node_of("24"))
    manifest = json.loads((TOOLS.parent / "package.json").read_text())
    project.install(released.tarball, f"vitest@{manifest['devDependencies']['vitest']}")
    project.write(
        "bridge.test.ts",
        'import { listen } from "@shm-polyglot/protocol";\n'
        'import { expect, test } from "vitest";\n'
        'import { mkdtempSync, rmSync } from "node:fs";\n'
        'test("listens with the addon", async () => {\n'
        '  const directory = mkdtempSync("/tmp/shm-");\n'
        "  const path = `${directory}/node.sock`;\n"
        '  const bridge = await listen({ path, transport: "shm", expose: { a: { b: () => 1 } } });\n'
        '  expect(bridge.functions).toContain("a.b");\n'
        "  await bridge.close();\n"
        "  rmSync(directory, { recursive: true });\n"
        "});\n",
    )
    assert "1 passed" in project.run("npx", "vitest", "run", environment={"NO_COLOR": "1"})

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import { withDirectory } from "./dialer";
import { packageRoot } from "./package_root";

const older = join(packageRoot, "test", "older_types");

/** The library as it is installed, and a program of a user that is compiled against it with the compiler in `packages`. */
async function compile(packages: string, lib: string[], types: string[] = ["node"]): Promise<string> {
  let said = "";
  await withDirectory((directory) => {
    const installed = join(directory, "node_modules", "@shm-polyglot", "protocol");
    mkdirSync(installed, { recursive: true });
    cpSync(join(packageRoot, "dist"), join(installed, "dist"), { recursive: true });
    cpSync(join(packageRoot, "package.json"), join(installed, "package.json"));
    if (types.length > 0) symlinkSync(join(packages, "@types"), join(directory, "node_modules", "@types"));
    cpSync(join(older, "consumer.ts"), join(directory, "consumer.ts"));
    const compilerOptions = {
      target: "ES2022", lib, module: "Node16", moduleResolution: "Node16", types,
      strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true,
    };
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["consumer.ts"] }));
    const compiler = join(packages, "typescript", "bin", "tsc");
    const done = spawnSync(process.execPath, [compiler, "-p", directory], { encoding: "utf8" });
    said = done.status === 0 ? "" : `${String(done.status)}: ${done.stdout}${done.stderr}`;
    return Promise.resolve();
  });
  return said;
}

suite("the declarations that users reach", () => {
  test("compile with TypeScript 5.4 and the first @types/node of Node 20", async () => {
    const packages = join(older, "node_modules");
    assert.ok(existsSync(packages), `install them: npm ci --prefix ${older}, which make test-node does`);
    assert.equal(await compile(packages, ["ES2022"]), "");
  });

  test("compile with the TypeScript and the @types/node of this project", async () => {
    assert.equal(await compile(join(packageRoot, "..", "..", "node_modules"), ["ES2023"]), "");
  });

  test("compile without @types/node, beside the types of a browser", async () => {
    assert.equal(await compile(join(packageRoot, "..", "..", "node_modules"), ["ES2023", "DOM"], []), "");
  });
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Table, tableFromArrays, tableToIPC } from "apache-arrow";

import { encode, isTable, TableBytes, tableOfBytes } from "../src/values";
import { packageRoot } from "./package_root";

const table = tableFromArrays({ x: Float64Array.of(1, 2, 3), word: ["a", "b", "a"] });

/** What a program prints that has the library as `values`, and runs in a folder. */
function run(folder: string, kind: "commonjs" | "module", program: string): string {
  const library = JSON.stringify(join(packageRoot, "dist", "values.js"));
  const head = kind === "module" ? `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` : "";
  return execFileSync(process.execPath, [`--input-type=${kind}`, "--eval", `${head} const values = require(${library}); ${program}`], { cwd: folder, encoding: "utf8" });
}

test("a table that is cut anywhere is refused", () => {
  const whole = tableToIPC(table, "stream");
  assert.deepEqual((tableOfBytes(new TableBytes(whole)) as Table).toArray().map(String), table.toArray().map(String));
  for (let end = 0; end < whole.length; end++) {
    assert.throws(() => tableOfBytes(new TableBytes(whole.subarray(0, end))), new RegExp(`^Error: an Arrow table of ${end} bytes, which is cut short`));
  }
});

test("an object that looks like a table is none", () => {
  assert.ok(isTable(table));
  assert.ok(isTable(table.batches[0] as object));
  for (const other of [{ schema: {}, batches: [] }, new (class Table { schema = {}; })(), new Proxy(table, {}), Object.create(null) as object]) assert.ok(!isTable(other));
});

test("a table of an ES module's copy is written by that copy, of a CommonJS module's by its own", () => {
  const program = `const t = arrow.tableFromArrays({ word: ["a", "b", "a"] }); const bytes = values.encode(t);
    const back = values.tableOfBytes(new values.TableBytes(bytes.subarray(bytes.indexOf(0x0b) + 8)));
    console.log(back.getChild("word").toArray().join(), Object.getPrototypeOf(back) === arrow.Table.prototype);`;
  assert.equal(run(packageRoot, "module", `const arrow = await import("apache-arrow"); ${program}`), "a,b,a true\n");
  assert.equal(run(packageRoot, "commonjs", `const arrow = require("apache-arrow"); ${program}`), "a,b,a true\n");
});

test("where require makes one more copy of an ES module, as with tsx, a table is still of the copy that is imported", () => {
  const program = `const { _extensions } = require("node:module"); const plain = _extensions[".js"];
    _extensions[".js"] = (module, file) => { if (file.endsWith(".mjs")) module.exports = { ...require(file.replace(/mjs$/, "js")) }; else plain(module, file); };
    const arrow = await import("apache-arrow"); const t = arrow.tableFromArrays({ word: ["a", "b", "a"] }); const bytes = values.encode(t);
    const back = values.tableOfBytes(new values.TableBytes(bytes.subarray(bytes.indexOf(0x0b) + 8)));
    console.log(back.getChild("word").toArray().join(), Object.getPrototypeOf(back) === arrow.Table.prototype);`;
  assert.equal(run(packageRoot, "module", program), "a,b,a true\n");
});

test("where apache-arrow is not installed the error says what to install", () => {
  const folder = mkdtempSync(join(tmpdir(), "shmp-"));
  try {
    const program = `try { values.tableOfBytes(new values.TableBytes(new Uint8Array(8))); } catch (error) { console.log(error.message); }`;
    assert.equal(run(folder, "commonjs", program), "an Arrow table can only be received where apache-arrow is installed: npm install apache-arrow\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a table is encoded where it stands", () => {
  assert.equal(encode([table])[1], 0xc8);
});

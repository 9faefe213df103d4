/** The kept inputs of the fuzzers: `fuzz/corpora` at the top of the repository. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import { checks, recorded } from "./fuzz/decoders";
import { packageRoot } from "./package_root";

suite("the kept inputs of the fuzzers", () => {
  for (const name of Object.keys(checks) as (keyof typeof checks)[]) {
    test(`each ${name} becomes here what it becomes in Python`, () => {
      const corpus = readFileSync(join(packageRoot, "..", "..", "fuzz", "corpora", `${name}.hex`), "utf8");
      const lines = corpus.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      const different = lines.filter((line) => {
        const [wire = "", outcome] = line.split(" ");
        return recorded(name, Buffer.from(wire, "hex")) !== outcome;
      });
      assert.ok(lines.length > 0);
      assert.deepEqual(different, []);
    });
  }
});

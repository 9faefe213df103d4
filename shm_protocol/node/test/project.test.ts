import assert from "node:assert/strict";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import { MAX_PROJECT_CHARACTERS, projectFolder, shown } from "../src/project";
import { withDirectory } from "./dialer";

/** In a folder of its own, and back again. */
async function within(folder: string, body: () => void): Promise<void> {
  const before = process.cwd();
  process.chdir(folder);
  try {
    await Promise.resolve();
    body();
  } finally {
    process.chdir(before);
  }
}

suite("the folder of a project", () => {
  for (const manifest of ["package.json", "pyproject.toml"]) {
    test(`is the nearest with a ${manifest}`, async () => {
      await withDirectory(async (directory) => {
        const inner = join(directory, "shop", "src", "deep");
        mkdirSync(inner, { recursive: true });
        writeFileSync(join(directory, manifest), "");
        writeFileSync(join(directory, "shop", manifest), "");
        await within(inner, () => { assert.equal(projectFolder({}), join(directory, "shop")); });
      });
    });
  }

  test("is the working folder where there is none, or only at home or above it", async () => {
    await withDirectory(async (directory) => {
      const inner = join(directory, "home", "src");
      mkdirSync(inner, { recursive: true });
      writeFileSync(join(directory, "home", "package.json"), "");
      await within(inner, () => { assert.equal(projectFolder({ HOME: join(directory, "home") }), inner); });
    });
  });

  test("is told by its end where it is too long, and not at all where it is gone", async () => {
    await withDirectory(async (directory) => {
      const inner = join(directory, "x".repeat(200), "y".repeat(200));
      mkdirSync(inner, { recursive: true });
      writeFileSync(join(inner, "package.json"), "");
      await within(inner, () => {
        const told = projectFolder({}) ?? "";
        assert.equal(told.length, MAX_PROJECT_CHARACTERS);
        assert.ok(told.startsWith("…") && inner.endsWith(told.slice(1)));
      });
      const gone = join(directory, "gone");
      mkdirSync(gone);
      await within(gone, () => {
        rmdirSync(gone);
        assert.equal(projectFolder({}), undefined);
      });
    });
  });
});

test("what is shown steers no terminal and turns no text round", () => {
  assert.equal(shown("/home/zoë/Läden 商店"), '"/home/zoë/Läden 商店"');
  assert.equal(shown('a"b\\c'), '"a\\"b\\\\c"');
  assert.equal(shown("\u001b[2J\n\u009b1m\u202e\u200b\u2028\u007f"), '"\\u001b[2J\\n\\u009b1m\\u202e\\u200b\\u2028\\u007f"');
});

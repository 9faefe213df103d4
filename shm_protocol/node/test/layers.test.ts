import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { suite, test } from "node:test";

import { packageRoot } from "./package_root";

const source = join(packageRoot, "src");

/** What each file imports of its own package, types too. */
function imports(): Map<string, string[]> {
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return new Map(files.map((name) => {
    const text = readFileSync(join(source, name), "utf8");
    const targets = [...text.matchAll(/^(?!\s*\*).* from "(\.[^"]+)"/gm)].map(([, path]) => resolve(source, dirname(name), `${path ?? ""}.ts`));
    return [name, targets.map((target) => relative(source, target))];
  }));
}

suite("layers", () => {
  test("no file imports, by whatever way, one that imports it", () => {
    const graph = imports();
    const done = new Set<string>();
    const visit = (name: string, path: readonly string[]): void => {
      assert.ok(!path.includes(name), `a cycle: ${[...path, name].join(" -> ")}`);
      if (done.has(name)) return;
      for (const target of graph.get(name) ?? assert.fail(`${name} is imported and is not there`)) visit(target, [...path, name]);
      done.add(name);
    };
    for (const name of graph.keys()) visit(name, []);
  });

  test("a session knows nothing of functions, sockets and logs, and the codec nothing of frames", () => {
    const graph = imports();
    for (const [name, stranger] of [
      ["session.ts", "exposed.ts"], ["session.ts", "serving.ts"], ["session.ts", "log.ts"], ["session.ts", "connection.ts"],
      ["serving.ts", "connection.ts"], ["values.ts", "frames.ts"], ["frames.ts", "session.ts"], ["streams.ts", "session.ts"],
    ] as const) {
      assert.ok(!graph.get(name)?.includes(stranger), `${name} imports ${stranger}`);
    }
  });
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import * as errors from "../src/errors";
import { packageRoot } from "../src/package_info";

interface Entry {
  code: string;
  parent: string;
  meaning: string;
}

const protocol = join(packageRoot, "..");
const registry = JSON.parse(readFileSync(join(protocol, "errors.json"), "utf8")) as Entry[];

suite("the registry", () => {
  test("the classes are those of errors.json, in name and in order", () => {
    assert.deepEqual(Object.keys(errors.ERRORS), registry.map(({ code }) => code));
  });

  for (const { code, parent } of registry) {
    test(`${code} has its code, its name and its parent`, () => {
      const type = errors.ERRORS[code] as unknown as new (...args: unknown[]) => errors.BridgeError;
      const error = new type("text");
      assert.equal(error.code, code);
      assert.equal(error.name, code);
      assert.equal((Object.getPrototypeOf(type) as { name: string }).name, parent);
      assert.ok(error instanceof errors.BridgeError);
    });
  }

  test("PROTOCOL.md has the same table", () => {
    const page = readFileSync(join(protocol, "PROTOCOL.md"), "utf8");
    const section = page.slice(page.indexOf("## 9. Errors"), page.indexOf("## 10. "));
    const rows = [...section.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, code, meaning]) => [code, meaning?.replaceAll("`", "")]);
    assert.deepEqual(rows, registry.map(({ code, meaning }) => [code, meaning]));
  });
});

suite("errors in responses", () => {
  test("a remote error brings type, message, data and stack", () => {
    const error = errors.errorFromMap({ code: "RemoteError", type: "ValueError", message: "bad", stack: "Traceback", data: [1] });
    assert.ok(error instanceof errors.RemoteError);
    assert.deepEqual([error.type, error.message, error.data, error.remoteStack], ["ValueError", "bad", [1], "Traceback"]);
    assert.match(error.stack ?? "", /--- remote stack ---\nTraceback/);
  });

  test("a code of the registry is an error of its class", () => {
    assert.ok(errors.errorFromMap({ code: "Busy", message: "full" }) instanceof errors.Busy);
  });

  test("an unknown code, whatever it is called, is a RemoteError", () => {
    for (const code of ["FutureError", "constructor", "__proto__", ""]) {
      const error = errors.errorFromMap({ code, message: "x" });
      assert.ok(error instanceof errors.RemoteError, code);
      assert.equal(error.type, code);
    }
  });

  test("what a function throws is told with its class, message, data and stack", () => {
    class MyError extends Error {
      data = { field: "x" };
    }
    const map = errors.errorToMap(new MyError("no"));
    assert.equal(map.type, "MyError");
    assert.equal(map.message, "no");
    assert.deepEqual(map.data, { field: "x" });
    assert.match(map.stack ?? "", /Error: no\n.*errors\.test/);
  });

  test("a remote error from deeper keeps its type, and both stacks", () => {
    const map = errors.errorToMap(errors.errorFromMap({ code: "RemoteError", type: "ValueError", message: "bad", stack: "Traceback" }));
    assert.deepEqual([map.code, map.type, map.message], ["RemoteError", "ValueError", "bad"]);
    assert.match(map.stack ?? "", /^ValueError: bad|^RemoteError: bad/);
    assert.match(map.stack ?? "", /Traceback/);
  });

  test("another error from deeper becomes a RemoteError with its code as type", () => {
    const map = errors.errorToMap(new errors.PeerGone("gone"));
    assert.deepEqual([map.code, map.type], ["RemoteError", "PeerGone"]);
  });

  test("anything can be thrown", () => {
    const hostile = { get [Symbol.toStringTag](): string { throw new Error("no"); } };
    for (const thrown of [undefined, null, 5, "text", Symbol("s"), {}, Object.create(null), hostile, "\ud800"]) {
      const map = errors.errorToMap(thrown);
      assert.equal(map.code, "RemoteError");
      assert.ok(map.message.isWellFormed());
    }
    assert.equal(errors.errorToMap("text").message, "text");
  });
});

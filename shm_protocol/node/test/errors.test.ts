import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { inspect } from "node:util";

import { errorFromMap, errorToMap } from "../src/error_maps";
import * as errors from "../src/errors";
import { packageRoot } from "./package_root";

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
    const error = errorFromMap({ code: "RemoteError", type: "ValueError", message: "bad", stack: "Traceback", data: [1] });
    assert.ok(error instanceof errors.RemoteError);
    assert.deepEqual([error.type, error.message, error.data, error.remoteStack], ["ValueError", "bad", [1], "Traceback"]);
    assert.match(error.stack ?? "", /--- remote stack ---\nTraceback/);
  });

  test("a code of the registry is an error of its class", () => {
    assert.ok(errorFromMap({ code: "Busy", message: "full" }) instanceof errors.Busy);
  });

  test("an error tells whether the peer answered with it", () => {
    for (const code of Object.keys(errors.ERRORS)) assert.ok(errorFromMap({ code, message: "m" }).fromPeer, code);
    assert.ok(!new errors.EncodeError("args[0]: no").fromPeer);
  });

  test("an unknown code, whatever it is called, is a RemoteError", () => {
    for (const code of ["FutureError", "constructor", "__proto__", ""]) {
      const error = errorFromMap({ code, message: "x" });
      assert.ok(error instanceof errors.RemoteError, code);
      assert.equal(error.type, code);
    }
  });

  test("what a function throws is told with its class, message, data and stack", () => {
    class MyError extends Error {
      data = { field: "x" };
    }
    const map = errorToMap(new MyError("no"));
    assert.equal(map.type, "MyError");
    assert.equal(map.message, "no");
    assert.deepEqual(map.data, { field: "x" });
    assert.match(map.stack ?? "", /Error: no\n.*errors\.test/);
  });

  test("a remote error from deeper keeps its type, and both stacks", () => {
    const map = errorToMap(errorFromMap({ code: "RemoteError", type: "ValueError", message: "bad", stack: "Traceback" }));
    assert.deepEqual([map.code, map.type, map.message], ["RemoteError", "ValueError", "bad"]);
    assert.match(map.stack ?? "", /^ValueError: bad|^RemoteError: bad/);
    assert.match(map.stack ?? "", /Traceback/);
  });

  test("another error from deeper becomes a RemoteError with its code as type", () => {
    const map = errorToMap(new errors.PeerGone("gone"));
    assert.deepEqual([map.code, map.type], ["RemoteError", "PeerGone"]);
  });

  test("anything can be thrown", () => {
    const hostile = { get [Symbol.toStringTag](): string { throw new Error("no"); } };
    for (const thrown of [undefined, null, 5, "text", Symbol("s"), {}, Object.create(null), hostile, "\ud800"]) {
      const map = errorToMap(thrown);
      assert.equal(map.code, "RemoteError");
      assert.ok(map.message.isWellFormed());
    }
    assert.equal(errorToMap("text").message, "text");
  });

  test("what is thrown and would take long to show is told without being shown", () => {
    let million: unknown = 0;
    for (let level = 0; level < 3; level++) million = Array<unknown>(100).fill(million);
    const map = new Map(Array.from({ length: 100 }, (_, key) => [key, million]));
    const wide = Object.fromEntries(Array.from({ length: 10_001 }, (_, key) => [`k${key}`, 0]));
    const deepError = { error: Object.assign(new Error("x"), { stack: "y".repeat(2 ** 21) }) };
    const wideError = { error: Object.assign(new Error("x"), { response: wide }) };
    for (const thrown of [million, map, wide, deepError, wideError]) {
      assert.equal(errorToMap(thrown).message, "an object too large to be shown");
    }
    assert.equal(errorToMap(2n ** 4097n).message, "a bigint too large to be shown");
    assert.equal(errorToMap(-(2n ** 4097n)).message, "a bigint too large to be shown");
    assert.equal(errorToMap({ a: { b: { c: 2n ** 4097n } } }).message, "an object too large to be shown");
  });

  test("what is thrown is shown where only its elements are many, or its parts hold each other, and runs no code for it", () => {
    const ring: Record<string, unknown> = {};
    ring["ring"] = ring;
    const { message } = errorToMap(ring);
    assert.equal(message, "<ref *1> { ring: [Circular *1] }");
    assert.match(errorToMap(new Uint8Array(2 ** 24)).message, /^Uint8Array\(16777216\) \[/);
    assert.match(errorToMap(Array<number>(2 ** 20).fill(7)).message, /1048476 more items/);
    assert.match(errorToMap(new String("x".repeat(2 ** 20))).message, /^\[String: 'xxx/);
    assert.equal(errorToMap({ get now() { return assert.fail("a getter ran"); } }).message, "{ now: [Getter] }");
  });

  test("what a Proxy stands for is not shown, wherever it is, and none of its traps for keys is run", () => {
    const ran = (): never => assert.fail("a trap ran");
    // Showing it would fail the test as well.
    const target = Object.defineProperty({}, inspect.custom, { get: ran });
    const proxy = new Proxy(target, { ownKeys: ran, getOwnPropertyDescriptor: ran });
    assert.equal(errorToMap(proxy).message, "[Proxy]");
    assert.equal(errorToMap(new Proxy(ran, {})).message, "[Proxy]");
    for (const thrown of [{ a: proxy }, [[[proxy]]], new Map([[proxy, 1]]), new Set([proxy]), { e: Object.assign(new Error("x"), { proxy }) }]) {
      assert.equal(errorToMap(thrown).message, "an object that holds a Proxy, which is not shown");
    }
    assert.match(String(errorToMap(new Error("outer", { cause: proxy })).stack), /\nCaused by: \[Proxy\]$/);
  });
});

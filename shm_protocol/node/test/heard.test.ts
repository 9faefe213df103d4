import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { MAX_LOOKED_AT, valuesOf } from "../src/heard";

void suite("Promises that nobody awaits", () => {
  void test("are not looked for in what holds bytes, numbers or characters, which has a key for each of millions", () => {
    const memory = new ArrayBuffer(3);
    const shared = new SharedArrayBuffer(8);
    for (const value of [Buffer.from("abc"), new Uint8Array(memory), new Float32Array(shared), new Object("abc")]) {
      assert.deepEqual(valuesOf(value as object), []);
    }
  });

  void test("are looked for at the beginning of a long array, and in all properties of a short one", () => {
    const long = new Array<number>(MAX_LOOKED_AT + 5).fill(1);
    assert.equal(valuesOf(long).length, MAX_LOOKED_AT);
    const sparse: unknown[] = Object.assign([], { 0: "first" });
    sparse.length = 4_294_967_295;
    assert.equal(valuesOf(sparse)[0], "first");
    assert.deepEqual(valuesOf(Object.assign([1], { more: 2 })), [1, 2]);
  });
});

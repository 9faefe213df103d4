import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

import { disposable, dispose, sharedArray } from "../src/shared_arrays";
import { NdArray } from "../src/value_types";
import { packageRoot } from "./package_root";

const make = sharedArray as (type: unknown, shape: unknown) => unknown;
const letGo = dispose as (array: unknown) => void;

/** What a program prints that runs where the shell has set a limit. */
function runLimited(limit: string, program: string): string {
  const library = JSON.stringify(join(packageRoot, "dist", "index.js"));
  const source = `const { sharedArray } = require(${library}); ${program}`;
  return execFileSync("sh", ["-c", `${limit}; exec "$0" --eval "$1"`, process.execPath, source], { encoding: "utf8" });
}

test("a type whose arrays cannot be sent is refused", () => {
  const pretender = Object.assign(function pretend(): void { /* Makes nothing. */ }, { BYTES_PER_ELEMENT: 8 });
  const halves = (globalThis as { Float16Array?: unknown }).Float16Array;
  for (const type of [DataView, Array, Object, null, undefined, "Float64Array", 8, () => undefined, pretender, halves]) {
    assert.throws(() => make(type, 3), { name: "TypeError", message: /^type: must be Uint8Array or that of a typed array of numbers/ });
  }
  assert.throws(() => make(Uint8Array, [2, 2]), { name: "TypeError", message: /^type: must be another than Uint8Array/ });
});

test("what is no length and no shape is refused", () => {
  for (const shape of [null, undefined, "3", {}, 3n, true]) {
    assert.throws(() => make(Float64Array, shape), { name: "TypeError", message: "shape: must be a length or an array of sizes" });
  }
});

test("a length or shape that cannot be sent is refused", () => {
  for (const shape of [-1, 1.5, NaN, 2 ** 32, [1, "x"], [2 ** 40], Array(9).fill(1)]) {
    assert.throws(() => make(Float64Array, shape), { name: "RangeError", message: /^shape \[.*\]: at most 8 sizes from 0 to 4294967295$/ });
  }
  assert.throws(() => make(Float64Array, [0, 2 ** 32 - 1, 2 ** 32 - 1]), { name: "RangeError", message: /2\^63 - 1 bytes$/ });
});

test("an array of every other type is made", () => {
  class Own extends Float64Array {}
  for (const type of [Uint8Array, Uint8ClampedArray, Int16Array, Float32Array, BigInt64Array, Own]) {
    const made = make(type, 3) as Float64Array;
    assert.ok(made instanceof type);
    assert.equal(made.length, 3);
    dispose(made);
    assert.equal(made.length, 0);
  }
  assert.deepEqual((make(Float32Array, [2, 3]) as NdArray).shape, [2, 3]);
});

test("more memory than there can be is refused in words that name the limit", () => {
  for (const shape of [[2 ** 31, 2 ** 31], [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1]]) {
    assert.throws(() => make(Float64Array, shape), { message: /^\d.* bytes of shared memory cannot be had: .*\(ENOMEM\): let go of some/ });
  }
  const program = "try { sharedArray(Float64Array, 1e6); } catch (error) { console.log(error.message); }";
  assert.match(runLimited("ulimit -f 1000", program), /^8000000 bytes of shared memory cannot be had: .*\(EFBIG\): raise `ulimit -f`/);
});

test("only arrays are let go of", () => {
  for (const array of [null, undefined, 5, "x", {}, [], new ArrayBuffer(8)]) {
    assert.throws(() => { letGo(array); }, { name: "TypeError", message: "array: must be a typed array or an NdArray" });
    assert.throws(() => disposable(array as never), { name: "TypeError", message: "array: must be a typed array or an NdArray" });
  }
  const own = Float64Array.of(1, 2);
  dispose(own);
  dispose(new NdArray(own, [2]));
  assert.equal(own.length, 2);
});

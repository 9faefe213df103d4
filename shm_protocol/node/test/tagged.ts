/** The tagged JSON of `vectors/`: numbers and what JSON lacks are objects with one key that begins with `$`. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Key, NdArray, type NumberArray, type Value } from "../src/value_types";
import { Reference } from "../src/values";
import { packageRoot } from "./package_root";

export interface Vector {
  name: string;
  wire: string;
}

export interface ValueVector extends Vector {
  value: unknown;
  encode: string[];
}

export interface FrameVector extends Vector {
  frame: unknown[];
}

export interface BadVector extends Vector {
  of: "value" | "frame" | "hello" | "answer";
}

export function readVectors(name: string): Vector[] {
  return JSON.parse(readFileSync(join(packageRoot, "..", "vectors", `${name}.json`), "utf8")) as Vector[];
}

const FLOATS: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity };

const ARRAYS = {
  int8: Int8Array,
  uint8: Uint8ClampedArray,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

interface TaggedArray {
  dtype: keyof typeof ARRAYS | "int64" | "uint64";
  shape: number[];
  data: string[];
}

export function untag(tagged: unknown): Value {
  if (tagged === null || typeof tagged === "boolean" || typeof tagged === "string") return tagged;
  if (Array.isArray(tagged)) return tagged.map(untag);
  if (typeof tagged !== "object") throw new Error(`a ${typeof tagged} that is not tagged`);
  const entries = Object.entries(tagged) as [string, unknown][];
  const [key, value] = entries.length === 1 ? (entries[0] as [string, unknown]) : ["", null];
  switch (key) {
    case "$int": {
      const integer = BigInt(value as string);
      return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
    }
    case "$float":
      return FLOATS[value as string] ?? Number(value);
    case "$bytes":
      return new Uint8Array(Buffer.from(value as string, "hex"));
    case "$datetime":
      return new Date(value as string);
    case "$map":
      return new Map((value as [unknown, unknown][]).map(([k, v]) => [untag(k) as Key, untag(v)]));
    case "$reference":
      return untagReference(value as { kind: number; id: string; name: string });
    case "$array":
      return untagArray(value as TaggedArray);
    default: {
      const object: { [key: string]: Value } = {};
      for (const [k, v] of entries) {
        Object.defineProperty(object, k, { value: untag(v), writable: true, enumerable: true, configurable: true });
      }
      return object;
    }
  }
}

/** No value of the table: what a codec makes of a reference where nobody knows what it stands for. */
function untagReference({ kind, id, name }: { kind: number; id: string; name: string }): Value {
  return new Reference(kind, Number(id), name) as unknown as Value;
}

function untagArray({ dtype, shape, data }: TaggedArray): NumberArray | NdArray {
  let numbers: NumberArray;
  if (dtype === "int64") numbers = BigInt64Array.from(data.map(BigInt));
  else if (dtype === "uint64") numbers = BigUint64Array.from(data.map(BigInt));
  else numbers = ARRAYS[dtype].from(data.map((text) => FLOATS[text] ?? Number(text)));
  return shape.length === 1 ? numbers : new NdArray(numbers, shape);
}

/**
 * A value that was decoded, as text that is the same in both languages: `fuzz/canonical.py` writes it too, and says what
 * is left out.
 */

import { type Key, NdArray, type NumberArray, type Value } from "../../src/value_types";
import { Reference, TableBytes } from "../../src/values";

/** In the order of their dtype, from 1. */
const ARRAYS = [
  Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
  BigInt64Array, BigUint64Array,
];

export function describe(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value === "bigint") return `i${value}`;
  if (typeof value === "number") return describeNumber(value);
  if (typeof value === "string") return `s${Buffer.from(value).toString("hex")}`;
  if (value instanceof Uint8Array) return `b${Buffer.from(value).toString("hex")}`;
  if (value instanceof Reference) return `r${value.kind}:${value.id}:${Buffer.from(value.name).toString("hex")}`;
  if ((value as unknown) instanceof TableBytes) return `T${Buffer.from((value as unknown as TableBytes).data).toString("hex")}`;
  if (value instanceof Date) return `t${value.getTime()}`;
  if (Array.isArray(value)) return `[${value.map(describe).join(",")}]`;
  if (value instanceof NdArray) return describeArray(value.data, value.shape);
  if (ArrayBuffer.isView(value)) return describeArray(value, [value.length]);
  const entries = new Map<string, string>();
  const pairs: Iterable<[Key, Value]> = value instanceof Map ? value : Object.entries(value);
  for (const [key, item] of pairs) {
    if (mayHaveTwin(key)) entries.set(`i${BigInt(key)}`, "?");
    else entries.set(describe(key), describe(item));
  }
  const sorted = [...entries].sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${sorted.map(([key, item]) => `${key}:${item}`).join(",")}}`;
}

/** Whether a key of another type, or another zero, would be the same key in Python. */
function mayHaveTwin(key: Key): key is boolean | number | bigint {
  if (typeof key === "string" || typeof key === "object") return false;
  const size = Math.abs(Number(key));
  return size === 0 || Number(key) === 1 || (size >= 2 ** 53 && size < Infinity);
}

function describeNumber(value: number): string {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return `i${value}`;
  if (Number.isNaN(value)) return "fnan";
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `f${bytes.toString("hex")}`;
}

function describeArray(data: NumberArray, shape: readonly number[]): string {
  const dtype = 1 + ARRAYS.findIndex((type) => data instanceof type);
  return `a${dtype}[${shape.join(",")}]${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex")}`;
}

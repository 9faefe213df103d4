/**
 * What a view of bytes is and holds, told by the engine and not by the object: a subclass may override `length`, and an
 * object made with `Object.create(Uint8Array.prototype)` has none.
 */

import { DTYPES } from "./wire";

// Of all typed arrays. A function each, and not one for all, so that the engine can inline them.
const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object;
const getTag = getterOf(prototype, Symbol.toStringTag) as (this: object) => string | undefined;
const getLength = getterOf(prototype, "length") as (this: object) => number;
const getBuffer = getterOf(prototype, "buffer") as (this: object) => ArrayBufferLike;
const getOffset = getterOf(prototype, "byteOffset") as (this: object) => number;
const getByteLength = getterOf(prototype, "byteLength") as (this: object) => number;
/** Does nothing but refuse an array whose memory is gone. */
const { values: touch } = prototype as { values: (this: object) => unknown };

const DTYPE_OF_NAME: ReadonlyMap<string, number> = new Map(
  DTYPES.flatMap((type, dtype) => (type === undefined ? [] : [[type.name, dtype]])),
);

/** A getter of the language itself, for objects of any class and realm. */
export function getterOf(prototype: object, property: PropertyKey): (this: object) => unknown {
  return (Object.getOwnPropertyDescriptor(prototype, property) as { get: (this: object) => unknown }).get;
}

/** `"Uint8Array"`, `"Float64Array"`, …, `"DataView"`. */
export function viewName(view: ArrayBufferView): string {
  return getTag.call(view) ?? "DataView";
}

/** The dtype of an array of numbers; undefined: it is none. */
export function dtypeOf(view: ArrayBufferView): number | undefined {
  return DTYPE_OF_NAME.get(viewName(view));
}

/** The number of elements of a typed array. */
export function elementCount(array: ArrayBufferView): number {
  return getLength.call(array);
}

/** The bytes of a typed array, as a view of the same memory. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(getBuffer.call(array), getOffset.call(array), getByteLength.call(array));
}

/** Is the memory of a typed array gone: transferred to another thread, or cut off its resizable buffer? Its length is 0 then. */
export function isGone(array: ArrayBufferView): boolean {
  if (getLength.call(array) > 0) return false;
  try {
    touch.call(array);
    return false;
  } catch {
    return true;
  }
}

/** What a value can be, in TypeScript's types: the table of PROTOCOL.md section 8. */

import { types } from "node:util";

/** The typed arrays that travel as arrays of numbers (ext 1). `Uint8Array` is bytes. */
export type NumberArray =
  | Int8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/** What a decoded map may have as a key. */
export type Key = null | boolean | number | bigint | string | Uint8Array;

/** What arrives from the other side. What may be sent is more: see PROTOCOL.md section 8. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Date
  | NumberArray
  | NdArray
  | Value[]
  | Map<Key, Value>
  | { [key: string]: Value };

export const MAX_ARRAY_DIMENSIONS = 8;
/** What NumPy holds. It leaves out sizes of 0, so that an array without elements can be too large as well. */
export const MAX_ARRAY_BYTES = 2n ** 63n - 1n;
const MAX_ARRAY_SIZE = 0xffff_ffff;

/** Numbers with a shape, in C order, where a typed array alone would not say enough. Python: `numpy.ndarray`. */
export class NdArray<T extends NumberArray = NumberArray> {
  /** The elements, in C order: the last index varies fastest. It is not copied. */
  readonly data: T;
  /** The size of each dimension, outermost first; empty for a single number. */
  readonly shape: readonly number[];

  /**
   * @throws TypeError where `data` is no typed array of NumberArray, or `shape` no array. RangeError where `shape` does
   * not fit `data`, has more than eight dimensions, or is more than NumPy holds.
   */
  constructor(data: T, shape: readonly number[]) {
    if (!isNumberArray(data)) throw new TypeError("data: must be a typed array of numbers, of another type than Uint8Array");
    if (!Array.isArray(shape)) throw new TypeError("shape: must be an array of sizes");
    const fault = faultOfShape(shape, data.length, data.BYTES_PER_ELEMENT);
    if (fault !== undefined) throw new RangeError(fault);
    this.data = data;
    this.shape = shape;
  }
}

const NUMBER_ARRAYS = [
  types.isFloat64Array,
  types.isFloat32Array,
  types.isInt32Array,
  types.isUint32Array,
  types.isInt16Array,
  types.isUint16Array,
  types.isInt8Array,
  types.isUint8ClampedArray,
  types.isBigInt64Array,
  types.isBigUint64Array,
];

/** Is it a typed array that travels as an array of numbers? */
export function isNumberArray(data: unknown): boolean {
  return NUMBER_ARRAYS.some((isOne) => isOne(data));
}

/** What is wrong with an array of that shape and so many elements; undefined: nothing. */
export function faultOfShape(shape: readonly number[], elements: number, bytesPerElement: number): string | undefined {
  if (shape.length > MAX_ARRAY_DIMENSIONS || !shape.every(isArraySize)) {
    return `shape ${shown(shape)}: at most ${MAX_ARRAY_DIMENSIONS} sizes from 0 to ${MAX_ARRAY_SIZE}`;
  }
  const product = elementsOf(shape);
  if (product !== elements) return `shape ${shown(shape)} has ${product} elements, data has ${elements}`;
  if (product === 0 && isTooLarge(shape, bytesPerElement)) {
    return `shape ${shown(shape)}: its sizes other than 0 come to more than 2^63 - 1 bytes`;
  }
  return undefined;
}

function shown(shape: readonly unknown[]): string {
  return `[${shape.map((size) => (typeof size === "number" ? size : typeof size)).join(", ")}]`;
}

function isArraySize(size: unknown): boolean {
  return Number.isInteger(size) && (size as number) >= 0 && (size as number) <= MAX_ARRAY_SIZE;
}

/** How many elements there are of that shape. Eight factors of 32 bits cannot overflow a double to anything small. */
export function elementsOf(shape: readonly number[]): number {
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
}

/** Do the sizes other than 0 come to more than NumPy holds? */
export function isTooLarge(shape: readonly number[], bytesPerElement: number): boolean {
  // Doubles tell, except near the limit, and are much quicker.
  const about = shape.reduce((product, size) => (size === 0 ? product : product * size), bytesPerElement);
  if (about < 2 ** 62) return false;
  let bytes = BigInt(bytesPerElement);
  for (const size of shape) if (size !== 0) bytes *= BigInt(size);
  return bytes > MAX_ARRAY_BYTES;
}

/** What encoder and decoder share of PROTOCOL.md section 8: limits, ext types and dtypes. */

import type { NumberArray } from "../value_types";

/** Values may nest this deep when sent, and this deep when received. */
export const MAX_DEPTH_SENT = 500;
export const MAX_DEPTH_RECEIVED = 512;

/**
 * A message has at most this many values: the frame, each of its parts, and each item, key and value in them. It bounds
 * what decoding costs, which grows with the values and not with the bytes.
 */
export const MAX_VALUES = 1_048_576;

/** What is wrong with a message that has too few bytes, or too many. */
export const CUT_SHORT = "it is cut short, or goes on after its value";

export const EXT_ARRAY = 1;
export const EXT_REFERENCE = 2;
export const EXT_BUFFER = 3;
export const EXT_TIMESTAMP = 0xff; // -1

/** In the place of an array's dtype: the bytes are an Arrow table's. */
export const TABLE = 11;

/** Years 1 to 9999, the range of Python's datetime, in seconds since the epoch. */
export const FIRST_SECOND = -62_135_596_800;
export const LAST_SECOND = 253_402_300_799;

/** Takes large buffers out of messages and puts them back: buffers.ts. */
export interface Lender {
  /** Bytes of the smallest; smaller ones stay in the message. */
  readonly threshold: number;
  /** A message is begun. */
  begin(): void;
  /** It is not sent. */
  takeBack(): void;
  /** Where the buffer is, outside of the message; undefined: it has to go with the message. */
  place(bytes: Uint8Array): { number: number; offset: number } | undefined;
  /** The buffer that lies there. Undefined: it cannot be had now. @throws ProtocolError */
  borrow(number: number, offset: number, size: number): ArrayBuffer | undefined;
}

export interface NumberArrayConstructor {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): NumberArray;
}

/** Index: dtype. */
export const DTYPES: readonly (NumberArrayConstructor | undefined)[] = [
  undefined,
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];

/** The bytes of an array ext before its elements. */
export function arrayHeaderBytes(dimensions: number): number {
  return (4 + 4 * dimensions + 7) & ~7;
}

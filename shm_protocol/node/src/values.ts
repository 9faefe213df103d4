/**
 * Values and MessagePack: exactly PROTOCOL.md section 8.
 *
 * The codec is our own: the usual packages send integers above 2^32 as floats, replace lone surrogates silently, and
 * cannot say where in a value the bad part is. The path is computed only after a failure.
 */

import { isUtf8 } from "node:buffer";
import { types } from "node:util";

import { EncodeError, MessageTooLarge, ProtocolError } from "./errors";

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

/** Values may nest this deep when sent, and this deep when received. */
export const MAX_DEPTH_SENT = 500;
export const MAX_DEPTH_RECEIVED = 512;

const EXT_ARRAY = 1;
const EXT_TIMESTAMP = 0xff; // -1
const MAX_DIMENSIONS = 8;
/** What NumPy holds. It leaves out sizes of 0, so that an array without elements can be too large as well. */
const MAX_ARRAY_BYTES = 2n ** 63n - 1n;

/** Years 1 to 9999, the range of Python's datetime, in seconds since the epoch. */
const FIRST_SECOND = -62_135_596_800;
const LAST_SECOND = 253_402_300_799;

const INITIAL_BYTES = 64 * 1024;
/** An encoder that grew past this lets go of its buffer after the message. */
const RETAINED_BYTES = 4 * 1024 * 1024;
/** Up to this many characters a string's room is reserved for the worst case, three bytes each. */
const WORST_CASE_CHARACTERS = 256;
/** Reserving for the worst case may ask for this much more than is written in the end. */
const SLACK_BYTES = 3 * WORST_CASE_CHARACTERS + 16;
/** Below this many characters, writing byte by byte is quicker than a native call. */
const SHORT_STRING = 14;
const TINY_BYTES = 48;

/** Numbers with a shape, in C order, where a typed array alone would not say enough. Python: `numpy.ndarray`. */
export class NdArray<T extends NumberArray = NumberArray> {
  readonly data: T;
  /** The size of each dimension, outermost first; empty for a single number. */
  readonly shape: readonly number[];

  /**
   * @throws RangeError where `shape` does not fit `data`, has more than eight dimensions, or is more than NumPy holds.
   */
  constructor(data: T, shape: readonly number[]) {
    const elements = shape.reduce((product, size) => product * size, 1);
    if (
      shape.length > MAX_DIMENSIONS ||
      !shape.every((size) => Number.isInteger(size) && size >= 0 && size <= 0xffffffff)
    ) {
      throw new RangeError(`shape [${shape.join(", ")}]: at most ${MAX_DIMENSIONS} sizes from 0 to 4294967295`);
    }
    if (elements !== data.length) {
      throw new RangeError(`shape [${shape.join(", ")}] has ${elements} elements, data has ${data.length}`);
    }
    if (elements === 0 && isTooLarge(shape, data.BYTES_PER_ELEMENT)) {
      throw new RangeError(`shape [${shape.join(", ")}]: its sizes other than 0 come to more than 2^63 - 1 bytes`);
    }
    this.data = data;
    this.shape = shape;
  }
}

function isTooLarge(shape: readonly number[], bytesPerElement: number): boolean {
  let bytes = BigInt(bytesPerElement);
  for (const size of shape) if (size !== 0) bytes *= BigInt(size);
  return bytes > MAX_ARRAY_BYTES;
}

interface NumberArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): NumberArray;
}

/** Index: dtype. The names are those of `Symbol.toStringTag`. */
const DTYPES: readonly (NumberArrayConstructor | undefined)[] = [
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

const DTYPE_OF_TAG: ReadonlyMap<string, number> = new Map([
  ["Int8Array", 1],
  ["Uint8ClampedArray", 2],
  ["Int16Array", 3],
  ["Uint16Array", 4],
  ["Int32Array", 5],
  ["Uint32Array", 6],
  ["Float32Array", 7],
  ["Float64Array", 8],
  ["BigInt64Array", 9],
  ["BigUint64Array", 10],
]);

/** Why a value cannot be encoded, before anybody has worked out where it is. */
class Unencodable extends Error {}

/** Will the encoder that has filled this buffer leave it to whoever it was sent to? Else it will fill it again. */
export function isDisposable(buffer: Buffer): boolean {
  return buffer.length > RETAINED_BYTES;
}

/** Writes MessagePack into one growing buffer. Not re-entrant: see {@link withEncoder}. */
export class Encoder {
  buffer: Buffer<ArrayBuffer>;
  /** The end of what is written. */
  position = 0;
  private view: DataView;
  private limit = 0;

  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Start a message of at most `limit` bytes. */
  begin(limit: number): void {
    this.position = 0;
    this.limit = limit;
  }

  /** @throws MessageTooLarge where more than the limit is written. */
  finish(): void {
    if (this.position > this.limit) throw tooLarge(this.position, this.limit);
  }

  /** Let go of a buffer that one large message made large. */
  shrink(): void {
    if (!isDisposable(this.buffer)) return;
    this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.view = new DataView(this.buffer.buffer);
  }

  private reserve(bytes: number): void {
    if (this.position + bytes > this.buffer.length) this.grow(bytes);
  }

  private grow(bytes: number): void {
    const needed = this.position + bytes;
    if (needed > this.limit + SLACK_BYTES) throw tooLarge(needed, this.limit);
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(2 * this.buffer.length, this.limit + SLACK_BYTES)));
    this.buffer.copy(grown, 0, 0, this.position);
    this.buffer = grown;
    this.view = new DataView(grown.buffer);
  }

  nil(): void {
    this.reserve(1);
    this.buffer[this.position++] = 0xc0;
  }

  boolean(value: boolean): void {
    this.reserve(1);
    this.buffer[this.position++] = value ? 0xc3 : 0xc2;
  }

  /** Any number: an int where it is integral and exact, else a float 64. */
  number(value: number): void {
    this.reserve(9);
    // `| 0` is the cheapest test for a small integer; -0 passes it and is a float.
    if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
      if (value >= 0) this.smallUnsigned(value);
      else this.smallNegative(value);
    } else if (Number.isSafeInteger(value) && value !== 0) {
      this.largeInteger(value);
    } else {
      this.buffer[this.position] = 0xcb;
      this.view.setFloat64(this.position + 1, value);
      this.position += 9;
    }
  }

  private smallUnsigned(value: number): void {
    const buffer = this.buffer;
    if (value < 0x80) {
      buffer[this.position++] = value;
    } else if (value < 0x100) {
      buffer[this.position++] = 0xcc;
      buffer[this.position++] = value;
    } else if (value < 0x10000) {
      buffer[this.position++] = 0xcd;
      buffer[this.position++] = value >>> 8;
      buffer[this.position++] = value;
    } else {
      buffer[this.position] = 0xce;
      this.view.setUint32(this.position + 1, value);
      this.position += 5;
    }
  }

  private smallNegative(value: number): void {
    const buffer = this.buffer;
    if (value >= -0x20) {
      buffer[this.position++] = value;
    } else if (value >= -0x80) {
      buffer[this.position++] = 0xd0;
      buffer[this.position++] = value;
    } else if (value >= -0x8000) {
      buffer[this.position++] = 0xd1;
      buffer[this.position++] = value >> 8;
      buffer[this.position++] = value;
    } else {
      buffer[this.position] = 0xd2;
      this.view.setInt32(this.position + 1, value);
      this.position += 5;
    }
  }

  /** A safe integer outside of int32. */
  private largeInteger(value: number): void {
    if (value >= 0 && value <= 0xffffffff) {
      this.smallUnsigned(value);
      return;
    }
    this.buffer[this.position] = value < 0 ? 0xd3 : 0xcf;
    this.view.setInt32(this.position + 1, Math.floor(value / 0x1_0000_0000));
    this.view.setUint32(this.position + 5, value >>> 0);
    this.position += 9;
  }

  private bigint(value: bigint): void {
    if (value >= -0x8000_0000n && value <= 0xffff_ffffn) {
      this.number(Number(value));
      return;
    }
    this.reserve(9);
    if (value >= 0n) {
      if (value > 0xffff_ffff_ffff_ffffn) throw new Unencodable("a bigint of more than 64 bits");
      this.buffer[this.position] = 0xcf;
      this.view.setBigUint64(this.position + 1, value);
    } else {
      if (value < -0x8000_0000_0000_0000n) throw new Unencodable("a bigint of more than 64 bits");
      this.buffer[this.position] = 0xd3;
      this.view.setBigInt64(this.position + 1, value);
    }
    this.position += 9;
  }

  string(text: string): void {
    const length = text.length;
    if (length < SHORT_STRING) {
      this.reserve(1 + 3 * SHORT_STRING);
      const buffer = this.buffer;
      const start = this.position + 1;
      let index = 0;
      for (; index < length; index++) {
        const code = text.charCodeAt(index);
        if (code >= 0x80) break;
        buffer[start + index] = code;
      }
      if (index === length) {
        buffer[this.position] = 0xa0 | length;
        this.position = start + length;
        return;
      }
    }
    this.longString(text);
  }

  private longString(text: string): void {
    const length = text.length;
    const most = length <= WORST_CASE_CHARACTERS ? 3 * length : Buffer.byteLength(text);
    this.reserve(5 + most);
    // Most strings are ASCII: write for that, and move the bytes where the header turns out longer.
    const guessed = stringHeaderBytes(length <= WORST_CASE_CHARACTERS ? length : most);
    const bytes = this.buffer.write(text, this.position + guessed, "utf8");
    if (bytes !== length && !text.isWellFormed()) throw new Unencodable("a string with a lone surrogate");
    const header = stringHeaderBytes(bytes);
    if (header !== guessed) {
      this.buffer.copyWithin(this.position + header, this.position + guessed, this.position + guessed + bytes);
    }
    const buffer = this.buffer;
    const at = this.position;
    if (header === 1) {
      buffer[at] = 0xa0 | bytes;
    } else if (header === 2) {
      buffer[at] = 0xd9;
      buffer[at + 1] = bytes;
    } else if (header === 3) {
      buffer[at] = 0xda;
      this.view.setUint16(at + 1, bytes);
    } else {
      buffer[at] = 0xdb;
      this.view.setUint32(at + 1, bytes);
    }
    this.position = at + header + bytes;
  }

  private bytes(bytes: Uint8Array): void {
    const length = bytes.length;
    this.reserve(5 + length);
    if (length < 0x100) {
      this.buffer[this.position++] = 0xc4;
      this.buffer[this.position++] = length;
    } else if (length < 0x10000) {
      this.buffer[this.position] = 0xc5;
      this.view.setUint16(this.position + 1, length);
      this.position += 3;
    } else {
      this.buffer[this.position] = 0xc6;
      this.view.setUint32(this.position + 1, length);
      this.position += 5;
    }
    this.buffer.set(bytes, this.position);
    this.position += length;
  }

  /** Bytes that are MessagePack already. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  arrayHeader(length: number): void {
    this.containerHeader(length, 0x90, 0xdc);
  }

  mapHeader(size: number): void {
    this.containerHeader(size, 0x80, 0xde);
  }

  private containerHeader(count: number, fixed: number, sixteen: number): void {
    this.reserve(5);
    if (count < 16) {
      this.buffer[this.position++] = fixed | count;
    } else if (count < 0x10000) {
      this.buffer[this.position] = sixteen;
      this.view.setUint16(this.position + 1, count);
      this.position += 3;
    } else {
      this.buffer[this.position] = sixteen + 1;
      this.view.setUint32(this.position + 1, count);
      this.position += 5;
    }
  }

  /**
   * Any value of the table in PROTOCOL.md section 8. Throws what {@link explain} turns into an error for the caller.
   * `depth` is how many containers of the caller's value it stands in.
   */
  value(value: unknown, depth = 0): void {
    switch (typeof value) {
      case "string":
        this.string(value);
        return;
      case "number":
        this.number(value);
        return;
      case "boolean":
        this.boolean(value);
        return;
      case "undefined":
        this.nil();
        return;
      case "bigint":
        this.bigint(value);
        return;
      case "object":
        if (value === null) this.nil();
        else this.object(value, depth);
        return;
      default:
        throw new Unencodable(`a ${typeof value}`);
    }
  }

  private object(value: object, depth: number): void {
    if (Array.isArray(value)) {
      this.array(value, depth);
      return;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) this.plainObject(value as Record<string, unknown>, depth);
    else if (value instanceof Uint8Array) this.bytes(value);
    else if (value instanceof Date) this.timestamp(value);
    else if (value instanceof Map) this.map(value, depth);
    else if (value instanceof NdArray) this.numbers(value.data as NumberArray, value.shape);
    else if (ArrayBuffer.isView(value)) this.view1d(value);
    // From another realm, such as a vm context.
    else if (types.isDate(value)) this.timestamp(value);
    else if (types.isMap(value)) this.map(value, depth);
    else if (Object.getPrototypeOf(prototype) === null && isObjectTag(value))
      this.plainObject(value as Record<string, unknown>, depth);
    else throw new Unencodable(describeObject(value));
  }

  private array(values: readonly unknown[], depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    const length = values.length;
    this.arrayHeader(length);
    for (let index = 0; index < length; index++) this.value(values[index], depth + 1);
  }

  private plainObject(object: Record<string, unknown>, depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    const keys = Object.keys(object);
    this.mapHeader(keys.length);
    for (const key of keys) {
      this.string(key);
      this.value(object[key], depth + 1);
    }
  }

  private map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    this.mapHeader(map.size);
    for (const [key, value] of map) {
      if (!isScalarKey(key)) throw new Unencodable(`a Map with a key that is ${describeValue(key)}`);
      this.value(key);
      this.value(value, depth + 1);
    }
  }

  private timestamp(date: Date): void {
    const milliseconds = date.getTime();
    const seconds = Math.floor(milliseconds / 1000);
    if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
      throw new Unencodable(
        Number.isNaN(milliseconds) ? "an invalid Date" : `a Date outside of the years 1 to 9999`,
      );
    }
    const nanoseconds = (milliseconds - seconds * 1000) * 1_000_000;
    this.reserve(15);
    const at = this.position;
    if (seconds >= 0 && seconds < 0x4_0000_0000) {
      const short = nanoseconds === 0 && seconds <= 0xffffffff;
      this.buffer[at] = short ? 0xd6 : 0xd7;
      this.buffer[at + 1] = EXT_TIMESTAMP;
      if (short) {
        this.view.setUint32(at + 2, seconds);
        this.position = at + 6;
      } else {
        this.view.setUint32(at + 2, nanoseconds * 4 + Math.floor(seconds / 0x1_0000_0000));
        this.view.setUint32(at + 6, seconds >>> 0);
        this.position = at + 10;
      }
      return;
    }
    this.buffer[at] = 0xc7;
    this.buffer[at + 1] = 12;
    this.buffer[at + 2] = EXT_TIMESTAMP;
    this.view.setUint32(at + 3, nanoseconds);
    this.view.setBigInt64(at + 7, BigInt(seconds));
    this.position = at + 15;
  }

  private view1d(view: ArrayBufferView): void {
    if (isBytesFromAnotherRealm(view)) this.bytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    else this.numbers(view, undefined);
  }

  /** A typed array; `shape` undefined: one dimension. */
  private numbers(data: ArrayBufferView, shape: readonly number[] | undefined): void {
    const tag = tagOf(data);
    const dtype = DTYPE_OF_TAG.get(tag);
    if (dtype === undefined) throw new Unencodable(`a ${tag}`);
    const dimensions = shape === undefined ? 1 : shape.length;
    const header = align8(4 + 4 * dimensions);
    this.extHeader(EXT_ARRAY, header + data.byteLength);
    const at = this.position;
    this.buffer.fill(0, at, at + header);
    this.buffer[at] = dtype;
    this.buffer[at + 1] = dimensions;
    if (shape === undefined) this.view.setUint32(at + 4, (data as NumberArray).length, true);
    else shape.forEach((size, index) => { this.view.setUint32(at + 4 + 4 * index, size, true); });
    this.buffer.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at + header);
    this.position = at + header + data.byteLength;
  }

  /** Header of an ext and room for its data. */
  private extHeader(type: number, length: number): void {
    this.reserve(6 + length);
    const fixed = [1, 2, 4, 8, 16].indexOf(length);
    if (fixed >= 0) {
      this.buffer[this.position++] = 0xd4 + fixed;
    } else if (length < 0x100) {
      this.buffer[this.position++] = 0xc7;
      this.buffer[this.position++] = length;
    } else if (length < 0x10000) {
      this.buffer[this.position] = 0xc8;
      this.view.setUint16(this.position + 1, length);
      this.position += 3;
    } else {
      this.buffer[this.position] = 0xc9;
      this.view.setUint32(this.position + 1, length);
      this.position += 5;
    }
    this.buffer[this.position++] = type;
  }
}

let sharedEncoder: Encoder | undefined = new Encoder();

/**
 * Encode one message with the shared encoder and hand its bytes to `use`, which must copy them.
 * A getter of a value that is being encoded may itself call something: that call gets an encoder of its own.
 */
export function withEncoder<T>(encode: (encoder: Encoder) => void, use: (buffer: Buffer, length: number) => T): T {
  const encoder = acquireEncoder();
  try {
    encode(encoder);
    return use(encoder.buffer, encoder.position);
  } finally {
    releaseEncoder(encoder);
  }
}

/** The two halves of {@link withEncoder}, for where a closure for each message would cost too much. */
export function acquireEncoder(): Encoder {
  const encoder = sharedEncoder ?? new Encoder();
  sharedEncoder = undefined;
  return encoder;
}

export function releaseEncoder(encoder: Encoder): void {
  encoder.shrink();
  sharedEncoder = encoder;
}

/**
 * The error to throw for what {@link Encoder.value} threw: finds the path to what cannot be encoded in `value`, which
 * was encoded at `depth` (-1 for an array that is part of the frame).
 */
export function explain(thrown: unknown, value: unknown, root: string, depth = 0): unknown {
  if (!(thrown instanceof Unencodable)) return thrown;
  const path = locate(new Encoder(), value, root, depth);
  return new EncodeError(`${shortened(path)}: ${thrown.message} cannot be encoded`);
}

/** Re-encode each part alone, and go into the first that fails. Slow, and only ever used after a failure. */
function locate(encoder: Encoder, value: unknown, path: string, depth: number): string {
  if (typeof value !== "object" || value === null || depth >= MAX_DEPTH_SENT) return path;
  for (const [segment, part] of partsOf(value)) {
    encoder.begin(Number.MAX_SAFE_INTEGER);
    try {
      encoder.value(part, depth + 1);
    } catch (error) {
      if (!(error instanceof Unencodable)) throw error;
      return locate(encoder, part, path + segment, depth + 1);
    }
  }
  return path;
}

function* partsOf(value: object): Generator<[string, unknown]> {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield [`[${index}]`, item];
  } else if (types.isMap(value)) {
    for (const [key, item] of value) yield [`[${describeKey(key)}]`, item];
  } else if (!ArrayBuffer.isView(value)) {
    for (const [key, item] of Object.entries(value)) {
      yield [/^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${describeKey(key)}]`, item];
    }
  }
}

const LONGEST_PATH = 160;

function shortened(path: string): string {
  return path.length <= LONGEST_PATH ? path : `${path.slice(0, LONGEST_PATH)}…`;
}

function describeKey(key: unknown): string {
  if (typeof key === "string") return JSON.stringify(key);
  return typeof key === "number" || typeof key === "bigint" || typeof key === "boolean" ? String(key) : describeValue(key);
}

function describeValue(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object" ? describeObject(value) : `a ${typeof value}`;
}

function describeObject(value: object): string {
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
  const name = prototype?.constructor?.name;
  return typeof name === "string" && name !== "" ? `an object of class ${name}` : "an object of a class";
}

function isObjectTag(value: object): boolean {
  return Object.prototype.toString.call(value) === "[object Object]" && "hasOwnProperty" in value;
}

function tagOf(view: ArrayBufferView): string {
  return (view as unknown as { [Symbol.toStringTag]: string })[Symbol.toStringTag];
}

function isBytesFromAnotherRealm(view: ArrayBufferView): boolean {
  return tagOf(view) === "Uint8Array";
}

function isScalarKey(key: unknown): boolean {
  if (typeof key === "object") return key === null || key instanceof Uint8Array;
  return typeof key !== "function" && typeof key !== "symbol";
}

function tooDeep(): Unencodable {
  return new Unencodable(`a value nested more than ${MAX_DEPTH_SENT} deep (or in itself)`);
}

function tooLarge(bytes: number, limit: number): MessageTooLarge {
  return new MessageTooLarge(`the message has at least ${bytes} bytes, max_message is ${limit}`);
}

function stringHeaderBytes(bytes: number): number {
  return bytes < 32 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5;
}

function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** Strings that come again and again: keys and method names. Direct-mapped; only ASCII of up to `LONGEST` bytes. */
class StringCache {
  static readonly LONGEST = 48;
  private static readonly SLOTS = 512;
  private readonly slots: string[] = new Array<string>(StringCache.SLOTS).fill("");

  /** The string of these bytes, or undefined when it is not here. `length` is 1 to LONGEST. */
  get(buffer: Buffer, start: number, length: number): string | undefined {
    const text = this.slots[StringCache.slot(buffer, start, length)];
    if (text?.length !== length) return undefined;
    for (let index = 0; index < length; index++) {
      if (text.charCodeAt(index) !== buffer[start + index]) return undefined;
    }
    return text;
  }

  put(buffer: Buffer, start: number, length: number, text: string): void {
    if (text.length === length) this.slots[StringCache.slot(buffer, start, length)] = text;
  }

  private static slot(buffer: Buffer, start: number, length: number): number {
    const first = buffer[start] ?? 0;
    const middle = buffer[start + (length >> 1)] ?? 0;
    const last = buffer[start + length - 1] ?? 0;
    return (first + middle * 7 + last * 61 + length * 13) & (StringCache.SLOTS - 1);
  }
}

const strings = new StringCache();

/**
 * Reads MessagePack from a part of a buffer; never outside of it, and trusting nothing in it. What it returns does not
 * share memory with the buffer, unless the buffer was given away. Everything that is wrong is a ProtocolError.
 */
export class Decoder {
  private buffer: Buffer<ArrayBuffer> = Buffer.alloc(0);
  private view = new DataView(this.buffer.buffer);
  private position = 0;
  private start = 0;
  private end = 0;
  private owned = false;

  /** Start with the bytes from `start` to `end`. `owned`: nobody else will use the buffer, so values may be views of it. */
  begin(buffer: Buffer<ArrayBuffer>, start: number, end: number, owned = false): void {
    if (buffer !== this.buffer) {
      this.buffer = buffer;
      this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    this.start = this.position = start;
    this.end = end;
    this.owned = owned;
  }

  /** Let go of a buffer that was given away, so that it lives only as long as the values in it. */
  forget(): void {
    if (this.owned) this.begin(Buffer.alloc(0), 0, 0);
  }

  /** @throws ProtocolError where bytes are left. */
  finish(): void {
    if (this.position !== this.end) throw this.wrong(`${this.end - this.position} bytes follow the value`);
  }

  /** The next value. `depth` is how many containers it stands in. */
  value(depth = 0): Value {
    const byte = this.byte();
    if (byte < 0x80) return byte;
    if (byte < 0x90) return this.map(byte & 0x0f, depth);
    if (byte < 0xa0) return this.array(byte & 0x0f, depth);
    if (byte < 0xc0) return this.text(byte & 0x1f);
    if (byte >= 0xe0) return byte - 0x100;
    switch (byte) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.bytes(this.uint8());
      case 0xc5:
        return this.bytes(this.uint16());
      case 0xc6:
        return this.bytes(this.uint32());
      case 0xc7:
        return this.ext(this.uint8());
      case 0xc8:
        return this.ext(this.uint16());
      case 0xc9:
        return this.ext(this.uint32());
      case 0xca:
        return this.view.getFloat32(this.take(4));
      case 0xcb:
        return this.view.getFloat64(this.take(8));
      case 0xcc:
        return this.uint8();
      case 0xcd:
        return this.uint16();
      case 0xce:
        return this.uint32();
      case 0xcf:
        return this.uint64();
      case 0xd0:
        return this.view.getInt8(this.take(1));
      case 0xd1:
        return this.view.getInt16(this.take(2));
      case 0xd2:
        return this.view.getInt32(this.take(4));
      case 0xd3:
        return this.int64();
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.ext(1 << (byte - 0xd4));
      case 0xd9:
        return this.text(this.uint8());
      case 0xda:
        return this.text(this.uint16());
      case 0xdb:
        return this.text(this.uint32());
      case 0xdc:
        return this.array(this.uint16(), depth);
      case 0xdd:
        return this.array(this.uint32(), depth);
      case 0xde:
        return this.map(this.uint16(), depth);
      case 0xdf:
        return this.map(this.uint32(), depth);
      default:
        throw this.wrong(`0x${byte.toString(16)} is no MessagePack`);
    }
  }

  /** The number of items of the array that comes next, or -1 where something else comes. */
  arrayLength(): number {
    const byte = this.byte();
    if (byte >= 0x90 && byte < 0xa0) return byte & 0x0f;
    if (byte === 0xdc) return this.uint16();
    if (byte === 0xdd) return this.uint32();
    return -1;
  }

  /** The number of entries of the map that comes next, or -1 where something else comes. */
  mapLength(): number {
    const byte = this.byte();
    if (byte >= 0x80 && byte < 0x90) return byte & 0x0f;
    if (byte === 0xde) return this.uint16();
    if (byte === 0xdf) return this.uint32();
    return -1;
  }

  /** An array of values, given its length. */
  items(length: number, depth: number): Value[] {
    if (depth >= MAX_DEPTH_RECEIVED) throw this.wrong(`nested more than ${MAX_DEPTH_RECEIVED} deep`);
    this.check(length);
    // Grown, not made to size: a hostile length must not cost more memory than its message has bytes.
    const items: Value[] = [];
    for (let index = 0; index < length; index++) items.push(this.value(depth + 1));
    return items;
  }

  /** The unsigned integer below 2^53 that comes next, or -1 in place of any other value, which is stepped over. */
  unsigned(depth = 0): number {
    const byte = this.byte();
    if (byte < 0x80) return byte;
    this.position--;
    const value = this.value(depth);
    // The ints of MessagePack: 0xcc to 0xcf and 0xd0 to 0xd3. A float is none, whatever its value.
    const isInt = byte >= 0xcc && byte <= 0xd3;
    return isInt && typeof value === "number" && value >= 0 ? value : -1;
  }

  /** Skip a nil if it comes next. */
  skipNil(): boolean {
    if (this.position >= this.end || this.buffer[this.position] !== 0xc0) return false;
    this.position++;
    return true;
  }

  /** A string that comes again and again, such as a key. Undefined where something else than a string comes. */
  name(): string | undefined {
    const byte = this.byte();
    if (byte >= 0xa0 && byte < 0xc0) return this.cachedText(byte & 0x1f);
    if (byte === 0xd9) return this.cachedText(this.uint8());
    if (byte === 0xda) return this.cachedText(this.uint16());
    if (byte === 0xdb) return this.cachedText(this.uint32());
    return undefined;
  }

  /** The key of a map that comes next. */
  key(): Key {
    const at = this.position;
    const name = this.name();
    if (name !== undefined) return name;
    this.position = at;
    const byte = this.buffer[at] ?? 0;
    const isContainer = (byte >= 0x80 && byte < 0xa0) || (byte >= 0xdc && byte < 0xe0);
    const isExt = (byte >= 0xc7 && byte <= 0xc9) || (byte >= 0xd4 && byte <= 0xd8);
    if (isContainer || isExt) throw this.wrong("a map key that is no scalar");
    // Not a container and not an ext, so the value is a scalar.
    return this.value() as Key;
  }

  wrong(what: string): ProtocolError {
    return new ProtocolError(`cannot decode a message of ${this.end - this.start} bytes: ${what}, before byte ${this.position - this.start}`);
  }

  private check(bytes: number): void {
    if (bytes > this.end - this.position) {
      throw this.wrong(`${bytes} bytes or more should follow, ${this.end - this.position} do`);
    }
  }

  /** Step over `bytes` bytes, and return where they begin. */
  private take(bytes: number): number {
    const at = this.position;
    if (bytes > this.end - at) this.check(bytes);
    this.position = at + bytes;
    return at;
  }

  private byte(): number {
    const at = this.position;
    if (at >= this.end) this.check(1);
    this.position = at + 1;
    return this.buffer[at] ?? 0;
  }

  private uint8(): number {
    return this.byte();
  }

  private uint16(): number {
    return this.view.getUint16(this.take(2));
  }

  private uint32(): number {
    return this.view.getUint32(this.take(4));
  }

  private uint64(): number | bigint {
    const at = this.take(8);
    const high = this.view.getUint32(at);
    return high < 0x20_0000 ? high * 0x1_0000_0000 + this.view.getUint32(at + 4) : this.view.getBigUint64(at);
  }

  private int64(): number | bigint {
    const at = this.take(8);
    const value = this.view.getInt32(at) * 0x1_0000_0000 + this.view.getUint32(at + 4);
    return Number.isSafeInteger(value) ? value : this.view.getBigInt64(at);
  }

  private text(length: number): string {
    const at = this.take(length);
    if (length <= 4) {
      let text = "";
      let index = 0;
      for (; index < length; index++) {
        const code = this.buffer[at + index] ?? 0;
        if (code >= 0x80) break;
        text += String.fromCharCode(code);
      }
      if (index === length) return text;
    }
    const text = this.buffer.toString("utf8", at, at + length);
    // The decoder puts U+FFFD for what is invalid, but U+FFFD itself is valid.
    if (text.includes("\ufffd") && !isUtf8(this.buffer.subarray(at, at + length))) {
      throw this.wrong("a string that is no UTF-8");
    }
    return text;
  }

  private cachedText(length: number): string {
    if (length === 0 || length > StringCache.LONGEST) return this.text(length);
    this.check(length);
    const at = this.position;
    const cached = strings.get(this.buffer, at, length);
    if (cached !== undefined) {
      this.position += length;
      return cached;
    }
    const text = this.text(length);
    strings.put(this.buffer, at, length, text);
    return text;
  }

  private bytes(length: number): Uint8Array {
    const at = this.take(length);
    if (length <= TINY_BYTES) {
      const bytes = new Uint8Array(length);
      for (let index = 0; index < length; index++) bytes[index] = this.buffer[at + index] ?? 0;
      return bytes;
    }
    // A view keeps the whole message alive: only where it is most of the message.
    if (this.owned && 2 * length > this.end - this.start) {
      return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset + at, length);
    }
    return new Uint8Array(this.copy(at, length));
  }

  private copy(at: number, length: number): ArrayBuffer {
    const from = this.buffer.byteOffset + at;
    return this.buffer.buffer.slice(from, from + length);
  }

  private array(length: number, depth: number): Value[] {
    return this.items(length, depth);
  }

  private map(size: number, depth: number): { [key: string]: Value } | Map<Key, Value> {
    if (depth >= MAX_DEPTH_RECEIVED) throw this.wrong(`nested more than ${MAX_DEPTH_RECEIVED} deep`);
    this.check(2 * size);
    const object: { [key: string]: Value } = {};
    for (let index = 0; index < size; index++) {
      const at = this.position;
      const key = this.name();
      if (key === undefined) {
        this.position = at;
        return this.mapWithOtherKeys(object, size - index, depth);
      }
      const value = this.value(depth + 1);
      if (key === "__proto__") defineOwn(object, key, value);
      else object[key] = value;
    }
    return object;
  }

  /** The rest of a map in which a key that is no string has come up, after the entries in `before`. */
  private mapWithOtherKeys(before: { [key: string]: Value }, left: number, depth: number): Map<Key, Value> {
    const map = new Map<Key, Value>(Object.entries(before));
    // Two Uint8Array with the same bytes are different keys of a Map, but the same key of the message.
    const bytesKeys = new Map<string, Uint8Array>();
    for (let index = 0; index < left; index++) {
      let key = this.key();
      if (key instanceof Uint8Array) {
        const text = Buffer.from(key).toString("latin1");
        key = bytesKeys.get(text) ?? key;
        bytesKeys.set(text, key);
      }
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  private ext(length: number): Date | NumberArray | NdArray {
    const type = this.byte();
    this.check(length);
    if (type === EXT_TIMESTAMP) return this.timestamp(length);
    if (type === EXT_ARRAY) return this.numbers(length);
    throw this.wrong(`an ext of the unknown type ${type < 0x80 ? type : type - 0x100}`);
  }

  private timestamp(length: number): Date {
    const at = this.take(length);
    let seconds: number;
    let nanoseconds = 0;
    if (length === 4) {
      seconds = this.view.getUint32(at);
    } else if (length === 8) {
      const high = this.view.getUint32(at);
      nanoseconds = high >>> 2;
      seconds = (high & 3) * 0x1_0000_0000 + this.view.getUint32(at + 4);
    } else if (length === 12) {
      nanoseconds = this.view.getUint32(at);
      seconds = Number(this.view.getBigInt64(at + 4));
    } else {
      throw this.wrong(`a timestamp of ${length} bytes`);
    }
    if (nanoseconds > 999_999_999) throw this.wrong(`a timestamp with ${nanoseconds} nanoseconds`);
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND) throw this.wrong("a timestamp outside of the years 1 to 9999");
    return new Date(seconds * 1000 + Math.floor(nanoseconds / 1_000_000));
  }

  private numbers(length: number): NumberArray | NdArray {
    const at = this.take(length);
    if (length < 4) throw this.wrong(`an array ext of ${length} bytes`);
    const dtype = this.buffer[at] ?? 0;
    const dimensions = this.buffer[at + 1] ?? 0;
    const type = DTYPES[dtype];
    if (type === undefined) throw this.wrong(`an array of the unknown dtype ${dtype}`);
    if (dimensions > MAX_DIMENSIONS) throw this.wrong(`an array of ${dimensions} dimensions`);
    const header = align8(4 + 4 * dimensions);
    if (length < header) throw this.wrong(`an array ext of ${length} bytes`);
    const shape: number[] = [];
    let elements = 1;
    let isEmpty = false;
    for (let index = 0; index < dimensions; index++) {
      const size = this.view.getUint32(at + 4 + 4 * index, true);
      shape.push(size);
      if (size === 0) isEmpty = true;
      // Eight factors of 32 bits cannot overflow a double to anything small.
      elements *= size;
    }
    if (isEmpty) elements = 0;
    if (elements * type.BYTES_PER_ELEMENT !== length - header) {
      throw this.wrong(`an array of shape [${shape.join(", ")}] with ${length - header} bytes of data`);
    }
    if (isEmpty && isTooLarge(shape, type.BYTES_PER_ELEMENT)) {
      throw this.wrong(`an array of shape [${shape.join(", ")}], whose sizes other than 0 come to more than 2^63 - 1 bytes`);
    }
    for (let index = at + 4 + 4 * dimensions; index < at + header; index++) {
      if (this.buffer[index] !== 0) throw this.wrong("an array with padding that is not zero");
    }
    if (this.buffer[at + 2] !== 0 || this.buffer[at + 3] !== 0) throw this.wrong("an array with reserved bytes not zero");
    const data = new type(this.copy(at + header, length - header));
    return dimensions === 1 ? data : new NdArray(data, shape);
  }
}

function defineOwn(object: object, key: string, value: Value): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Encode one value alone, for tests and tools. @throws EncodeError with a path that begins with `value`. */
export function encode(value: unknown, limit = Number.MAX_SAFE_INTEGER): Buffer {
  return withEncoder(
    (encoder) => {
      encoder.begin(limit);
      try {
        encoder.value(value);
      } catch (error) {
        throw explain(error, value, "value");
      }
      encoder.finish();
    },
    (buffer, length) => Buffer.from(buffer.subarray(0, length)),
  );
}

/** Decode bytes that are one value. @throws ProtocolError */
export function decode(bytes: Uint8Array): Value {
  const copy = Buffer.alloc(bytes.length);
  copy.set(bytes);
  const decoder = new Decoder();
  decoder.begin(copy, 0, copy.length);
  const value = decoder.value();
  decoder.finish();
  return value;
}

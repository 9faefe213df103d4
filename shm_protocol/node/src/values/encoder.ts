/** Values to MessagePack. */

import { types } from "node:util";

import { MessageTooLarge } from "../errors";
import { hear } from "../heard";
import { faultOfShape, MAX_ARRAY_DIMENSIONS, NdArray } from "../value_types";
import { type Holding, Reference, REFERENCE_HEAD_BYTES } from "./reference";
import { bytesOfTable, isTable } from "./tables";
import { describeObject, describeValue, indexSegment, keySegment, propertySegment, Unencodable } from "./unencodable";
import { bytesOf, dtypeOf, elementCount, getterOf, isGone, viewName } from "./views";
import {
  arrayHeaderBytes,
  DTYPES,
  EXT_ARRAY,
  EXT_BUFFER,
  EXT_REFERENCE,
  EXT_TIMESTAMP,
  FIRST_SECOND,
  LAST_SECOND,
  type Lender,
  MAX_DEPTH_SENT,
  MAX_VALUES,
  TABLE,
} from "./wire";

const INITIAL_BYTES = 64 * 1024;
/** An encoder that grew past this lets go of its buffer after the message. */
const RETAINED_BYTES = 8 * 1024 * 1024;
/** Up to this many characters a string's room is reserved for the worst case, three bytes each. */
const WORST_CASE_CHARACTERS = 256;
/** Reserving for the worst case may ask for this much more than is written in the end. */
const SLACK_BYTES = 3 * WORST_CASE_CHARACTERS + 16;
/** From 64 Ki characters on, the header of a string is the longest. */
const LARGE_STRING = 0xffff;
const utf8 = new TextEncoder();
/** Below this many characters, writing byte by byte is quicker than a native call. */
const SHORT_STRING = 14;

/** Where a buffer lies: number of the memory, offset in it, bytes; 64 bits each. */
const PLACE_BYTES = 24;

/** An ext has no more, with the header that stands before a table. */
const MAX_TABLE_BYTES = 0xffff_ffff - 8;

const TOO_MANY_VALUES = `the message has more than ${MAX_VALUES} values: send numbers as a typed array, or several messages`;

// As the language has them, whatever a subclass says. They refuse what is neither.
const getSize = getterOf(Map.prototype, "size") as (this: object) => number;
const { getTime } = Date.prototype as { getTime: (this: object) => number };

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
  /** How many values the message has: each container counts its parts, once it knows how many they are. */
  private values = 0;
  /** Who knows what the peer has lent; undefined: nothing of that can be sent. */
  holding: Holding | undefined;
  private lender: Lender | undefined;
  /** Bytes of the smallest buffer that the lender takes. */
  private threshold = Infinity;

  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Have large buffers taken out of the messages to come; undefined: none are. */
  lendBy(lender: Lender | undefined): void {
    this.lender = lender;
    this.threshold = lender?.threshold ?? Infinity;
  }

  get lends(): boolean {
    return this.lender !== undefined;
  }

  /** Start a message of at most `limit` bytes. */
  begin(limit: number): void {
    this.position = 0;
    this.limit = limit;
    this.values = 1;
    this.lender?.begin();
  }

  /** @throws MessageTooLarge where more than the limit is written. */
  finish(): void {
    if (this.position > this.limit) throw new MessageTooLarge(overLimit(this.position, this.limit));
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
    if (needed > this.limit + SLACK_BYTES) throw new Unencodable(overLimit(needed, this.limit), true);
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
      if (value > 0xffff_ffff_ffff_ffffn) throw Unencodable.of("a bigint of more than 64 bits");
      this.buffer[this.position] = 0xcf;
      this.view.setBigUint64(this.position + 1, value);
    } else {
      if (value < -0x8000_0000_0000_0000n) throw Unencodable.of("a bigint of more than 64 bits");
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
    if (length > LARGE_STRING && this.isAsciiWritten(text)) return;
    const most = length <= WORST_CASE_CHARACTERS ? 3 * length : Buffer.byteLength(text);
    this.reserve(5 + most);
    // Most strings are ASCII: write for that, and move the bytes where the header turns out longer.
    const guessed = stringHeaderBytes(length <= WORST_CASE_CHARACTERS ? length : most);
    const bytes = this.buffer.write(text, this.position + guessed, "utf8");
    if (bytes !== length && !text.isWellFormed()) throw Unencodable.of("a string with a lone surrogate");
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

  /**
   * Write a large string if it is ASCII, as most are: to count its bytes first takes several times as long as to write them.
   * False: it is not, and nothing is written.
   */
  private isAsciiWritten(text: string): boolean {
    const length = text.length;
    this.reserve(5 + length);
    const at = this.position;
    const room = this.buffer.subarray(at + 5, at + 5 + length);
    if (utf8.encodeInto(text, room).read !== length) return false;
    this.buffer[at] = 0xdb;
    this.view.setUint32(at + 1, length);
    this.position = at + 5 + length;
    return true;
  }

  private bytes(bytes: Uint8Array): void {
    const length = elementCount(bytes);
    if (length === 0 && isGone(bytes)) throw Unencodable.of("a Uint8Array whose memory is gone");
    if (length >= this.threshold && this.lend(bytesOf(bytes), 0, [])) return;
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
    this.countValues(length);
    this.containerHeader(length, 0x90, 0xdc);
  }

  mapHeader(size: number): void {
    this.countValues(2 * size);
    this.containerHeader(size, 0x80, 0xde);
  }

  private countValues(more: number): void {
    this.values += more;
    if (this.values > MAX_VALUES) throw new Unencodable(TOO_MANY_VALUES, true);
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
   * Any value of the table in PROTOCOL.md section 8. Throws what `explain` turns into an error for the caller.
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
      case "function":
        if (!this.reference(value)) throw Unencodable.of("a function");
        return;
      default:
        throw Unencodable.of(`a ${typeof value}`);
    }
  }

  /**
   * A collection is sent as it shows itself to who looks at it: an array by its indices, a Map by its iterator, an object by
   * its enumerable properties. That may run any code, which may do anything, but alter what is written here.
   */
  private object(value: object, depth: number): void {
    if (Array.isArray(value)) {
      this.array(value, depth);
      return;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) this.plainObject(value as Record<string, unknown>, depth);
    else if (ArrayBuffer.isView(value)) this.typedArray(value);
    // The second question is for those of another realm, such as a vm context; it takes as long as all the others.
    else if (value instanceof Date || types.isDate(value)) this.timestamp(value);
    else if (value instanceof Map || types.isMap(value)) this.map(value, depth);
    else if (value instanceof NdArray) this.ndArray(value as NdArray);
    else if (isPlainElsewhere(value, prototype as object)) this.plainObject(value as Record<string, unknown>, depth);
    else if (isTable(value)) this.table(value);
    else if (!this.reference(value)) {
      // Where a getter gave it nobody else will.
      hear(value);
      throw Unencodable.of(describeObject(value));
    }
  }

  /** An array of values. Of the frame's own: `depth` -1. */
  array(values: readonly unknown[], depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    const length = values.length;
    if (!isCount(length)) throw Unencodable.of(`an array whose length is ${describeValue(length)}`);
    this.arrayHeader(length);
    let index = 0;
    try {
      for (; index < length; index++) this.value(values[index], depth + 1);
    } catch (error) {
      throw Unencodable.from(error).within(indexSegment(index));
    }
  }

  private plainObject(object: Record<string, unknown>, depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    const keys = Object.keys(object);
    this.mapHeader(keys.length);
    let index = 0;
    try {
      for (; index < keys.length; index++) {
        const key = keys[index] as string;
        this.string(key);
        this.value(object[key], depth + 1);
      }
    } catch (error) {
      throw Unencodable.from(error).within(propertySegment(keys[index] as string));
    }
  }

  private map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    if (depth >= MAX_DEPTH_SENT) throw tooDeep();
    const size = getSize.call(map);
    const start = this.position;
    this.mapHeader(size);
    const body = this.position;
    let entries = 0;
    for (const [key, value] of map) {
      if (!isScalarKey(key)) throw Unencodable.of(`a Map with a key that is ${describeValue(key)}`);
      if (++entries > size) this.countValues(2);
      try {
        this.value(key);
        this.value(value, depth + 1);
      } catch (error) {
        throw Unencodable.from(error).within(keySegment(key));
      }
    }
    if (entries !== size) this.correctMapHeader(start, body, entries);
  }

  /** The iterator of a Map has shown other entries than it has: a subclass's own, or somebody altered it meanwhile. */
  private correctMapHeader(start: number, body: number, entries: number): void {
    const written = this.position - body;
    // At the end first, to learn how long it is.
    const end = this.position;
    this.containerHeader(entries, 0x80, 0xde);
    const header = Buffer.from(this.buffer.subarray(end, this.position));
    this.buffer.copyWithin(start + header.length, body, body + written);
    this.buffer.set(header, start);
    this.position = start + header.length + written;
  }

  private timestamp(date: Date): void {
    const milliseconds = getTime.call(date);
    const seconds = Math.floor(milliseconds / 1000);
    if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
      throw Unencodable.of(
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

  /** A reference, or what stands for a thing of the peer's. False: it is neither. */
  private reference(value: object): boolean {
    const reference = value instanceof Reference ? value : this.holding?.returned(value);
    if (reference === undefined) return false;
    const name = Buffer.from(reference.name);
    this.extHeader(EXT_REFERENCE, REFERENCE_HEAD_BYTES + name.length);
    this.buffer[this.position] = reference.kind;
    this.view.setUint32(this.position + 1, reference.id >>> 0, true);
    this.view.setUint32(this.position + 5, Math.floor(reference.id / 0x1_0000_0000), true);
    this.buffer.set(name, this.position + REFERENCE_HEAD_BYTES);
    this.position += REFERENCE_HEAD_BYTES + name.length;
    return true;
  }

  private typedArray(view: ArrayBufferView): void {
    const name = viewName(view);
    if (name === "Uint8Array") {
      this.bytes(view as Uint8Array);
      return;
    }
    const dtype = dtypeOf(view);
    if (dtype === undefined) throw Unencodable.of(`a ${name}`);
    this.numbers(view, dtype, [elementCount(view)]);
  }

  private ndArray(array: NdArray): void {
    const data: unknown = array.data;
    const dtype = ArrayBuffer.isView(data) ? dtypeOf(data) : undefined;
    if (dtype === undefined) throw Unencodable.of(`an NdArray whose data is ${describeValue(data)}`);
    // A copy: what the constructor has checked may have changed since, and may again.
    const shape = Array.from({ length: Math.min(array.shape.length, MAX_ARRAY_DIMENSIONS + 1) }, (_, index) => array.shape[index] as number);
    const fault = faultOfShape(shape, elementCount(data as ArrayBufferView), DTYPES[dtype]?.BYTES_PER_ELEMENT ?? 1);
    if (fault !== undefined) throw Unencodable.of(`an NdArray with a wrong shape (${fault})`);
    this.numbers(data as ArrayBufferView, dtype, shape);
  }

  private table(table: object): void {
    this.holding?.requireTables();
    const bytes = bytesOfTable(table);
    if (bytes.length > MAX_TABLE_BYTES) {
      throw Unencodable.of(`an Arrow table of ${bytes.length} bytes, of more than ${MAX_TABLE_BYTES},`);
    }
    this.elements(bytes, TABLE, [bytes.length]);
  }

  /** The elements of a typed array. */
  private numbers(data: ArrayBufferView, dtype: number, shape: readonly number[]): void {
    if (isGone(data)) throw Unencodable.of(`a ${viewName(data)} whose memory is gone`);
    this.elements(bytesOf(data), dtype, shape);
  }

  private elements(bytes: Uint8Array, dtype: number, shape: readonly number[]): void {
    if (bytes.length >= this.threshold && this.lend(bytes, dtype, shape)) return;
    const header = arrayHeaderBytes(shape.length);
    this.extHeader(EXT_ARRAY, header + bytes.length);
    this.arrayHeaderOf(dtype, shape, header);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  private arrayHeaderOf(dtype: number, shape: readonly number[], header: number): void {
    const at = this.position;
    this.buffer.fill(0, at, at + header);
    this.buffer[at] = dtype;
    this.buffer[at + 1] = shape.length;
    for (let index = 0; index < shape.length; index++) this.view.setUint32(at + 4 + 4 * index, shape[index] as number, true);
    this.position = at + header;
  }

  /** Have a buffer taken out of the message, if that can be now. Of bytes the dtype is 0. */
  private lend(bytes: Uint8Array, dtype: number, shape: readonly number[]): boolean {
    const place = this.lender?.place(bytes);
    if (place === undefined) return false;
    const header = arrayHeaderBytes(shape.length);
    this.extHeader(EXT_BUFFER, header + PLACE_BYTES);
    this.arrayHeaderOf(dtype, shape, header);
    for (const number of [place.number, place.offset, bytes.length]) {
      this.view.setUint32(this.position, number >>> 0, true);
      this.view.setUint32(this.position + 4, Math.floor(number / 0x1_0000_0000), true);
      this.position += 8;
    }
    return true;
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
export function acquireEncoder(holding?: Holding): Encoder {
  const encoder = sharedEncoder ?? new Encoder();
  sharedEncoder = undefined;
  encoder.holding = holding;
  return encoder;
}

export function releaseEncoder(encoder: Encoder): void {
  encoder.lendBy(undefined);
  encoder.shrink();
  encoder.holding = undefined;
  sharedEncoder = encoder;
}

function isCount(length: unknown): length is number {
  return typeof length === "number" && length >>> 0 === length;
}

/** A plain object of another realm, such as a vm context: of a prototype that looks like Object.prototype. */
/** Is it sent as a map of its properties? */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || isPlainElsewhere(value, prototype as object);
}

function isPlainElsewhere(value: object, prototype: object): boolean {
  return (
    Object.getPrototypeOf(prototype) === null &&
    Object.prototype.toString.call(value) === "[object Object]" &&
    Object.hasOwn(prototype, "hasOwnProperty")
  );
}

function isScalarKey(key: unknown): boolean {
  if (typeof key === "object") return key === null || types.isUint8Array(key);
  return typeof key !== "function" && typeof key !== "symbol";
}

function tooDeep(): Unencodable {
  return Unencodable.of(`a value nested more than ${MAX_DEPTH_SENT} deep (or in itself)`);
}

function overLimit(bytes: number, limit: number): string {
  return `the message has at least ${bytes} bytes, max_message is ${limit}`;
}

function stringHeaderBytes(bytes: number): number {
  return bytes < 32 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5;
}

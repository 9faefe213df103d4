/** MessagePack to values. */

import { isAscii, isUtf8 } from "node:buffer";

import { ProtocolError } from "../errors";
import { elementsOf, isTooLarge, type Key, MAX_ARRAY_DIMENSIONS, NdArray, type NumberArray, type Value } from "../value_types";
import { FUNCTION, MAX_NAME_BYTES, Reference, REFERENCE_HEAD_BYTES, type Resolve, RETURNED } from "./reference";
import { StringCache } from "./string_cache";
import { type ReadTable, TableBytes } from "./tables";
import {
  arrayHeaderBytes,
  CUT_SHORT,
  DTYPES,
  EXT_ARRAY,
  EXT_BUFFER,
  EXT_REFERENCE,
  EXT_TIMESTAMP,
  FIRST_SECOND,
  LAST_SECOND,
  type Lender,
  MAX_DEPTH_RECEIVED,
  MAX_VALUES,
  TABLE,
  type NumberArrayConstructor,
} from "./wire";

/** V8 keeps so much with the typed array itself; more takes an allocation of its own, at four times the time. */
const ON_HEAP_BYTES = 64;

/** From here on Node makes an external string of a Latin-1 text (EXTERN_APEX of its string_bytes.cc). */
const EXTERNAL_CHARACTERS = 0xfbee9;

/** Bytes before those of a table: as before those of an array with one dimension. */
const TABLE_HEADER = arrayHeaderBytes(1);

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
  /** How many values the message has, as far as its containers have told. */
  private values = 0;
  /** Where buffers outside of the message are; undefined: nowhere. */
  lender: Lender | undefined;

  /** `resolve`: what references stand for; without it they are given as they stand. `readTable`: likewise of tables. */
  constructor(
    private readonly resolve?: Resolve,
    private readonly readTable?: ReadTable,
  ) {}

  /** Start with the bytes from `start` to `end`. `owned`: nobody else will use the buffer, so values may be views of it. */
  begin(buffer: Buffer<ArrayBuffer>, start: number, end: number, owned = false): void {
    if (buffer !== this.buffer) {
      this.buffer = buffer;
      this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    this.start = this.position = start;
    this.end = end;
    this.owned = owned;
    this.values = 1;
  }

  /** Let go of a buffer that was given away, so that it lives only as long as the values in it. */
  forget(): void {
    if (this.owned) this.begin(Buffer.alloc(0), 0, 0);
  }

  /** @throws ProtocolError where bytes are left. */
  finish(): void {
    if (this.position !== this.end) throw this.wrong(CUT_SHORT);
  }

  /** The next value. `depth` is how many containers it stands in. */
  value(depth = 0): Value {
    const byte = this.byte();
    if (byte < 0x80) return byte;
    if (byte < 0x90) return this.map(this.count(byte & 0x0f, 2), depth);
    if (byte < 0xa0) return this.items(this.count(byte & 0x0f, 1), depth);
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
        return this.items(this.count(this.uint16(), 1), depth);
      case 0xdd:
        return this.items(this.count(this.uint32(), 1), depth);
      case 0xde:
        return this.map(this.count(this.uint16(), 2), depth);
      case 0xdf:
        return this.map(this.count(this.uint32(), 2), depth);
      default:
        throw this.wrong(`0x${byte.toString(16)} is not MessagePack`);
    }
  }

  /** The number of items of the array that comes next, or -1 where something else comes. */
  arrayLength(): number {
    const byte = this.byte();
    if (byte >= 0x90 && byte < 0xa0) return this.count(byte & 0x0f, 1);
    if (byte === 0xdc) return this.count(this.uint16(), 1);
    if (byte === 0xdd) return this.count(this.uint32(), 1);
    return -1;
  }

  /** The number of entries of the map that comes next, or -1 where something else comes. */
  mapLength(): number {
    const byte = this.byte();
    if (byte >= 0x80 && byte < 0x90) return this.count(byte & 0x0f, 2);
    if (byte === 0xde) return this.count(this.uint16(), 2);
    if (byte === 0xdf) return this.count(this.uint32(), 2);
    return -1;
  }

  /** An array of values, given its length. */
  items(length: number, depth: number): Value[] {
    if (depth >= MAX_DEPTH_RECEIVED) throw this.wrong(`nested more than ${MAX_DEPTH_RECEIVED} deep`);
    // Grown, not made to size: what a message costs follows what has been read of it, not what it says.
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
    if (isContainer || isExt) throw this.wrong("a map key that is not a scalar");
    // Not a container and not an ext, so the value is a scalar.
    return this.value() as Key;
  }

  wrong(what: string): ProtocolError {
    return new ProtocolError(`a message of ${this.end - this.start} bytes cannot be decoded: ${what}, before byte ${this.position - this.start}`);
  }

  /** `length` items or entries, of so many values each, are to follow: as many as there can be, and as may be? */
  private count(length: number, each: number): number {
    const values = length * each;
    if (values > this.end - this.position) this.check(values);
    this.values += values;
    if (this.values > MAX_VALUES) throw this.wrong(`more than ${MAX_VALUES} values`);
    return length;
  }

  private check(bytes: number): void {
    if (bytes > this.end - this.position) {
      throw this.wrong(CUT_SHORT);
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
    // Node keeps such a text outside of V8's heap if it is told that it is ASCII: a tenth of the time.
    if (length >= EXTERNAL_CHARACTERS && isAscii(this.buffer.subarray(at, at + length))) {
      return this.buffer.toString("latin1", at, at + length);
    }
    const text = this.buffer.toString("utf8", at, at + length);
    // The decoder puts U+FFFD for what is invalid, but U+FFFD itself is valid.
    if (text.includes("\ufffd") && !isUtf8(this.buffer.subarray(at, at + length))) {
      throw this.wrong("a string that is not UTF-8");
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
    if (length <= ON_HEAP_BYTES) {
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

  private map(size: number, depth: number): { [key: string]: Value } | Map<Key, Value> {
    if (depth >= MAX_DEPTH_RECEIVED) throw this.wrong(`nested more than ${MAX_DEPTH_RECEIVED} deep`);
    const object: { [key: string]: Value } = {};
    let isSparse = false;
    for (let index = 0; index < size; index++) {
      const at = this.position;
      const key = this.name();
      if (key === undefined) {
        this.position = at;
        return this.mapWithOtherKeys(object, size - index, depth);
      }
      const value = this.value(depth + 1);
      // Digits begin with 0x30 to 0x39, `__proto__` with 0x5f: most keys are neither.
      const first = key.charCodeAt(0);
      if (first === 0x5f && key === "__proto__") defineOwn(object, key, value);
      else {
        if (first <= 0x39 && !isSparse && isFarIndex(key, size)) {
          keepSparse(object);
          isSparse = true;
        }
        object[key] = value;
      }
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
        const text = this.buffer.toString("latin1", this.position - key.length, this.position);
        key = bytesKeys.get(text) ?? key;
        bytesKeys.set(text, key);
      }
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  private ext(length: number): Value {
    const type = this.byte();
    this.check(length);
    if (type === EXT_TIMESTAMP) return this.timestamp(length);
    if (type === EXT_ARRAY) return this.numbers(length);
    if (type === EXT_REFERENCE) return this.reference(length);
    if (type === EXT_BUFFER && this.lender !== undefined) return this.lent(length, this.lender);
    throw this.wrong(`an ext of the unknown type ${type < 0x80 ? type : type - 0x100}`);
  }

  private reference(length: number): Value {
    const at = this.take(length);
    if (length < REFERENCE_HEAD_BYTES) throw this.wrong(`a reference of ${length} bytes`);
    const kind = this.buffer[at] ?? 0;
    if (kind < FUNCTION || kind > RETURNED) throw this.wrong(`a reference of the unknown kind ${kind}`);
    const high = this.view.getUint32(at + 5, true);
    const id = high * 0x1_0000_0000 + this.view.getUint32(at + 1, true);
    if (id === 0 || high >= 0x20_0000) throw this.wrong(`a reference with id ${this.view.getBigUint64(at + 1, true)}`);
    const bytes = this.buffer.subarray(at + REFERENCE_HEAD_BYTES, at + length);
    if (bytes.length > (kind === RETURNED ? 0 : MAX_NAME_BYTES)) throw this.wrong(`a reference of kind ${kind} with a name of ${bytes.length} bytes`);
    if (!isUtf8(bytes)) throw this.wrong("a reference whose name is not UTF-8");
    const reference = new Reference(kind, id, bytes.toString("utf8"));
    // It is no value of the table: who calls for one, or is called with one, has a type of his own for it.
    return (this.resolve === undefined ? reference : this.resolve(reference)) as Value;
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

  private numbers(length: number): Value {
    const at = this.take(length);
    if (length > 0 && this.buffer[at] === TABLE) {
      const size = this.tableHeader(at, length);
      if (size !== length - TABLE_HEADER) throw this.wrong(`a table of ${size} bytes with ${length - TABLE_HEADER} bytes of data`);
      return this.table(new Uint8Array(this.copy(at + TABLE_HEADER, size)));
    }
    const { dtype, type, shape, header, elements } = this.arrayHeader(at, length);
    if (elements * type.BYTES_PER_ELEMENT !== length - header) {
      throw this.wrong(`an array of shape [${shape.join(", ")}] with ${length - header} bytes of data`);
    }
    if (elements === 0 && isTooLarge(shape, type.BYTES_PER_ELEMENT)) {
      throw this.wrong(`an array of shape [${shape.join(", ")}], whose sizes other than 0 come to more than 2^63 - 1 bytes`);
    }
    const data = this.elements(type, dtype, at + header, length - header);
    return shape.length === 1 ? data : new NdArray(data, shape);
  }

  private table(data: Uint8Array): Value {
    const received = new TableBytes(data);
    // As a reference: it is no value of the table.
    return (this.readTable === undefined ? received : this.readTable(received)) as Value;
  }

  /** How many bytes the table has whose header is there. */
  private tableHeader(at: number, length: number): number {
    if (length < TABLE_HEADER) throw this.wrong(`an array ext of ${length} bytes`);
    const dimensions = this.buffer[at + 1] ?? 0;
    if (dimensions !== 1) throw this.wrong(`a table of ${dimensions} dimensions`);
    if (this.buffer[at + 2] !== 0 || this.buffer[at + 3] !== 0) throw this.wrong("a table whose reserved bytes are not zero");
    return this.view.getUint32(at + 4, true);
  }

  private lent(length: number, lender: Lender): Value {
    const at = this.take(length);
    if (length > 0 && this.buffer[at] === TABLE) return this.lentTable(at, length, lender);
    const isBytes = length >= 8 && this.view.getUint32(at) === 0 && this.view.getUint32(at + 4) === 0;
    const array = isBytes ? undefined : this.arrayHeader(at, length);
    const header = array?.header ?? 8;
    if (length !== header + 24) throw this.wrong(`a buffer ext of ${length} bytes`);
    const [number, offset, size] = [this.natural(at + header), this.natural(at + header + 8), this.natural(at + header + 16)];
    if (array === undefined) {
      const buffer = lender.borrow(number, offset, size);
      return buffer === undefined ? null : new Uint8Array(buffer);
    }
    const { type, shape, elements } = array;
    if (elements * type.BYTES_PER_ELEMENT !== size) throw this.wrong(`an array of shape [${shape.join(", ")}] with ${size} bytes of data`);
    const buffer = lender.borrow(number, offset, size);
    if (buffer === undefined) return null;
    const data = new type(buffer);
    return shape.length === 1 ? data : new NdArray(data, shape);
  }

  private lentTable(at: number, length: number, lender: Lender): Value {
    const bytes = this.tableHeader(at, length);
    const place = at + TABLE_HEADER;
    if (length !== TABLE_HEADER + 24) throw this.wrong(`a buffer ext of ${length} bytes`);
    const [number, offset, size] = [this.natural(place), this.natural(place + 8), this.natural(place + 16)];
    if (bytes !== size) throw this.wrong(`a table of ${bytes} bytes with ${size} bytes of data`);
    const buffer = lender.borrow(number, offset, size);
    return buffer === undefined ? null : this.table(new Uint8Array(buffer));
  }

  /** 64 bits, little-endian; what is beyond 2^53 is no number of anything there is. */
  private natural(at: number): number {
    const number = this.view.getUint32(at + 4, true) * 0x1_0000_0000 + this.view.getUint32(at, true);
    if (!Number.isSafeInteger(number)) throw this.wrong("a buffer whose place is beyond 2^53");
    return number;
  }

  private arrayHeader(at: number, length: number): ArrayHeader {
    if (length < 4) throw this.wrong(`an array ext of ${length} bytes`);
    const dtype = this.buffer[at] ?? 0;
    const dimensions = this.buffer[at + 1] ?? 0;
    const type = DTYPES[dtype];
    if (type === undefined) throw this.wrong(`an array of the unknown dtype ${dtype}`);
    if (dimensions > MAX_ARRAY_DIMENSIONS) throw this.wrong(`an array of ${dimensions} dimensions`);
    const header = arrayHeaderBytes(dimensions);
    if (length < header) throw this.wrong(`an array ext of ${length} bytes`);
    const shape: number[] = [];
    for (let index = 0; index < dimensions; index++) shape.push(this.view.getUint32(at + 4 + 4 * index, true));
    for (let index = at + 4 + 4 * dimensions; index < at + header; index++) {
      if (this.buffer[index] !== 0) throw this.wrong("an array whose reserved bytes are not zero");
    }
    if (this.buffer[at + 2] !== 0 || this.buffer[at + 3] !== 0) throw this.wrong("an array whose reserved bytes are not zero");
    return { dtype, type, shape, header, elements: elementsOf(shape) };
  }

  private elements(type: NumberArrayConstructor, dtype: number, at: number, bytes: number): NumberArray {
    if (bytes > ON_HEAP_BYTES) return new type(this.copy(at, bytes));
    for (let index = 0; index < bytes; index++) few[index] = this.buffer[at + index] ?? 0;
    return (fewOf[dtype] as NumberArray).slice(0, bytes / type.BYTES_PER_ELEMENT);
  }
}

/** What stands before the elements of an array. */
interface ArrayHeader {
  dtype: number;
  type: NumberArrayConstructor;
  shape: number[];
  /** How long it is. */
  header: number;
  elements: number;
}

/** Memory for a few numbers, and that memory as an array of each dtype. */
const few = new Uint8Array(ON_HEAP_BYTES);
const fewOf = DTYPES.map((type) => type && new type(few.buffer));

/**
 * Would V8, which gives an object's properties `"0"`, `"1"`, … a dense array, make one that is much longer than the `size`
 * entries need? `{"1000": …}` takes 12 KiB.
 */
function isFarIndex(key: string, size: number): boolean {
  return key.length <= 10 && Number(key) > 2 * size + 8;
}

/** The largest index that a property of an object can be. */
const LAST_INDEX = "4294967294";

/** Have V8 keep the numbered properties of `object` in a table. It does so for good once one is beyond 2^29. */
function keepSparse(object: { [key: string]: Value }): void {
  if (Object.hasOwn(object, LAST_INDEX)) return;
  object[LAST_INDEX] = null;
  Reflect.deleteProperty(object, LAST_INDEX);
}

function defineOwn(object: object, key: string, value: Value): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

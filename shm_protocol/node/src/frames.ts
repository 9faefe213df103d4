/**
 * The frames: PROTOCOL.md section 7. Pure code over bytes; what a frame means is session.ts's to know.
 */

import { readErrorMap, shorter } from "./error_maps";
import { EncodeError, type ErrorMap, ProtocolError } from "./errors";
import type { Meta } from "./meta";
import type { Key, Value } from "./value_types";
import { type Decoder, type Encoder, explain } from "./values";

export const REQUEST = 0;
export const RESPONSE = 1;
export const NOTIFICATION = 2;
export const CANCEL = 3;
export const ITEM = 4;
export const CREDIT = 5;
export const LEAVE = 6;
export const EXPOSE = 7;
export const RELEASE = 8;
export const HOLD = 9;
export const RETURNED = 16;
export const WITHDRAWN = 17;

export const MAX_METHOD_BYTES = 256;
export const MAX_CHAIN = 32;
export const MAX_CREDIT = 65_536;
/** Functions that one side exposes. */
export const MAX_EXPOSED = 65_536;
/** Functions and objects of one side that the peer has. */
export const MAX_REFERENCES = 65_536;
/** Of memory, in one frame. */
export const MAX_NUMBERS = 65_536;

/** Takes the frames that {@link readFrame} reads. A method each, so that no frame object is made on the way. */
export interface FrameSink {
  onRequest(id: number, method: string, args: Value[], meta: Meta | undefined): void;
  onResponse(id: number, result: Value): void;
  onErrorResponse(id: number, error: ErrorMap): void;
  onNotification(method: string, args: Value[], meta: Meta | undefined): void;
  onCancel(id: number): void;
  onItem(id: number, value: Value): void;
  onCredit(id: number, items: number): void;
  onLeave(): void;
  onExpose(names: string[]): void;
  onRelease(ids: number[]): void;
  onHold(ids: number[]): void;
  onReturned(numbers: number[]): void;
  onWithdrawn(numbers: number[]): void;
}

/**
 * Read the one frame that `decoder` was given and hand it to `sink`, after all of it has been checked.
 *
 * @throws ProtocolError for anything that is no frame of this protocol.
 */
export function readFrame(decoder: Decoder, sink: FrameSink): void {
  const length = decoder.arrayLength();
  if (length < 1) throw new ProtocolError("a frame that is not an array, or an empty one");
  const type = decoder.unsigned();
  switch (type) {
    case REQUEST: {
      checkLength(length, 4, 5, "request");
      const id = readId(decoder, "request");
      const method = readMethod(decoder, "request");
      const args = readArgs(decoder, "request");
      const meta = length === 5 ? readMeta(decoder, "request") : undefined;
      decoder.finish();
      sink.onRequest(id, method, args, meta);
      return;
    }
    case RESPONSE: {
      checkLength(length, 4, 4, "response");
      const id = readId(decoder, "response");
      if (decoder.skipNil()) {
        const result = decoder.value(1);
        decoder.finish();
        sink.onResponse(id, result);
        return;
      }
      const error = readError(decoder);
      decoder.value(1);
      decoder.finish();
      sink.onErrorResponse(id, error);
      return;
    }
    case NOTIFICATION: {
      checkLength(length, 3, 4, "notification");
      const method = readMethod(decoder, "notification");
      const args = readArgs(decoder, "notification");
      const meta = length === 4 ? readMeta(decoder, "notification") : undefined;
      decoder.finish();
      sink.onNotification(method, args, meta);
      return;
    }
    case CANCEL: {
      checkLength(length, 2, 2, "cancel");
      const id = readId(decoder, "cancel");
      decoder.finish();
      sink.onCancel(id);
      return;
    }
    case ITEM: {
      checkLength(length, 3, 3, "item");
      const id = readId(decoder, "item");
      const value = decoder.value(1);
      decoder.finish();
      sink.onItem(id, value);
      return;
    }
    case CREDIT: {
      checkLength(length, 3, 3, "credit");
      const id = readId(decoder, "credit");
      const items = decoder.unsigned();
      if (items < 1 || items > MAX_CREDIT) throw new ProtocolError(`a credit whose items are not an integer from 1 to ${MAX_CREDIT}`);
      decoder.finish();
      sink.onCredit(id, items);
      return;
    }
    case LEAVE:
      checkLength(length, 1, 1, "leave");
      decoder.finish();
      sink.onLeave();
      return;
    case EXPOSE: {
      checkLength(length, 2, 2, "expose");
      const names = readNames(decoder);
      decoder.finish();
      sink.onExpose(names);
      return;
    }
    case RELEASE: {
      checkLength(length, 2, 2, "release");
      const ids = readIds(decoder, "release");
      decoder.finish();
      sink.onRelease(ids);
      return;
    }
    case HOLD: {
      checkLength(length, 2, 2, "hold");
      const ids = readIds(decoder, "hold");
      decoder.finish();
      sink.onHold(ids);
        return;
      }
    case RETURNED: {
      checkLength(length, 2, 2, "returned");
      const numbers = readNumbers(decoder, "returned");
      decoder.finish();
      sink.onReturned(numbers);
      return;
    }
    case WITHDRAWN: {
      checkLength(length, 2, 2, "withdrawn");
      const numbers = readNumbers(decoder, "withdrawn");
      decoder.finish();
      sink.onWithdrawn(numbers);
      return;
    }
    default:
      throw new ProtocolError("a frame of an unknown type");
  }
}

function checkLength(length: number, least: number, most: number, frame: string): void {
  if (length < least || length > most) {
    throw new ProtocolError(`${frame === "expose" ? "an" : "a"} ${frame} of ${length} fields, not ${least === most ? least : `${least} or ${most}`}`);
  }
}

function readId(decoder: Decoder, frame: string): number {
  const id = decoder.unsigned();
  if (id < 0) throw new ProtocolError(`a ${frame} whose id is not an integer from 0 to 2^53 - 1`);
  return id;
}

function readMethod(decoder: Decoder, frame: string): string {
  const method = decoder.name();
  if (method === undefined || !isMethodName(method)) {
    throw new ProtocolError(`a ${frame} whose method is not a string of 1 to ${MAX_METHOD_BYTES} bytes`);
  }
  return method;
}

function readArgs(decoder: Decoder, frame: string): Value[] {
  const length = decoder.arrayLength();
  if (length < 0) throw new ProtocolError(`a ${frame} whose args are not an array`);
  return decoder.items(length, 1);
}

function readIds(decoder: Decoder, frame: string): number[] {
  const length = decoder.arrayLength();
  if (length < 0 || length > MAX_REFERENCES) throw new ProtocolError(`a ${frame} whose ids are not an array of at most ${MAX_REFERENCES}`);
  const ids: number[] = [];
  for (let index = 0; index < length; index++) {
    const id = decoder.unsigned(2);
    if (id < 1) throw new ProtocolError(`a ${frame} with an id that is not an integer from 1 to 2^53 - 1`);
    ids.push(id);
  }
  return ids;
}

function readNames(decoder: Decoder): string[] {
  const length = decoder.arrayLength();
  if (length < 0 || length > MAX_EXPOSED) throw new ProtocolError(`an expose whose names are not an array of at most ${MAX_EXPOSED}`);
  const names: string[] = [];
  for (let index = 0; index < length; index++) {
    const name = decoder.name();
    if (name === undefined || !isMethodName(name)) {
      throw new ProtocolError(`an expose with a name that is not a string of 1 to ${MAX_METHOD_BYTES} bytes`);
    }
    names.push(name);
  }
  return names;
}

function readNumbers(decoder: Decoder, frame: string): number[] {
  const wrong = `a ${frame} whose numbers are not an array of at most ${MAX_NUMBERS}`;
  const length = decoder.arrayLength();
  if (length < 0 || length > MAX_NUMBERS) throw new ProtocolError(wrong);
  const numbers: number[] = [];
  for (let index = 0; index < length; index++) {
    const number = decoder.unsigned(1);
    if (number < 0) throw new ProtocolError(wrong);
    numbers.push(number);
  }
  return numbers;
}

function readMeta(decoder: Decoder, frame: string): Meta {
  const entries = decoder.mapLength();
  if (entries < 0) throw new ProtocolError(`a ${frame} whose meta is not a map`);
  let deadline: Value | undefined;
  let chain: Value | undefined;
  let traceparent: Value | undefined;
  let credit: number | undefined;
  let within: number | undefined;
  let kwargs: Value | undefined;
  let handles: Value | undefined;
  for (let index = 0; index < entries; index++) {
    switch (decoder.key()) {
      case "deadline_ms":
        deadline = decoder.value(2);
        break;
      case "chain":
        chain = decoder.value(2);
        break;
      case "traceparent":
        traceparent = decoder.value(2);
        break;
      case "stream":
        // Not value(): that makes the same number of an integral float.
        credit = decoder.unsigned(2);
        break;
      case "within":
        within = decoder.unsigned(2);
        break;
      case "kwargs":
        kwargs = decoder.value(2);
        break;
      case "handles":
        handles = decoder.value(2);
        break;
      default:
        decoder.value(2);
    }
  }
  // Only now: of duplicate keys the last one counts.
  const meta: Meta = {};
  if (deadline !== undefined) {
    if ((typeof deadline !== "number" && typeof deadline !== "bigint") || !(deadline > 0)) {
      throw new ProtocolError(`a ${frame} whose deadline_ms is not a number greater than 0`);
    }
    meta.deadlineMs = Number(deadline);
  }
  if (chain !== undefined) {
    if (!Array.isArray(chain) || chain.length > MAX_CHAIN || !chain.every((name) => typeof name === "string")) {
      throw new ProtocolError(`a ${frame} whose chain is not an array of at most ${MAX_CHAIN} strings`);
    }
    meta.chain = chain;
  }
  if (traceparent !== undefined) {
    if (typeof traceparent !== "string") throw new ProtocolError(`a ${frame} whose traceparent is not a string`);
    meta.traceparent = traceparent;
  }
  if (credit !== undefined) {
    if (credit < 1 || credit > MAX_CREDIT) {
      throw new ProtocolError(`a ${frame} whose stream is not an integer from 1 to ${MAX_CREDIT}`);
    }
    meta.stream = credit;
  }
  if (within !== undefined) {
    if (within < 1) throw new ProtocolError(`a ${frame} whose within is not an integer from 1 to 2^53 - 1`);
    meta.within = within;
  }
  if (kwargs !== undefined) {
    if (!isRecord(kwargs)) throw new ProtocolError(`a ${frame} whose kwargs is not a map whose keys are strings`);
    meta.kwargs = kwargs;
  }
  if (handles !== undefined) {
    if (typeof handles !== "boolean") throw new ProtocolError(`a ${frame} whose handles is not true or false`);
    meta.handles = handles;
  }
  return meta;
}

/** A map that has come with nothing but strings as its keys. */
function isRecord(value: Value): value is { [key: string]: Value } {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function readError(decoder: Decoder): ErrorMap {
  const entries = decoder.mapLength();
  if (entries < 0) throw new ProtocolError("a response whose error is not a map");
  const map = new Map<Key, Value>();
  for (let index = 0; index < entries; index++) map.set(decoder.key(), decoder.value(2));
  return readErrorMap(map);
}

/** May a function be called by this name? */
/** @throws EncodeError for what can be no name. */
export function checkMethodName(method: string): void {
  if (!isMethodName(method)) {
    throw new EncodeError(`method: a name of ${Buffer.byteLength(method)} bytes: must be 1 to ${MAX_METHOD_BYTES}`);
  }
}

export function isMethodName(method: string): boolean {
  // No character takes more than three bytes in UTF-8 per UTF-16 unit, so most names need not be measured.
  return method.length > 0 && (3 * method.length <= MAX_METHOD_BYTES || Buffer.byteLength(method) <= MAX_METHOD_BYTES);
}

/** @throws EncodeError naming the path in the arguments; MessageTooLarge */
export function encodeRequest(
  encoder: Encoder,
  limit: number,
  id: number,
  method: string,
  args: readonly unknown[],
  meta: Meta | undefined,
): void {
  encoder.begin(limit);
  encoder.arrayHeader(meta === undefined ? 4 : 5);
  encoder.number(REQUEST);
  encoder.number(id);
  encodeCall(encoder, method, args, meta);
}

/** Give the request that `encoder` holds another id. */
export function renumberRequest(encoder: Encoder, id: number, newId: number): void {
  const frame = Buffer.from(encoder.buffer.subarray(0, encoder.position));
  encoder.position = 2;
  encoder.number(id);
  const rest = frame.subarray(encoder.position);
  encoder.position = 2;
  encoder.number(newId);
  encoder.raw(rest);
}

/** @throws EncodeError naming the path in the arguments; MessageTooLarge */
export function encodeNotification(
  encoder: Encoder,
  limit: number,
  method: string,
  args: readonly unknown[],
  meta: Meta | undefined,
): void {
  encoder.begin(limit);
  encoder.arrayHeader(meta === undefined ? 3 : 4);
  encoder.number(NOTIFICATION);
  encodeCall(encoder, method, args, meta);
}

function encodeCall(encoder: Encoder, method: string, args: readonly unknown[], meta: Meta | undefined): void {
  checkMethodName(method);
  try {
    encoder.string(method);
  } catch (error) {
    throw explain(error, "method");
  }
  if (!Array.isArray(args)) throw new TypeError(`${method}: args must be an array`);
  try {
    encoder.array(args, -1);
  } catch (error) {
    throw explain(error, "args");
  }
  if (meta !== undefined) encodeMeta(encoder, meta);
  encoder.finish();
}

function encodeMeta(encoder: Encoder, meta: Meta): void {
  const map: Record<string, unknown> = {};
  if (meta.deadlineMs !== undefined) map["deadline_ms"] = meta.deadlineMs;
  if (meta.chain !== undefined) map["chain"] = meta.chain;
  if (meta.traceparent !== undefined) map["traceparent"] = meta.traceparent;
  if (meta.stream !== undefined) map["stream"] = meta.stream;
  if (meta.within !== undefined) map["within"] = meta.within;
  if (meta.kwargs !== undefined) map["kwargs"] = meta.kwargs;
  if (meta.handles !== undefined) map["handles"] = meta.handles;
  try {
    // The fields go by their own names, so it is "kwargs.locale" that cannot be encoded; and they are none of the caller's levels.
    encoder.value(map, -2);
  } catch (error) {
    throw explain(error, "");
  }
}

/** @throws EncodeError naming the path in the result; MessageTooLarge */
export function encodeResponse(encoder: Encoder, limit: number, id: number, result: unknown): void {
  encoder.begin(limit);
  encoder.arrayHeader(4);
  encoder.number(RESPONSE);
  encoder.number(id);
  encoder.nil();
  encodeValue(encoder, result, "result");
}

/**
 * An error always fits. What cannot be encoded or has no room goes in this order: the data of causes and parts, these, `data`; then
 * the stack and the message are cut to what fits, down to the bare code.
 *
 * @throws MessageTooLarge where `limit` is too small for even that, some 40 bytes.
 */
export function encodeErrorResponse(encoder: Encoder, limit: number, id: number, error: ErrorMap): void {
  for (const less of shorter(error)) {
    try {
      encodeErrorMap(encoder, limit, id, less);
      return;
    } catch {
      // Whatever data did when it was looked at: the rest can be told without it.
    }
  }
  const texts = new Map<string, string>();
  for (const key of ["code", "message", "type", "stack"] as const) {
    const text: unknown = error[key];
    if (typeof text === "string") texts.set(key, cutToBytes(text.toWellFormed(), limit));
  }
  for (const key of ["stack", "message", "type"]) {
    encodeErrorMap(encoder, Number.MAX_SAFE_INTEGER, id, texts);
    const excess = encoder.position - limit;
    if (excess <= 0) return;
    const text = texts.get(key);
    if (text === undefined) continue;
    const cut = cutToBytes(text, Buffer.byteLength(text) - excess);
    if (cut !== "" || key === "message") texts.set(key, cut);
    else texts.delete(key);
  }
  encodeErrorMap(encoder, limit, id, texts);
}

function encodeErrorMap(encoder: Encoder, limit: number, id: number, map: object): void {
  encoder.begin(limit);
  encoder.arrayHeader(4);
  encoder.number(RESPONSE);
  encoder.number(id);
  encoder.value(map);
  encoder.nil();
  encoder.finish();
}

/** The longest beginning of `text` of at most so many bytes of UTF-8. */
function cutToBytes(text: string, most: number): string {
  if (most <= 0) return "";
  // No character has less than one byte for each of its units.
  const bytes = Buffer.from(text.slice(0, most).toWellFormed());
  if (bytes.length <= most) return text.length <= most ? text : dropHalf(text.slice(0, most));
  let end = most;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

/** Without half of a surrogate pair at its end. */
function dropHalf(text: string): string {
  return text.isWellFormed() ? text : text.slice(0, -1);
}

export function encodeCancel(encoder: Encoder, id: number): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(2);
  encoder.number(CANCEL);
  encoder.number(id);
}

/** @throws EncodeError naming the path in the item; MessageTooLarge */
export function encodeItem(encoder: Encoder, limit: number, id: number, value: unknown): void {
  encoder.begin(limit);
  encoder.arrayHeader(3);
  encoder.number(ITEM);
  encoder.number(id);
  encodeValue(encoder, value, "item");
}

export function encodeCredit(encoder: Encoder, id: number, items: number): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(3);
  encoder.number(CREDIT);
  encoder.number(id);
  encoder.number(items);
}

function encodeValue(encoder: Encoder, value: unknown, root: string): void {
  try {
    encoder.value(value);
  } catch (error) {
    throw explain(error, root);
  }
  encoder.finish();
}

export function encodeLeave(encoder: Encoder): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(1);
  encoder.number(LEAVE);
}

export function encodeExpose(encoder: Encoder, names: readonly string[]): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(2);
  encoder.number(EXPOSE);
  encoder.arrayHeader(names.length);
  for (const name of names) encoder.string(name);
}

export function encodeRelease(encoder: Encoder, ids: readonly number[]): void {
  encodeIds(encoder, RELEASE, ids);
}

export function encodeHold(encoder: Encoder, ids: readonly number[]): void {
  encodeIds(encoder, HOLD, ids);
}

function encodeIds(encoder: Encoder, type: number, ids: readonly number[]): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(2);
  encoder.number(type);
  encoder.arrayHeader(ids.length);
  for (const id of ids) encoder.number(id);
}

/** Gives buffers back that were lent: for each the number of the memory that it lies in. */
export function encodeReturned(encoder: Encoder, numbers: readonly number[]): void {
  encodeNumbers(encoder, RETURNED, numbers);
}

/** Has the peer let go of memory. */
export function encodeWithdrawn(encoder: Encoder, numbers: readonly number[]): void {
  encodeNumbers(encoder, WITHDRAWN, numbers);
}

function encodeNumbers(encoder: Encoder, type: number, numbers: readonly number[]): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(2);
  encoder.number(type);
  encoder.arrayHeader(numbers.length);
  for (const number of numbers) encoder.number(number);
}

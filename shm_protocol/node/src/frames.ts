/**
 * The frames: PROTOCOL.md section 7. Pure code over bytes; what a frame means is session.ts's to know.
 */

import { EncodeError, type ErrorMap, ProtocolError } from "./errors";
import { type Decoder, type Encoder, explain, type Key, type Value } from "./values";

export const REQUEST = 0;
export const RESPONSE = 1;
export const NOTIFICATION = 2;
export const CANCEL = 3;
export const ITEM = 4;
export const CREDIT = 5;
export const LEAVE = 6;

export const MAX_METHOD_BYTES = 256;
export const MAX_CHAIN = 32;
export const MAX_CREDIT = 65_536;

/** What travels beside the arguments of a call. */
export interface Meta {
  /** Milliseconds the caller would still wait, when it sent the frame. */
  deadlineMs?: number | undefined;
  /** Methods being served above this call, outermost first. */
  chain?: readonly string[] | undefined;
  /** W3C trace context. */
  traceparent?: string | undefined;
  /** The caller wants a stream and grants this many items. */
  stream?: number | undefined;
}

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
}

/**
 * Read the one frame that `decoder` was given and hand it to `sink`, after all of it has been checked.
 *
 * @throws ProtocolError for anything that is no frame of this protocol.
 */
export function readFrame(decoder: Decoder, sink: FrameSink): void {
  const length = decoder.arrayLength();
  if (length < 1) throw new ProtocolError("a message that is no frame: not an array, or an empty one");
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
      if (items < 1 || items > MAX_CREDIT) throw new ProtocolError(`a credit that is not 1 to ${MAX_CREDIT} items`);
      decoder.finish();
      sink.onCredit(id, items);
      return;
    }
    case LEAVE:
      checkLength(length, 1, 1, "leave");
      decoder.finish();
      sink.onLeave();
      return;
    default:
      throw new ProtocolError("a frame of an unknown type");
  }
}

function checkLength(length: number, least: number, most: number, frame: string): void {
  if (length < least || length > most) throw new ProtocolError(`a ${frame} of ${length} parts`);
}

function readId(decoder: Decoder, frame: string): number {
  const id = decoder.unsigned();
  if (id < 0) throw new ProtocolError(`a ${frame} with an id that is no unsigned integer below 2^53`);
  return id;
}

function readMethod(decoder: Decoder, frame: string): string {
  const method = decoder.name();
  if (method === undefined) throw new ProtocolError(`a ${frame} with a method that is no string`);
  if (!isMethodName(method)) {
    throw new ProtocolError(`a ${frame} with a method of ${Buffer.byteLength(method)} bytes; 1 to ${MAX_METHOD_BYTES} may be`);
  }
  return method;
}

function readArgs(decoder: Decoder, frame: string): Value[] {
  const length = decoder.arrayLength();
  if (length < 0) throw new ProtocolError(`a ${frame} with args that are no array`);
  return decoder.items(length, 1);
}

function readMeta(decoder: Decoder, frame: string): Meta {
  const entries = decoder.mapLength();
  if (entries < 0) throw new ProtocolError(`a ${frame} with meta that is no map`);
  let deadline: Value | undefined;
  let chain: Value | undefined;
  let traceparent: Value | undefined;
  let credit: number | undefined;
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
      default:
        decoder.value(2);
    }
  }
  // Only now: of duplicate keys the last one counts.
  const meta: Meta = {};
  if (deadline !== undefined) {
    if ((typeof deadline !== "number" && typeof deadline !== "bigint") || !(deadline > 0)) {
      throw new ProtocolError(`a ${frame} with a deadline_ms that is no number above 0`);
    }
    meta.deadlineMs = Number(deadline);
  }
  if (chain !== undefined) {
    if (!Array.isArray(chain) || chain.length > MAX_CHAIN || !chain.every((name) => typeof name === "string")) {
      throw new ProtocolError(`a ${frame} with a chain that is no array of at most ${MAX_CHAIN} strings`);
    }
    meta.chain = chain;
  }
  if (traceparent !== undefined) {
    if (typeof traceparent !== "string") throw new ProtocolError(`a ${frame} with a traceparent that is no string`);
    meta.traceparent = traceparent;
  }
  if (credit !== undefined) {
    if (credit < 1 || credit > MAX_CREDIT) {
      throw new ProtocolError(`a ${frame} with a stream that is not 1 to ${MAX_CREDIT} items`);
    }
    meta.stream = credit;
  }
  return meta;
}

function readError(decoder: Decoder): ErrorMap {
  const entries = decoder.mapLength();
  if (entries < 0) throw new ProtocolError("a response with an error that is no map");
  const map = new Map<Key, Value>();
  for (let index = 0; index < entries; index++) map.set(decoder.key(), decoder.value(2));
  const code = map.get("code");
  const message = map.get("message");
  const type = map.get("type");
  const stack = map.get("stack");
  if (typeof code !== "string" || typeof message !== "string") {
    throw new ProtocolError("a response with an error whose code or message is no string");
  }
  if ((type !== undefined && typeof type !== "string") || (stack !== undefined && typeof stack !== "string")) {
    throw new ProtocolError("a response with an error whose type or stack is no string");
  }
  const error: ErrorMap = { code, message, data: map.get("data") ?? null };
  if (type !== undefined) error.type = type;
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** May a function be called by this name? */
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
  if (!isMethodName(method)) {
    throw new EncodeError(`method: a name of ${Buffer.byteLength(method)} bytes; 1 to ${MAX_METHOD_BYTES} may be`);
  }
  try {
    encoder.string(method);
  } catch (error) {
    throw explain(error, method, "method");
  }
  if (!Array.isArray(args)) throw new TypeError(`${method}: args must be an array`);
  try {
    encoder.arrayHeader(args.length);
    for (let index = 0; index < args.length; index++) encoder.value(args[index]);
  } catch (error) {
    throw explain(error, args, "args", -1);
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
  try {
    encoder.value(map);
  } catch (error) {
    throw explain(error, map, "meta");
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

/** @throws EncodeError naming the path in the data; MessageTooLarge */
export function encodeErrorResponse(encoder: Encoder, limit: number, id: number, error: ErrorMap): void {
  encoder.begin(limit);
  encoder.arrayHeader(4);
  encoder.number(RESPONSE);
  encoder.number(id);
  try {
    // Spread: the order of keys is the caller's, and undefined ones would be sent as nil.
    encoder.value({ ...error });
  } catch (thrown) {
    throw explain(thrown, error, "error");
  }
  encoder.nil();
  encoder.finish();
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
    throw explain(error, value, root);
  }
  encoder.finish();
}

export function encodeLeave(encoder: Encoder): void {
  encoder.begin(Number.MAX_SAFE_INTEGER);
  encoder.arrayHeader(1);
  encoder.number(LEAVE);
}

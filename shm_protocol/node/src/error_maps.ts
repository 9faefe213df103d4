/**
 * The error of a response (PROTOCOL.md section 9): what is sent of what was thrown, and what is thrown of what was sent.
 *
 * An error goes with its cause and, if it is a group, with its parts, each of which is such a map again.
 */

import { type BridgeError, type ErrorMap, ERRORS, isBridgeError, ProtocolError, RemoteError, showRemoteStack } from "./errors";
import { hear } from "./heard";
import { remoteError, sentName } from "./registered_errors";
import { describe, isArray, isError, messageOf, ownStack, read, shorten, stackOf, textOf, typeOf } from "./thrown";
import type { Value } from "./value_types";

/** Of an error with more causes and parts, so many are sent beside its stack, which tells of more. */
export const MAX_PARTS = 64;
/** Of causes of causes, and parts of parts, so many. */
export const MAX_PART_DEPTH = 8;
/** A longer stack or message of a cause or a part is cut in the middle. */
const MAX_PART_CHARACTERS = 8 * 1024;

type SimpleError = new (message: string) => BridgeError;

const FROM_PEER = { fromPeer: true };

/** The error that a response carries, as an object to throw. A code this side does not know is a RemoteError. */
export function errorFromMap(map: ErrorMap): BridgeError {
  const error = madeFrom(map);
  // The stack of this side is that of the library, until somebody who waits for the error gives it theirs.
  if (isBridgeError(error, RemoteError)) showRemoteStack(error);
  return error;
}

function madeFrom(map: ErrorMap): BridgeError {
  const known = map.code !== "RemoteError" && Object.hasOwn(ERRORS, map.code) ? (ERRORS[map.code] as unknown as SimpleError) : undefined;
  const type = map.type ?? (map.code === "RemoteError" ? "Error" : map.code);
  const error: BridgeError =
    known === undefined
      ? remoteError(type, map.message, map.data ?? null, map.stack ?? "", (map.errors ?? []).map(partFrom))
      : new known(map.message);
  if (map.cause !== undefined) {
    Object.defineProperty(error, "cause", { value: partFrom(map.cause), enumerable: false, configurable: true, writable: true });
  }
  return Object.assign(error, FROM_PEER);
}

/** What nobody here waits for: its stack is that of the other side alone. */
function partFrom(map: ErrorMap): BridgeError {
  const error = madeFrom(map);
  if (isBridgeError(error, RemoteError)) error.stack = error.remoteStack === "" ? `${error.type}: ${error.message}` : error.remoteStack;
  return error;
}

/** What is told where nothing else can be. */
const UNTOLD: ErrorMap = { code: "RemoteError", message: "an error that cannot be described", type: "Error", stack: "", data: null };

/** What an exposed function threw, as the error of a response. Never throws, whatever was thrown. */
export function errorToMap(thrown: unknown): ErrorMap {
  let map: ErrorMap;
  try {
    map = mapOf(thrown, stackOf);
  } catch {
    return UNTOLD;
  }
  try {
    addParts(map, thrown);
  } catch {
    // What there is of them is told.
  }
  return map;
}

function mapOf(thrown: unknown, stack: (error: object) => string): ErrorMap {
  if (isBridgeError(thrown)) return bridgeErrorToMap(thrown, stack);
  if (!isError(thrown)) return { code: "RemoteError", message: describe(thrown), type: typeof thrown, stack: "", data: null };
  return {
    code: "RemoteError",
    message: messageOf(thrown),
    type: sentName(thrown),
    stack: stack(thrown),
    // Whether it can be encoded shows when it is.
    data: (read(thrown, "data") ?? null) as Value,
  };
}

/** An error from deeper in the chain keeps its name; both stacks stay visible. */
function bridgeErrorToMap(error: BridgeError, stack: (error: object) => string): ErrorMap {
  const isRemote = isBridgeError(error, RemoteError);
  return {
    code: "RemoteError",
    message: messageOf(error),
    type: textOf(read(error, isRemote ? "type" : "code") ?? typeOf(error)),
    stack: stack(error),
    data: isRemote ? ((read(error, "data") ?? null) as Value) : null,
  };
}

/** The error of a response for what the bridge itself has against a call. */
export function ownErrorToMap(error: BridgeError): ErrorMap {
  const code = read(error, "code");
  return { code: typeof code === "string" ? code : "RemoteError", message: messageOf(error) };
}

interface Waiting {
  map: ErrorMap;
  error: object;
  /** Itself, and those it is a cause or a part of. */
  line: readonly unknown[];
}

/** Nearest first: of a large tree what is next to the error itself is sent. */
function addParts(map: ErrorMap, thrown: unknown): void {
  if (!isError(thrown)) return;
  const waiting: Waiting[] = [{ map, error: thrown, line: [thrown] }];
  let left = MAX_PARTS;
  // It grows meanwhile.
  for (const { map: whole, error, line } of waiting) {
    if (line.length > MAX_PART_DEPTH) continue;
    const add = (other: unknown, put: (part: ErrorMap) => void): void => {
      // A promise, of which nobody else will hear.
      hear(other);
      // One that is its own cause has been told.
      if (left === 0 || line.includes(other)) return;
      left--;
      const part = partOf(other);
      put(part);
      if (isError(other)) waiting.push({ map: part, error: other, line: [...line, other] });
    };
    const cause = read(error, "cause");
    if (cause !== undefined && cause !== null) add(cause, (part) => { whole.cause = part; });
    for (const member of membersOf(error, left)) add(member, (part) => { (whole.errors ??= []).push(part); });
  }
}

/** What an AggregateError holds, and such others whose `errors` are errors. */
function membersOf(error: object, most: number): readonly unknown[] {
  const errors = read(error, "errors");
  if (!isArray(errors)) return [];
  const count = Math.min(Number(read(errors, "length")), most);
  const members = Array.from({ length: count }, (_, index) => read(errors, index));
  return error instanceof AggregateError || typeOf(error) === "AggregateError" || members.every(isError) ? members : [];
}

function partOf(thrown: unknown): ErrorMap {
  try {
    const { data, stack, message, ...rest } = mapOf(thrown, ownStack);
    const part: ErrorMap = { ...rest, message: shorten(message, MAX_PART_CHARACTERS), stack: shorten(stack ?? "", MAX_PART_CHARACTERS) };
    return data === null || data === undefined ? part : { ...part, data };
  } catch {
    return { code: "RemoteError", message: UNTOLD.message, type: "Error" };
  }
}

/**
 * An error with always less around it, for where it cannot be encoded or is too large: first without the data of its parts and
 * causes, then without these, or without its own data, at last without either. Its texts stay.
 */
export function* shorter(error: ErrorMap): Iterable<ErrorMap> {
  yield { ...error };
  const { cause, errors, ...bare } = error;
  const hasData = bare.data !== null && bare.data !== undefined;
  if (cause !== undefined || errors !== undefined) {
    const parts: Partial<ErrorMap> = {};
    if (cause !== undefined) parts.cause = withoutData(cause);
    if (errors !== undefined) parts.errors = errors.map(withoutData);
    yield { ...bare, ...parts };
    yield bare;
    if (hasData) yield { ...bare, data: null, ...parts };
  }
  if (hasData) yield { ...bare, data: null };
}

function withoutData(part: ErrorMap): ErrorMap {
  const bare = { ...part };
  delete bare.data;
  if (bare.cause !== undefined) bare.cause = withoutData(bare.cause);
  if (bare.errors !== undefined) bare.errors = bare.errors.map(withoutData);
  return bare;
}

/**
 * The error of a response, of the fields that have come.
 *
 * @throws ProtocolError for what is no error.
 */
export function readErrorMap(fields: ReadonlyMap<unknown, Value>): ErrorMap {
  return readAt((key) => fields.get(key), "", 0, { parts: 0 });
}

function readAt(field: (key: string) => Value | undefined, at: string, depth: number, counted: { parts: number }): ErrorMap {
  const [code, message, type, stack] = [field("code"), field("message"), field("type"), field("stack")];
  if (typeof code !== "string") throw notText(at, "code");
  if (typeof message !== "string") throw notText(at, "message");
  if (type !== undefined && typeof type !== "string") throw notText(at, "type");
  if (stack !== undefined && typeof stack !== "string") throw notText(at, "stack");
  const error: ErrorMap = { code, message, data: field("data") ?? null };
  if (type !== undefined) error.type = type;
  if (stack !== undefined) error.stack = stack;
  const cause = field("cause");
  const members = field("errors");
  if (members !== undefined && !Array.isArray(members)) throw new ProtocolError(`a response whose error${at}.errors is not an array`);
  const count = (cause === undefined ? 0 : 1) + (members === undefined ? 0 : members.length);
  counted.parts += count;
  if (counted.parts > MAX_PARTS) throw new ProtocolError(`a response whose error has more than ${MAX_PARTS} causes and parts`);
  if (count > 0 && depth === MAX_PART_DEPTH) throw new ProtocolError(`a response whose error has causes and parts more than ${MAX_PART_DEPTH} deep`);
  if (cause !== undefined) error.cause = readAt(fieldsOf(cause, `${at}.cause`), `${at}.cause`, depth + 1, counted);
  if (members !== undefined) {
    error.errors = members.map((member, index) => readAt(fieldsOf(member, `${at}.errors[${index}]`), `${at}.errors[${index}]`, depth + 1, counted));
  }
  return error;
}

function notText(at: string, key: string): ProtocolError {
  return new ProtocolError(`a response whose ${at === "" ? `error has a ${key} that` : `error${at}.${key}`} is not a string`);
}

/** How to read the fields of a map that has come: one whose keys are not all strings is a Map. */
function fieldsOf(value: Value, at: string): (key: string) => Value | undefined {
  if (value instanceof Map) return (key) => value.get(key);
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    const record = value as Readonly<Record<string, Value>>;
    return (key) => (Object.hasOwn(record, key) ? record[key] : undefined);
  }
  throw new ProtocolError(`a response whose error${at} is not a map`);
}

/**
 * What can be told of something that was thrown, whatever it is and whatever it does when it is looked at: another
 * realm's error, one whose getters throw, a revoked proxy, no error at all. Nothing here throws.
 */

import { inspect, types } from "node:util";

import { hear } from "./heard";

/** A longer stack, message or type is cut in the middle: to look through it, and to log it, would hold everybody up. */
const MAX_TEXT_CHARACTERS = 2 * 1024 * 1024;
/** A message of which so much is in a stack is there. */
const TELLING_CHARACTERS = 1024;
/** Of causes and the members of groups: so many errors, so deep, and so many characters of all of them. */
const MAX_ERRORS = 32;
const MAX_DEPTH = 16;
const MAX_CAUSES_CHARACTERS = 32 * 1024;
/** An object of more properties, down to the depth to which Node shows it, is not shown: its turn would hold everybody up. */
const MAX_SHOWN_PROPERTIES = 10_000;
/** As Node's inspect has it by default. */
const SHOWN_DEPTH = 2;
const SHOWN_ELEMENTS = 100;
/** What a Proxy stands for is looked at by nobody: each way to its keys makes a list of all, and takes a second for 200,000 of them. */
const A_PROXY = "[Proxy]";
/** A larger number is not written out, whose digits take a time that grows faster than they do. */
const MAX_SHOWN_BIGINT = 1n << 4096n;

/** A property, or undefined where it cannot be read. */
export function read(object: unknown, key: PropertyKey): unknown {
  try {
    return (object as Record<PropertyKey, unknown> | null | undefined)?.[key];
  } catch {
    return undefined;
  }
}

/** Is it an error, of whatever realm, or as good as one? */
export function isError(thrown: unknown): thrown is object {
  if (typeof thrown !== "object" || thrown === null) return false;
  if (types.isNativeError(thrown)) return true;
  try {
    if (thrown instanceof Error) return true;
  } catch {
    return false;
  }
  return typeof read(thrown, "message") === "string" && typeof (read(thrown, "stack") ?? read(thrown, "name")) === "string";
}

/** The name of its class, e.g. `"TypeError"`. */
export function typeOf(error: object): string {
  const className = read(read(error, "constructor"), "name");
  if (typeof className === "string" && !["", "Error", "Object"].includes(className)) return sendable(className);
  const name = read(error, "name");
  return typeof name === "string" && name !== "" ? sendable(name) : "Error";
}

export function messageOf(error: object): string {
  try {
    const { message } = error as { message?: unknown };
    return message === undefined ? "" : textOf(message);
  } catch (thrown) {
    return `(its message cannot be read: ${describe(thrown).split("\n", 1)[0]})`;
  }
}

/** Properties such as `error.message` are whatever somebody has assigned to them. */
export function textOf(text: unknown): string {
  return typeof text === "string" ? sendable(text) : describe(text);
}

/** Anything as text. */
export function describe(thrown: unknown): string {
  if (typeof thrown === "string") return sendable(thrown);
  // Node keeps what was running on it, which is nobody's business.
  if (types.isPromise(thrown)) return "a promise";
  if (types.isProxy(thrown)) return A_PROXY;
  const kind = typeof thrown === "object" ? "an object" : `a ${typeof thrown}`;
  try {
    const weight = weigh(thrown, 0);
    if (Number.isNaN(weight)) return `${kind} that holds a Proxy, which is not shown`;
    if (weight > MAX_SHOWN_PROPERTIES) return `${kind} too large to be shown`;
    return sendable(inspect(thrown, { depth: SHOWN_DEPTH, maxArrayLength: SHOWN_ELEMENTS }));
  } catch {
    // An object that throws when looked at: its type is all that can be told.
    return typeof thrown;
  }
}

/**
 * What showing it takes, in properties, counted no further than the limit; NaN where there is a Proxy in it, of which Node would show
 * the target. No getter is run, and no trap.
 * @throws what an object throws when it is looked at
 */
function weigh(value: unknown, depth: number): number {
  if (typeof value === "bigint") return value > MAX_SHOWN_BIGINT || value < -MAX_SHOWN_BIGINT ? Infinity : 1;
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return 1;
  if (types.isProxy(value)) return NaN;
  if (depth > SHOWN_DEPTH) return 1;
  let weight = isError(value) ? 1 + textOf(read(value, "stack")).length / SHOWN_ELEMENTS : 1;
  for (const inner of shown(value)) {
    weight += weigh(inner, depth + 1);
    if (!(weight <= MAX_SHOWN_PROPERTIES)) break;
  }
  return weight;
}

/** What is shown of an object: of lists, maps and sets the first elements, of everything else its own properties. */
function* shown(value: object): Iterable<unknown> {
  if (types.isMap(value) || types.isSet(value)) {
    const entries: IterableIterator<unknown> = types.isMap(value) ? Map.prototype.entries.call(value) : Set.prototype.values.call(value);
    let count = 0;
    for (const entry of entries) {
      if (count++ === SHOWN_ELEMENTS) break;
      if (types.isMap(value)) yield* entry as Iterable<unknown>;
      else yield entry;
    }
  }
  // The indices of a list are keys, of which there may be many more than are shown; of a text or bytes, no more than characters.
  if (ArrayBuffer.isView(value) || types.isBoxedPrimitive(value)) return;
  const keys = Array.isArray(value) ? Array.from({ length: Math.min(value.length, SHOWN_ELEMENTS) }, (_, index) => index) : Object.keys(value);
  for (const key of keys) yield Object.getOwnPropertyDescriptor(value, key)?.value;
}

/** A text without lone surrogates, and not too long. */
function sendable(text: string): string {
  return shorten(text, MAX_TEXT_CHARACTERS);
}

/** A text without lone surrogates, and cut in the middle to so many characters. */
export function shorten(text: string, most: number): string {
  if (text.length <= most) return text.toWellFormed();
  const half = most / 2;
  const cut = `\n[${text.length - 2 * half} characters cut]\n`;
  return `${text.slice(0, half).toWellFormed()}${cut}${text.slice(-half).toWellFormed()}`;
}

/** Its stack, with its code and its causes: what an error says alone is often not why. */
export function stackOf(error: object): string {
  const told = new Causes();
  told.tell("", error, 0);
  return told.text;
}

/** One error's own stack, which begins with its class and message, also where these have changed since it was made. */
export function ownStack(error: object): string {
  const message = messageOf(error);
  const stack = read(error, "stack");
  let text = stack === undefined || stack === "" ? "" : textOf(stack);
  if (text === "" || !text.includes(message.slice(0, TELLING_CHARACTERS))) text = `${typeOf(error)}: ${message}${text === "" ? "" : `\n${text}`}`;
  const code = read(error, "code");
  if ((typeof code !== "string" || code === "") && typeof code !== "number") return text;
  const shown = textOf(String(code));
  return text.includes(shown) ? text : `${text}\n    code: ${shown}`;
}

/** Writes an error and what it was caused by. */
class Causes {
  text = "";
  private told = 0;
  private readonly seen = new Set<unknown>();

  tell(label: string, thrown: unknown, depth: number): void {
    // A promise, of which nobody else will hear.
    hear(thrown);
    // The same reason may be given twice, but the same object is told once.
    const isObject = typeof thrown === "object" && thrown !== null;
    if (isObject && this.seen.has(thrown)) return;
    if (isObject) this.seen.add(thrown);
    if (++this.told > MAX_ERRORS || depth > MAX_DEPTH) return;
    const own = isError(thrown) ? ownStack(thrown) : describe(thrown);
    if (label === "") this.text = own;
    else this.add(`\n${label}: ${own}`);
    if (!isError(thrown)) return;
    const cause = read(thrown, "cause");
    if (cause !== undefined && cause !== null) this.tell("Caused by", cause, depth + 1);
    this.tellSuppressed(thrown, depth);
    this.tellMembers(read(thrown, "errors"), depth);
  }

  /** Of a SuppressedError, what was thrown last and what that hid; of many libraries' errors, another error. */
  private tellSuppressed(thrown: object, depth: number): void {
    const [last, hidden] = [read(thrown, "error"), read(thrown, "suppressed")];
    const isSuppressedError = typeOf(thrown) === "SuppressedError";
    if (isSuppressedError || isError(last)) this.tell("Error", last, depth + 1);
    if (isSuppressedError || isError(hidden)) this.tell("Suppressed", hidden, depth + 1);
  }

  /** What an AggregateError holds, and many libraries' errors. */
  private tellMembers(errors: unknown, depth: number): void {
    if (!isArray(errors)) return;
    const count = Number(read(errors, "length"));
    for (let index = 0; index < Math.min(count, MAX_ERRORS); index++) {
      this.tell(`Error ${index + 1} of ${count}`, read(errors, index), depth + 1);
    }
  }

  private add(text: string): void {
    const room = MAX_CAUSES_CHARACTERS - this.text.length;
    if (room > 0) this.text += text.slice(0, room).toWellFormed();
  }
}

export function isArray(value: unknown): value is unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false; // a revoked proxy
  }
}

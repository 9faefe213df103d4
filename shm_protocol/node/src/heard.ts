/** Promises that nobody awaits: by default a rejection that nobody has heard of ends the process. */

import { types } from "node:util";

/**
 * Hear of a promise's rejection, whatever the promise is, so that it ends nothing; whoever awaits it does so as before. A
 * value that is no promise, or a Proxy of one, which cannot be heard by anybody, is left alone. Nothing of the user's is run,
 * unless the promise is locked. Never throws.
 */
export function hear(value: unknown): void {
  if (!types.isPromise(value)) return;
  // `then` asks a promise for its constructor, and that for a species, which may be anything: for this moment, the engine's.
  const own = Reflect.getOwnPropertyDescriptor(value, "constructor");
  if (own === undefined && Object.getPrototypeOf(value) === Promise.prototype) {
    listen(value);
    return;
  }
  const lent = own?.configurable === false ? { value: Promise } : { value: Promise, configurable: true };
  if (!Reflect.defineProperty(value, "constructor", lent)) {
    hearLocked(value);
    return;
  }
  listen(value);
  if (own === undefined) Reflect.deleteProperty(value, "constructor");
  else Reflect.defineProperty(value, "constructor", own);
}

function listen(promise: Promise<unknown>): void {
  // Both: what it gives, passed on, would be looked at.
  void Promise.prototype.then.call(promise, () => undefined, () => undefined);
}

/** It cannot be altered, e.g. it is frozen. Its own constructor may do; where that throws nobody can listen to it. */
function hearLocked(promise: Promise<unknown>): void {
  try {
    listen(promise);
  } catch {
    disregard(promise);
  }
}

/** Those that nobody can listen to. */
const unheard = new WeakSet<object>();
let isWatching = false;

/**
 * Keep a rejection of this one promise from ending the process. The language has no other way to it than where Node reports it; of
 * every other promise Node does as it did.
 */
function disregard(promise: Promise<unknown>): void {
  unheard.add(promise);
  if (isWatching) return;
  isWatching = true;
  const { emit } = process as unknown as { emit: (this: unknown, ...event: unknown[]) => boolean };
  const filtered = function (this: unknown, ...event: unknown[]): boolean {
    const [name, , rejected] = event;
    if (name === "unhandledRejection" && unheard.has(rejected as object)) return true;
    return Reflect.apply(emit, this, event);
  };
  process.emit = filtered as typeof process.emit;
}

/** So many parts of a value are looked at, and so deep. */
export const MAX_LOOKED_AT = 65_536;
export const MAX_LEVELS = 500;

/**
 * Hear of the promises in what a function threw: what it is, its data, causes and members, and whatever else it holds, also
 * within plain objects, arrays, maps and sets. No getter runs. Never throws.
 */
export function hearWithin(thrown: unknown): void {
  const seen = new Set<unknown>();
  const look = (part: unknown, level: number): void => {
    if (typeof part !== "object" || part === null || seen.size >= MAX_LOOKED_AT || seen.has(part)) return;
    seen.add(part);
    hear(part);
    try {
      if (types.isNativeError(part) || isPlain(part)) {
        if (level < MAX_LEVELS) for (const inner of partsOf(part)) look(inner, level + 1);
      } else {
        // It may be in use elsewhere.
        valuesOf(part).forEach(hear);
      }
    } catch {
      // A proxy that lets nobody look.
    }
  };
  look(thrown, 0);
}

/** Does a value hold others as a collection does, and nothing else? */
export function isPlain(value: object): boolean {
  if (Array.isArray(value) || types.isMap(value) || types.isSet(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** What a value holds, without running a getter of its. */
export function partsOf(value: object): unknown[] {
  if (types.isMap(value)) return [...Map.prototype.keys.call(value), ...Map.prototype.values.call(value), ...valuesOf(value)];
  if (types.isSet(value)) return [...Set.prototype.values.call(value), ...valuesOf(value)];
  return valuesOf(value);
}

export function valuesOf(value: object): unknown[] {
  // Bytes, numbers and characters hold nothing, and each would be given a key of its own: millions of them hold the loop.
  if (ArrayBuffer.isView(value) || types.isStringObject(value)) return [];
  if (Array.isArray(value) && value.length > MAX_LOOKED_AT) {
    return Array.from({ length: MAX_LOOKED_AT }, (_, index) => Object.getOwnPropertyDescriptor(value, index)?.value as unknown);
  }
  // Of an error also what is not enumerable, such as its cause; but its stack, which an application's code may write.
  const keys = types.isNativeError(value) ? Object.getOwnPropertyNames(value).filter((key) => key !== "stack") : Object.keys(value);
  return keys.slice(0, MAX_LOOKED_AT).map((key) => Object.getOwnPropertyDescriptor(value, key)?.value as unknown);
}

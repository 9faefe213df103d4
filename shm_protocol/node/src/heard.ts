/** Promises that nobody awaits, and emitters that nobody listens to: by default, what goes wrong with either ends the process. */

import { EventEmitter } from "node:events";
import { types } from "node:util";

/** Told of what goes wrong with something that nobody wants. */
export type Report = (error: unknown) => void;

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

/**
 * Listen for the errors of an emitter, such as a child process or a server, if nobody does: Node throws those at nobody. A value
 * that is no emitter is left alone. Never throws.
 */
export function hearErrors(value: unknown, report: Report): void {
  try {
    if (types.isProxy(value) || !(value instanceof EventEmitter)) return;
    // By the base class: its own methods may be anything.
    if (EventEmitter.prototype.listenerCount.call(value, "error") === 0) EventEmitter.prototype.on.call(value, "error", report);
  } catch {
    // It lets nobody listen.
  }
}

/** Both, for what an object of a class holds: it may be in use elsewhere, and goes on. */
export function hearPartsOf(object: object, report: Report): void {
  for (const part of valuesOf(object)) {
    hear(part);
    hearErrors(part, report);
  }
}

/** So many parts of a value are looked at, and so deep. */
export const MAX_LOOKED_AT = 65_536;
export const MAX_LEVELS = 500;

/**
 * Hear of the promises and emitters in what a function threw: what it is, its data, causes and members, and whatever else it
 * holds, also within plain objects, arrays, maps and sets. No getter runs. Never throws.
 */
export function hearWithin(thrown: unknown, report: Report): void {
  const seen = new Set<unknown>();
  const look = (part: unknown, level: number): void => {
    if (typeof part !== "object" || part === null || seen.size >= MAX_LOOKED_AT || seen.has(part)) return;
    seen.add(part);
    hear(part);
    hearErrors(part, report);
    try {
      if (types.isNativeError(part) || isPlain(part)) {
        if (level < MAX_LEVELS) for (const inner of partsOf(part)) look(inner, level + 1);
      } else {
        hearPartsOf(part, report);
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
  if (types.isMap(value)) return [...first(Map.prototype.keys.call(value)), ...first(Map.prototype.values.call(value)), ...valuesOf(value)];
  if (types.isSet(value)) return [...first(Set.prototype.values.call(value)), ...valuesOf(value)];
  return valuesOf(value);
}

function first(parts: IterableIterator<unknown>): unknown[] {
  const found: unknown[] = [];
  for (const part of parts) if (found.push(part) === MAX_LOOKED_AT) break;
  return found;
}

export function valuesOf(value: object): unknown[] {
  // Bytes, numbers and characters hold nothing, and each would be given a key of its own: millions of them hold the loop.
  if (ArrayBuffer.isView(value) || types.isStringObject(value)) return [];
  if (Array.isArray(value) && value.length > MAX_LOOKED_AT) {
    return Array.from({ length: MAX_LOOKED_AT }, (_, index) => Object.getOwnPropertyDescriptor(value, index)?.value as unknown);
  }
  // Also what is not enumerable, such as an error's cause; but not its stack, which an application's code may write.
  const unread = types.isNativeError(value) ? "stack" : Array.isArray(value) ? "length" : undefined;
  const keys = Reflect.ownKeys(value).filter((key) => key !== unread);
  return keys.slice(0, MAX_LOOKED_AT).map((key) => Object.getOwnPropertyDescriptor(value, key)?.value as unknown);
}

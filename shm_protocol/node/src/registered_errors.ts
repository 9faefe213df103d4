/**
 * Errors that arrive as a class of the program's own: registered on both sides under one name.
 *
 * What arrives has the prototype of the program's class and the properties of a {@link RemoteError}, and `instanceof` says that it
 * is either. The constructor is not run, whose arguments nobody knows here and which may do anything.
 */

import { watches } from "./config";
import { asRemoteError, BridgeError, ERRORS, RemoteError, RemoteErrorGroup } from "./errors";
import { isError, read, typeOf } from "./thrown";
import type { Value } from "./value_types";

export const MAX_ERROR_NAME_BYTES = 256;
/** A Proxy has prototypes without end. */
const MAX_BASES = 256;

/** A class of errors, whatever its constructor takes. */
export type ErrorClass = abstract new (...args: never[]) => Error;

interface Registered {
  kind: ErrorClass;
  /** Read once: a Proxy may give another one each time. */
  prototype: object;
}

const byName = new Map<string, Registered>();
const names = new Map<unknown, string>();

/**
 * Have errors of this class, and of those derived from it, cross under `name`, and what comes under that name arrive as this
 * class. Both sides register their own.
 *
 * What arrives is also a {@link RemoteError}, with `type` (which is `name`), `message`, `data` and `remoteStack`. The class's
 * constructor is not run: what else it sets is not there, so what is to cross is to be in `data`. Registering the same again does
 * nothing.
 *
 * @param name - 1 to 256 bytes; none of the bridge's own errors' ({@link ERRORS}).
 * @param kind - any class of errors, also one of JavaScript's, such as `RangeError`; but none of the bridge's errors.
 * @throws TypeError for what is no such name or class; RangeError for a name too short or too long, and where either is registered
 * with another.
 */
export function registerError(name: string, kind: ErrorClass): void {
  checkName(name);
  const prototype = prototypeOf(kind);
  if (prototype === undefined) throw new TypeError(`registerError: ${name}: ${said(kind)} must be a class of errors, derived from Error`);
  if ([BridgeError, RemoteErrorGroup].some((own) => prototype === own.prototype || prototype instanceof own)) {
    throw new TypeError(`registerError: ${name}: ${said(kind)} has a meaning of its own: derive another class`);
  }
  if (prototype === Error.prototype || prototype === AggregateError.prototype) {
    throw new TypeError(`registerError: ${name}: ${said(kind)} is what every RemoteError, or group, is already`);
  }
  const other = byName.get(name);
  // Where edited modules are loaded again, one of the same name is the same: errors of the old class still go by its name.
  const isAgain = other !== undefined && watches() && said(other.kind) === said(kind);
  if (other !== undefined && other.prototype !== prototype && !isAgain) {
    throw new RangeError(`registerError: ${name}: ${said(other.kind)} is registered under this name already`);
  }
  const known = names.get(prototype) ?? name;
  if (known !== name) throw new RangeError(`registerError: ${name}: ${said(kind)} is registered as ${known} already`);
  byName.set(name, { kind, prototype });
  names.set(prototype, name);
}

/** The name under which the nearest registered of an error's classes is, else that of its class. */
export function sentName(error: object): string {
  const registered = registeredName(error);
  if (registered !== undefined) return registered;
  const own = typeOf(error);
  // Else it would arrive as the class that is registered under its name.
  return byName.has(own) ? `${own} (another class)` : own;
}

function registeredName(error: object): string | undefined {
  if (names.size === 0) return undefined;
  try {
    let above: object | null = error;
    for (let level = 0; level < MAX_BASES; level++) {
      above = Object.getPrototypeOf(above) as object | null;
      if (above === null) return undefined;
      const name = names.get(above);
      if (name !== undefined) return name;
    }
  } catch {
    // A revoked proxy.
  }
  return undefined;
}

/** What has arrived under a name: as the class that is registered under it. */
export function remoteError(name: string, message: string, data: Value, remoteStack: string, parts: readonly BridgeError[]): RemoteError {
  const registered = byName.get(name);
  if (registered === undefined && parts.length === 0) return new RemoteError(name, message, data, remoteStack);
  const error: object =
    registered === undefined ? new RemoteErrorGroup(name, message, parts, data, remoteStack) : ofClass(registered, name, message, data, remoteStack, parts);
  asRemoteError(error);
  return error;
}

function ofClass({ kind, prototype }: Registered, name: string, message: string, data: Value, remoteStack: string, parts: readonly BridgeError[]): object {
  const error = Object.setPrototypeOf(new Error(message), prototype) as object;
  const hidden = { name: read(kind, "name") || name, ...(parts.length > 0 ? { errors: [...parts] } : {}) };
  const shown = { code: "RemoteError", fromPeer: false, type: name, data, remoteStack };
  // Defined, not assigned: the class may have a setter of that name.
  for (const [key, value] of Object.entries(hidden)) define(error, key, value, false);
  for (const [key, value] of Object.entries(shown)) define(error, key, value, true);
  return error;
}

function define(error: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, key, { value, enumerable, configurable: true, writable: true });
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== "string") throw new TypeError(`registerError: a name that is not a string: ${said(name)}`);
  const size = Buffer.byteLength(name);
  if (size < 1 || size > MAX_ERROR_NAME_BYTES) throw new RangeError(`registerError: a name of ${size} bytes: must be 1 to ${MAX_ERROR_NAME_BYTES}`);
  if (!name.isWellFormed()) throw new RangeError(`registerError: ${JSON.stringify(name)}: a lone surrogate cannot be sent`);
  if (Object.hasOwn(ERRORS, name)) throw new RangeError(`registerError: ${name}: is the bridge's own error`);
}

/** The prototype of the errors of a class, or undefined: it is none. */
function prototypeOf(kind: unknown): object | undefined {
  const prototype = typeof kind === "function" ? read(kind, "prototype") : undefined;
  return isError(prototype) ? prototype : undefined;
}

function said(value: unknown): string {
  if (typeof value === "function") {
    const name = read(value, "name");
    return typeof name === "string" && name !== "" ? name : "a class without a name";
  }
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * The registry of errors. `errors.json`, PROTOCOL.md section 9 and this file are compared by a test.
 *
 * Every error that the bridge raises is a {@link BridgeError} with a `code` from this registry.
 */

import { inspect } from "node:util";

import type { Value } from "./values";

/** The base of every error the bridge raises. `code` is stable and the same in Python. */
export class BridgeError extends Error {
  readonly code: string = "BridgeError";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The function raised. */
export class RemoteError extends BridgeError {
  override readonly code = "RemoteError";
  /** The class of the exception on the other side, e.g. `"ValueError"`. */
  readonly type: string;
  /** What the exception carried as `data`, or null. */
  readonly data: Value;
  /** The stack on the other side, or an empty string. `stack` shows it below this side's own. */
  readonly remoteStack: string;

  constructor(type: string, message: string, remoteStack = "", data: Value = null) {
    super(message);
    this.type = type;
    this.data = data;
    this.remoteStack = remoteStack;
  }
}

/** No answer came within the deadline. The function may have run, or may still be running. */
export class CallTimeout extends BridgeError {
  override readonly code = "CallTimeout";
}

/** The connection ended before the answer came. The function may have run. */
export class PeerGone extends BridgeError {
  override readonly code = "PeerGone";
}

/** Nobody listens, or no worker is attached. The call was not made. */
export class PeerUnavailable extends BridgeError {
  override readonly code = "PeerUnavailable";
}

/** Too many calls, or too many bytes, are outstanding or queued already. The call was not made. */
export class Busy extends BridgeError {
  override readonly code = "Busy";
}

/** The encoded message is larger than `max_message`. A call was not made; if it is the result, it was. */
export class MessageTooLarge extends BridgeError {
  override readonly code = "MessageTooLarge";
}

/** Nothing of that name is exposed. The call was not made. */
export class UnknownMethod extends BridgeError {
  override readonly code = "UnknownMethod";
}

/** The call would be the 33rd of a chain of nested calls. It was not made. */
export class CallTooDeep extends BridgeError {
  override readonly code = "CallTooDeep";
}

/** A value cannot be encoded; the message names the path to it, e.g. `args[0].items[3]`. */
export class EncodeError extends BridgeError {
  override readonly code = "EncodeError";
}

/** The caller cancelled. The function may have run. */
export class Cancelled extends BridgeError {
  override readonly code = "Cancelled";
}

/** The peer broke the protocol. The connection is closed. */
export class ProtocolError extends BridgeError {
  override readonly code: string = "ProtocolError";
}

/** The peer speaks another major version of the protocol. */
export class VersionMismatch extends ProtocolError {
  override readonly code = "VersionMismatch";
}

/** The connection or bridge was used after `close()`. */
export class ConnectionClosed extends BridgeError {
  override readonly code = "ConnectionClosed";
}

type SimpleError = new (message: string) => BridgeError;

const SIMPLE_ERRORS: Readonly<Record<string, SimpleError>> = {
  CallTimeout,
  PeerGone,
  PeerUnavailable,
  Busy,
  MessageTooLarge,
  UnknownMethod,
  CallTooDeep,
  EncodeError,
  Cancelled,
  ProtocolError,
  VersionMismatch,
  ConnectionClosed,
};

/** Every class of the registry by its code. */
export const ERRORS: Readonly<Record<string, abstract new (...args: never[]) => BridgeError>> = {
  RemoteError,
  ...SIMPLE_ERRORS,
};

/** The error in a response (PROTOCOL.md section 9), after its types have been checked. */
export interface ErrorMap {
  code: string;
  message: string;
  type?: string;
  stack?: string;
  data?: Value;
}

/** The error that a response carries, as an object to throw. A code this side does not know is a RemoteError. */
export function errorFromMap(map: ErrorMap): BridgeError {
  const simple = Object.hasOwn(SIMPLE_ERRORS, map.code) ? SIMPLE_ERRORS[map.code] : undefined;
  if (simple !== undefined) return new simple(map.message);
  const type = map.type ?? (map.code === "RemoteError" ? "Error" : map.code);
  const error = new RemoteError(type, map.message, map.stack, map.data);
  // The stack of this side is that of the library, until somebody who waits for the error gives it theirs.
  showRemoteStack(error);
  return error;
}

/** What an exposed function threw, as the error of a response. */
export function errorToMap(thrown: unknown): ErrorMap {
  if (thrown instanceof RemoteError) {
    // An error from deeper in the chain keeps its name; both stacks stay visible.
    return {
      code: "RemoteError",
      message: thrown.message,
      type: thrown.type,
      stack: textOf(thrown.stack),
      data: thrown.data,
    };
  }
  if (thrown instanceof BridgeError) {
    return { code: "RemoteError", message: thrown.message, type: thrown.code, stack: textOf(thrown.stack), data: null };
  }
  if (thrown instanceof Error) {
    const data = (thrown as { data?: unknown }).data;
    return {
      code: "RemoteError",
      message: textOf(thrown.message),
      type: typeOf(thrown),
      stack: textOf(thrown.stack),
      // Whether it can be encoded shows when it is.
      data: (data ?? null) as Value,
    };
  }
  return { code: "RemoteError", message: describe(thrown), type: typeof thrown, stack: "", data: null };
}

/** Give an error that was made elsewhere the stack of the code that waits for it, above the other side's. */
export function mergeStacks(error: unknown): unknown {
  if (!(error instanceof BridgeError)) return error;
  Error.captureStackTrace(error, mergeStacks);
  if (error instanceof RemoteError) showRemoteStack(error);
  return error;
}

function showRemoteStack(error: RemoteError): void {
  if (error.remoteStack !== "") error.stack = `${error.stack ?? ""}\n--- remote stack ---\n${error.remoteStack}`;
}

function typeOf(error: Error): string {
  const name: unknown = error.constructor.name;
  return typeof name === "string" && name !== "" && name !== "Error" ? name : textOf(error.name) || "Error";
}

/** `error.message` and the like are whatever somebody assigned to them. */
function textOf(text: unknown): string {
  return (typeof text === "string" ? text : describe(text)).toWellFormed();
}

function describe(thrown: unknown): string {
  if (typeof thrown === "string") return thrown.toWellFormed();
  try {
    return inspect(thrown).toWellFormed();
  } catch {
    // An object that throws when looked at: its type is all that can be told.
    return typeof thrown;
  }
}

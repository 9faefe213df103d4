/**
 * The registry of errors. `errors.json`, PROTOCOL.md section 9 and this file are compared by a test.
 *
 * Every error that the bridge raises is a {@link BridgeError} with a `code` from this registry.
 */

import { read } from "./thrown";
import type { Value } from "./value_types";

/** What is a RemoteError although its class is another: it has a RemoteError's properties. */
const remoteErrors = new WeakSet<object>();

/** The base of every error the bridge raises. `code` is stable and the same in Python. */
export class BridgeError extends Error {
  /** Its name in the registry, e.g. `"PeerGone"`: that of its class, and the same in Python. */
  readonly code: string = "BridgeError";
  /**
   * Whether the peer answered with this error. An EncodeError or MessageTooLarge of the peer is about its result, one that
   * was made here is about the arguments.
   */
  readonly fromPeer: boolean = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }

  /** Also true, of this class and of RemoteError, for a group and for what has arrived as a registered class. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    return (this === BridgeError || (this as unknown) === RemoteError) && remoteErrors.has(value as object);
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

  constructor(type: string, message: string, data: Value = null, remoteStack = "") {
    super(message);
    this.type = type;
    this.data = data;
    this.remoteStack = remoteStack;
  }
}

/**
 * The function raised several errors: an AggregateError, or Python's ExceptionGroup. `instanceof` says that it is a
 * {@link RemoteError} as well, as which it has `type`, `data` and `remoteStack`.
 */
export class RemoteErrorGroup extends AggregateError {
  /** As a {@link RemoteError}'s. */
  readonly code = "RemoteError";
  /** As a {@link BridgeError}'s. */
  readonly fromPeer: boolean = false;
  /** The class of the exception on the other side, e.g. `"ExceptionGroup"`. */
  readonly type: string;
  /** What the exception carried as `data`, or null. */
  readonly data: Value;
  /** The stack on the other side, or an empty string. `stack` shows it below this side's own. */
  readonly remoteStack: string;
  /** Its parts: RemoteErrors, or of registered classes. Of very many, the first: `remoteStack` tells of more. */
  declare readonly errors: BridgeError[];

  constructor(type: string, message: string, errors: readonly BridgeError[], data: Value = null, remoteStack = "") {
    super(errors, message);
    this.name = new.target.name;
    this.type = type;
    this.data = data;
    this.remoteStack = remoteStack;
    remoteErrors.add(this);
  }
}

/** Have `instanceof` take an error for a RemoteError, whose properties it has been given. */
export function asRemoteError(error: object): asserts error is RemoteError {
  remoteErrors.add(error);
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

/**
 * Too many calls, or too many bytes, are outstanding or queued already, or the peer is a client, which serves only what
 * belongs to a call of its own. The call was not made.
 */
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

/**
 * The function or object of the peer's has been released: the call that the function was given to has ended and it was not held, or
 * it was let go of. The call was not made.
 */
export class Released extends BridgeError {
  override readonly code = "Released";
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
  Released,
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
  cause?: ErrorMap;
  errors?: ErrorMap[];
}

/** `instanceof`, which a proxy among what was thrown can make throw. */
export function isBridgeError<T extends BridgeError = BridgeError>(
  thrown: unknown,
  type: abstract new (...args: never[]) => T = BridgeError as unknown as abstract new () => T,
): thrown is T {
  try {
    return thrown instanceof type;
  } catch {
    return false;
  }
}

/** Give an error that was made elsewhere the stack of the code that waits for it, above the other side's. */
export function mergeStacks(error: unknown): unknown {
  if (!isBridgeError(error)) return error;
  try {
    Error.captureStackTrace(error, mergeStacks);
  } catch {
    return error; // it is frozen: somebody else's
  }
  if (isBridgeError(error, RemoteError)) showRemoteStack(error);
  return error;
}

/** Have an error's `stack` show the other side's below this side's. */
export function showRemoteStack(error: RemoteError): void {
  if (error.remoteStack === "") return;
  // Read through a guard: an application's Error.prepareStackTrace runs here.
  const own = read(error, "stack");
  error.stack = `${typeof own === "string" ? own : ""}\n--- remote stack ---\n${error.remoteStack}`;
}

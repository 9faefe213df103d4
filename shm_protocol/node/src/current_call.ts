/** The call that the running code serves, if any: it follows the code through awaits. And the context it runs in. */

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

import type { Signal } from "./abort_signal";

/** The call that is being served. */
export interface CurrentCall {
  /** The name it was called by. */
  readonly method: string;
  /** The methods being served above this one, outermost first. */
  readonly chain: readonly string[];
  /** Milliseconds the caller still waits, at least 0; undefined where it did not say. */
  readonly remainingMs: number | undefined;
  /** W3C trace context as the caller sent it. */
  readonly traceparent: string | undefined;
  /** Aborted when the caller cancels or is gone, or when the deadline passes. */
  readonly signal: Signal;
}

/** The call that the running code serves. @internal */
export const beingServed = new AsyncLocalStorage<CurrentCall | undefined>();

/** The context in which the library was loaded: nobody's request. */
const outside = new AsyncResource("ShmPolyglot");

/** The call that the running code serves, or undefined. */
export function currentCall(): CurrentCall | undefined {
  return beingServed.getStore();
}

/**
 * Run `body` as part of no call and of no request of the user's: for what is armed by whoever happens to come first and
 * runs for everybody, such as a timer.
 */
export function runOutside<R>(body: () => R): R {
  return outside.runInAsyncScope(body);
}

/**
 * A context of its own, part of no call and of no request. What code that runs in it puts into an AsyncLocalStorage,
 * `enterWith` included, is seen by nobody else.
 *
 * Node 20 and 22 keep such stores as properties of the resource that runs, newer ones beside it. So an object that inherits
 * from a resource is a context as good as a new resource, and costs little beside one: one is made for each call.
 *
 * @internal
 */
export function newContext(): AsyncResource {
  return Object.create(outside) as AsyncResource;
}

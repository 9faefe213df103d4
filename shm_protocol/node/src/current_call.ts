/** The call that the running code serves, if any: it follows the code through awaits. */

import { AsyncLocalStorage } from "node:async_hooks";

import { CallTimeout, Cancelled } from "./errors";
import type { ExposedFunction } from "./exposed";
import type { Meta } from "./frames";
import type { Value } from "./values";

/** The call that is being served. */
export interface CurrentCall {
  /** The name it was called by. */
  readonly method: string;
  /** The methods being served above this one, outermost first. */
  readonly chain: readonly string[];
  /** Milliseconds the caller still waits, at least 0; undefined where it did not say. */
  readonly deadlineMs: number | undefined;
  /** W3C trace context as the caller sent it. */
  readonly traceparent: string | undefined;
  /** Aborted when the caller cancels or is gone, or when the deadline passes. */
  readonly signal: AbortSignal;
}

/** What a served call needs of the session that serves it. */
export interface ServingSession {
  now(): number;
  /** Have `expire` called on the call when its deadline has passed. */
  watch(call: ServedCall): void;
}

const NO_CHAIN: readonly string[] = [];

export class ServedCall implements CurrentCall {
  readonly session: ServingSession;
  readonly id: number;
  readonly method: string;
  readonly meta: Meta | undefined;
  /** On the clock of `session.now`; Infinity for none. */
  readonly deadline: number;
  /** The answer has been given: what the function left running is not part of the call any more. */
  finished = false;
  /** Nobody wants the answer any more. */
  cancelled = false;
  /** Items of a stream that may be sent. */
  credit: number;
  /** Goes on with a stream that waits for credit or room. */
  wake: (() => void) | undefined;
  private controller: AbortController | undefined;
  private reason: Error | undefined;

  constructor(session: ServingSession, id: number, method: string, meta: Meta | undefined) {
    this.session = session;
    this.id = id;
    this.method = method;
    this.meta = meta;
    this.deadline = meta?.deadlineMs === undefined ? Infinity : session.now() + meta.deadlineMs;
    this.credit = meta?.stream ?? 0;
  }

  get chain(): readonly string[] {
    return this.meta?.chain ?? NO_CHAIN;
  }

  get deadlineMs(): number | undefined {
    return this.deadline === Infinity ? undefined : Math.max(0, this.deadline - this.session.now());
  }

  get traceparent(): string | undefined {
    return this.meta?.traceparent;
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.reason !== undefined) this.controller.abort(this.reason);
      else if (this.deadline !== Infinity) this.session.watch(this);
    }
    return this.controller.signal;
  }

  /** The caller does not want the answer any more, or cannot take it. */
  cancel(reason: Error = new Cancelled(`the caller of ${this.method} cancelled`)): void {
    this.cancelled = true;
    this.abort(reason);
    this.wake?.();
  }

  /** The deadline has passed. The caller will say that it does not want the answer; until then it may come in time. */
  expire(): void {
    this.abort(new CallTimeout(`the deadline of ${this.method} has passed`));
  }

  private abort(reason: Error): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.controller?.abort(reason);
  }
}

const storage = new AsyncLocalStorage<ServedCall | undefined>();

/** The call that the running code serves, or undefined. */
export function currentCall(): CurrentCall | undefined {
  return storage.getStore();
}

/** The same with what the bridge keeps to itself. */
export function currentServedCall(): ServedCall | undefined {
  return storage.getStore();
}

/** Run an exposed function as the serving of `call`. */
export function runServed(call: ServedCall, exposed: ExposedFunction, args: readonly Value[]): unknown {
  return storage.run(call, invoke, exposed, args);
}

function invoke(exposed: ExposedFunction, args: readonly Value[]): unknown {
  return (exposed as (...args: readonly Value[]) => unknown)(...args);
}

/** Run `body` as part of `call`; undefined: as part of none. */
export function runAs<R>(call: ServedCall | undefined, body: () => R): R {
  return storage.run(call, body);
}

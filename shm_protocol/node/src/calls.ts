/**
 * A call while it is under way: one of ours that waits for its answer, one of the peer's that is served. What becomes of them
 * is session.ts's to know, and what they run serving.ts's.
 */

import type { Signal } from "./abort_signal";
import { beingServed, type CurrentCall, newContext } from "./current_call";
import { type BridgeError, CallTimeout, Cancelled, type ErrorMap, isBridgeError } from "./errors";
import type { Entry } from "./exposables";
import type { Meta } from "./meta";
import type { Value } from "./value_types";

/** A call of ours that has no answer yet. */
export interface PendingCall {
  readonly method: string;
  readonly deadline: number;
  /** What the deadline was made of. */
  readonly timeoutMs: number;
  /** Null for a stream: how long one takes is its reader's doing. */
  readonly began: number | null;
  /** The call that was being served when this one was made. */
  readonly madeIn: ServedCall | undefined;
  succeed(result: Value): void;
  fail(error: BridgeError): void;
  /** Null where no stream was asked for. */
  readonly takeItem: ((value: Value) => void) | null;
  /** Stop listening to the caller's signal. */
  detach: (() => void) | undefined;
}

/** What a served call, and whoever serves it, needs of the session that it came by. */
export interface AnsweringSession {
  /** Nothing can be answered any more. */
  readonly hasEnded: boolean;
  /** So much is queued that no item should be added; the call's `wake` tells the end of it. */
  readonly congested: boolean;
  now(): number;
  /** Have `expire` called on the call when its deadline has passed. */
  watch(call: ServedCall): void;
  /** The call goes on after its function has returned: it counts, and can be cancelled. */
  keep(call: ServedCall): void;
  /** The call is over. May be called again. */
  finish(call: ServedCall): void;
  /** Answer with a result. @throws EncodeError, MessageTooLarge, and whatever the result throws when it is looked at. */
  respond(call: ServedCall, result: unknown): void;
  /** What a request of that name runs, if that has been lent to the peer. @throws Released, UnknownMethod */
  lent(method: string): Entry | undefined;
  /** Answer with an error, cut to what fits. Never throws. */
  respondError(call: ServedCall, error: ErrorMap): void;
  /** Send an item of a stream. @throws as `respond`. */
  sendItem(call: ServedCall, value: unknown): void;
}

const NO_CHAIN: readonly string[] = [];

/** See tracing.ts. */
export interface CallSpan {
  fail(thrown: unknown): void;
  end(): void;
}

/** A call of the peer's. `id` is 0 for a notification. */
export class ServedCall implements CurrentCall {
  /** On the clock of `session.now`; Infinity for none. */
  readonly deadline: number;
  /** The answer has been given: what the function left running is not part of the call any more. */
  finished = false;
  /** Nobody wants the answer any more. */
  cancelled = false;
  /** Items of a stream that may be sent. */
  credit: number;
  /** Goes on with a stream that waits for credit or room, or ends it when the call was cancelled. */
  wake: (() => void) | undefined;
  /** Of OpenTelemetry's, where the program uses it. */
  span: CallSpan | undefined;
  private controller: AbortController | undefined;
  private reason: Error | undefined;
  /** A context of the call's own: what its function puts into an AsyncLocalStorage is seen by nobody else. */
  private readonly context = newContext();

  /** `parent`: the call that was being served when the call around this one was made. */
  constructor(
    readonly session: AnsweringSession,
    readonly id: number,
    readonly method: string,
    readonly meta: Meta | undefined,
    private readonly parent: ServedCall | undefined,
  ) {
    this.deadline = meta?.deadlineMs === undefined ? Infinity : session.now() + meta.deadlineMs;
    this.credit = meta?.stream ?? 0;
  }

  get chain(): readonly string[] {
    return this.meta?.chain ?? NO_CHAIN;
  }

  get remainingMs(): number | undefined {
    return this.deadline === Infinity ? undefined : Math.max(0, this.deadline - this.session.now());
  }

  get traceparent(): string | undefined {
    return this.meta?.traceparent;
  }

  get signal(): Signal {
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

  /** Whether the function has been told that its deadline has passed. */
  get hasExpired(): boolean {
    return isBridgeError(this.reason, CallTimeout);
  }

  private abort(reason: Error): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    const controller = this.controller;
    // Listeners are the function's own code.
    if (controller !== undefined) this.run(() => { controller.abort(reason); });
  }

  /** Run `body` as the serving of this call. */
  run<A extends readonly unknown[], R>(body: (...args: A) => R, ...args: A): R {
    return this.context.runInAsyncScope(runAs<A, R>, undefined, this, body, args);
  }

  /** Of this call and those around it the nearest that `session` waits to answer. */
  nearest(session: AnsweringSession): ServedCall | undefined {
    if (this.session === session && !this.finished && this.id !== 0) return this;
    return this.parent?.nearest(session);
  }
}

/** To be run in the call's own context: there is nothing in it to be restored. */
function runAs<A extends readonly unknown[], R>(call: ServedCall, body: (...args: A) => R, args: A): R {
  beingServed.enterWith(call);
  return body(...args);
}

/** What of a call is inherited by the calls made while serving it; undefined outside of a call, or after its answer. */
export function callBeingServed(): ServedCall | undefined {
  const call = beingServed.getStore();
  return call instanceof ServedCall && !call.finished ? call : undefined;
}

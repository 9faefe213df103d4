/**
 * Runs what is exposed for the peer's calls: each in a context of its own, and whatever the function, its result or its
 * error does when it is looked at, its caller is answered and nobody else notices.
 */

import { types } from "node:util";

import type { CallSpan, ServedCall } from "./calls";
import { errorToMap, ownErrorToMap } from "./error_maps";
import { CallTimeout, EncodeError, type ErrorMap, isBridgeError, MessageTooLarge, UnknownMethod } from "./errors";
import type { Entry } from "./exposables";
import type { Exposed } from "./exposed";
import { hear, hearWithin } from "./heard";
import { HELD_MS, heldMs } from "./held_loop";
import type { Logger } from "./log";
import { didYouMean } from "./near_names";
import type { CallTaker } from "./session";
import { discard, isStream, sendItems, Source } from "./streams";
import type { Tracing } from "./tracing";
import type { Value } from "./value_types";

export interface ServingOptions {
  exposed: Exposed;
  /** One that does not throw: see `guardedLogger`. */
  log: Logger;
  /** The peer's name, for the log. */
  peer: string;
  tracing?: Tracing | undefined;
}

export class Serving implements CallTaker {
  /** Calls of the peer that were answered or are being served. */
  served = 0;

  private readonly run: (call: ServedCall, entry: Entry, args: Value[]) => void;

  constructor(private readonly options: ServingOptions) {
    const { tracing } = options;
    this.run = tracing === undefined ? this.serve : (call, entry, args) => { this.serveTraced(tracing, call, entry, args); };
  }

  onCall(call: ServedCall, args: Value[]): void {
    const entry = this.options.exposed.get(call.method);
    if (entry === undefined) {
      this.onOtherCall(call, args);
      return;
    }
    this.served++;
    call.run(this.run, call, entry, args);
  }

  /** Of what is not exposed: it may have been lent. */
  private onOtherCall(call: ServedCall, args: Value[]): void {
    try {
      const entry = call.session.lent(call.method);
      if (entry === undefined) throw new UnknownMethod(`${call.method}: nothing of that name is exposed${didYouMean(call.method, this.options.exposed.everyName())}`);
      this.served++;
      call.run(this.run, call, entry, args);
    } catch (error) {
      // Nothing of a function's own: what it throws goes to its caller.
      call.session.respondError(call, isBridgeError(error) ? ownErrorToMap(error) : errorToMap(error));
    }
  }

  onNotification(call: ServedCall, args: Value[]): void {
    const entry = this.options.exposed.get(call.method);
    if (entry === undefined) {
      this.onDropped(call.method, "nothing of that name is exposed");
      return;
    }
    this.served++;
    call.session.keep(call);
    call.run(this.run, call, entry, args);
  }

  onDropped(method: string, reason: string): void {
    this.options.log.warn("a notification was dropped", { peer: this.options.peer, method, reason });
  }

  private serveTraced(tracing: Tracing, call: ServedCall, entry: Entry, args: Value[]): void {
    const keep = (span: CallSpan): void => { call.span = span; };
    tracing.serve(call.method, call.traceparent, keep, () => { this.serve(call, entry, args); });
  }

  private readonly serve = (call: ServedCall, entry: Entry, args: Value[]): void => {
    let result: unknown;
    try {
      const kwargs = call.meta?.kwargs;
      if (kwargs !== undefined && Object.keys(kwargs).length > 0) args.push(kwargs as Value);
      result = this.runFunction(call, entry, args);
      if (!isThenable(result)) {
        this.answer(call, result);
        return;
      }
      if (call.id !== 0) call.session.keep(call);
      // A promise of the user's own class may fail to be awaited, and then reject unheard.
      hear(result);
      // As `await` does it: a `then` of a promise's own is not asked.
      const promise: Promise<unknown> = Promise.resolve(result);
      void Promise.prototype.then.call(
        promise,
        (value) => { this.answer(call, value); },
        (error: unknown) => { this.answerThrown(call, error); },
      );
    } catch (error) {
      // A promise whose `then` cannot be read.
      hear(result);
      this.answerThrown(call, error);
    }
  };

  private runFunction(call: ServedCall, entry: Entry, args: Value[]): unknown {
    try {
      return Reflect.apply(entry.run, entry.self, args);
    } finally {
      this.checkHeld(call.method);
    }
  }

  /** A function has returned, or awaits something. If it kept everybody else waiting until now, the log names it. */
  private checkHeld(method: string): void {
    const ms = heldMs();
    if (ms < HELD_MS) return;
    this.options.log.warn("a function held the event loop: nobody else was served meanwhile", {
      method,
      ms: Math.round(ms),
      peer: this.options.peer,
    });
  }

  /** Answer with what the function gave. Never throws. */
  private answer(call: ServedCall, result: unknown): void {
    try {
      if (isUnwanted(call)) this.drop(call, result);
      else if (isStream(result)) this.answerStream(call, result);
      else this.answerValue(call, result);
    } catch (error) {
      this.answerThrown(call, error);
    }
  }

  private drop(call: ServedCall, result: unknown): void {
    call.session.finish(call);
    discard(result, this.reportDropped(call));
  }

  private answerValue(call: ServedCall, result: unknown): void {
    call.session.finish(call);
    try {
      call.session.respond(call, result);
    } catch (error) {
      discard(result, this.reportDropped(call));
      this.answerUnsendable(call, error);
    }
  }

  private answerStream(call: ServedCall, result: object): void {
    if (call.meta?.stream === undefined) {
      this.drop(call, result);
      this.answerUnsendable(call, new EncodeError(`result: ${call.method} gives a stream: call it with stream()`));
      return;
    }
    const report = this.reportDropped(call);
    const source = new Source(result, report);
    call.session.keep(call);
    sendItems(call, source, report).then(
      (sent) => {
        if (sent === "all") this.answer(call, null);
        if (typeof sent === "string") return;
        source.close();
        this.answerUnsendable(call, sent.unsendable);
      },
      (error: unknown) => {
        source.close();
        this.answerThrown(call, error);
      },
    );
  }

  /** A result, or an item, could not be sent: tell the caller why, and the log, because it is this side's fault. */
  private answerUnsendable(call: ServedCall, error: unknown): void {
    if (!isBridgeError(error, EncodeError) && !isBridgeError(error, MessageTooLarge)) {
      // It threw when it was looked at.
      this.answerThrown(call, error);
      return;
    }
    call.span?.fail(error);
    call.session.finish(call);
    if (call.cancelled) return;
    const map = ownErrorToMap(error);
    this.options.log.error("a result could not be sent", { peer: this.options.peer, method: call.method, reason: map.message });
    call.session.respondError(call, map);
  }

  /** Answer with what the function threw. Never throws. */
  private answerThrown(call: ServedCall, thrown: unknown): void {
    hearWithin(thrown, this.reportDropped(call));
    call.span?.fail(thrown);
    call.session.finish(call);
    // Nobody else takes what cannot be sent: a promise or a stream, itself or as an error's data.
    discard(thrown, this.reportDropped(call));
    discard(ownValue(thrown, "data"), this.reportDropped(call));
    // A function that stops because its caller is gone has not failed.
    if (call.cancelled || call.session.hasEnded) return;
    const error = errorToMap(thrown);
    this.logFailure(call, error);
    if (call.id === 0) return;
    // Who wakes up first on a busy machine decides nothing: the caller's own clock says the same.
    call.session.respondError(call, call.hasExpired ? ownErrorToMap(late(call, error)) : error);
  }

  private logFailure(call: ServedCall, error: ErrorMap): void {
    this.options.log.error("a served call failed", {
      peer: this.options.peer,
      method: call.method,
      error: `${error.type ?? error.code}: ${error.message}`,
      stack: error.stack ?? "",
    });
  }

  private reportDropped(call: ServedCall): (error: unknown) => void {
    return (thrown) => {
      const { message, type, code, stack } = errorToMap(thrown);
      this.options.log.warn("what nobody takes of a result failed", {
        peer: this.options.peer,
        method: call.method,
        error: `${type ?? code}: ${message}`,
        stack: stack ?? "",
      });
    };
  }
}

/** Nobody takes a result: the caller has left, or it was a notification. */
function isUnwanted(call: ServedCall): boolean {
  return call.cancelled || call.id === 0 || call.session.hasEnded;
}

/** A property that an object itself has, without running a getter or a trap. */
function ownValue(object: unknown, key: string): unknown {
  if (typeof object !== "object" || object === null || types.isProxy(object)) return undefined;
  return Object.getOwnPropertyDescriptor(object, key)?.value as unknown;
}

function isThenable(value: unknown): boolean {
  const isObject = (typeof value === "object" && value !== null) || typeof value === "function";
  return isObject && typeof (value as { then?: unknown }).then === "function";
}

/** For a function that threw once it had been told that its deadline has passed. */
function late({ method }: ServedCall, { type, code, message }: ErrorMap): CallTimeout {
  return new CallTimeout(`${method}: its deadline had passed when it threw ${type ?? code}: ${message}`);
}

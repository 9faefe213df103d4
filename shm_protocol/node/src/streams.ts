/** A stream's two ends: the items at their caller, and what an exposed function gives at the side that serves. */

import { EventEmitter } from "node:events";
import { Dir } from "node:fs";
import { types } from "node:util";

import type { ServedCall } from "./calls";
import { nextTurn } from "./clock";
import { ProtocolError } from "./errors";
import { hear, hearErrors, hearPartsOf, hearWithin, isPlain, MAX_LEVELS, MAX_LOOKED_AT, partsOf, type Report } from "./heard";
import type { Value } from "./value_types";

/** The items of a stream as they come. Leaving a `for await` early, or `return()`, tells the peer to stop. */
export class ValueStream implements AsyncIterableIterator<Value> {
  private readonly queue: Value[] = [];
  private waiting: { resolve: (step: IteratorResult<Value, undefined>) => void; reject: (error: Error) => void }[] = [];
  /** Items granted that have not come. */
  private granted: number;
  /** Items taken since the last grant. */
  private taken = 0;
  private isDone = false;
  /** @internal */
  readonly began = null;
  private error: Error | undefined;
  /** @internal */
  detach: (() => void) | undefined;

  /** @internal */
  constructor(
    /** @internal */
    readonly method: string,
    /** @internal */
    readonly deadline: number,
    /** @internal */
    readonly timeoutMs: number,
    /** @internal */
    readonly madeIn: ServedCall | undefined,
    private readonly credit: number,
    private readonly grant: (items: number) => void,
    private readonly abandon: () => void,
    /** Whether an item is asked for that has not come, whenever that changes. */
    private readonly onAwaited: (isAwaited: boolean) => void,
  ) {
    this.granted = credit;
  }

  /** @internal */
  readonly takeItem = (value: Value): void => {
    if (this.granted === 0) throw new ProtocolError(`an item for the stream ${this.method}, which has no credit left`);
    this.granted--;
    const next = this.waiting.shift();
    if (next === undefined) {
      this.queue.push(value);
    } else {
      if (this.waiting.length === 0) this.onAwaited(false);
      this.countTaken();
      next.resolve({ value, done: false });
    }
  };

  /** @internal */
  succeed(result: Value): void {
    if (result === null) this.finish(undefined);
    else this.finish(new TypeError(`${this.method} gave a value, not a stream: use call()`));
  }

  /** @internal */
  fail(error: Error): void {
    this.finish(error);
  }

  private finish(error: Error | undefined): void {
    if (this.isDone) return;
    this.isDone = true;
    const [first, ...others] = this.waiting;
    this.waiting = [];
    if (first !== undefined) this.onAwaited(false);
    if (error === undefined) first?.resolve({ value: undefined, done: true });
    else if (first === undefined) this.error = error;
    else first.reject(error);
    for (const other of others) other.resolve({ value: undefined, done: true });
  }

  private countTaken(): void {
    this.taken++;
    // In halves: granting each item would double the messages, granting all at the end would stall the sender.
    if (this.taken * 2 >= this.credit && !this.isDone) {
      this.granted += this.taken;
      this.grant(this.taken);
      this.taken = 0;
    }
  }

  /**
   * The next item; `done` at the end.
   *
   * @throws (as a rejection) RemoteError where the function raised, CallTimeout, PeerGone and the other errors of
   * {@link Bridge.call}; TypeError where the function gave a value instead of a stream.
   */
  next(): Promise<IteratorResult<Value, undefined>> {
    if (this.queue.length > 0) {
      const value = this.queue.shift() as Value;
      this.countTaken();
      return Promise.resolve({ value, done: false });
    }
    if (this.error !== undefined) {
      const error = this.error;
      this.error = undefined;
      return Promise.reject(error);
    }
    if (this.isDone) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      if (this.waiting.push({ resolve, reject }) === 1) this.onAwaited(true);
    });
  }

  /** Want no more. The peer is told, and its iterator closed. May be called again. */
  return(): Promise<IteratorResult<Value, undefined>> {
    if (!this.isDone) this.abandon();
    this.finish(undefined);
    this.error = undefined;
    this.queue.length = 0;
    return Promise.resolve({ value: undefined, done: true });
  }

  /** The stream itself: it can be read once. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}

// ---- what a function gives

/** A stream lets others have a turn after this many items. */
const ITEMS_PER_TURN = 64;

/** What there may be on an object that gives items; nothing of it is certain before it has been looked at. */
interface Streamlike {
  next?: unknown;
  return?: unknown;
  destroy?: unknown;
  pipe?: unknown;
  on?: unknown;
  cancel?: unknown;
  getReader?: unknown;
  fd?: unknown;
  readLines?: unknown;
  close?: unknown;
  [Symbol.iterator]?: unknown;
  [Symbol.asyncIterator]?: unknown;
}

type Method = (...args: unknown[]) => unknown;

/** Does a value give items? An async iterable or a sync iterator does, a collection does not. */
export function isStream(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const object = value as Streamlike;
  if (typeof object[Symbol.asyncIterator] === "function") return true;
  return typeof object.next === "function" && typeof object[Symbol.iterator] === "function";
}

/** A stream of Node's, readable or not: with `error` events, which end the process where nobody listens. */
function isNodeStream(object: Streamlike): object is { destroy: Method; on: Method } {
  return typeof object.destroy === "function" && typeof object.on === "function" && typeof object.pipe === "function";
}

/** What `open` of node:fs/promises gives; its class is nowhere to be had. */
function isFileHandle(object: Streamlike): object is { close: Method } {
  return typeof object.readLines === "function" && typeof object.close === "function" && typeof object.fd === "number";
}

/** A ReadableStream of the web's. */
function isWebStream(object: Streamlike): object is { cancel: Method; getReader: Method } {
  return typeof object.getReader === "function" && typeof object.cancel === "function";
}

function isIterator(object: Streamlike): object is { next: Method } {
  return typeof object.next === "function";
}

/** What an exposed function gave in place of a value, opened. Each method may throw what the user's object throws. */
export class Source {
  private readonly iterator: Streamlike;
  private isClosed = false;

  /** `value` is what `isStream` told. @throws whatever it throws. */
  constructor(
    private readonly value: object,
    private readonly report: Report,
  ) {
    const object = value as Streamlike;
    // At once: the stream may fail before its first item is asked for.
    if (isNodeStream(object)) object.on("error", () => undefined);
    this.iterator = isWebStream(object) ? readerOf(object) : iteratorOf(object);
  }

  /** The next item, or undefined at the end. */
  async next(): Promise<{ value: unknown } | undefined> {
    const { iterator } = this;
    if (!isIterator(iterator)) throw new TypeError("what gives the items has no next()");
    const promised: unknown = iterator.next();
    hear(promised);
    const step: unknown = await promised;
    if ((typeof step !== "object" && typeof step !== "function") || step === null) {
      throw new TypeError(`next() gave ${step === null ? "null" : typeof step}, not an object with done and value`);
    }
    const { done, value } = step as { done?: unknown; value?: unknown };
    // A sync generator may give promises.
    hear(value);
    return done ? undefined : { value: await value };
  }

  /** Let go of it, early. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    attempt(this.report, () => {
      const object = this.value as Streamlike;
      if (isNodeStream(object)) object.destroy();
      else return giveBack(this.iterator);
      return undefined;
    });
  }
}

function iteratorOf(object: Streamlike): Streamlike {
  const open = object[Symbol.asyncIterator];
  const iterator: unknown = typeof open === "function" ? Reflect.apply(open, object, []) : object;
  if (typeof iterator !== "object" || iterator === null) throw new TypeError("Symbol.asyncIterator gave no iterator");
  return iterator;
}

/** Its own iterator would close it only when the item under way has come, which may be never. */
function readerOf(stream: { getReader: Method }): Streamlike {
  const reader = stream.getReader() as { read: Method; cancel: Method };
  return { next: () => reader.read(), return: () => reader.cancel() };
}

function giveBack(iterator: Streamlike): unknown {
  const close = iterator.return;
  return typeof close === "function" ? (Reflect.apply(close, iterator, []) as unknown) : undefined;
}

/** How the sending of items came to its end: the last was sent, the caller has left, or one cannot be sent. */
export type Sent = "all" | "left" | { readonly unsendable: unknown };

/**
 * Send the items of `source` as credit and room allow. Where the caller has left the source has been closed, also if it
 * never gives the item that it was asked for.
 *
 * @throws (as a rejection) what the source throws.
 */
export async function sendItems(call: ServedCall, source: Source, report: Report): Promise<Sent> {
  const { session } = call;
  let resume: (() => void) | undefined;
  call.wake = () => {
    if (call.cancelled) {
      session.finish(call);
      source.close();
    }
    resume?.();
  };
  for (let items = 1; ; items++) {
    while ((call.credit === 0 || session.congested) && !call.cancelled) {
      await new Promise<void>((resolve) => { resume = resolve; });
    }
    if (call.cancelled) return "left";
    const item = await source.next();
    if (isCancelled(call)) return "left";
    if (item === undefined) return "all";
    call.credit--;
    try {
      session.sendItem(call, item.value);
    } catch (error) {
      discard(item.value, report);
      return { unsendable: error };
    }
    if (items % ITEMS_PER_TURN === 0) await nextTurn();
  }
}

/** Not a look at the property itself: the compiler takes it for what it was before the await. */
function isCancelled(call: ServedCall): boolean {
  return call.cancelled;
}

// ---- what nobody takes

/**
 * Let go of a result that nobody takes: of a stream, an iterator or a promise, also within plain objects, arrays, maps and
 * sets. A stream left alone keeps its descriptor, and ends the process when it fails; so does a promise, or an emitter such as
 * a child process. No getter runs. An object of a class may be in use elsewhere: what it holds is heard, and goes on.
 */
export function discard(value: unknown, report: Report): void {
  let left = MAX_LOOKED_AT;
  const look = (part: unknown, level: number): void => {
    if (typeof part !== "object" || part === null || left-- <= 0) return;
    // One part that throws, such as a proxy, keeps no other from being let go of.
    attempt(report, () => {
      hearErrors(part, report);
      const isLetGo = discardOne(part, level === 0, report);
      // Also of what has been let go of: what reads a file line by line holds the file's stream, and does not listen to it.
      if (!isPlain(part)) hearPartsOf(part, report);
      else if (!isLetGo && level < MAX_LEVELS) for (const inner of partsOf(part)) look(inner, level + 1);
    });
  };
  look(value, 0);
}

/** False for what is no stream, iterator or promise. */
function discardOne(value: object, isWhole: boolean, report: Report): boolean {
  if (types.isPromise(value)) {
    hear(value);
    void Promise.prototype.then.call(value, (result) => { discard(result, report); }, (error: unknown) => {
      hearWithin(error, report);
      report(error);
    });
    return true;
  }
  // Looking at a value of a plain kind finds nothing, and may run its getters.
  if (!isWhole && isPlain(value)) return false;
  const object = value as Streamlike;
  if (isNodeStream(object)) {
    // One of another make than Node's own; those have been listened to.
    if (!(value instanceof EventEmitter)) object.on("error", report);
    if (isStream(object)) object.destroy();
  } else if (isWebStream(object)) {
    attempt(report, () => object.cancel());
  } else if (value instanceof Dir) {
    attempt(report, () => value.close());
  } else if (isFileHandle(object)) {
    attempt(report, () => object.close());
  } else if (typeof object.return === "function" && isStream(object)) {
    attempt(report, () => giveBack(object));
  } else if (isWhole && isStream(object)) {
    attempt(report, () => giveBack(iteratorOf(object)));
  } else {
    return false;
  }
  return true;
}

/** Run user code whose outcome nobody waits for. */
function attempt(report: Report, body: () => unknown): void {
  try {
    const outcome: unknown = body();
    if (typeof outcome !== "object" || outcome === null) return;
    hear(outcome);
    // As `await` does it: a `then` of a promise's own is not asked. Nor is what it gives, which passed on would be looked at again.
    void Promise.prototype.then.call(Promise.resolve(outcome), () => undefined, report);
  } catch (error) {
    report(error);
  }
}

/**
 * One connection's calls in both directions, without any I/O: ids, what is outstanding, late answers, deadlines, streams
 * and their credit, cancellation, limits. Bytes come in by `receive`, go out by `output`, and time comes from `now`.
 */

import { setImmediate as nextTurn } from "node:timers/promises";

import { currentServedCall, runAs, runServed, ServedCall, type ServingSession } from "./current_call";
import {
  type BridgeError,
  Busy,
  CallTimeout,
  CallTooDeep,
  Cancelled,
  ConnectionClosed,
  EncodeError,
  errorFromMap,
  type ErrorMap,
  errorToMap,
  MessageTooLarge,
  PeerGone,
  ProtocolError,
  UnknownMethod,
} from "./errors";
import { type ExposedFunction, type ExposedFunctions, tooManyArguments } from "./exposed";
import {
  encodeCancel,
  encodeCredit,
  encodeErrorResponse,
  encodeItem,
  encodeLeave,
  encodeNotification,
  encodeRequest,
  encodeResponse,
  type FrameSink,
  MAX_CHAIN,
  MAX_CREDIT,
  type Meta,
  readFrame,
  renumberRequest,
} from "./frames";
import { HELD_MS, heldMs } from "./held_loop";
import type { Logger } from "./log";
import { ValueStream } from "./value_stream";
import { acquireEncoder, Decoder, type Encoder, releaseEncoder, type Value } from "./values";

/** Calls outstanding on one connection, in one direction. */
export const MAX_OUTSTANDING = 1024;

/** A stream lets others have a turn after this many items. */
const ITEMS_PER_TURN = 64;

/** Messages of an error longer than this are cut where the whole did not fit into a message. */
const CUT_CHARACTERS = 1000;

/** Where a session's messages go. */
export interface Output {
  /** Send a message, or queue it. Copies what is not `isDisposable`. Never throws: a failure ends the session. */
  send(buffer: Buffer, length: number): void;
  /** So much is queued that no new call or item should be added. `Session.onRoom` tells the end of it. */
  readonly congested: boolean;
  /** A call to the peer has ended, so many milliseconds after it began; `failed`: with an error, or without an answer. */
  countCall(ms: number, failed: boolean): void;
  /** Have `Session.expire` called at `time` or soon after it. An earlier time replaces a later one. */
  wakeAt(time: number): void;
}

export interface SessionOptions {
  output: Output;
  exposed: ExposedFunctions;
  log: Logger;
  /** The peer's name, for messages. */
  peer: string;
  /** The largest message both sides take, in bytes. */
  maxMessage: number;
  /** A monotonic clock in milliseconds. */
  now: () => number;
  /** The peer is about to end the connection: it is to get no new calls but nested ones. */
  onLeave: () => void;
}

/** How to make one call. */
export interface SessionCallOptions {
  /** Infinity for none. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  meta?: Meta | undefined;
}

/** A call that has no answer yet. */
export interface Pending {
  readonly method: string;
  readonly deadline: number;
  /** Null for a stream: how long one takes is its reader's doing. */
  readonly began: number | null;
  succeed(result: Value): void;
  fail(error: BridgeError): void;
  /** Null where no stream was asked for. */
  readonly takeItem: ((value: Value) => void) | null;
  /** Stop listening to the caller's signal. */
  detach: (() => void) | undefined;
}

export class Session implements FrameSink, ServingSession {
  /** Answers that came after the caller had given up. */
  lateAnswers = 0;
  /** Calls of the peer that were answered or are being served. */
  served = 0;
  readonly now: () => number;

  private readonly notifyLeave: () => void;
  private readonly output: Output;
  private readonly exposed: ExposedFunctions;
  private readonly log: Logger;
  private readonly peer: string;
  private readonly maxMessage: number;
  private readonly decoder = new Decoder();

  private lastId = 0;
  private readonly pending = new Map<number, Pending>();
  /** The earliest time asked of `output.wakeAt`. */
  private wakesAt = Infinity;

  private lastPeerId = 0;
  /** Calls whose function has not finished; those that finish at once are never in here. */
  private readonly serving = new Map<number, ServedCall>();
  private notificationsRunning = 0;
  /** Calls whose deadline somebody wants to be told of. */
  private readonly watched = new Set<ServedCall>();

  /** Makes the error for calls after the end; undefined before it. */
  private ended: ((method: string) => BridgeError) | undefined;
  private peerEnded = false;
  private peerLeaves = false;

  constructor(options: SessionOptions) {
    this.output = options.output;
    this.exposed = options.exposed;
    this.log = options.log;
    this.peer = options.peer;
    this.maxMessage = options.maxMessage;
    this.now = options.now;
    this.notifyLeave = options.onLeave;
  }

  /** Calls made that have no answer yet. */
  get outstanding(): number {
    return this.pending.size;
  }

  /** Calls of the peer that are being served. */
  get beingServed(): number {
    return this.serving.size + this.notificationsRunning;
  }

  // ---- calls to the peer

  /**
   * Call a function of the peer.
   *
   * @throws (as a rejection) every error of the registry, as PROTOCOL.md section 9 tells.
   */
  call(method: string, args: readonly unknown[], options: SessionCallOptions): Promise<Value> {
    this.checkMayCall(method, options.signal);
    const began = this.now();
    const deadline = began + options.timeoutMs;
    return new Promise((resolve, reject) => {
      const call: Pending = { method, deadline, began, succeed: resolve, fail: reject, takeItem: null, detach: undefined };
      this.request(call, args, options.meta, options.signal);
    });
  }

  /** Ask for a stream of a function of the peer; at most `credit` items are on their way. */
  stream(method: string, args: readonly unknown[], credit: number, options: SessionCallOptions): ValueStream {
    if (!Number.isInteger(credit) || credit < 1 || credit > MAX_CREDIT) {
      throw new RangeError(`credit=${credit}: may be an integer from 1 to ${MAX_CREDIT}`);
    }
    this.checkMayCall(method, options.signal);
    const deadline = options.timeoutMs === Infinity ? Infinity : this.now() + options.timeoutMs;
    const stream = new ValueStream(
      method,
      deadline,
      credit,
      (items) => { this.grant(id, items); },
      () => { this.abandon(id); },
    );
    const id = this.request(stream, args, { ...options.meta, stream: credit }, options.signal);
    return stream;
  }

  /** Call a function of the peer without an answer. */
  notify(method: string, args: readonly unknown[], meta: Meta | undefined): void {
    this.checkMayCall(method, undefined);
    const encoder = acquireEncoder();
    try {
      this.encodeFor(method, () => { encodeNotification(encoder, this.maxMessage, method, args, meta); });
      this.output.send(encoder.buffer, encoder.position);
    } finally {
      releaseEncoder(encoder);
    }
  }

  private checkMayCall(method: string, signal: AbortSignal | undefined): void {
    if (this.ended !== undefined) throw this.ended(method);
    if (this.pending.size >= MAX_OUTSTANDING) {
      throw new Busy(`${method}: ${this.pending.size} calls to ${this.peer} are outstanding already`);
    }
    if (this.output.congested) throw new Busy(`${method}: too much waits to be sent to ${this.peer} already`);
    if (signal?.aborted === true) throw cancelledBy(signal, method);
  }

  private request(call: Pending, args: readonly unknown[], meta: Meta | undefined, signal: AbortSignal | undefined): number {
    let id = this.lastId + 1;
    const encoder = acquireEncoder();
    try {
      try {
        encodeRequest(encoder, this.maxMessage, id, call.method, args, meta);
      } catch (error) {
        throw named(error, call.method);
      }
      // A getter among the arguments may have made calls of its own, which are sent already: ids must go up.
      if (this.lastId >= id) {
        renumberRequest(encoder, id, this.lastId + 1);
        id = this.lastId + 1;
      }
      this.lastId = id;
      this.pending.set(id, call);
      if (signal !== undefined) this.listen(id, call, signal);
      if (call.deadline < this.wakesAt) this.wakeAt(call.deadline);
      this.output.send(encoder.buffer, encoder.position);
    } finally {
      releaseEncoder(encoder);
    }
    return id;
  }

  /** End the call early when `signal` is aborted. */
  private listen(id: number, call: Pending, signal: AbortSignal): void {
    const onAbort = (): void => {
      this.abandon(id);
      call.fail(cancelledBy(signal, call.method));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    call.detach = () => { signal.removeEventListener("abort", onAbort); };
  }

  /** Forget a call and tell the peer. Whatever still comes for it is late. */
  private abandon(id: number): void {
    const call = this.forget(id);
    if (call === undefined) return;
    this.count(call, true);
    this.sendSmall((encoder) => { encodeCancel(encoder, id); });
  }

  private forget(id: number): Pending | undefined {
    const call = this.pending.get(id);
    if (call === undefined) return undefined;
    this.pending.delete(id);
    if (call.detach !== undefined) call.detach();
    return call;
  }

  private grant(id: number, items: number): void {
    if (!this.pending.has(id)) return;
    this.sendSmall((encoder) => { encodeCredit(encoder, id, items); });
  }

  private sendSmall(encode: (encoder: Encoder) => void): void {
    const encoder = acquireEncoder();
    try {
      encode(encoder);
      this.output.send(encoder.buffer, encoder.position);
    } finally {
      releaseEncoder(encoder);
    }
  }

  private encodeFor(method: string, encode: () => void): void {
    try {
      encode();
    } catch (error) {
      throw named(error, method);
    }
  }

  // ---- what comes from the peer

  /**
   * Take one message. `owned`: the buffer is given away, so values may be views of it.
   *
   * @throws ProtocolError where the peer broke the protocol; the connection must be closed.
   */
  receive(buffer: Buffer<ArrayBuffer>, start: number, end: number, owned = false): void {
    this.decoder.begin(buffer, start, end, owned);
    readFrame(this.decoder, this);
    // After readFrame: what it called may have received nothing else, because only the transport receives.
    if (owned) this.decoder.forget();
  }

  onResponse(id: number, result: Value): void {
    const call = this.settle(id, false);
    call?.succeed(result);
  }

  onErrorResponse(id: number, error: ErrorMap): void {
    const call = this.settle(id, true);
    call?.fail(errorFromMap(error));
  }

  onItem(id: number, value: Value): void {
    const call = this.pending.get(id);
    if (call === undefined) {
      this.countLate(id, "an item");
      return;
    }
    if (call.takeItem === null) throw new ProtocolError(`an item for call ${id} of ${call.method}, which is no stream`);
    call.takeItem(value);
  }

  private settle(id: number, failed: boolean): Pending | undefined {
    const call = this.forget(id);
    if (call === undefined) this.countLate(id, "a response");
    else this.count(call, failed);
    return call;
  }

  private count(call: Pending, failed: boolean): void {
    if (call.began !== null) this.output.countCall(this.now() - call.began, failed);
  }

  private countLate(id: number, what: string): void {
    if (id === 0 || id > this.lastId) throw new ProtocolError(`${what} for call ${id}, which was never made`);
    this.lateAnswers++;
  }

  onRequest(id: number, method: string, args: Value[], meta: Meta | undefined): void {
    if (id <= this.lastPeerId) throw new ProtocolError(`a request with id ${id} after one with id ${this.lastPeerId}`);
    this.lastPeerId = id;
    // Nobody is left to take the answer.
    if (this.peerEnded) return;
    if (this.beingServed >= MAX_OUTSTANDING || this.output.congested) {
      this.answerError(id, new Busy(`${method}: ${this.beingServed} calls are being served already`));
      return;
    }
    if (meta?.chain?.length === MAX_CHAIN) {
      this.answerError(id, tooDeep(meta.chain, method));
      return;
    }
    const exposed = this.exposed.get(method);
    if (exposed === undefined) {
      this.answerError(id, new UnknownMethod(`nothing is exposed as ${method}`));
      return;
    }
    if (args.length > exposed.mostArguments) {
      // A TypeError, as a call in Python has it, but without a stack: nothing has run.
      const message = tooManyArguments(method, exposed, args.length);
      this.sendError(id, { code: "RemoteError", type: "TypeError", message });
      return;
    }
    this.served++;
    const call = new ServedCall(this, id, method, meta);
    let result: unknown;
    try {
      result = runServed(call, exposed.run, args);
    } catch (error) {
      this.checkHeld(method);
      this.answerThrown(call, error);
      return;
    }
    this.checkHeld(method);
    if (isThenable(result)) {
      this.serving.set(id, call);
      Promise.resolve(result).then(
        (value) => { this.answer(call, value); },
        (error: unknown) => { this.answerThrown(call, error); },
      );
      return;
    }
    this.answer(call, result);
  }

  onNotification(method: string, args: Value[], meta: Meta | undefined): void {
    const exposed = this.exposed.get(method);
    const dropped =
      exposed === undefined
        ? "nothing is exposed under that name"
        : meta?.chain?.length === MAX_CHAIN
          ? tooDeep(meta.chain, method).message
          : this.beingServed >= MAX_OUTSTANDING
            ? `${this.beingServed} calls are being served already`
            : args.length > exposed.mostArguments
              ? tooManyArguments(method, exposed, args.length)
              : undefined;
    if (exposed === undefined || dropped !== undefined) {
      this.log.warn("a notification was dropped", { peer: this.peer, method, reason: dropped ?? "" });
      return;
    }
    this.served++;
    this.notificationsRunning++;
    const call = new ServedCall(this, 0, method, meta);
    this.serveNotification(call, exposed.run, args).then(
      () => { this.finish(call); },
      (error: unknown) => {
        this.finish(call);
        this.logFailure(call, errorToMap(error));
      },
    );
  }

  private async serveNotification(call: ServedCall, exposed: ExposedFunction, args: Value[]): Promise<void> {
    let running: unknown;
    try {
      running = runServed(call, exposed, args);
    } finally {
      this.checkHeld(call.method);
    }
    const result = await running;
    const iterator = iteratorOf(result);
    if (iterator !== undefined) await closeIterator(iterator);
  }

  /** A function has returned, or awaits something. If it kept everybody else waiting until now, the log names it. */
  private checkHeld(method: string): void {
    const ms = heldMs();
    if (ms < HELD_MS) return;
    this.log.warn("a function held the event loop: nobody else was served meanwhile", {
      method,
      ms: Math.round(ms),
      peer: this.peer,
    });
  }

  onCancel(id: number): void {
    this.checkPeerId(id, "a cancel");
    this.serving.get(id)?.cancel();
  }

  onCredit(id: number, items: number): void {
    this.checkPeerId(id, "credit");
    const call = this.serving.get(id);
    // The stream may have ended while the credit was under way.
    if (call === undefined) return;
    call.credit += items;
    if (call.credit > MAX_CREDIT) throw new ProtocolError(`credit of ${call.credit} items for the stream ${id} of ${call.method}`);
    call.wake?.();
  }

  onLeave(): void {
    if (this.peerLeaves) throw new ProtocolError("a second leave");
    this.peerLeaves = true;
    this.notifyLeave();
    this.sendSmall(encodeLeave);
  }

  private checkPeerId(id: number, what: string): void {
    if (id === 0 || id > this.lastPeerId) throw new ProtocolError(`${what} for call ${id}, which was never made`);
  }

  // ---- answers

  private answer(call: ServedCall, result: unknown): void {
    const iterator = iteratorOf(result);
    if (iterator !== undefined) {
      this.answerIterator(call, iterator);
      return;
    }
    this.finish(call);
    if (call.cancelled || this.ended !== undefined) return;
    const encoder = acquireEncoder();
    try {
      encodeResponse(encoder, this.maxMessage, call.id, result);
      this.output.send(encoder.buffer, encoder.position);
    } catch (error) {
      this.answerUnsendable(call, error);
    } finally {
      releaseEncoder(encoder);
    }
  }

  private answerIterator(call: ServedCall, iterator: AnyIterator): void {
    if (call.meta?.stream !== undefined && !call.cancelled) {
      this.serving.set(call.id, call);
      // Run in the call's context: the iterator's code runs in `next`.
      void runAs(call, () => this.pump(call, iterator));
      return;
    }
    this.finish(call);
    closeIterator(iterator).catch((error: unknown) => { this.logFailure(call, errorToMap(error)); });
    if (!call.cancelled) {
      this.answerUnsendable(call, new EncodeError(`result: ${call.method} gives a stream; ask for one with stream()`));
    }
  }

  /** A result that cannot be sent: tell the caller why, and the log, because it is this side's fault. */
  private answerUnsendable(call: ServedCall, error: unknown): void {
    if (error instanceof EncodeError || error instanceof MessageTooLarge) {
      const told = named(error, call.method);
      this.log.error("a result could not be sent", { peer: this.peer, method: call.method, reason: told.message });
      this.answerError(call.id, told);
    } else {
      // A getter of the result threw.
      this.answerThrown(call, error);
    }
  }

  private answerThrown(call: ServedCall, thrown: unknown): void {
    this.finish(call);
    const error = errorToMap(thrown);
    // A function that stops because its caller is gone has not failed.
    if (call.cancelled || this.ended !== undefined) return;
    this.logFailure(call, error);
    this.sendError(call.id, error);
  }

  private answerError(id: number, error: BridgeError): void {
    this.sendError(id, { code: error.code, message: error.message });
  }

  private sendError(id: number, error: ErrorMap): void {
    if (this.ended !== undefined) return;
    const encoder = acquireEncoder();
    try {
      // First what cannot be encoded goes, then what does not fit.
      const attempts = [error, { ...error, data: null }, cut(error)];
      for (const [index, attempt] of attempts.entries()) {
        try {
          encodeErrorResponse(encoder, this.maxMessage, id, attempt);
          break;
        } catch (failure) {
          if (index === attempts.length - 1) throw failure;
        }
      }
      this.output.send(encoder.buffer, encoder.position);
    } finally {
      releaseEncoder(encoder);
    }
  }

  private finish(call: ServedCall): void {
    call.finished = true;
    if (call.id === 0) this.notificationsRunning--;
    else this.serving.delete(call.id);
    if (this.watched.size > 0) this.watched.delete(call);
  }

  private logFailure(call: ServedCall, error: ErrorMap): void {
    this.log.error("a served call failed", {
      peer: this.peer,
      method: call.method,
      error: `${error.type ?? error.code}: ${error.message}`,
      stack: error.stack ?? "",
    });
  }

  /** Send the items of a stream as credit and room allow. */
  private async pump(call: ServedCall, iterator: AnyIterator): Promise<void> {
    try {
      for (let items = 0; ; ) {
        if (call.cancelled) break;
        if (call.credit === 0 || this.output.congested) {
          await new Promise<void>((resolve) => { call.wake = resolve; });
          call.wake = undefined;
          continue;
        }
        const step = await iterator.next();
        // While waiting for the step.
        if (call.cancelled as boolean) break;
        if (step.done === true) {
          this.answer(call, null);
          return;
        }
        call.credit--;
        this.sendItem(call, step.value);
        if (++items % ITEMS_PER_TURN === 0) await nextTurn();
      }
      this.finish(call);
      await closeIterator(iterator);
    } catch (error) {
      if (error instanceof EncodeError || error instanceof MessageTooLarge) {
        this.finish(call);
        this.answerUnsendable(call, error);
        closeIterator(iterator).catch((closing: unknown) => { this.logFailure(call, errorToMap(closing)); });
      } else if (call.finished) {
        this.logFailure(call, errorToMap(error));
      } else {
        this.answerThrown(call, error);
      }
    }
  }

  private sendItem(call: ServedCall, value: unknown): void {
    const encoder = acquireEncoder();
    try {
      encodeItem(encoder, this.maxMessage, call.id, value);
      this.output.send(encoder.buffer, encoder.position);
    } finally {
      releaseEncoder(encoder);
    }
  }

  // ---- time, room and the end

  watch(call: ServedCall): void {
    if (call.finished) return;
    this.watched.add(call);
    if (call.deadline < this.wakesAt) this.wakeAt(call.deadline);
  }

  private wakeAt(time: number): void {
    this.wakesAt = time;
    this.output.wakeAt(time);
  }

  /** Fail what has passed its deadline by now. */
  expire(): void {
    const now = this.now();
    this.wakesAt = Infinity;
    let next = Infinity;
    for (const [id, call] of this.pending) {
      if (call.deadline > now) {
        next = Math.min(next, call.deadline);
        continue;
      }
      this.abandon(id);
      call.fail(new CallTimeout(`${call.method}: no answer from ${this.peer} within the deadline`));
    }
    for (const call of this.watched) {
      if (call.deadline > now) {
        next = Math.min(next, call.deadline);
        continue;
      }
      this.watched.delete(call);
      call.expire();
    }
    if (next < this.wakesAt) this.wakeAt(next);
  }

  /** The output is not congested any more. */
  onRoom(): void {
    for (const call of this.serving.values()) call.wake?.();
  }

  /** The peer is gone: what it has sent may still come, but it takes no answers. */
  onPeerEnd(): void {
    this.peerEnded = true;
  }

  /** The connection has ended: fail everything that is outstanding. `reason` is a sentence without the method. */
  end(reason: string, closedHere: boolean): void {
    if (this.ended !== undefined) return;
    const later = closedHere ? ConnectionClosed : PeerGone;
    this.ended = (method) => new later(`${method}: ${reason}`);
    for (const id of [...this.pending.keys()]) {
      const call = this.forget(id);
      call?.fail(new PeerGone(`${call.method}: ${reason}`));
    }
    for (const call of [...this.serving.values()]) call.cancel(new PeerGone(`the caller of ${call.method} is gone`));
    this.watched.clear();
  }
}

/** Add the method to what says nothing of it. */
function named<E>(error: E, method: string): E | EncodeError | MessageTooLarge {
  if (error instanceof EncodeError) return new EncodeError(`${method}: ${error.message}`);
  if (error instanceof MessageTooLarge) return new MessageTooLarge(`${method}: ${error.message}`);
  return error;
}

function cancelledBy(signal: AbortSignal, method: string): Cancelled {
  return new Cancelled(`${method}: the caller cancelled`, { cause: signal.reason });
}

/** The error for a call that would be the 33rd of a chain. */
export function tooDeep(chain: readonly string[], method: string): CallTooDeep {
  return new CallTooDeep(`more than ${MAX_CHAIN} nested calls: ${[...chain, method].join(" > ")}`);
}

/** What of a call is inherited by the calls made while serving it; undefined outside of a call, or after its answer. */
export function callBeingServed(): ServedCall | undefined {
  const call = currentServedCall();
  return call === undefined || call.finished ? undefined : call;
}

function cut(error: ErrorMap): ErrorMap {
  const short = (text: string): string => text.slice(0, CUT_CHARACTERS).toWellFormed();
  const map: ErrorMap = { code: error.code, message: short(error.message), data: null };
  if (error.type !== undefined) map.type = short(error.type);
  if (error.stack !== undefined) map.stack = short(error.stack);
  return map;
}

interface AnyIterator {
  next(): IteratorResult<unknown> | Promise<IteratorResult<unknown>>;
  return?(): unknown;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** The iterator of what is sent as a stream: an async iterable or a sync iterator. A collection is neither. */
function iteratorOf(value: unknown): AnyIterator | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const object = value as {
    next?: unknown;
    [Symbol.iterator]?: unknown;
    [Symbol.asyncIterator]?: unknown;
  };
  if (typeof object[Symbol.asyncIterator] === "function") return (object as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  if (typeof object.next === "function" && typeof object[Symbol.iterator] === "function") return object as AnyIterator;
  return undefined;
}

async function closeIterator(iterator: AnyIterator): Promise<void> {
  await iterator.return?.();
}

/**
 * One connection's calls in both directions, without any I/O and without running a function of the user's: ids, what is
 * outstanding, late answers, deadlines, credit, cancellation, limits. Bytes come in by `receive`, go out by `output`, what
 * the peer asks for goes to `calls`, and time comes from `now`.
 */

import { type AnsweringSession, callBeingServed, type PendingCall, ServedCall } from "./calls";
import { errorFromMap, ownErrorToMap } from "./error_maps";
import {
  type BridgeError,
  Busy,
  CallTimeout,
  Cancelled,
  ConnectionClosed,
  EncodeError,
  type ErrorMap,
  isBridgeError,
  MessageTooLarge,
  PeerGone,
  ProtocolError,
  Released,
} from "./errors";
import {
  encodeCancel,
  encodeCredit,
  encodeErrorResponse,
  encodeHold,
  encodeItem,
  encodeLeave,
  encodeNotification,
  encodeRelease,
  encodeRequest,
  encodeResponse,
  encodeReturned,
  encodeWithdrawn,
  type FrameSink,
  MAX_CHAIN,
  MAX_CREDIT,
  MAX_EXPOSED,
  readFrame,
  renumberRequest,
} from "./frames";
import { PROTOCOL_MAJOR } from "./handshake";
import type { Entry } from "./exposables";
import { Lending, type LendingSession } from "./lending";
import type { Meta } from "./meta";
import { makeMeta, tooDeep } from "./nesting";
import { DEFAULT_CREDIT, DEFAULT_TIMEOUT_MS } from "./options";
import type { ReferenceCallOptions, Remote } from "./references";
import { ValueStream } from "./streams";
import { read } from "./thrown";
import type { Value } from "./value_types";
import { acquireEncoder, Decoder, type Encoder, type Lender, type Reference, releaseEncoder } from "./values";

/** Calls outstanding on one connection, in one direction. */
export const MAX_OUTSTANDING = 1024;

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
  /** End the connection: this side cannot go on with it, though the peer has done nothing wrong. */
  giveUp(reason: BridgeError): void;
}

/** Takes what the peer asks for, once it has been checked. Nothing of it throws. */
export interface CallTaker {
  onCall(call: ServedCall, args: Value[]): void;
  onNotification(call: ServedCall, args: Value[]): void;
  /** A notification cannot be taken: nobody but the log can be told. */
  onDropped(method: string, reason: string): void;
}

export interface SessionOptions {
  output: Output;
  calls: CallTaker;
  /** Whether an answer of the peer's is waited for, whenever that changes: of a call, or an item of a stream that is asked for. */
  onWaiting?: ((isWaiting: boolean) => void) | undefined;
  /** The peer's name, for messages. */
  peer: string;
  /** The minor version of the protocol that the peer speaks. */
  peerMinor: number;
  /** Whether the peer looks for calls at any time; else only while a call of its own waits. Default: true. */
  peerAttends?: boolean;
  /** The largest message both sides take, in bytes. */
  maxMessage: number;
  /** A monotonic clock in milliseconds. */
  now: () => number;
  /** The peer is about to end the connection: it is to get no new calls but nested ones. */
  onLeave: () => void;
  /** The peer exposes functions of these names, beside those that it has named before. */
  onExpose: (names: string[]) => void;
}

/** How to make one call. */
export interface SessionCallOptions {
  /** Infinity for none. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  meta?: Meta | undefined;
  /** The call that is being served by whoever makes this one. */
  madeIn?: ServedCall | undefined;
}

/** What a session needs of buffers.ts. */
export interface SharedBuffers extends Lender {
  onReturned(numbers: readonly number[]): void;
  onWithdrawn(numbers: readonly number[]): void;
}

export class Session implements FrameSink, AnsweringSession, LendingSession {
  /** Answers that came after the caller had given up. */
  lateAnswers = 0;
  readonly now: () => number;

  private readonly onWaiting: SessionOptions["onWaiting"];
  /** How many answers are waited for. */
  private awaited = 0;
  private readonly notifyLeave: () => void;
  private readonly notifyExpose: (names: string[]) => void;
  private readonly output: Output;
  private readonly calls: CallTaker;
  private readonly peer: string;
  private readonly peerMinor: number;
  private readonly peerAttends: boolean;
  private readonly maxMessage: number;
  /** What each side has of the other's. */
  readonly lending: Lending;
  private readonly decoder: Decoder;
  /** Of the calls that functions have been lent for: which. */
  private readonly lentFor = new Map<number, readonly number[]>();
  /** Of the calls of the peer's that have functions among their arguments: the references to these. */
  private readonly borrowedFor = new Map<ServedCall, readonly Remote[]>();
  private buffers: SharedBuffers | undefined;
  /** A message is being encoded whose buffers are lent. */
  private lendsBuffers = false;

  private lastId = 0;
  private readonly pending = new Map<number, PendingCall>();
  /** The earliest time asked of `output.wakeAt`. */
  private wakesAt = Infinity;

  private lastPeerId = 0;
  /** Calls of the peer whose function has not finished; those that finish at once are never in here. */
  private readonly kept = new Map<number, ServedCall>();
  private notificationsKept = 0;
  /** Calls whose deadline somebody wants to be told of. */
  private readonly watched = new Set<ServedCall>();

  /** Makes the error for calls after the end; undefined before it. */
  private ended: ((method: string) => BridgeError) | undefined;
  private peerEnded = false;
  private peerLeaves = false;
  /** Functions that the peer has named. */
  private peerExposes = 0;

  constructor(options: SessionOptions) {
    this.output = options.output;
    this.calls = options.calls;
    this.peer = options.peer;
    this.peerMinor = options.peerMinor;
    this.peerAttends = options.peerAttends ?? true;
    this.maxMessage = options.maxMessage;
    this.now = options.now;
    this.onWaiting = options.onWaiting;
    this.notifyLeave = options.onLeave;
    this.notifyExpose = options.onExpose;
    this.lending = new Lending(this, options.peerMinor);
    this.decoder = new Decoder(this.lending.resolve, this.lending.readTable);
  }

  /** Have large buffers travel outside of the messages. */
  lendBy(buffers: SharedBuffers): void {
    this.buffers = buffers;
    this.decoder.lender = buffers;
  }

  /** A buffer of the message that is being received cannot be had. */
  withhold(why: string): void {
    this.lending.withhold(why);
  }

  /**
   * An encoder for a message with values of a user's, whose large buffers are lent; but not those of what a getter among them
   * calls meanwhile, or what is lent for the one would be taken back for the other.
   */
  private acquireLendingEncoder(): Encoder {
    const encoder = acquireEncoder(this.lending);
    if (this.buffers !== undefined && !this.lendsBuffers) {
      this.lendsBuffers = true;
      encoder.lendBy(this.buffers);
    }
    return encoder;
  }

  private releaseLendingEncoder(encoder: Encoder): void {
    if (encoder.lends) this.lendsBuffers = false;
    releaseEncoder(encoder);
  }

  /** What has been encoded is not sent. */
  private takeBackBuffers(encoder: Encoder): void {
    if (encoder.lends) this.buffers?.takeBack();
  }

  /** Gives buffers back that the peer has lent. */
  sendReturned(numbers: readonly number[]): void {
    if (this.ended === undefined) this.sendSmall((encoder) => { encodeReturned(encoder, numbers); });
  }

  /** Has the peer let go of memory of this side's. */
  sendWithdrawn(numbers: readonly number[]): void {
    if (this.ended === undefined) this.sendSmall((encoder) => { encodeWithdrawn(encoder, numbers); });
  }

  /** Calls made that have no answer yet. */
  get outstanding(): number {
    return this.pending.size;
  }

  /** Calls of the peer that are being served. */
  get beingServed(): number {
    return this.kept.size + this.notificationsKept;
  }

  /**
   * @throws EncodeError where the peer does not know `what`, which the protocol has since its version 1.`minor`.
   */
  requireMinor(minor: number, method: string, what: string): void {
    if (this.peerMinor < minor) {
      throw new EncodeError(
        `${method}: ${what} need protocol ${PROTOCOL_MAJOR}.${minor}, the peer speaks ${PROTOCOL_MAJOR}.${this.peerMinor}`,
      );
    }
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
      const { madeIn, timeoutMs } = options;
      const call: PendingCall = { method, deadline, timeoutMs, began, madeIn, succeed: resolve, fail: reject, takeItem: null, detach: undefined };
      this.request(call, args, options.meta, options.signal);
    });
  }

  /** Ask for a stream of a function of the peer; at most `credit` items are on their way. */
  stream(method: string, args: readonly unknown[], credit: number, options: SessionCallOptions): ValueStream {
    this.checkMayCall(method, options.signal);
    const deadline = options.timeoutMs === Infinity ? Infinity : this.now() + options.timeoutMs;
    const stream = new ValueStream(
      method,
      deadline,
      options.timeoutMs,
      options.madeIn,
      credit,
      (items) => { this.grant(id, items); },
      () => { this.abandon(id); },
      (isAwaited) => { this.countAwaited(isAwaited ? 1 : -1); },
    );
    const id = this.request(stream, args, { ...options.meta, stream: credit }, options.signal);
    return stream;
  }

  /** Call a function of the peer without an answer. */
  notify(method: string, args: readonly unknown[], meta: Meta | undefined): void {
    this.checkMayCall(method, undefined);
    const encoder = this.acquireLendingEncoder();
    try {
      this.encodeFor(method, () => { encodeNotification(encoder, this.maxMessage, method, args, meta); });
      this.output.send(encoder.buffer, encoder.position);
    } catch (error) {
      this.takeBackBuffers(encoder);
      throw error;
    } finally {
      this.releaseLendingEncoder(encoder);
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

  private request(call: PendingCall, args: readonly unknown[], meta: Meta | undefined, signal: AbortSignal | undefined): number {
    let id = this.lastId + 1;
    let lent: readonly number[] | undefined;
    const encoder = this.acquireLendingEncoder();
    try {
      lent = this.encodeLending(encoder, id, call.method, args, meta);
      // Before it has an id: this runs the code of a signal that is not the engine's.
      const watched = signal && this.listen(call, signal);
      // A getter among the arguments may have made calls of its own, which are sent already: ids must go up.
      if (this.lastId >= id) {
        renumberRequest(encoder, id, this.lastId + 1);
        id = this.lastId + 1;
      }
      this.lastId = id;
      this.pending.set(id, call);
      if (call.takeItem === null) this.countAwaited(1);
      if (lent !== undefined) this.lentFor.set(id, lent);
      lent = undefined;
      if (watched !== undefined) watched.id = id;
      if (call.deadline < this.wakesAt) this.wakeAt(call.deadline);
      this.output.send(encoder.buffer, encoder.position);
    } catch (error) {
      this.takeBackBuffers(encoder);
      throw error;
    } finally {
      this.releaseLendingEncoder(encoder);
      if (lent !== undefined) this.lending.takeBack(lent);
    }
    return id;
  }

  /** Encode a request, with references for its functions, which have these ids. @throws as encodeRequest */
  private encodeLending(
    encoder: Encoder, id: number, method: string, args: readonly unknown[], meta: Meta | undefined,
  ): readonly number[] | undefined {
    let ids: readonly number[] | undefined;
    try {
      // First: what has been encoded in vain may not be there a second time.
      const lent = this.lending.lendArguments(args, meta);
      ids = lent?.ids;
      encodeRequest(encoder, this.maxMessage, id, method, lent?.args ?? args, lent === undefined ? meta : lent.meta);
      return ids;
    } catch (error) {
      if (ids !== undefined) this.lending.takeBack(ids);
      throw named(error, method);
    }
  }

  // ---- calls to what the peer has lent

  callFor(method: string, args: readonly unknown[], options: ReferenceCallOptions): Promise<Value> {
    const how = this.howFor(method, options, DEFAULT_TIMEOUT_MS);
    return this.call(method, args, how);
  }

  streamFor(method: string, args: readonly unknown[], options: ReferenceCallOptions): ValueStream {
    const how = this.howFor(method, options, Infinity);
    return this.stream(method, args, options.credit ?? DEFAULT_CREDIT, how);
  }

  private howFor(method: string, options: ReferenceCallOptions, defaultTimeoutMs: number): SessionCallOptions {
    const madeIn = callBeingServed();
    if (!this.peerAttends && this.ended === undefined && this.kept.size === 0 && madeIn?.nearest(this) === undefined) {
      // Nobody would see it before the peer makes another call.
      throw new Busy(`${method}: ${this.peer} is a client, which serves calls only while a call of its own waits that they belong to`);
    }
    const { meta, timeoutMs } = makeMeta(madeIn, this, method, options, defaultTimeoutMs);
    return { timeoutMs, signal: options.signal, madeIn, meta };
  }

  sendHold(ids: readonly number[]): void {
    this.sendSmall((encoder) => { encodeHold(encoder, ids); });
  }

  sendRelease(ids: readonly number[]): void {
    this.sendSmall((encoder) => { encodeRelease(encoder, ids); });
  }

  /**
   * End the call early when `signal` is aborted, once it has an id.
   *
   * @throws Cancelled where it has been aborted meanwhile, by a getter among the arguments for example.
   */
  private listen(call: PendingCall, signal: AbortSignal): { id: number } {
    const watched = { id: 0, isAborted: false };
    const onAbort = (): void => {
      watched.isAborted = true;
      if (!this.pending.has(watched.id)) return;
      this.abandon(watched.id);
      call.fail(cancelledBy(signal, call.method));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    call.detach = () => {
      try {
        signal.removeEventListener("abort", onAbort);
      } catch {
        // The caller's own kind of signal: the answer that has come is worth more, and a call that has ended is not cancelled.
      }
    };
    if (watched.isAborted || signal.aborted) {
      call.detach();
      throw cancelledBy(signal, call.method);
    }
    return watched;
  }

  /** Forget a call and tell the peer. Whatever still comes for it is late. */
  private abandon(id: number): void {
    const call = this.forget(id);
    if (call === undefined) return;
    this.count(call, true);
    this.sendSmall((encoder) => { encodeCancel(encoder, id); });
  }

  private forget(id: number): PendingCall | undefined {
    const call = this.pending.get(id);
    if (call === undefined) return undefined;
    this.pending.delete(id);
    if (call.takeItem === null) this.countAwaited(-1);
    if (this.lentFor.size > 0) this.takeBackFor(id);
    if (call.detach !== undefined) call.detach();
    return call;
  }

  private countAwaited(by: 1 | -1): void {
    this.awaited += by;
    if (this.onWaiting !== undefined && this.awaited === Number(by > 0)) this.onWaiting(by > 0);
  }

  private takeBackFor(id: number): void {
    const lent = this.lentFor.get(id);
    if (lent === undefined) return;
    this.lentFor.delete(id);
    this.lending.takeBack(lent);
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
    // Nobody has got them, such as those of an answer that came late.
    if (this.lending.hasArrived) for (const remote of this.lending.takeArrived().remotes) this.lending.letGo(remote);
    // After readFrame: what it called may have received nothing else, because only the transport receives.
    if (owned) this.decoder.forget();
  }

  onResponse(id: number, result: Value): void {
    const call = this.settle(id, false);
    if (call === undefined || !this.lending.hasArrived) call?.succeed(result);
    else {
      const fault = this.keepArrived(call.method);
      if (fault === undefined) call.succeed(result);
      else call.fail(fault);
    }
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
    if (call.takeItem === null) throw new ProtocolError(`an item for call ${id} of ${call.method}, which is not a stream`);
    const fault = this.lending.hasArrived ? this.keepArrived(call.method) : undefined;
    if (fault !== undefined) {
      this.abandon(id);
      call.fail(fault);
      return;
    }
    call.takeItem(value);
  }

  /** What has come by an answer is its caller's. What is returned: why something is missing in it. */
  private keepArrived(method: string): BridgeError | undefined {
    const { remotes, isStale, unreadable } = this.lending.takeArrived();
    this.lending.keep(remotes);
    if (isStale) return staleResult(method);
    return unreadable === undefined ? undefined : new EncodeError(`${method}: result: ${unreadable}`);
  }

  private settle(id: number, failed: boolean): PendingCall | undefined {
    const call = this.forget(id);
    if (call === undefined) this.countLate(id, "a response");
    else this.count(call, failed);
    return call;
  }

  private count(call: PendingCall, failed: boolean): void {
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
    const call = new ServedCall(this, id, method, meta, this.parentOf(meta));
    if (this.lending.hasArrived) {
      const { remotes, isStale, unreadable } = this.lending.takeArrived();
      if (remotes.length > 0) this.borrowedFor.set(call, remotes);
      if (isStale) {
        this.respondError(call, ownErrorToMap(new Released(`${method}: args: a function or an object among them has been released`)));
        return;
      }
      if (unreadable !== undefined) {
        this.respondError(call, ownErrorToMap(new EncodeError(`${method}: args: ${unreadable}`)));
        return;
      }
    }
    if (this.beingServed >= MAX_OUTSTANDING || this.output.congested) {
      this.respondError(call, ownErrorToMap(new Busy(`${method}: ${this.beingServed} calls are being served already`)));
    } else if (meta?.chain?.length === MAX_CHAIN) {
      this.respondError(call, ownErrorToMap(tooDeep(meta.chain, method)));
    } else {
      this.calls.onCall(call, args);
    }
  }

  onNotification(method: string, args: Value[], meta: Meta | undefined): void {
    if (this.lending.hasArrived) {
      const { remotes, unreadable } = this.lending.takeArrived();
      if (remotes.length > 0) throw new ProtocolError(`a notification of ${method} with a function or an object`);
      this.calls.onDropped(method, unreadable ?? "a function or an object among its arguments has been released");
      return;
    }
    if (meta?.chain?.length === MAX_CHAIN) {
      this.calls.onDropped(method, tooDeep(meta.chain, method).message);
    } else if (this.beingServed >= MAX_OUTSTANDING) {
      this.calls.onDropped(method, `${this.beingServed} calls are being served already`);
    } else {
      this.calls.onNotification(new ServedCall(this, 0, method, meta, this.parentOf(meta)), args);
    }
  }

  /** The call that was being served when the call was made that this one is part of. It may have its answer by now. */
  private parentOf(meta: Meta | undefined): ServedCall | undefined {
    const within = meta?.within;
    if (within === undefined) return undefined;
    if (within > this.lastId) throw new ProtocolError(`a request within call ${within}, which was never made`);
    return this.pending.get(within)?.madeIn;
  }

  onCancel(id: number): void {
    this.checkPeerId(id, "a cancel");
    const call = this.kept.get(id);
    if (call === undefined) return;
    if (this.borrowedFor.size > 0) this.endBorrowing(call);
    call.cancel();
  }

  onCredit(id: number, items: number): void {
    this.checkPeerId(id, "credit");
    const call = this.kept.get(id);
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

  onExpose(names: string[]): void {
    this.peerExposes += names.length;
    if (this.peerExposes > MAX_EXPOSED) throw new ProtocolError(`${this.peerExposes} exposed functions; at most ${MAX_EXPOSED} are allowed`);
    this.notifyExpose(names);
  }

  onRelease(ids: number[]): void {
    this.lending.onRelease(ids);
  }

  onHold(ids: number[]): void {
    this.lending.onHold(ids);
  }

  onReturned(numbers: number[]): void {
    this.requireBuffers("returned").onReturned(numbers);
  }

  onWithdrawn(numbers: number[]): void {
    this.requireBuffers("withdrawn").onWithdrawn(numbers);
  }

  private requireBuffers(what: string): SharedBuffers {
    if (this.buffers === undefined) throw new ProtocolError(`a ${what} on a connection on which no memory is lent`);
    return this.buffers;
  }

  private checkPeerId(id: number, what: string): void {
    if (id === 0 || id > this.lastPeerId) throw new ProtocolError(`${what} for call ${id}, which was never made`);
  }

  /** How many functions the peer has named. */
  get namedByPeer(): number {
    return this.peerExposes;
  }

  // ---- answers

  get hasEnded(): boolean {
    return this.ended !== undefined;
  }

  get congested(): boolean {
    return this.output.congested;
  }

  keep(call: ServedCall): void {
    if (call.id === 0) this.notificationsKept++;
    else this.kept.set(call.id, call);
  }

  finish(call: ServedCall): void {
    if (call.finished) return;
    call.finished = true;
    if (call.id === 0) this.notificationsKept--;
    else this.kept.delete(call.id);
    if (this.watched.size > 0) this.watched.delete(call);
    if (call.span !== undefined) call.span.end();
  }

  respond(call: ServedCall, result: unknown): void {
    const encoder = this.acquireLendingEncoder();
    try {
      try {
        encodeResponse(encoder, this.maxMessage, call.id, result);
      } catch (error) {
        encodeResponse(encoder, this.maxMessage, call.id, this.lendResult(call, result, error));
      }
      if (this.borrowedFor.size > 0) this.endBorrowing(call);
      this.output.send(encoder.buffer, encoder.position);
    } catch (error) {
      this.takeBackBuffers(encoder);
      if (isBridgeError(error, MessageTooLarge)) throw new MessageTooLarge(`${call.method}: result: ${error.message}`);
      throw named(error, call.method);
    } finally {
      this.releaseLendingEncoder(encoder);
    }
  }

  respondError(call: ServedCall, error: ErrorMap): void {
    if (this.ended !== undefined) return;
    if (this.borrowedFor.size > 0) this.endBorrowing(call);
    const encoder = acquireEncoder(this.lending);
    try {
      encodeErrorResponse(encoder, this.maxMessage, call.id, error);
      this.output.send(encoder.buffer, encoder.position);
    } catch {
      // Not even the code fits.
      this.output.giveUp(new MessageTooLarge(`no answer fits into the ${this.maxMessage} bytes that ${this.peer} takes`));
    } finally {
      releaseEncoder(encoder);
    }
  }

  sendItem(call: ServedCall, value: unknown): void {
    const encoder = this.acquireLendingEncoder();
    try {
      try {
        encodeItem(encoder, this.maxMessage, call.id, value);
      } catch (error) {
        encodeItem(encoder, this.maxMessage, call.id, this.lendResult(call, value, error));
      }
      this.output.send(encoder.buffer, encoder.position);
    } catch (error) {
      this.takeBackBuffers(encoder);
      throw named(error, call.method);
    } finally {
      this.releaseLendingEncoder(encoder);
    }
  }

  /** A reference to what could not be sent, where the caller takes one. @throws `failed` where there is none */
  private lendResult(call: ServedCall, result: unknown, failed: unknown): Reference {
    const takesOne = call.meta?.handles === true && isBridgeError(failed, EncodeError);
    const reference = takesOne ? this.lending.lendResult(result) : undefined;
    if (reference === undefined) throw failed;
    return reference;
  }

  /** The call has ended that functions were arguments of. */
  private endBorrowing(call: ServedCall): void {
    const remotes = this.borrowedFor.get(call);
    if (remotes === undefined) return;
    this.borrowedFor.delete(call);
    this.lending.endCall(remotes);
  }

  lent(method: string): Entry | undefined {
    return this.lending.find(method);
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
      call.fail(new CallTimeout(`${call.method}: ${call.began === null ? "the stream did not end" : "no answer"} within ${call.timeoutMs / 1000} s`));
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
    for (const call of this.kept.values()) call.wake?.();
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
    for (const call of [...this.kept.values()]) call.cancel(new PeerGone(`the caller of ${call.method} is gone`));
    this.watched.clear();
    this.borrowedFor.clear();
    this.lending.end();
  }
}

function staleResult(method: string): Released {
  return new Released(`${method}: result: the function or object has been released`);
}

/** Add the method to what says nothing of it. */
function named<E>(error: E, method: string): E | EncodeError | MessageTooLarge {
  if (isBridgeError(error, EncodeError)) return new EncodeError(`${method}: ${error.message}`);
  if (isBridgeError(error, MessageTooLarge)) return new MessageTooLarge(`${method}: ${error.message}`);
  return error;
}

function cancelledBy(signal: AbortSignal, method: string): Cancelled {
  return new Cancelled(`${method}: the caller cancelled`, { cause: read(signal, "reason") });
}

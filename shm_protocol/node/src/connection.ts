/** One peer: its session on its transport, with a timer for deadlines. */

import type { Socket } from "node:net";

import { type Binding, type ChannelStats } from "./binding";
import type { BothCounters, Watched } from "./counters";
import { runAs } from "./current_call";
import type { BridgeError } from "./errors";
import type { ExposedFunctions } from "./exposed";
import type { Hello, Role, TransportKind } from "./handshake";
import type { Logger } from "./log";
import type { Poller } from "./poller";
import { type Output, Session } from "./session";
import { ShmTransport } from "./shm_transport";
import { SocketTransport } from "./socket_transport";
import type { TransportHandler } from "./transport";

/** What may be known of a peer that is connected. The numbers are those of now. */
export interface ConnectionInfo {
  /** Counts the connections of this bridge: 1, 2, 3, … */
  readonly id: number;
  /** What the peer calls itself. */
  readonly name: string;
  /** Calls go to workers. */
  readonly role: Role;
  readonly transport: TransportKind;
  /** E.g. `"python 3.12.1"`. */
  readonly language: string;
  /** The version of the peer's library. */
  readonly library: string;
  /** The largest message both sides take, in bytes. */
  readonly maxMessage: number;
  /** Calls to the peer without an answer yet. */
  readonly outstanding: number;
  /** Calls of the peer that are being served. */
  readonly beingServed: number;
  /** Calls of the peer so far. */
  readonly served: number;
  /** Answers that came after their caller had given up, and were dropped. */
  readonly lateAnswers: number;
  /** What the shared memory has done; undefined with the socket transport, and after the end. */
  readonly channel: ChannelStats | undefined;
}

export interface ConnectionOptions {
  id: number;
  hello: Hello;
  socket: Socket;
  /** What the socket had after the hello. */
  rest: Buffer;
  /** With the shm transport. */
  channel: { binding: Binding; number: number; poller: Poller } | undefined;
  maxMessage: number;
  exposed: ExposedFunctions;
  log: Logger;
  /** The peer is about to end the connection: no new calls for it. */
  onLeave: (connection: Connection) => void;
  /** The connection has ended by itself, not by `close`. */
  onEnd: (connection: Connection, error: BridgeError | undefined) => void;
}

export class Connection implements Watched, Output, TransportHandler {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  readonly language: string;
  readonly library: string;
  readonly maxMessage: number;
  readonly session: Session;

  private readonly carrier: ShmTransport | SocketTransport;
  private readonly rest: Buffer;
  private readonly notifyEnd: ConnectionOptions["onEnd"];
  private timer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    const { hello, channel, socket } = options;
    this.id = options.id;
    this.name = hello.name;
    this.role = hello.role;
    this.language = hello.language;
    this.library = hello.library;
    this.maxMessage = options.maxMessage;
    this.rest = options.rest;
    this.notifyEnd = options.onEnd;
    this.carrier =
      channel === undefined
        ? new SocketTransport(socket, options.maxMessage, this)
        : new ShmTransport(channel.binding, channel.number, socket, options.maxMessage, channel.poller, this);
    this.session = new Session({
      output: this,
      exposed: options.exposed,
      log: options.log,
      peer: hello.name,
      maxMessage: options.maxMessage,
      now: () => performance.now(),
      onLeave: () => { options.onLeave(this); },
    });
  }

  /** Begin to receive. */
  start(): void {
    this.carrier.start(this.rest);
  }

  get transport(): TransportKind {
    return this.carrier.kind;
  }

  get outstanding(): number {
    return this.session.outstanding;
  }

  get beingServed(): number {
    return this.session.beingServed;
  }

  get served(): number {
    return this.session.served;
  }

  get lateAnswers(): number {
    return this.session.lateAnswers;
  }

  get channel(): ChannelStats | undefined {
    return this.carrier instanceof ShmTransport ? this.carrier.stats : undefined;
  }

  get counters(): BothCounters | undefined {
    return this.carrier instanceof ShmTransport ? this.carrier.counters : undefined;
  }

  isPeerBusy(): boolean {
    return this.carrier.isPeerBusy();
  }

  /** End the connection from this side. */
  close(): void {
    clearTimeout(this.timer);
    this.carrier.close();
    this.session.end("the bridge was closed", true);
  }

  // ---- Output

  send(buffer: Buffer, length: number): void {
    this.carrier.send(buffer, length);
  }

  get congested(): boolean {
    return this.carrier.congested;
  }

  countCall(ms: number, failed: boolean): void {
    this.carrier.countCall(ms, failed);
  }

  wakeAt(time: number): void {
    clearTimeout(this.timer);
    // Longer than a timer can be: woken early, the session asks again.
    const delay = Math.min(Math.max(1, Math.ceil(time - performance.now())), 0x7fffffff);
    runAs(undefined, () => {
      this.timer = setTimeout(() => { this.session.expire(); }, delay);
    });
    // What waits keeps the process running, if anything does: the socket.
    this.timer?.unref();
  }

  // ---- TransportHandler

  onMessage(buffer: Buffer<ArrayBuffer>, start: number, end: number, owned: boolean): void {
    this.session.receive(buffer, start, end, owned);
  }

  onRoom(): void {
    this.session.onRoom();
  }

  onPeerEnd(): void {
    this.session.onPeerEnd();
  }

  onEnd(error: BridgeError | undefined): void {
    clearTimeout(this.timer);
    this.session.end(error === undefined ? `${this.name} is gone` : `the connection to ${this.name} broke: ${error.message}`, false);
    this.notifyEnd(this, error);
  }
}


/** One peer: its session on its transport, with a timer for deadlines. */

import type { Socket } from "node:net";

import type { Binding } from "./binding";
import { Buffers } from "./buffers";
import type { BufferStats } from "./buffer_stats";
import type { ChannelStats } from "./channel_stats";
import { clearTimeout, now, setTimeout } from "./clock";
import { type ConnectionInfo, infoOf, type Role, type TransportKind } from "./connection_info";
import type { BothCounters, Watched } from "./counters";
import { runOutside } from "./current_call";
import type { BridgeError } from "./errors";
import type { Exposed } from "./exposed";
import type { Hello } from "./handshake";
import type { Logger } from "./log";
import type { Poller } from "./poller";
import { ownPool } from "./pool";
import { Serving } from "./serving";
import { type Output, Session } from "./session";
import { ShmTransport } from "./transports/shm";
import { SocketTransport } from "./transports/socket";
import type { Tracing } from "./tracing";
import type { TransportHandler } from "./transports/transport";

export interface ConnectionOptions {
  id: number;
  hello: Hello;
  /** The minor version of the protocol that the peer speaks. */
  minor: number;
  socket: Socket;
  /** What the socket had after the hello. */
  rest: Buffer;
  /** With the shm transport. */
  channel: { binding: Binding; number: number; poller: Poller } | undefined;
  /** How large a buffer is that is handed over outside of its message; 0 or undefined: none is. */
  bufferBytes?: number;
  /** What the peer's second socket is to name this connection by. */
  token?: string | undefined;
  maxMessage: number;
  /** It is a child of this process, and keeps that running only while calls to it are outstanding. */
  isOfChild?: boolean;
  exposed: Exposed;
  log: Logger;
  /** Where the program uses OpenTelemetry. */
  tracing?: Tracing | undefined;
  /** The peer is about to end the connection: no new calls for it. */
  onLeave: (connection: Connection) => void;
  /** The peer has named functions that it exposes, beside those named before. */
  onExpose: (connection: Connection, names: string[]) => void;
  /** The connection has ended by itself, not by `close`. */
  onEnd: (connection: Connection, error: BridgeError | undefined) => void;
}

export class Connection implements Watched, Output, TransportHandler {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  readonly language: string;
  readonly library: string;
  readonly project: string | undefined;
  readonly maxMessage: number;
  readonly token: string | undefined;
  readonly session: Session;
  /** What users are told of it. */
  readonly info: ConnectionInfo;
  /** How many functions the peer names when it attaches; undefined: it names none. */
  private readonly exposes: number | undefined;
  /** What it has named. */
  private readonly named = new Set<string>();

  /** Where large buffers are; undefined: in their messages. */
  readonly shared: Buffers | undefined;
  private readonly serving: Serving;
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
    this.project = hello.project;
    this.exposes = hello.exposes;
    this.maxMessage = options.maxMessage;
    this.token = options.token;
    this.rest = options.rest;
    this.notifyEnd = options.onEnd;
    this.carrier =
      channel === undefined
        ? new SocketTransport(socket, options.maxMessage, this)
        : new ShmTransport(channel.binding, channel.number, socket, options.maxMessage, channel.poller, this);
    this.serving = new Serving({ exposed: options.exposed, log: options.log, peer: hello.name, tracing: options.tracing });
    this.session = new Session({
      output: this,
      calls: this.serving,
      peer: hello.name,
      peerAttends: hello.attends !== false,
      peerMinor: options.minor,
      maxMessage: options.maxMessage,
      now,
      onWaiting: options.isOfChild === true ? (isWaiting) => { if (isWaiting) socket.ref(); else socket.unref(); } : undefined,
      onLeave: () => { options.onLeave(this); },
      onExpose: (names) => {
        for (const name of names) this.named.add(name);
        options.onExpose(this, names);
      },
    });
    if (options.isOfChild === true) socket.unref();
    this.shared = this.makeBuffers(options);
    this.info = infoOf(this);
  }

  private makeBuffers(options: ConnectionOptions): Buffers | undefined {
    const { channel, bufferBytes = 0 } = options;
    const pool = channel === undefined || bufferBytes === 0 ? undefined : ownPool();
    if (channel === undefined || pool === undefined || pool instanceof Error) return undefined;
    const buffers = new Buffers(bufferBytes, channel.binding, pool, {
      returned: (numbers) => { this.session.sendReturned(numbers); },
      withdrawn: (numbers) => { this.session.sendWithdrawn(numbers); },
      withheld: (why) => { this.session.withhold(why); },
    });
    this.session.lendBy(buffers);
    return buffers;
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
    return this.serving.served;
  }

  get lateAnswers(): number {
    return this.session.lateAnswers;
  }

  get channel(): ChannelStats | undefined {
    return this.carrier instanceof ShmTransport ? this.carrier.stats : undefined;
  }

  get buffers(): BufferStats {
    const why = this.transport === "socket" ? "the socket transport has no memory to share" : "SHM_POLYGLOT_BUFFER_BYTES is 0";
    return this.shared?.stats ?? { path: `ring: ${why}`, lent: 0, borrowed: 0, bytesLent: 0, poolBytes: 0 };
  }

  get counters(): BothCounters | undefined {
    return this.carrier instanceof ShmTransport ? this.carrier.counters : undefined;
  }

  /** The peer names what it exposes; else it may have any function. */
  get names(): boolean {
    return this.exposes !== undefined;
  }

  /** Whether the peer has this function, as far as it has told. */
  mayHave(method: string): boolean {
    return !this.names || this.named.has(method) || this.isNaming;
  }

  /** The peer is about to name more of what it exposes. */
  get isNaming(): boolean {
    return this.exposes !== undefined && this.session.namedByPeer < this.exposes;
  }

  isPeerBusy(): boolean {
    // Who waits for an answer of ours has parked, or has no state to tell.
    return this.session.beingServed > 0 || this.carrier.isPeerBusy();
  }

  /** End the connection from this side. */
  close(): void {
    clearTimeout(this.timer);
    this.carrier.close();
    this.session.end("the bridge has been closed", true);
    this.shared?.end();
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
    const delay = Math.min(Math.max(1, Math.ceil(time - now())), 0x7fffffff);
    // Outside of whoever has the earliest deadline: the timer is everybody's.
    runOutside(() => {
      this.timer = setTimeout(() => { this.session.expire(); }, delay);
    });
    // What waits keeps the process running, if anything does: the socket.
    this.timer?.unref();
  }

  giveUp(reason: BridgeError): void {
    this.carrier.close();
    this.onEnd(reason);
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
    this.session.end(error === undefined ? `${this.name} has closed the connection` : `the connection to ${this.name} broke: ${error.message}`, false);
    this.shared?.end();
    this.notifyEnd(this, error);
  }
}

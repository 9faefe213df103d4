/** The bridge: listens for the peers, calls their functions and serves their calls. */

import { EventEmitter } from "node:events";
import { basename, join } from "node:path";

import { type Binding, loadBinding } from "./binding";
import { checkMaxMessage, readSettings, SOCKET_NAME } from "./config";
import { Connection, type ConnectionInfo } from "./connection";
import { describeConnections } from "./counters";
import type { ServedCall } from "./current_call";
import { type BridgeError, CallTimeout, ConnectionClosed, mergeStacks, PeerGone, PeerUnavailable } from "./errors";
import { type Exposables, ExposedFunctions } from "./exposed";
import { MAX_CHAIN, type Meta } from "./frames";
import type { TransportKind } from "./handshake";
import { type Logger, stderrLogger } from "./log";
import { version } from "./package_info";
import { Poller } from "./poller";
import { type Accepted, Rendezvous } from "./rendezvous";
import { callBeingServed, tooDeep } from "./session";
import type { ValueStream } from "./value_stream";
import type { Value } from "./values";

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_CREDIT = 64;
const DEFAULT_MAX_CONNECTIONS = 256;

export interface ListenOptions {
  /**
   * What peers may call. More can be exposed later. What a function returns, throws or rejects with goes to its caller. A
   * promise that it starts and nobody awaits is Node's to judge: by default a rejection of one ends the process. A
   * function that computes for long holds everybody up, and is named in the log past a second.
   */
  expose?: Exposables;
  /** The socket. Default: `node.sock` in `$SHM_POLYGLOT_DIR`. */
  path?: string;
  /** Which transports to accept. Default: `$SHM_POLYGLOT_TRANSPORT`, else `"auto"`, both. */
  transport?: TransportKind | "auto";
  /** What to be called in the peers' logs. Default: the script's name. */
  name?: string;
  /** The largest message, in bytes. Default: `$SHM_POLYGLOT_MAX_MESSAGE`, else 64 MiB. */
  maxMessage?: number;
  /** Connections past this many are refused with `Busy`. Default: 256. */
  maxConnections?: number;
  /** Where to log. Default: one line an event to stderr. */
  log?: Logger;
}

export interface CallOptions {
  /** How long to wait for the answer, in milliseconds; Infinity for ever. Default: 30,000. */
  timeoutMs?: number;
  /** Aborting it cancels the call. */
  signal?: AbortSignal;
  /** W3C trace context for the callee. Default: that of the call being served. */
  traceparent?: string;
  /** Call this peer, one of `connections`. Default: see {@link Bridge.call}. */
  connection?: ConnectionInfo;
  /**
   * Running it twice does no harm: where its worker goes away before it has answered, the call is made once more, at
   * another worker and within the same time. Default: false, and a call that may have run is never made again.
   */
  idempotent?: boolean;
}

export interface StreamOptions extends Omit<CallOptions, "idempotent"> {
  /** How long the whole stream may take, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** How many items may be on their way, 1 to 65,536. Default: 64. */
  credit?: number;
}

export interface NotifyOptions {
  traceparent?: string;
  connection?: ConnectionInfo;
}

interface BridgeEvents {
  /** A peer has connected. */
  connect: [connection: ConnectionInfo];
  /** A peer's connection has ended; `error` says why if it was not the peer's own doing. */
  disconnect: [connection: ConnectionInfo, error: BridgeError | undefined];
}

/**
 * Listen for peers.
 *
 * @throws RangeError for a setting out of range. TypeError for what cannot be exposed. Error with code `EADDRINUSE`
 * where another process listens already; Error where the directory is not this user's alone, or where `transport` is
 * `"shm"` and the native addon is missing.
 */
export function listen(options: ListenOptions = {}): Promise<Bridge> {
  return Bridge.listen(options);
}

/** This side of the bridge. Made by {@link listen}. */
export class Bridge extends EventEmitter<BridgeEvents> {
  /** The socket that peers connect to. */
  readonly path: string;

  private readonly log: Logger;
  private readonly maxMessage: number;
  private readonly exposed = new ExposedFunctions();
  private readonly poller = new Poller();
  private readonly live = new Set<Connection>();
  private readonly workerList: Connection[] = [];
  /** Where a call came by, for the calls made while serving it. */
  private readonly connectionOf = new WeakMap<object, Connection>();
  private lastConnectionId = 0;
  private lastWorker = 0;
  private rendezvous: Rendezvous | undefined;
  private closing: Promise<void> | undefined;

  private constructor(path: string, log: Logger, maxMessage: number) {
    super();
    this.path = path;
    this.log = log;
    this.maxMessage = maxMessage;
  }

  /** See {@link listen}. */
  static async listen(options: ListenOptions): Promise<Bridge> {
    const settings = readSettings();
    const log = options.log ?? stderrLogger;
    const path = options.path ?? join(settings.directory, SOCKET_NAME);
    const transport = options.transport ?? settings.transport;
    const binding = findBinding(transport, log);
    const bridge = new Bridge(path, log, checkMaxMessage(options.maxMessage ?? settings.maxMessage));
    const maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    if (!Number.isInteger(maxConnections) || maxConnections < 1) {
      throw new RangeError(`maxConnections=${maxConnections}: may be an integer from 1`);
    }
    bridge.exposed.addBuiltIn("connections", () => bridge.describeConnections());
    if (options.expose !== undefined) bridge.exposed.add(options.expose);
    bridge.rendezvous = await Rendezvous.listen({
      path,
      transport,
      binding,
      spinUs: settings.spinUs,
      welcome: {
        name: options.name ?? basename(process.argv[1] ?? "node"),
        language: `node ${process.versions.node}`,
        library: version,
        maxMessage: bridge.maxMessage,
      },
      log,
      hasRoom: () => bridge.live.size < maxConnections,
      onAccepted: (accepted) => { bridge.connected(accepted, binding); },
    });
    log.info("listening", { path, transport });
    return bridge;
  }

  /** The peers that are connected. */
  get connections(): readonly ConnectionInfo[] {
    return [...this.live];
  }

  /** How many workers are connected. */
  get workers(): number {
    return this.workerList.length;
  }

  /** The names of the functions that peers may call, sorted. */
  get functions(): string[] {
    return this.exposed.names();
  }

  /**
   * Let peers call more functions. A call with more arguments than a function can make use of is answered with a
   * TypeError; what a function does with fewer, or with others than it expects, is its own affair (PROTOCOL.md section 9).
   *
   * @throws TypeError for what cannot be exposed, or a name that is taken. ConnectionClosed after `close`.
   */
  expose(functions: Exposables): void {
    if (this.closing !== undefined) throw closed("expose");
    this.exposed.add(functions);
  }

  /**
   * Call a function of a peer and wait for its answer.
   *
   * The call goes to the worker with the fewest outstanding calls; one that says it is busy comes after the others. While
   * a call is being served, it goes back on the connection that call came by, and inherits its deadline and trace.
   *
   * @param method e.g. `"ml_service.predict"`.
   * @param args the positional arguments: any values of PROTOCOL.md section 8.
   * @throws RemoteError where the function raised, and every other error of PROTOCOL.md section 9.
   */
  async call<T = Value>(method: string, args: readonly unknown[] = [], options: CallOptions = {}): Promise<T> {
    const began = options.idempotent === true ? performance.now() : 0;
    try {
      const { connection, meta, timeoutMs } = this.route(method, options, DEFAULT_TIMEOUT_MS);
      return (await connection.session.call(method, args, { timeoutMs, signal: options.signal, meta })) as T;
    } catch (error) {
      const left = options.idempotent === true && error instanceof PeerGone ? this.leftForAnother(options, began) : 0;
      if (left > 0) return this.call<T>(method, args, { ...options, timeoutMs: left, idempotent: false });
      // Made where the answer came in: only here it is known who waits for it.
      throw mergeStacks(error);
    }
  }

  /** Milliseconds in which another worker may answer, or 0: there is none to ask, or none may be asked. */
  private leftForAnother(options: CallOptions, began: number): number {
    if (this.workers === 0 || options.connection !== undefined || callBeingServed() !== undefined) return 0;
    return (options.timeoutMs ?? DEFAULT_TIMEOUT_MS) - (performance.now() - began);
  }

  /**
   * Call a function of a peer that gives its answer in items: a Python generator. Leaving the loop early tells the peer to stop.
   *
   * @throws as {@link Bridge.call}; from the loop, too. TypeError where the function gives a value instead of a stream.
   */
  stream(method: string, args: readonly unknown[] = [], options: StreamOptions = {}): ValueStream {
    const { connection, meta, timeoutMs } = this.route(method, options, Infinity);
    return connection.session.stream(method, args, options.credit ?? DEFAULT_CREDIT, {
      timeoutMs,
      signal: options.signal,
      meta,
    });
  }

  /**
   * Call a function of a peer without waiting; nothing tells whether it ran.
   *
   * @throws EncodeError, MessageTooLarge, Busy, PeerUnavailable, PeerGone, CallTooDeep, ConnectionClosed.
   */
  notify(method: string, args: readonly unknown[] = [], options: NotifyOptions = {}): void {
    const { connection, meta } = this.route(method, options, Infinity);
    connection.session.notify(method, args, meta);
  }

  /** Listen no more and end all connections: what is outstanding fails with PeerGone. May be called again. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    for (const connection of [...this.live]) {
      connection.close();
      this.forget(connection, undefined);
    }
    await this.rendezvous?.close();
  }

  private describeConnections(): Record<string, unknown>[] {
    const served = callBeingServed();
    return describeConnections(this.live, served && this.connectionOf.get(served.session));
  }

  /** Which connection a call goes to, and what it inherits. */
  private route(
    method: string,
    options: CallOptions,
    defaultTimeoutMs: number,
  ): { connection: Connection; meta: Meta | undefined; timeoutMs: number } {
    if (this.closing !== undefined) throw closed(method);
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    if (!(timeoutMs > 0)) throw new RangeError(`${method}: timeoutMs=${timeoutMs}: may be a number above 0`);
    const served = callBeingServed();
    const connection = this.explicit(options.connection) ?? (served && this.connectionOf.get(served.session)) ?? this.choose(method);
    if (served !== undefined) return { connection, ...inherit(served, method, options, timeoutMs) };
    // Unasked-for values are not sent: most calls have no meta at all.
    if (options.timeoutMs === undefined && options.traceparent === undefined) {
      return { connection, meta: undefined, timeoutMs };
    }
    return { connection, meta: metaOf(options.timeoutMs, options.traceparent), timeoutMs };
  }

  private explicit(connection: ConnectionInfo | undefined): Connection | undefined {
    if (connection === undefined || connection instanceof Connection) return connection;
    throw new TypeError("connection: not one of this bridge's connections");
  }

  /** The worker with the fewest outstanding calls; of several, one that is not busy, in turn. */
  private choose(method: string): Connection {
    const workers = this.workerList;
    const count = workers.length;
    this.lastWorker = this.lastWorker + 1 < count ? this.lastWorker + 1 : 0;
    let best = workers[this.lastWorker];
    if (best === undefined) throw new PeerUnavailable(`${method}: no worker is attached to ${this.path}`);
    let isBestBusy: boolean | undefined;
    for (let step = 1; step < count; step++) {
      const worker = workers[(this.lastWorker + step) % count] as Connection;
      const difference = worker.session.outstanding - best.session.outstanding;
      if (difference > 0) continue;
      if (difference === 0) {
        isBestBusy ??= best.isPeerBusy();
        if (!isBestBusy || worker.isPeerBusy()) continue;
      }
      best = worker;
      isBestBusy = difference === 0 ? false : undefined;
    }
    return best;
  }

  private connected(accepted: Accepted, binding: Binding | Error): void {
    const { hello, channel } = accepted;
    const connection = new Connection({
      id: ++this.lastConnectionId,
      hello,
      socket: accepted.socket,
      rest: accepted.rest,
      channel:
        channel === undefined || binding instanceof Error ? undefined : { binding, number: channel, poller: this.poller },
      maxMessage: Math.min(this.maxMessage, hello.maxMessage),
      exposed: this.exposed,
      log: this.log,
      onLeave: (leaving) => { this.dismiss(leaving); },
      onEnd: (ended, error) => { this.forget(ended, error); },
    });
    this.live.add(connection);
    if (connection.role === "worker") this.workerList.push(connection);
    this.connectionOf.set(connection.session, connection);
    this.log.info("connected", {
      peer: hello.name,
      role: hello.role,
      transport: hello.transport,
      language: hello.language,
    });
    // Next tick: a listener that throws must not tear the transport, and one that calls finds it started.
    process.nextTick(() => this.emit("connect", connection));
    connection.start();
  }

  /** Choose this worker no more. */
  private dismiss(connection: Connection): void {
    const index = this.workerList.indexOf(connection);
    if (index >= 0) this.workerList.splice(index, 1);
  }

  private forget(connection: Connection, error: BridgeError | undefined): void {
    if (!this.live.delete(connection)) return;
    this.dismiss(connection);
    if (error === undefined) this.log.info("disconnected", { peer: connection.name });
    else this.log.error("a connection broke", { peer: connection.name, code: error.code, reason: error.message });
    process.nextTick(() => this.emit("disconnect", connection, error));
  }
}

function findBinding(transport: TransportKind | "auto", log: Logger): Binding | Error {
  const binding = loadBinding();
  if (!(binding instanceof Error)) return binding;
  if (transport === "shm") throw binding;
  if (transport === "auto") log.warn("only the socket transport is accepted", { reason: binding.message });
  return binding;
}

function closed(what: string): ConnectionClosed {
  return new ConnectionClosed(`${what}: the bridge is closed`);
}

function metaOf(deadlineMs: number | undefined, traceparent: string | undefined): Meta {
  const meta: Meta = {};
  if (deadlineMs !== undefined && deadlineMs !== Infinity) meta.deadlineMs = deadlineMs;
  if (traceparent !== undefined) meta.traceparent = traceparent;
  return meta;
}

/** What a call made while serving another takes over from it. */
function inherit(
  served: ServedCall,
  method: string,
  options: CallOptions,
  timeoutMs: number,
): { meta: Meta; timeoutMs: number } {
  const chain = [...served.chain, served.method];
  if (chain.length >= MAX_CHAIN) throw tooDeep(chain, method);
  const left = served.deadlineMs ?? Infinity;
  if (left === 0) throw new CallTimeout(`${method}: the deadline of ${served.method}, which calls it, has passed`);
  const isSooner = left < timeoutMs;
  const meta = metaOf(isSooner ? left : options.timeoutMs, options.traceparent ?? served.traceparent);
  meta.chain = chain;
  return { meta, timeoutMs: isSooner ? left : timeoutMs };
}

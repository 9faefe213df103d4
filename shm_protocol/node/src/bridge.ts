/** The bridge: listens for the peers, calls their functions and serves their calls. */

import { basename } from "node:path";

import type { Signal } from "./abort_signal";
import { type Binding, loadBinding } from "./binding";
import { BridgeEmitter } from "./bridge_events";
import { nextTick, now } from "./clock";
import { readSettings } from "./config";
import { callBeingServed, type ServedCall } from "./calls";
import { Connection } from "./connection";
import type { ConnectionInfo, TransportKind } from "./connection_info";
import { describeConnections } from "./counters";
import { runOutside } from "./current_call";
import { type BridgeError, ConnectionClosed, isBridgeError, mergeStacks, PeerGone, PeerUnavailable } from "./errors";
import type { Exposables, ExposedFunction } from "./exposables";
import { Exposed } from "./exposed";
import { checkMethodName } from "./frames";
import { MAX_NAME_CHARACTERS } from "./handshake";
import { guardedLogger, type Logger, stderrLogger } from "./log";
import { makeMeta } from "./nesting";
import { type Asked, checkArgs, checkMethod, DEFAULT_CREDIT, DEFAULT_TIMEOUT_MS, readCallOptions, readListenOptions } from "./options";
import { LIBRARY_VERSION } from "./package_info";
import { Poller } from "./poller";
import { projectFolder } from "./project";
import { type Accepted, Rendezvous } from "./rendezvous";
import type { SessionCallOptions } from "./session";
import type { ValueStream } from "./streams";
import { type Span, type Tracing, tracingInUse } from "./tracing";
import type { Value } from "./value_types";
import { Workers } from "./workers";

const DEFAULT_MAX_CONNECTIONS = 256;

/** How to listen. What is left out has its default. */
export interface ListenOptions {
  /**
   * What peers may call. More can be exposed later. What a function returns, throws or rejects with goes to its caller. A
   * promise that it starts and nobody awaits is Node's to judge: by default a rejection of one ends the process. A
   * function that computes for long holds everybody up, and is named in the log past a second.
   */
  expose?: Exposables;
  /**
   * The files of what is exposed, by its key, as paths or `file:` URLs in text: so that Python's `from node_side import utils` finds
   * that it runs here. Of a module in CommonJS (`import * as utils`, compiled) it is known without.
   */
  files?: Readonly<Record<string, string>>;
  /** The socket. Default: `node.sock` in `$SHM_POLYGLOT_DIR`. */
  path?: string;
  /** Which transports to accept. Default: `$SHM_POLYGLOT_TRANSPORT`, else `"auto"`, both. */
  transport?: TransportKind | "auto";
  /** What to be called in the peers' logs, 1 to 128 characters. Default: the script's name. */
  name?: string;
  /** The largest message, in bytes. Default: `$SHM_POLYGLOT_MAX_MESSAGE`, else 64 MiB. */
  maxMessage?: number;
  /** Connections past this many are refused with `Busy`. Default: 256. */
  maxConnections?: number;
  /** Where to log. Default: one line an event to stderr. */
  log?: Logger;
}

/** How to make a call. What is left out has its default. */
export interface CallOptions {
  /** How long to wait for the answer, in milliseconds; Infinity for ever. Default: 30,000. */
  timeoutMs?: number;
  /** Aborting it cancels the call. */
  signal?: Signal;
  /** W3C trace context for the callee. Default: that of the call being served. */
  traceparent?: string;
  /** Call this peer, one of `connections`. Default: see {@link Bridge.call}. */
  connection?: ConnectionInfo;
  /**
   * Keyword arguments, by their names; one that is `undefined` is not given. Python's function gets them as such, one of
   * TypeScript's as one object behind the positional arguments.
   */
  kwargs?: Readonly<Record<string, unknown>>;
  /**
   * Take a {@link Handle} where the result is an object that is no value, and a {@link Callback} where it is a function: they stay
   * on the other side until they are released. Default: false, and such a result is an EncodeError.
   */
  handles?: boolean;
  /**
   * Running it twice does no harm: where its worker goes away before it has answered, the call is made once more, at
   * another worker and within the same time. Default: false, and a call that may have run is never made again.
   */
  idempotent?: boolean;
}

/** How to read a stream. What is left out has its default. */
export interface StreamOptions extends Omit<CallOptions, "idempotent"> {
  /** How long the whole stream may take, in milliseconds. Default: for ever. */
  timeoutMs?: number;
  /** How many items may be on their way, 1 to 65,536. Default: 64. */
  credit?: number;
}

/** How to notify. What is left out has its default. */
export interface NotifyOptions {
  /** W3C trace context for the callee. Default: that of the call being served. */
  traceparent?: string;
  /** Keyword arguments: see {@link CallOptions}. */
  kwargs?: Readonly<Record<string, unknown>>;
  /** Notify this peer, one of `connections`. Default: see {@link Bridge.call}. */
  connection?: ConnectionInfo;
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

/** What bridges of the library's own have. */
interface SpecialBridge {
  /** Functions of the library's own, beside those that every bridge has. */
  builtIns?: Readonly<Record<string, ExposedFunction>>;
  /** It is for a child of this process alone, and does not keep the process running. */
  isOfChild?: boolean;
}

const open = new Set<Bridge>();

/** Those that this process listens with, in the order in which they were opened; without those of its children. */
export function openBridges(): Bridge[] {
  return [...open];
}

/** This side of the bridge. Made by {@link listen}. */
export class Bridge extends BridgeEmitter {
  /** The socket that peers connect to. */
  readonly path: string;

  private readonly log: Logger;
  private readonly maxMessage: number;
  private readonly exposed = new Exposed();
  private readonly poller = new Poller();
  private readonly live = new Set<Connection>();
  private readonly attached = new Workers<Connection>();
  /** Workers that have not named all that they expose yet: they count, and are told of, once they have. */
  private readonly attaching = new Set<Connection>();
  /** By its session, for the calls made while serving one, and by what users are told of it. */
  private readonly connectionOf = new WeakMap<object, Connection>();
  /** Those whose second socket has not come, by what it will name them by. */
  private readonly byToken = new Map<string, Connection>();
  private lastConnectionId = 0;
  /** Where the program uses OpenTelemetry. */
  private tracing: Tracing | undefined;
  private rendezvous: Rendezvous | undefined;
  private closing: Promise<void> | undefined;

  private constructor(path: string, log: Logger, maxMessage: number) {
    super();
    this.path = path;
    this.log = log;
    this.maxMessage = maxMessage;
  }

  /**
   * See {@link listen}.
   *
   * @internal
   */
  static async listen(options: ListenOptions, special: SpecialBridge = {}): Promise<Bridge> {
    const asked = readListenOptions(options);
    const settings = readSettings(process.env, asked.path);
    const log = guardedLogger(asked.log ?? stderrLogger);
    const { path } = settings;
    const transport = asked.transport ?? settings.transport;
    const maxMessage = asked.maxMessage ?? settings.maxMessage;
    const maxConnections = asked.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    const binding = findBinding(transport, log);
    const bridge = new Bridge(path, log, maxMessage);
    bridge.exposed.addBuiltIn("connections", () => bridge.describeConnections());
    bridge.exposed.addBuiltIn("sources", () => bridge.exposed.sources());
    for (const [name, run] of Object.entries(special.builtIns ?? {})) bridge.exposed.addBuiltIn(name, run);
    if (asked.expose !== undefined) bridge.exposed.add(asked.expose);
    if (asked.files !== undefined) bridge.exposed.nameFiles(asked.files);
    const rendezvous = {
      path,
      transport,
      binding,
      spinUs: settings.spinUs,
      welcome: {
        name: asked.name ?? defaultName(),
        language: `node ${process.versions.node}`,
        library: LIBRARY_VERSION,
        maxMessage: bridge.maxMessage,
        ...projectToTell(),
      },
      log,
      hasRoom: () => bridge.live.size < maxConnections,
      onAccepted: (accepted: Accepted) => { bridge.connected(accepted, binding, settings.bufferBytes, special.isOfChild === true); },
      takerOf: (token: string) => bridge.takerOf(token),
    };
    // Outside of whatever the application does as it starts: what comes by a connection is no part of it.
    bridge.rendezvous = await runOutside(() => Rendezvous.listen(rendezvous));
    if (special.isOfChild === true) bridge.rendezvous.unref();
    else open.add(bridge);
    log.info("listening", { path, transport });
    return bridge;
  }

  /** The peers that are connected, workers once they are attached. */
  get connections(): readonly ConnectionInfo[] {
    return Array.from(this.announced(), (connection) => connection.info);
  }

  /** How many workers are attached: connected, and their functions known. */
  get workers(): number {
    return this.attached.count;
  }

  /**
   * The worker with the least to do, which the next call would go to, of `method` or of whatever function; undefined where
   * no worker is attached that has it.
   */
  leastBusyWorker(method?: string): ConnectionInfo | undefined {
    if (method === undefined) return this.attached.nextOfAll()?.info;
    checkMethod(method);
    return this.attached.next(method)?.info;
  }

  /** The names of the functions that peers may call, sorted. */
  get functions(): string[] {
    return this.exposed.names();
  }

  /**
   * Let peers call more functions. What a function does with fewer or more arguments than it names, or with others than it
   * expects, is its own affair (PROTOCOL.md section 9).
   *
   * @throws TypeError for what cannot be exposed, or a name that is taken. ConnectionClosed after `close`.
   */
  expose(functions: Exposables): void {
    if (this.closing !== undefined) throw closed("expose");
    this.exposed.add(functions);
  }

  /**
   * Let peers call these in place of whatever was exposed under `key` before.
   *
   * @throws as expose; then what was is still there.
   * @internal
   */
  exchange(key: string, functions: Exposables): void {
    if (this.closing !== undefined) throw closed("exchange");
    this.exposed.exchange(key, functions);
  }

  /**
   * Call a function of a peer and wait for its answer.
   *
   * Of the workers that expose the function the call goes to the one with the fewest outstanding calls; one that is busy
   * with something else, such as an HTTP request, comes after those that are not. While a call is being served, it goes back
   * on the connection that call came by, unless only a worker has the function, and inherits its deadline and trace.
   *
   * @param method e.g. `"ml_service.predict"`.
   * @param args the positional arguments: any values of PROTOCOL.md section 8.
   * @throws RemoteError where the function raised, and every other error of PROTOCOL.md section 9. TypeError for an
   * argument or option of the wrong type, RangeError for one out of range; then nothing was sent.
   */
  async call<T = Value>(method: string, args: readonly unknown[] = [], options?: CallOptions): Promise<T> {
    let asked: Asked | undefined;
    let began = 0;
    let span: Span | undefined;
    try {
      asked = readCallOptions(options);
      if (this.tracing !== undefined && asked.traceparent === undefined) {
        checkMethod(method);
        span = this.tracing.startCall(method);
        asked = { ...asked, traceparent: span.traceparent };
      }
      if (asked.idempotent === true) began = now();
      const { connection, how } = this.route(method, args, asked, DEFAULT_TIMEOUT_MS);
      return (await connection.session.call(method, args, how)) as T;
    } catch (error) {
      const left = began > 0 && isBridgeError(error, PeerGone) ? this.leftForAnother(method, asked, began) : 0;
      if (left > 0) return await this.call<T>(method, args, { ...asked, timeoutMs: left, idempotent: false } as CallOptions);
      span?.fail(error);
      // Made where the answer came in: only here it is known who waits for it.
      throw mergeStacks(error);
    } finally {
      span?.end();
    }
  }

  /** Milliseconds in which another worker may answer, or 0: there is none to ask, or none may be asked. */
  private leftForAnother(method: string, asked: Asked | undefined, began: number): number {
    if (!this.attached.mayServe(method) || asked?.connection !== undefined || callBeingServed() !== undefined) return 0;
    return (asked?.timeoutMs ?? DEFAULT_TIMEOUT_MS) - (now() - began);
  }

  /**
   * Call a function of a peer that gives its answer in items: a Python generator. Leaving the loop early tells the peer to stop.
   *
   * @throws as {@link Bridge.call}; from the loop, too. TypeError where the function gives a value instead of a stream.
   */
  stream(method: string, args: readonly unknown[] = [], options?: StreamOptions): ValueStream {
    const asked = this.withTrace(readCallOptions(options));
    const { connection, how } = this.route(method, args, asked, Infinity);
    return connection.session.stream(method, args, asked.credit ?? DEFAULT_CREDIT, how);
  }

  /**
   * Call a function of a peer without waiting; nothing tells whether it ran.
   *
   * @throws EncodeError, MessageTooLarge, Busy, PeerUnavailable, PeerGone, CallTooDeep, CallTimeout where the call being
   * served has no time left, ConnectionClosed; TypeError for an argument or option of the wrong type.
   */
  notify(method: string, args: readonly unknown[] = [], options?: NotifyOptions): void {
    const { connection, how } = this.route(method, args, this.withTrace(readCallOptions(options)), Infinity);
    connection.session.notify(method, args, how.meta);
  }

  /** What has no span of its own belongs to the one that is current. */
  private withTrace(asked: Asked): Asked {
    if (this.tracing === undefined || asked.traceparent !== undefined) return asked;
    return { ...asked, traceparent: this.tracing.traceparent };
  }

  /** Listen no more and end all connections: what is outstanding fails with PeerGone. May be called again. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    open.delete(this);
    for (const connection of [...this.live]) {
      connection.close();
      this.forget(connection, undefined);
    }
    await this.rendezvous?.close();
  }

  private announced(): Connection[] {
    return [...this.live].filter((connection) => !this.attaching.has(connection));
  }

  private describeConnections(): Record<string, unknown>[] {
    const served = callBeingServed();
    return describeConnections(this.announced(), served && this.connectionOf.get(served.session));
  }

  /** Which connection a call goes to, and what it inherits. @throws TypeError, RangeError for what cannot be asked. */
  private route(
    method: string,
    args: readonly unknown[],
    asked: Asked,
    defaultTimeoutMs: number,
  ): { connection: Connection; how: SessionCallOptions } {
    checkMethod(method);
    checkArgs(method, args);
    if (this.closing !== undefined) throw closed(method);
    const madeIn = callBeingServed();
    const connection = this.explicit(asked.connection) ?? this.back(madeIn, method) ?? this.choose(method);
    if (asked.kwargs !== undefined) connection.session.requireMinor(2, method, "keyword arguments");
    const { meta, timeoutMs } = makeMeta(madeIn, connection.session, method, asked, defaultTimeoutMs);
    return { connection, how: { timeoutMs, signal: asked.signal, meta, madeIn } };
  }

  private explicit(info: unknown): Connection | undefined {
    if (info === undefined) return undefined;
    const connection = this.connectionOf.get(info as object);
    if (connection?.info === info) return connection;
    throw new TypeError("connection: must be one of this bridge's connections");
  }

  /** The connection that the call being served came by, unless another has the function and that one has not. */
  private back(madeIn: ServedCall | undefined, method: string): Connection | undefined {
    const back = madeIn && this.connectionOf.get(madeIn.session);
    return back === undefined || back.mayHave(method) || !this.attached.mayServe(method) ? back : undefined;
  }

  private choose(method: string): Connection {
    const worker = this.attached.next(method);
    if (worker !== undefined) return worker;
    checkMethodName(method);
    const which = this.workers === 0 ? "no worker" : "no worker that exposes it";
    throw new PeerUnavailable(`${method}: ${which} is attached to ${this.path}`);
  }

  private connected(accepted: Accepted, binding: Binding | Error, bufferBytes: number, isOfChild: boolean): void {
    const { hello, minor, channel, token } = accepted;
    this.tracing ??= tracingInUse(this.path, this.log);
    const connection = new Connection({
      id: ++this.lastConnectionId,
      hello,
      minor,
      socket: accepted.socket,
      rest: accepted.rest,
      channel:
        channel === undefined || binding instanceof Error ? undefined : { binding, number: channel, poller: this.poller },
      maxMessage: Math.min(this.maxMessage, hello.maxMessage),
      isOfChild,
      bufferBytes,
      token,
      exposed: this.exposed,
      log: this.log,
      tracing: this.tracing,
      onLeave: (leaving) => { this.attached.remove(leaving); },
      onExpose: (exposing, names) => { this.onExpose(exposing, names); },
      onEnd: (ended, error) => { this.forget(ended, error); },
    });
    this.live.add(connection);
    if (token !== undefined) this.byToken.set(token, connection);
    this.connectionOf.set(connection.session, connection);
    this.connectionOf.set(connection.info, connection);
    this.log.info("connected", {
      peer: hello.name,
      role: hello.role,
      transport: hello.transport,
      language: hello.language,
      ...(hello.project === undefined ? {} : { project: hello.project }),
    });
    if (connection.role === "worker" && connection.isNaming) this.attaching.add(connection);
    else this.attach(connection);
    connection.start();
  }

  private takerOf(token: string): ((socket: number) => void) | undefined {
    const buffers = this.byToken.get(token)?.shared;
    // Once only.
    this.byToken.delete(token);
    return buffers && ((socket) => { buffers.open(socket); });
  }

  private onExpose(connection: Connection, names: readonly string[]): void {
    if (connection.role !== "worker") return;
    this.attached.expose(connection, names);
    if (!connection.isNaming && this.attaching.delete(connection)) this.attach(connection);
  }

  private attach(connection: Connection): void {
    if (connection.role === "worker") this.attached.add(connection);
    // Next tick: a listener that throws must not tear the transport, and one that calls finds it started.
    this.tell(() => this.emit("connect", connection.info));
  }

  private forget(connection: Connection, error: BridgeError | undefined): void {
    if (!this.live.delete(connection)) return;
    if (connection.token !== undefined) this.byToken.delete(connection.token);
    this.attached.remove(connection);
    const wasAttached = !this.attaching.delete(connection);
    if (error === undefined) this.log.info("disconnected", { peer: connection.name });
    else this.log.error("a connection broke", { peer: connection.name, code: error.code, reason: error.message });
    if (wasAttached) this.tell(() => this.emit("disconnect", connection.info, error));
  }

  /** Outside of whatever has just come or been sent, and of what the transport is doing. */
  private tell(emit: () => void): void {
    runOutside(() => { nextTick(emit); });
  }
}

/** The program's name: what the peers' logs call this side. */
function defaultName(): string {
  const program = Array.from(basename(process.argv[1] ?? "").toWellFormed());
  return program.length > 0 ? program.slice(0, MAX_NAME_CHARACTERS).join("") : "node";
}

function projectToTell(): { project?: string } {
  const project = projectFolder();
  return project === undefined ? {} : { project };
}

function findBinding(transport: TransportKind | "auto", log: Logger): Binding | Error {
  const binding = loadBinding();
  if (!(binding instanceof Error)) return binding;
  if (transport === "shm") throw binding;
  if (transport === "auto") log.warn("only the socket transport is accepted", { reason: binding.message });
  return binding;
}

function closed(what: string): ConnectionClosed {
  return new ConnectionClosed(`${what}: the bridge has been closed`);
}

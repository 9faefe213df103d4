/**
 * Where the two sides meet: the directory, the socket in it, and the handshake with each dialer (PROTOCOL.md sections 1
 * and 2). What comes out is a socket, a hello, and with the shm transport an open channel.
 */

import { chmodSync, lstatSync, mkdirSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { constants } from "node:os";
import { dirname, join } from "node:path";

import { type Binding, errnoName, socketDescriptor } from "./binding";
import { ownUid } from "./config";
import { BridgeError, Busy, PeerUnavailable, ProtocolError, VersionMismatch } from "./errors";
import {
  decodeHello,
  encodeRefusal,
  encodeWelcome,
  HANDSHAKE_MS,
  type Hello,
  isSegmentName,
  type TransportKind,
  type Welcome,
} from "./handshake";
import type { Logger } from "./log";
import { remedyFor } from "./shortages";

/** `sun_path` has 108 bytes, the last of which is zero (unix(7)). */
const MAX_PATH_BYTES = 107;
/** Where glibc and musl keep POSIX shared memory. */
const SHM_DIRECTORY = "/dev/shm";
/** A handshake takes at most 5 s; a segment that has kept its name for this long was left behind. */
const STALE_MS = 60_000;

/**
 * Handshakes under way at once; past it the oldest is closed, which has been silent for longest. More than a listening
 * socket queues (511), so that no dialer in earnest is the oldest, however many come at once.
 */
export const MAX_GREETING = 1024;

/** A dialer that has been welcomed. */
export interface Accepted {
  socket: Socket;
  hello: Hello;
  /** What the socket had after the hello. */
  rest: Buffer;
  /** The number of the open channel, with the shm transport. */
  channel: number | undefined;
}

export interface RendezvousOptions {
  path: string;
  /** Which transports to accept. */
  transport: TransportKind | "auto";
  /** The addon, or why there is none. */
  binding: Binding | Error;
  welcome: Welcome;
  spinUs: number;
  log: Logger;
  /** May one more connect? */
  hasRoom: () => boolean;
  /** Takes the connection over before the dialer hears that it is welcome. */
  onAccepted: (accepted: Accepted) => void;
}

/** The acceptor's socket and the handshakes on it. */
export class Rendezvous {
  /** Sockets whose handshake has not ended, and those that were refused and have not gone. */
  private readonly greeting = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly options: RendezvousOptions,
  ) {}

  /**
   * Listen.
   *
   * @throws Error with code `EADDRINUSE` where somebody listens there already; Error for a directory that others may
   * enter, or a socket that cannot be kept from them.
   */
  static async listen(options: RendezvousOptions): Promise<Rendezvous> {
    const { path } = options;
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new Error(`the path of the socket has ${Buffer.byteLength(path)} bytes, ${MAX_PATH_BYTES} may be: ${path}`);
    }
    prepareDirectory(dirname(path));
    removeStaleSegments(options.log);
    const server = createServer();
    const rendezvous = new Rendezvous(server, options);
    server.on("connection", (socket) => { rendezvous.greet(socket); });
    await bind(server, path);
    server.on("error", (error) => { options.log.error("the listening socket failed", { path, error: error.message }); });
    try {
      closeToOthers(path);
    } catch (error) {
      await rendezvous.close();
      throw error;
    }
    return rendezvous;
  }

  /** Listen no more; handshakes that are under way end. */
  close(): Promise<void> {
    for (const socket of this.greeting) socket.destroy();
    return new Promise((resolve) => this.server.close(() => { resolve(); }));
  }

  private greet(socket: Socket): void {
    if (this.greeting.size >= MAX_GREETING) this.dropOldest();
    this.greeting.add(socket);
    let bytes = Buffer.alloc(0);
    const timer = setTimeout(() => { stop(`no handshake within ${HANDSHAKE_MS} ms`); }, HANDSHAKE_MS);
    const detach = (): void => {
      clearTimeout(timer);
      socket.removeListener("data", onData);
      socket.removeListener("close", onClose);
      this.greeting.delete(socket);
    };
    const stop = (reason: string): void => {
      detach();
      socket.destroy();
      this.options.log.warn("a dialer was turned away", { reason });
    };
    const onClose = (): void => {
      detach();
      // A look whether somebody listens, as `bind` below does it, is no event.
      if (bytes.length > 0) this.options.log.warn("a dialer went away during its handshake", { bytes: bytes.length });
    };
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      try {
        const found = decodeHello(bytes);
        if (found === undefined) return;
        detach();
        this.answer(socket, found.hello, bytes.subarray(found.bytes));
      } catch (error) {
        if (error instanceof VersionMismatch) {
          detach();
          this.refuse(socket, "a dialer", error);
        } else {
          stop(error instanceof Error ? error.message : String(error));
        }
      }
    };
    socket.on("data", onData);
    socket.on("close", onClose);
    // What happened is told by "close", which always follows.
    socket.on("error", () => undefined);
    const stranger = this.strangerAt(socket);
    if (stranger !== undefined) stop(stranger);
  }

  private dropOldest(): void {
    for (const oldest of this.greeting) {
      this.greeting.delete(oldest);
      oldest.destroy();
      this.options.log.warn("a dialer was turned away", { reason: `${MAX_GREETING} handshakes are under way, and its is the oldest` });
      return;
    }
  }

  /** Why the process at the other end may not connect, or undefined. */
  private strangerAt(socket: Socket): string | undefined {
    const { binding } = this.options;
    // Node itself cannot ask for SO_PEERCRED. Without the addon the directory's mode 0700 and the socket's 0600 protect alone.
    if (binding instanceof Error) return undefined;
    try {
      const uid = binding.peerUid(socketDescriptor(socket));
      if (uid < 0) return `who it is cannot be told: ${errnoName(uid)}`;
      return uid === ownUid() ? undefined : `it belongs to the user ${uid}, this process to ${ownUid()}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  private answer(socket: Socket, hello: Hello, rest: Buffer): void {
    let channel: number | undefined;
    try {
      if (!this.options.hasRoom()) throw new Busy("as many connections as allowed (maxConnections) are open already");
      channel = this.openChannel(socket, hello);
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      this.refuse(socket, hello.name, error);
      return;
    }
    // First the welcome: what the connection sends at once comes after it.
    socket.write(encodeWelcome(this.options.welcome));
    this.options.onAccepted({ socket, hello, rest, channel });
  }

  private openChannel(socket: Socket, hello: Hello): number | undefined {
    const { transport, binding, spinUs, welcome } = this.options;
    if (transport !== "auto" && transport !== hello.transport) {
      throw new PeerUnavailable(`this side takes only the ${transport} transport, not ${hello.transport}`);
    }
    if (hello.transport === "socket") return undefined;
    if (binding instanceof Error) throw new PeerUnavailable(`this side cannot take the shm transport: ${binding.message}`);
    const segment = hello.segment ?? "";
    const channel = binding.attach(segment, socketDescriptor(socket), welcome.maxMessage, spinUs);
    if (channel < 0) throw attachError(segment, channel);
    return channel;
  }

  private refuse(socket: Socket, name: string, error: BridgeError): void {
    this.options.log.warn("a dialer was refused", { peer: name, code: error.code, reason: error.message });
    socket.end(encodeRefusal({ code: error.code, message: error.message }));
    // A dialer that does not go must not keep the socket.
    const timer = setTimeout(() => { socket.destroy(); }, HANDSHAKE_MS);
    this.greeting.add(socket);
    socket.on("close", () => {
      clearTimeout(timer);
      this.greeting.delete(socket);
    });
    socket.resume();
  }
}

function attachError(segment: string, errno: number): BridgeError {
  const meanings = new Map<number, string>([
    [constants.errno.EPERM, "it belongs to another user"],
    [constants.errno.ENOMSG, "it is not one of shm-polyglot's"],
    [constants.errno.EAGAIN, "it is not ready: the dialer has not finished laying it out"],
    [constants.errno.EPROTO, "it is damaged: its sizes do not add up"],
  ]);
  const name = `the segment ${segment}`;
  // The fault of neither peer: there may be more of it when the dialer tries again.
  const remedy = remedyFor(errno);
  if (remedy !== undefined) return new PeerUnavailable(`${name} cannot be opened: ${remedy}`);
  if (errno === -constants.errno.ENOENT) {
    return new PeerUnavailable(`${name} is not here: both sides must share ${SHM_DIRECTORY} (in containers: one volume)`);
  }
  if (errno === -constants.errno.ENOTSUP) return new VersionMismatch(`${name} has another layout version than this side's`);
  return new ProtocolError(`${name} cannot be used: ${meanings.get(-errno) ?? errnoName(errno)}`);
}

/** Make the directory, or check that it is ours alone. */
function prepareDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const status = statSync(directory);
  if (!status.isDirectory()) throw new Error(`${directory} is no directory; set SHM_POLYGLOT_DIR to another`);
  if (status.uid !== ownUid()) {
    throw new Error(`${directory} belongs to the user ${status.uid}, this process to ${ownUid()}; set SHM_POLYGLOT_DIR to another`);
  }
  const mode = status.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new Error(`${directory} has mode 0${mode.toString(8)}: others may enter; chmod 700 ${directory}, or set SHM_POLYGLOT_DIR`);
  }
}

/** Leave the socket to its owner alone. A file system may have other ideas of modes than POSIX, so it is checked. */
function closeToOthers(path: string): void {
  chmodSync(path, 0o600);
  const mode = lstatSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new Error(
      `${path} has mode 0${mode.toString(8)} even after chmod 600: others may connect; ` +
        "set SHM_POLYGLOT_DIR to a directory on a file system that keeps modes, such as /run or /tmp",
    );
  }
}

/** Bind the server, in place of a socket that nobody listens on. */
async function bind(server: Server, path: string): Promise<void> {
  try {
    await listenOn(server, path);
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
  }
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) throw inUse(path, "it is there and no socket");
  if (await isListening(path)) throw inUse(path, "another process listens on it");
  unlinkSync(path);
  await listenOn(server, path);
}

function inUse(path: string, why: string): Error {
  const error: NodeJS.ErrnoException = new Error(
    `EADDRINUSE: ${path}: ${why}. End that process, or set SHM_POLYGLOT_DIR to another directory for this one.`,
  );
  error.code = "EADDRINUSE";
  return error;
}

function listenOn(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}

/** Remove the names of segments that processes killed during their handshake have left. */
function removeStaleSegments(log: Logger): void {
  let names: string[];
  try {
    names = readdirSync(SHM_DIRECTORY);
  } catch (error) {
    log.warn("segments left behind cannot be looked for", { directory: SHM_DIRECTORY, error: String(error) });
    return;
  }
  for (const name of names) {
    if (!isSegmentName(`/${name}`)) continue;
    const file = join(SHM_DIRECTORY, name);
    const status = lstatSync(file, { throwIfNoEntry: false });
    if (status === undefined || status.uid !== ownUid() || Date.now() - status.mtimeMs < STALE_MS) continue;
    try {
      unlinkSync(file);
      log.info("removed a segment that was left behind", { segment: name });
    } catch (error) {
      // Somebody else was quicker.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

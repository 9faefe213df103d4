/**
 * Where the two sides meet: the directory, the socket in it, and the handshake with each dialer (PROTOCOL.md sections 1
 * and 2). What comes out is a socket, a hello, and with the shm transport an open channel.
 */

import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { constants } from "node:os";

import { type Binding, errnoName, socketDescriptor } from "./binding";
import { clearTimeout, setTimeout } from "./clock";
import { ownUid } from "./config";
import type { TransportKind } from "./connection_info";
import { BridgeError, Busy, PeerUnavailable, ProtocolError, VersionMismatch } from "./errors";
import {
  decodeDescriptorsHello,
  decodeHello,
  encodeRefusal,
  encodeWelcome,
  HANDSHAKE_TIMEOUT_MS,
  type Hello,
  type Welcome,
} from "./handshake";
import { Listener } from "./listener";
import type { Logger } from "./log";
import { nameOtherListener } from "./other_listener";
import { remedyFor } from "./transports/shortages";
import { removeStaleSegments, SHM_DIRECTORY } from "./transports/stale_segments";

/**
 * Handshakes under way at once; past it the oldest is closed, which has been silent for longest. More than a listening
 * socket queues (511), so that no dialer in earnest is the oldest, however many come at once.
 */
export const MAX_GREETING = 1024;

/** A dialer that has been welcomed. */
export interface Accepted {
  socket: Socket;
  hello: Hello;
  /** The minor version of the protocol that the dialer speaks. */
  minor: number;
  /** What the socket had after the hello. */
  rest: Buffer;
  /** The number of the open channel, with the shm transport. */
  channel: number | undefined;
  /** What a second socket names the connection by, with the shm transport. */
  token: string | undefined;
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
  /** Who takes over the second socket, a descriptor, of the connection with that token; undefined: nobody. Asked once for each. */
  takerOf: (token: string) => ((socket: number) => void) | undefined;
}

/** The acceptor's socket and the handshakes on it. */
export class Rendezvous {
  /** Sockets whose handshake has not ended, and those that were refused and have not gone. */
  private readonly greeting = new Set<Socket>();

  private listener: Listener | undefined;

  private constructor(private readonly options: RendezvousOptions) {}

  /**
   * Listen.
   *
   * @throws Error with code `EADDRINUSE` where somebody listens there already, or is about to; RangeError for a path that is
   * too long; Error for a directory that others may enter, or a socket that cannot be kept from them.
   */
  static async listen(options: RendezvousOptions): Promise<Rendezvous> {
    const rendezvous = new Rendezvous(options);
    const { path, log } = options;
    const nameListener = (file: string): Promise<string> => nameOtherListener(file, options.binding);
    rendezvous.listener = await Listener.open(path, log, (socket) => { rendezvous.greet(socket); }, nameListener);
    removeStaleSegments(options.binding, log);
    return rendezvous;
  }

  /** Listen no more; handshakes that are under way end. */
  async close(): Promise<void> {
    for (const socket of this.greeting) socket.destroy();
    await this.listener?.close();
  }

  /** Not to keep the process running. */
  unref(): void {
    this.listener?.unref();
  }

  private greet(socket: Socket): void {
    if (this.greeting.size >= MAX_GREETING) this.dropOldest();
    this.greeting.add(socket);
    let bytes = Buffer.alloc(0);
    const timer = setTimeout(() => { stop(`no handshake within ${HANDSHAKE_TIMEOUT_MS} ms`); }, HANDSHAKE_TIMEOUT_MS);
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
        const second = decodeDescriptorsHello(bytes);
        if (second !== undefined) {
          detach();
          this.takeSecondSocket(socket, second.token, bytes.length > second.bytes);
          return;
        }
        const found = decodeHello(bytes);
        if (found === undefined) return;
        detach();
        this.answer(socket, found.hello, found.minor, bytes.subarray(found.bytes));
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
      if (uid < 0) return `its user cannot be determined: ${errnoName(uid)}`;
      return uid === ownUid() ? undefined : `it belongs to the user ${uid}, this process to ${ownUid()}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  private answer(socket: Socket, hello: Hello, minor: number, rest: Buffer): void {
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
    const token = channel === undefined ? undefined : randomBytes(16).toString("hex");
    socket.write(encodeWelcome({ ...this.options.welcome, ...(token === undefined ? {} : { descriptors: token }) }));
    this.options.onAccepted({ socket, hello, minor, rest, channel, token });
  }

  /**
   * Descriptors would be dropped by whatever libuv reads, so from here on the socket is the addon's. The peer sends none before
   * it has its welcome.
   */
  private takeSecondSocket(socket: Socket, token: string, saysMore: boolean): void {
    const { binding, welcome, log } = this.options;
    const own = binding instanceof Error ? -constants.errno.ENOSYS : binding.takeSocket(socketDescriptor(socket));
    socket.destroy();
    if (binding instanceof Error || own < 0) {
      log.warn("a second socket was turned away", { reason: errnoName(own) });
      return;
    }
    const take = saysMore ? undefined : this.options.takerOf(token);
    // First the welcome: what the connection sends at once comes after it.
    if (take !== undefined && binding.writeSocket(own, encodeWelcome(welcome)) === 0) {
      take(own);
      return;
    }
    binding.closeDescriptor(own);
    // Its connection may have ended meanwhile, which is no event.
    if (saysMore) log.warn("a second socket was turned away", { reason: "it says more than its hello" });
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
    const timer = setTimeout(() => { socket.destroy(); }, HANDSHAKE_TIMEOUT_MS);
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

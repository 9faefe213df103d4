/** A dialer for tests: what Python's library does, with this side's own parts. */

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Binding, fillReceiveBuffer, socketDescriptor } from "../src/binding";
import { type Bridge, listen, type ListenOptions } from "../src/bridge";
import { Connection } from "../src/connection";
import type { Role, TransportKind } from "../src/connection_info";
import type { BridgeError } from "../src/errors";
import type { Exposables } from "../src/exposables";
import { Exposed } from "../src/exposed";
import { encodeExpose } from "../src/frames";
import { decodeAnswer, encodeHello, type Hello, PROTOCOL_MINOR, type Refusal } from "../src/handshake";
import { Poller } from "../src/poller";
import { Encoder } from "../src/values";
import { packageRoot } from "./package_root";
import { MemoryLog } from "./pair";

interface DialerBinding extends Binding {
  create(name: string, socketFd: number, ringBytes: number, maxMessage: number, spinUs: number): number;
  setBusy(channel: number, busy: boolean): void;
}

export const binding = createRequire(__filename)(join(packageRoot, "build", "dialer.node")) as DialerBinding;
fillReceiveBuffer(binding);

export interface DialOptions {
  transport: TransportKind;
  role?: Role;
  name?: string;
  expose?: Exposables;
  maxMessage?: number;
  ringBytes?: number;
  spinUs?: number;
  /** False: it receives nothing, and so never parks, until its connection is started. */
  starts?: boolean;
  /** Whether it names what it exposes, as peers do since protocol 1.1. Default: false. */
  names?: boolean;
  /** How many functions it says it will name, whatever it then names. */
  exposes?: number;
  project?: string;
  /** The minor version of the protocol that it says it speaks. */
  minor?: number;
}

/** A peer of the bridge. */
export interface Peer {
  connection: Connection;
  /** What it serves. More can be added. */
  exposed: Exposed;
  socket: Socket;
  segment: string | undefined;
  log: MemoryLog;
  /** Say that this side is occupied with something else. */
  setBusy: (busy: boolean) => void;
  /** Resolves when the connection has ended by itself. */
  ended: Promise<BridgeError | undefined>;
}

/** The acceptor refused. */
export class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(`${refusal.code}: ${refusal.message}`);
  }
}

export function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => { resolve(socket); });
    socket.once("error", reject);
  });
}

export function segmentName(): string {
  return `/shm-polyglot-${randomBytes(16).toString("hex")}`;
}

export async function dial(path: string, options: DialOptions): Promise<Peer> {
  const socket = await connected(path);
  socket.on("error", () => undefined);
  const maxMessage = options.maxMessage ?? 64 * 1024 * 1024;
  const exposed = new Exposed();
  exposed.add(options.expose ?? {});
  const hello: Hello = {
    role: options.role ?? "worker",
    transport: options.transport,
    name: options.name ?? "test peer",
    language: "typescript",
    library: "0.1.0",
    maxMessage,
    ...(options.project === undefined ? {} : { project: options.project }),
    ...(options.names === true ? { exposes: exposed.names().length } : {}),
    ...(options.exposes === undefined ? {} : { exposes: options.exposes }),
  };
  let channel: number | undefined;
  if (options.transport === "shm") {
    hello.segment = segmentName();
    channel = binding.create(hello.segment, socketDescriptor(socket), options.ringBytes ?? 65536, maxMessage, options.spinUs ?? -1);
    if (channel < 0) throw new Error(`create: ${channel}`);
  }
  const greeting = encodeHello(hello);
  greeting.writeUInt16LE(options.minor ?? PROTOCOL_MINOR, 6);
  socket.write(greeting);
  const { answer, rest } = await readAnswer(socket).finally(() => {
    // Whatever the answer, as PROTOCOL.md section 2 has it: that it is gone already is the normal case.
    if (hello.segment !== undefined) rmSync(`/dev/shm${hello.segment}`, { force: true });
  });
  if ("code" in answer) {
    if (channel !== undefined) binding.close(channel);
    socket.destroy();
    throw new Refused(answer);
  }
  const log = new MemoryLog();
  let end!: (error: BridgeError | undefined) => void;
  const ended = new Promise<BridgeError | undefined>((resolve) => { end = resolve; });
  const connection = new Connection({
    id: 1,
    hello: { ...hello, name: answer.name },
    minor: PROTOCOL_MINOR,
    socket,
    rest,
    channel: channel === undefined ? undefined : { binding, number: channel, poller: new Poller() },
    maxMessage: Math.min(maxMessage, answer.maxMessage),
    exposed,
    log,
    onLeave: () => undefined,
    onExpose: () => undefined,
    onEnd: (_connection, error) => { end(error); },
  });
  if (options.starts ?? true) connection.start();
  if (options.names === true) nameFunctions(connection, exposed.names());
  const setBusy = (busy: boolean): void => { binding.setBusy(channel ?? -1, busy); };
  return { connection, exposed, socket, segment: hello.segment, log, setBusy, ended };
}

/** Name functions that this side exposes from now on. */
export function nameFunctions(connection: Connection, names: readonly string[]): void {
  const encoder = new Encoder();
  encodeExpose(encoder, names);
  connection.send(encoder.buffer, encoder.position);
}

async function readAnswer(socket: Socket): Promise<{ answer: NonNullable<ReturnType<typeof decodeAnswer>>["answer"]; rest: Buffer }> {
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const found = decodeAnswer(bytes);
      if (found === undefined) return;
      socket.removeListener("data", onData);
      resolve({ answer: found.answer, rest: bytes.subarray(found.bytes) });
    };
    socket.on("data", onData);
    socket.once("close", () => { reject(new Error("closed without an answer")); });
  });
}

/** What the other side sends until it closes. */
export function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.once("close", () => { resolve(Buffer.concat(chunks)); });
  });
}

/** A bridge in a directory of its own, closed and removed after `body`. */
export async function withBridge(
  options: ListenOptions,
  body: (context: { bridge: Bridge; log: MemoryLog; path: string; directory: string }) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const log = new MemoryLog();
    const path = join(directory, "node.sock");
    const bridge = await listen({ path, log, name: "test bridge", ...options });
    try {
      await body({ bridge, log, path, directory });
    } finally {
      await bridge.close();
    }
  });
}

export async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "shm-polyglot-test-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Whether one side of a connection polls its channel now; of a bridge, its side of its first connection. */
export function isPolled(side: Connection | Bridge): boolean {
  const [own] = side instanceof Connection ? [side] : (side as unknown as { live: Set<Connection> }).live;
  return (own as unknown as { carrier: { isPolled: boolean } }).carrier.isPolled;
}

/** Resolves with the next event of that name. */
export function next(bridge: Bridge, event: "connect" | "disconnect"): Promise<unknown> {
  return new Promise((resolve) => { bridge.once(event, resolve); });
}

/** The native addon (binding.c), loaded on first use, because the library also works without it. */

import type { Socket } from "node:net";
import { constants } from "node:os";

import { findAddon, loadAddon } from "./addon";
import type { ChannelStats } from "./channel_stats";

/**
 * The addon. A channel is a number; a closed one throws. Answers are a count or 0, or a negative errno: those of
 * core/channel.h, and the ones below.
 */
export interface Binding {
  /**
   * Open the dialer's segment as the acceptor and unlink its name. `spinUs` < 0: adapt. Returns the channel's number or
   * `shm_open`'s errno, EPERM (another user's), or the errors of `shm_segment_attach`, negative.
   */
  attach(name: string, socketFd: number, maxMessage: number, spinUs: number): number;
  /** Is the segment of that name in a handshake? 1 yes, 0 no, or a negative errno. */
  isSegmentHeld(name: string): number;
  /** The uid of the process that connected the socket, or a negative errno. */
  peerUid(socketFd: number): number;
  /** The pid of the process at the other end, 0 where it has none in this one's namespace, or a negative errno. For people. */
  peerPid(socketFd: number): number;
  /** Where `receive` puts messages: one for all channels. Only for {@link fillReceiveBuffer}. */
  setReceiveBuffer(buffer: Buffer): void;
  /** Send the first `length` bytes. 0, or -EAGAIN: call again with the same message when there is room. */
  send(channel: number, buffer: Buffer, length: number): number;
  /**
   * Receive a message into the receive buffer, and return its length. Waits for at most `pollNs`; 0: only looks, and
   * leaves the wait and the park as they are, for what stands behind another message and for what an ended peer has left.
   * -ENODATA: nothing yet, poll again soon; -EAGAIN: nothing, and the channel is parked, never after 0; -EOVERFLOW: a
   * message longer than the receive buffer: see `largeBytes`.
   */
  receive(channel: number, pollNs: number): number;
  /** The length of that message, or a negative errno. It is still to be received, into a larger buffer or by `receiveLarge`. */
  largeBytes(channel: number): number;
  /** Receive a message of any length into a buffer of its own. */
  receiveLarge(channel: number): Buffer<ArrayBuffer> | number;
  setMaxMessage(channel: number, maxMessage: number): void;
  /** The socket has become readable. */
  unpark(channel: number): void;
  /** What the peer does: 0 awake, 1 busy, 2 parked; from a hostile peer, any number. */
  peerState(channel: number): number;
  stats(channel: number): ChannelStats;
  /** A call that this side made has ended, after so many milliseconds; `failed`: with an error, or without an answer. */
  countCall(channel: number, ms: number, failed: boolean): void;
  /** Fill `into` with the counters of both sides, see counters.ts. */
  readCounters(channel: number, into: Float64Array): void;
  close(channel: number): void;

  // Memory that is shared by its descriptor (memory_binding.c). This process's own is a number, a slot; a closed one throws.

  /** Make memory of so many bytes. Its slot, or a negative errno. */
  createMemory(bytes: number): number;
  /** Let go of it; ArrayBuffers over it stay as they are. */
  closeMemory(slot: number): void;
  /** Copy bytes to its beginning. */
  fillMemory(slot: number, bytes: Uint8Array): void;
  /** An ArrayBuffer over its first `bytes` bytes; -ENOTSUP where the engine has none over memory of others. */
  memoryBuffer(slot: number, bytes: number): ArrayBuffer | number;
  /** Have the peer know it as `number`. 0, -EAGAIN or -ETOOMANYREFS: not now, or another negative errno: not at all. */
  sendDescriptor(socketFd: number, slot: number, number: number): number;
  /**
   * Receive a descriptor of a peer's memory: 1, and `into` has its number, the descriptor, to be closed by closeDescriptor, and
   * its bytes. 0: none has come; -EPIPE: none will; -EPROTO: something else has come, of which nothing stays open.
   */
  receiveDescriptor(socketFd: number, into: Float64Array): number;
  /**
   * Map a part of a peer's memory: writes stay private. A copy where the engine has no ArrayBuffers over memory of others.
   * `counted`: so many bytes are to count as memory of this process's, which has V8 collect the sooner.
   */
  mapPart(fd: number, offset: number, bytes: number, counted: number): ArrayBuffer | number;
  /** Let go of what is behind an ArrayBuffer, whose length is 0 then. */
  detach(buffer: ArrayBuffer): void;
  /** Another descriptor of the same socket. */
  takeSocket(socketFd: number): number;
  /** Send a few bytes, all or none: 0, or a negative errno. */
  writeSocket(socketFd: number, bytes: Uint8Array): number;
  closeDescriptor(fd: number): void;
}

/** The answers of the binding that are not failures. */
export const PARKED = -constants.errno.EAGAIN;
export const RING_FULL = -constants.errno.EAGAIN;
export const NOTHING_YET = -constants.errno.ENODATA;
export const LARGE_MESSAGE = -constants.errno.EOVERFLOW;

const RECEIVE_BYTES = 64 * 1024;
/** The receive buffer grows up to this, and keeps its size: to have memory anew for each message costs several times the copy. */
const RECEIVE_BYTES_KEPT = 8 * 1024 * 1024;

/** What `receive` fills. The next message overwrites it, and a larger one has another put in its place. */
export let receiveBuffer = Buffer.allocUnsafeSlow(RECEIVE_BYTES);

const receivers: Binding[] = [];

/** Have `receive` of this addon fill the receive buffer. */
export function fillReceiveBuffer(binding: Binding): void {
  receivers.push(binding);
  binding.setReceiveBuffer(receiveBuffer);
}

/** Make the receive buffer one of so many bytes at least. False: it is not to be that large. */
export function growReceiveBuffer(bytes: number): boolean {
  if (bytes > RECEIVE_BYTES_KEPT) return false;
  let size = receiveBuffer.length;
  while (size < bytes) size *= 2;
  receiveBuffer = Buffer.allocUnsafeSlow(size);
  for (const binding of receivers) binding.setReceiveBuffer(receiveBuffer);
  return true;
}

let loaded: Binding | Error | undefined;

/** The addon, or the error that tells why there is none and what to do. */
export function loadBinding(): Binding | Error {
  loaded ??= load();
  return loaded;
}

function load(): Binding | Error {
  const file = findAddon();
  if (file instanceof Error) return file;
  try {
    const binding = loadAddon(file) as Binding;
    fillReceiveBuffer(binding);
    return binding;
  } catch (error) {
    return new Error(`the native addon does not load (${file}); it is to be built on a machine like this one`, { cause: error });
  }
}

/**
 * The descriptor of a socket. Node has no public way to it; `_handle.fd` has been there since its first versions.
 *
 * @throws Error where it is not there any more.
 */
export function socketDescriptor(socket: Socket): number {
  const fd = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle?.fd;
  if (typeof fd !== "number" || fd < 0) {
    throw new Error(`Node ${process.version} does not tell the descriptor of a socket; use transport: "socket"`);
  }
  return fd;
}

/** An errno, negative or not, as text, e.g. `"EPROTO"`. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === Math.abs(errno));
  return found?.[0] ?? `errno ${Math.abs(errno)}`;
}

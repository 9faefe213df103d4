/** Messages through shared memory: the addon does the rings, the socket tells doorbells and the peer's end. */

import type { Socket } from "node:net";
import { constants } from "node:os";

import {
  type Binding,
  errnoName,
  growReceiveBuffer,
  LARGE_MESSAGE,
  NOTHING_YET,
  PARKED,
  receiveBuffer,
  RING_FULL,
} from "../binding";
import type { ChannelStats } from "../channel_stats";
import { type BothCounters, readCounters } from "../counters";
import { type BridgeError, ProtocolError } from "../errors";
import { turnBegins } from "../held_loop";
import type { Pollable, Poller } from "../poller";
import {
  asProtocolError,
  MANY_QUEUED,
  manyBytesQueued,
  TOO_MANY_QUEUED,
  type Transport,
  type TransportHandler,
} from "./transport";
import { isDisposable } from "../values";

/** `SHM_DOORBELL_BYTE` and `SHM_BUSY` of core/layout.h. */
export const DOORBELL_BYTE = 0x01;
export const PEER_BUSY = 1;

/** Others get a turn after this many messages. */
const MESSAGES_PER_TURN = 64;

/** What still comes from a ring whose peer is dead is no more than fits into it; a peer that lives on is cut off. */
const MESSAGES_AFTER_END = 1 << 20;

export class ShmTransport implements Transport, Pollable {
  readonly kind = "shm";
  isPolled = false;

  /** Messages that found the ring full, oldest first, from index `sent` on. The first may be partly sent. */
  private outbox: Buffer[] = [];
  private sent = 0;
  private queuedBytes = 0;
  private wasCongested = false;
  private ended = false;

  /** Takes the channel and the socket over. `maxMessage`: what both sides take. */
  constructor(
    private readonly binding: Binding,
    private readonly channel: number,
    private readonly socket: Socket,
    private readonly maxMessage: number,
    private readonly poller: Poller,
    private readonly handler: TransportHandler,
  ) {
    binding.setMaxMessage(channel, maxMessage);
  }

  /** Begin to receive. `rest` is what the socket had after the hello. */
  start(rest: Buffer): void {
    this.socket.on("data", this.onDoorbell);
    this.socket.on("end", this.onSocketEnd);
    this.socket.on("close", this.onSocketEnd);
    if (rest.length > 0) this.onDoorbell(rest);
    if (!this.ended) this.poller.add(this);
  }

  get congested(): boolean {
    return this.outbox.length > 0 && this.isCongested();
  }

  private isCongested(): boolean {
    const isCongested =
      this.queuedBytes > manyBytesQueued(this.maxMessage) || this.outbox.length - this.sent > MANY_QUEUED;
    this.wasCongested ||= isCongested;
    return isCongested;
  }

  get stats(): ChannelStats | undefined {
    return this.ended ? undefined : this.binding.stats(this.channel);
  }

  get counters(): BothCounters | undefined {
    return this.ended ? undefined : readCounters(this.binding, this.channel);
  }

  isPeerBusy(): boolean {
    return !this.ended && this.binding.peerState(this.channel) === PEER_BUSY;
  }

  countCall(ms: number, failed: boolean): void {
    if (!this.ended) this.binding.countCall(this.channel, ms, failed);
  }

  send(buffer: Buffer, length: number): void {
    if (this.ended) return;
    if (this.outbox.length === 0) {
      const rc = this.binding.send(this.channel, buffer, length);
      if (rc === 0) {
        if (!this.isPolled) this.poller.add(this);
        return;
      }
      if (rc !== RING_FULL) {
        this.fail(rc, "send");
        return;
      }
    }
    this.queue(buffer, length);
  }

  private queue(buffer: Buffer, length: number): void {
    let message = buffer.subarray(0, length);
    if (!isDisposable(buffer)) {
      message = Buffer.allocUnsafeSlow(length);
      buffer.copy(message, 0, 0, length);
    }
    this.outbox.push(message);
    this.queuedBytes += length;
    if (this.outbox.length - this.sent > TOO_MANY_QUEUED) {
      this.end(new ProtocolError(`${this.outbox.length - this.sent} messages wait to be sent: the peer calls and never reads`));
    } else if (!this.isPolled) {
      this.poller.add(this);
    }
  }

  /** Send what the ring has room for. False when the transport has ended. */
  private flush(): boolean {
    while (this.sent < this.outbox.length) {
      const message = this.outbox[this.sent] as Buffer;
      const rc = this.binding.send(this.channel, message, message.length);
      if (rc === RING_FULL) break;
      if (rc !== 0) {
        this.fail(rc, "send");
        return false;
      }
      this.sent++;
      this.queuedBytes -= message.length;
    }
    if (this.sent === this.outbox.length) {
      this.outbox = [];
      this.sent = 0;
    } else if (this.sent > MANY_QUEUED) {
      this.outbox = this.outbox.slice(this.sent);
      this.sent = 0;
    }
    if (this.wasCongested && !this.isCongested()) {
      this.wasCongested = false;
      this.handler.onRoom();
    }
    return !this.ended;
  }

  poll(pollNs: number): boolean {
    if (this.ended) return false;
    if (this.outbox.length > 0 && !this.flush()) return false;
    let wait = pollNs;
    for (let messages = 0; messages < MESSAGES_PER_TURN; messages++) {
      const rc = this.receive(wait);
      if (rc <= 0) return rc === 0;
      wait = 0;
    }
    return true;
  }

  /** Take one message if there is one: 1. Nothing yet: 0. Parked or ended: -1. */
  private receive(pollNs: number): 1 | 0 | -1 {
    const rc = this.binding.receive(this.channel, pollNs);
    if (rc === NOTHING_YET) return 0;
    if (rc === PARKED) return -1;
    if (rc >= 0) return this.deliver(receiveBuffer, rc, false);
    if (rc !== LARGE_MESSAGE) return this.fail(rc, "receive");
    return this.receiveLarge();
  }

  /** Take a message that is larger than the receive buffer. */
  private receiveLarge(): 1 | 0 | -1 {
    const bytes = this.binding.largeBytes(this.channel);
    if (bytes >= 0 && growReceiveBuffer(bytes)) return this.receive(0);
    const message = this.binding.receiveLarge(this.channel);
    // A peer that alters a message under our eyes may have made it vanish.
    if (typeof message === "number") return message === NOTHING_YET ? 0 : this.fail(message, "receive");
    return this.deliver(message, message.length, true);
  }

  private deliver(buffer: Buffer<ArrayBuffer>, length: number, owned: boolean): 1 | -1 {
    try {
      this.handler.onMessage(buffer, 0, length, owned);
    } catch (error) {
      this.end(asProtocolError(error));
    }
    return this.ended ? -1 : 1;
  }

  private readonly onDoorbell = (bytes: Buffer): void => {
    if (this.ended) return;
    const other = bytes.find((byte) => byte !== DOORBELL_BYTE);
    if (other !== undefined) {
      this.end(new ProtocolError(`byte 0x${other.toString(16).padStart(2, "0")} on the socket, where only doorbells may be`));
      return;
    }
    this.binding.unpark(this.channel);
    turnBegins();
    // At once rather than in the next turn of the loop: somebody waits already.
    if (this.poll(1)) this.poller.add(this);
  };

  private readonly onSocketEnd = (): void => {
    if (this.ended) return;
    this.handler.onPeerEnd();
    turnBegins();
    for (let messages = 0; messages < MESSAGES_AFTER_END && this.receive(0) === 1; messages++);
    this.end(undefined);
  };

  private fail(errno: number, during: string): -1 {
    const what =
      errno === -constants.errno.EPROTO
        ? "an index, length or flag in the ring that cannot be"
        : errno === -constants.errno.EMSGSIZE
          ? `a message of more than ${this.maxMessage} bytes`
          : errnoName(errno);
    this.end(new ProtocolError(`shared memory (${during}): ${what}`));
    return -1;
  }

  private end(error: BridgeError | undefined): void {
    if (this.ended) return;
    this.close();
    this.handler.onEnd(error);
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.outbox = [];
    this.binding.close(this.channel);
    this.socket.destroy();
  }
}

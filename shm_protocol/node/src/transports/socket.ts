/** Messages on the socket itself: `length u32` and that many bytes each (PROTOCOL.md section 6). */

import type { Socket } from "node:net";

import { clearTimeout, setTimeout } from "../clock";
import { type BridgeError, ProtocolError } from "../errors";
import { turnBegins } from "../held_loop";
import {
  asProtocolError,
  MANY_QUEUED,
  manyBytesQueued,
  TOO_MANY_QUEUED,
  type Transport,
  type TransportHandler,
} from "./transport";
import { isDisposable } from "../values";

const HEADER_BYTES = 4;

/** What comes in smaller pieces is joined as it comes: kept apart, each byte would take a Buffer. */
const SMALL_BYTES = 4096;

/** How long a socket that this side has closed may still take to send what was written to it. */
const LINGER_MS = 1000;

export class SocketTransport implements Transport {
  readonly kind = "socket";

  /** What has come of a message that is not complete. */
  private parts: Buffer[] = [];
  private partBytes = 0;
  /** Messages written that the socket has not taken. */
  private queued = 0;
  private wasCongested = false;
  private ended = false;

  /** Takes the socket over. `maxMessage`: what both sides take. */
  constructor(
    private readonly socket: Socket,
    private readonly maxMessage: number,
    private readonly handler: TransportHandler,
  ) {}

  /** Begin to receive. `rest` is what the socket had after the hello. */
  start(rest: Buffer): void {
    this.socket.on("data", this.onData);
    this.socket.on("drain", this.onDrain);
    this.socket.on("end", this.onSocketEnd);
    this.socket.on("close", this.onSocketEnd);
    if (rest.length > 0) this.onData(rest);
  }

  get congested(): boolean {
    const isCongested = this.queued > MANY_QUEUED || this.socket.writableLength > manyBytesQueued(this.maxMessage);
    this.wasCongested ||= isCongested;
    return isCongested;
  }

  isPeerBusy(): boolean {
    return false; // there is no word to tell it with
  }

  countCall(): void {
    // There is no segment to count in.
  }

  send(buffer: Buffer, length: number): void {
    if (this.ended) return;
    this.queued++;
    if (isDisposable(buffer)) {
      const header = Buffer.allocUnsafe(HEADER_BYTES);
      header.writeUInt32LE(length);
      this.socket.write(header);
      this.socket.write(buffer.subarray(0, length), this.onWritten);
    } else {
      const message = Buffer.allocUnsafe(HEADER_BYTES + length);
      message.writeUInt32LE(length);
      buffer.copy(message, HEADER_BYTES, 0, length);
      this.socket.write(message, this.onWritten);
    }
    if (this.queued > TOO_MANY_QUEUED) {
      this.end(new ProtocolError(`${this.queued} messages wait to be sent: the peer calls and never reads`));
    }
  }

  private readonly onWritten = (): void => {
    this.queued--;
  };

  private readonly onDrain = (): void => {
    if (!this.wasCongested) return;
    this.wasCongested = false;
    this.handler.onRoom();
  };

  private readonly onData = (bytes: Buffer): void => {
    if (this.ended) return;
    const last = this.parts.at(-1);
    if (last !== undefined && last.length + bytes.length <= SMALL_BYTES) this.parts[this.parts.length - 1] = Buffer.concat([last, bytes]);
    else this.parts.push(bytes);
    this.partBytes += bytes.length;
    turnBegins();
    while (this.partBytes >= HEADER_BYTES && this.takeMessage());
  };

  /** Take one message if all of it has come. False if not, and when the transport has ended. */
  private takeMessage(): boolean {
    // The header may be cut anywhere.
    while ((this.parts[0] as Buffer).length < HEADER_BYTES) this.join(2);
    const length = (this.parts[0] as Buffer).readUInt32LE();
    if (length > this.maxMessage) {
      this.end(new ProtocolError(`the peer sends a message of ${length} bytes; max_message is ${this.maxMessage}`));
      return false;
    }
    const end = HEADER_BYTES + length;
    if (this.partBytes < end) return false;
    if ((this.parts[0] as Buffer).length < end) this.join(this.parts.length);
    const first = this.parts[0] as Buffer<ArrayBuffer>;
    this.partBytes -= end;
    if (first.length === end) this.parts.shift();
    else this.parts[0] = first.subarray(end);
    try {
      this.handler.onMessage(first, HEADER_BYTES, end, false);
    } catch (error) {
      this.end(asProtocolError(error));
    }
    return !this.ended;
  }

  private join(count: number): void {
    this.parts.splice(0, count, Buffer.concat(this.parts.slice(0, count)));
  }

  private readonly onSocketEnd = (): void => {
    if (this.ended) return;
    this.handler.onPeerEnd();
    this.end(undefined);
  };

  private end(error: BridgeError | undefined): void {
    if (this.ended) return;
    this.close();
    this.handler.onEnd(error);
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.parts = [];
    // What is written already is still sent, if the peer takes it soon.
    const timer = setTimeout(() => { this.socket.destroy(); }, LINGER_MS);
    this.socket.once("close", () => { clearTimeout(timer); });
    this.socket.end(() => { this.socket.destroy(); });
  }
}

/** What a connection needs of whatever carries its messages. */

import { type BridgeError, ProtocolError } from "../errors";
import type { TransportKind } from "../connection_info";

export interface Transport {
  readonly kind: TransportKind;
  /** Send a message, or queue it. Copies what is not `isDisposable`. Does nothing once the transport has ended. */
  send(buffer: Buffer, length: number): void;
  /** More than enough is queued. */
  readonly congested: boolean;
  /** Does the peer say that it is occupied with something else? */
  isPeerBusy(): boolean;
  /** Count a call to the peer that has ended; where there is no segment, nobody counts. */
  countCall(ms: number, failed: boolean): void;
  /** Let go of everything. The handler hears no more. */
  close(): void;
}

export interface TransportHandler {
  /** A message; `owned`: the buffer is given away, else it is overwritten afterwards. @throws ProtocolError */
  onMessage(buffer: Buffer<ArrayBuffer>, start: number, end: number, owned: boolean): void;
  /** The transport is not congested any more. */
  onRoom(): void;
  /** The peer has ended; messages that it sent before may still come until `onEnd`. */
  onPeerEnd(): void;
  /** The transport has ended. `error`: because of what; undefined: the peer closed, or is dead. */
  onEnd(error: BridgeError | undefined): void;
}

/** Messages waiting to be sent past which a connection takes no more calls. */
export const MANY_QUEUED = 8192;

/** Bytes waiting to be sent past which a connection takes no more calls: two messages of the largest kind. */
export function manyBytesQueued(maxMessage: number): number {
  return 2 * maxMessage;
}

/** Messages waiting past which the peer is given up: it goes on calling and never takes an answer. */
export const TOO_MANY_QUEUED = 8 * MANY_QUEUED;

/** What went wrong while a message was taken: the peer's fault, or a bug of ours that must not end the process. */
export function asProtocolError(error: unknown): BridgeError {
  if (error instanceof ProtocolError) return error;
  return new ProtocolError(`a message could not be taken: ${String(error)}`, { cause: error });
}

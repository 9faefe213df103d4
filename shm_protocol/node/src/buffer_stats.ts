/** What a program may know of the large buffers of a connection. */

/** Where large buffers go, and what is lent. */
export interface BufferStats {
  /** Where large buffers go: `"memory"`, or `"ring: "` and why. */
  readonly path: string;
  /** Buffers handed to the peer since the beginning. */
  readonly lent: number;
  /** Buffers that the peer has handed over. */
  readonly borrowed: number;
  /** Bytes lent that the peer has not returned. */
  readonly bytesLent: number;
  /** Bytes that this process keeps for buffers to come, on any connection. */
  readonly poolBytes: number;
}

import { HttpError } from "./http_error";

/** What all unfinished bodies may hold together, in bytes. */
const MAX_UNFINISHED_BYTES = 64 << 20;

/** A body that is being received. Its bytes are copied together: a client may send them one by one. */
export class UnfinishedBody {
  length = 0;
  private room = Buffer.alloc(0);

  constructor(readonly drop: (error: HttpError) => void) {}

  get capacity(): number {
    return this.room.length;
  }

  get bytes(): Buffer {
    return this.room.subarray(0, this.length);
  }

  append(chunk: Buffer): void {
    const length = this.length + chunk.length;
    if (length > this.room.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.room.length));
      this.bytes.copy(room);
      this.room = room;
    }
    chunk.copy(this.room, this.length);
    this.length = length;
  }
}

/**
 * The bodies that clients are sending. Where they hold too much together, the one that was begun first is dropped: who
 * sends as quickly as the network lets them is seldom the one.
 */
export class UnfinishedBodies {
  private readonly bodies = new Set<UnfinishedBody>();
  private held = 0;

  /** `drop` is called with a 503 when the body has to go. */
  begin(drop: (error: HttpError) => void): UnfinishedBody {
    const body = new UnfinishedBody(drop);
    this.bodies.add(body);
    return body;
  }

  add(body: UnfinishedBody, chunk: Buffer): void {
    if (!this.bodies.has(body)) return;
    this.held -= body.capacity;
    body.append(chunk);
    this.held += body.capacity;
    while (this.held > MAX_UNFINISHED_BYTES) {
      const [oldest] = this.bodies;
      if (oldest === undefined) return;
      this.end(oldest);
      oldest.drop(new HttpError(503, "Too many requests are being received", { "Retry-After": "1", Connection: "close" }));
    }
  }

  /** The body is complete, or of no use any more. */
  end(body: UnfinishedBody): void {
    if (this.bodies.delete(body)) this.held -= body.capacity;
  }
}

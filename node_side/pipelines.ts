import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { MAX_BODY_BYTES } from "./json_body";

/** Of bodies of requests of one connection that are being served, in bytes. */
const MAX_UNDER_WAY = 64 * 1024;

interface Pipeline {
  underWay: number;
  waiting: { bytes: number; begin: () => void }[];
}

/**
 * Requests that a client sends without waiting for the answers. Small ones are served side by side; a client that sends many
 * large ones, and perhaps reads none of the answers, waits for itself: others do not wait for all that it has sent.
 */
export class Pipelines {
  private readonly pipelines = new WeakMap<Socket, Pipeline>();

  /** Calls `begin` at once, or when enough of the answers before this one have gone; never when the client has. */
  enter(request: IncomingMessage, response: ServerResponse, begin: () => void): void {
    const { socket } = request;
    const pipeline = this.pipelines.get(socket) ?? this.begin(socket);
    const bytes = bytesOf(request);
    response.on("close", () => {
      pipeline.underWay -= bytes;
      if (socket.writable) beginWhatFits(pipeline);
    });
    pipeline.waiting.push({ bytes, begin });
    beginWhatFits(pipeline);
  }

  private begin(socket: Socket): Pipeline {
    const pipeline: Pipeline = { underWay: 0, waiting: [] };
    this.pipelines.set(socket, pipeline);
    return pipeline;
  }
}

/** In order. One begins in any case, however large. */
function beginWhatFits(pipeline: Pipeline): void {
  for (let next; (next = pipeline.waiting[0]) !== undefined; pipeline.waiting.shift()) {
    if (pipeline.underWay > 0 && pipeline.underWay + next.bytes > MAX_UNDER_WAY) return;
    pipeline.underWay += next.bytes;
    next.begin();
  }
}

function bytesOf({ headers }: IncomingMessage): number {
  const bytes = Number(headers["content-length"] ?? (headers["transfer-encoding"] === undefined ? 0 : MAX_BODY_BYTES));
  return Number.isFinite(bytes) ? Math.min(bytes, MAX_BODY_BYTES) : MAX_BODY_BYTES;
}

import { STATUS_CODES, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
  "Access-Control-Allow-Headers": "Content-Type",
} as const;

const JSON_AND_CORS = { ...CORS, "Content-Type": "application/json" } as const;

/** How long a client may take to take its answer, as with the Flask app. */
const SEND_TIMEOUT_MS = 5_000;

/** How long a client that has its answer may send nothing and not close its end (RFC 9112 section 9.6), as with the Flask app. */
const LINGER_MS = 2_000;

/** How much a client that has its answer may go on to send. */
const MAX_LINGER_BYTES = 64 << 20;

type Headers = Readonly<Record<string, string>>;

/** Sends an answer, unless there has been one. `body` becomes JSON; undefined is an empty one. */
export function send(response: ServerResponse, status: number, body: unknown, headers: Headers = {}): void {
  if (response.headersSent || response.destroyed) return;
  const text = body === undefined ? "" : json(body);
  const always = body === undefined ? CORS : JSON_AND_CORS;
  response.writeHead(status, { ...always, "Content-Length": String(Buffer.byteLength(text)), ...headers });
  if (response.req.complete) {
    response.end(text);
    dropUnlessTaken(response);
    return;
  }
  // A client that is still sending gets a reset instead of its answer if the connection is closed now.
  if (text === "") response.flushHeaders();
  else response.write(text);
  readToTheEnd(response.req, () => {
    response.end();
    if (!response.req.complete) response.req.socket.destroySoon();
    dropUnlessTaken(response);
  });
}

/** With an end of line, as Flask's: on a terminal the prompt follows on a line of its own. */
function json(body: unknown): string {
  return `${JSON.stringify(body)}\n`;
}

/** Answers where there is no response to do it with, and closes. */
export function endWith(socket: Duplex, status: number, message: string, headers: Headers = {}): void {
  const body = json({ error: message });
  const all = { ...JSON_AND_CORS, "Content-Length": Buffer.byteLength(body), ...headers };
  const lines = Object.entries({ ...all, Connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  closeWith(socket, `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n${body}`);
}

/** Sends the last bytes, if any, and waits for the client's end. */
export function closeWith(socket: Duplex, last = ""): void {
  socket.end(last);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => { clearTimeout(timer); });
}

/** Discards the rest of a request; `done` is called at its end, or when it is too long or does not come. */
function readToTheEnd(request: IncomingMessage, done: () => void): void {
  let left = MAX_LINGER_BYTES;
  const timer = setTimeout(finish, LINGER_MS);
  request.on("data", discard);
  request.once("end", finish).once("close", finish);

  function discard(chunk: Buffer): void {
    left -= chunk.length;
    timer.refresh();
    if (left < 0) finish();
  }
  function finish(): void {
    clearTimeout(timer);
    request.off("data", discard).off("end", finish).off("close", finish);
    done();
  }
}

function dropUnlessTaken(response: ServerResponse): void {
  // The system has all of it, as it mostly has at once.
  if (response.writableFinished) return;
  if (response.socket === null) {
    // Answers to requests that came before it go first.
    response.once("socket", () => { dropUnlessTaken(response); });
    return;
  }
  const timer = setTimeout(() => response.destroy(), SEND_TIMEOUT_MS);
  response.once("close", () => { clearTimeout(timer); });
}

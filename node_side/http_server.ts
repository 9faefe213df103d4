import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import { BridgeError } from "@shm-polyglot/protocol";

import { fromBridgeError } from "./bridge_errors";
import { HttpError } from "./http_error";
import { log } from "./log";
import type { Language, Metrics } from "./metrics";

/** What a route answers; `body` becomes JSON. */
export interface Answer {
  status?: number;
  body: Readonly<Record<string, unknown>>;
}

export interface Route {
  method: "GET" | "POST";
  path: string;
  /** Which language does the work, for the metrics. */
  language: Language;
  /** Answers a request, or throws HttpError or BridgeError. */
  handle(request: IncomingMessage, query: URLSearchParams): Promise<Answer> | Answer;
}

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
  "Access-Control-Allow-Headers": "Content-Type",
} as const;

/** How often Node looks for requests that have taken too long. */
const CHECK_EVERY_MS = 500;

/** How long a client may take to take its answer, as with the Flask app. */
const SEND_TIMEOUT_MS = 5_000;

/** How long a client that was refused may take to close its end (RFC 9112 section 9.6), as with the Flask app. */
const LINGER_MS = 2_000;

/** What Node's parser refuses before there is a request, by error code; anything else is a 400. */
const PARSER_ERRORS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/**
 * The HTTP server: finds the route, sends its answer or its error as JSON, and counts it. Not yet listening. A client
 * that takes longer than `requestTimeoutMs` to send a request gets a 408; one that does not take its answer is dropped.
 */
export function createHttpServer(routes: readonly Route[], metrics: Metrics, requestTimeoutMs: number): Server {
  const table = byPath(routes);
  const options = {
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    // Node's own refusal has no body: `requireHost` looks instead.
    requireHostHeader: false,
  };
  const server = createServer(options, (request, response) => {
    // Once the server is stopping, a client has its answer and then has to go.
    response.shouldKeepAlive &&= server.listening;
    void serve(table, metrics, request, response);
  });
  // Else Node sends a 417 without a body.
  server.on("checkExpectation", (request, response) => {
    response.shouldKeepAlive &&= server.listening;
    send(response, 417, { error: `Unable to comply with expectation: ${request.headers.expect}` });
  });
  // Else Node closes the connection without an answer.
  server.on("connect", (_request, socket) => { endWith(socket, 405, "Method not allowed"); });
  server.on("clientError", refuse);
  server.once("listening", () => {
    // A connection could not be accepted (accept(2)): up to libuv 1.44 Node says so, later it only tries again.
    server.on("error", (error) => { log.error("the listening socket failed", { error: error.message }); });
  });
  return server;
}

function byPath(routes: readonly Route[]): Map<string, Map<string, Route>> {
  const table = new Map<string, Map<string, Route>>();
  for (const route of routes) {
    const methods = table.get(route.path) ?? new Map<string, Route>();
    methods.set(route.method, route);
    table.set(route.path, methods);
  }
  return table;
}

async function serve(
  table: Map<string, Map<string, Route>>,
  metrics: Metrics,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const start = performance.now();
  let language: Language = "typescript";
  try {
    requireHost(request);
    if (request.method === "OPTIONS") {
      response.writeHead(200, { ...CORS, "Content-Length": "0" }).end();
      return;
    }
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    const route = find(table, path, request.method ?? "");
    language = route.language;
    const { status = 200, body } = await route.handle(request, new URLSearchParams(query));
    send(response, status, body);
  } catch (error) {
    const { status, message, headers } = toHttpError(error, request);
    send(response, status, { error: message }, headers);
  }
  metrics.recordRequest(language, performance.now() - start);
}

/** RFC 9112 section 3.2: a proxy in front may have taken another host for the request's than we would. */
function requireHost(request: IncomingMessage): void {
  const hosts = request.headersDistinct["host"]?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && request.httpVersion === "1.1")) {
    throw new HttpError(400, `A request must have one Host header, this one has ${hosts}`);
  }
}

function find(table: Map<string, Map<string, Route>>, path: string, method: string): Route {
  const methods = table.get(path);
  if (methods === undefined) {
    throw new HttpError(404, "Not found");
  }
  // Node leaves out the body of an answer to HEAD by itself.
  const route = methods.get(method === "HEAD" ? "GET" : method);
  if (route === undefined) {
    const allowed = [...methods.keys(), ...(methods.has("GET") ? ["HEAD"] : []), "OPTIONS"];
    throw new HttpError(405, "Method not allowed", { Allow: allowed.join(", ") });
  }
  return route;
}

function toHttpError(error: unknown, request: IncomingMessage): HttpError {
  if (error instanceof HttpError) {
    return error;
  }
  if (error instanceof BridgeError) {
    return fromBridgeError(error);
  }
  if (!request.complete) {
    // The connection broke while the body was being read: nobody is there to answer.
    return new HttpError(400, "The request ended too soon");
  }
  log.error("request failed", { request: `${request.method} ${request.url}`, error: asError(error) });
  return new HttpError(500, "Internal server error");
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function send(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  const text = JSON.stringify(body);
  response
    .writeHead(status, {
      ...CORS,
      "Content-Type": "application/json",
      "Content-Length": String(Buffer.byteLength(text)),
      ...headers,
    })
    .end(text);
  if (response.socket === null) {
    // Answers to requests that came before it go first.
    response.once("socket", () => { dropUnlessTaken(response); });
  } else {
    dropUnlessTaken(response);
  }
}

function dropUnlessTaken(response: ServerResponse): void {
  const timer = setTimeout(() => response.destroy(), SEND_TIMEOUT_MS);
  response.once("close", () => { clearTimeout(timer); });
}

function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const status = PARSER_ERRORS[error.code ?? ""] ?? 400;
  endWith(socket, status, STATUS_CODES[status] ?? "");
}

/** Answer where there is no response to do it with, and close. */
function endWith(socket: Duplex, status: number, message: string): void {
  const reason = STATUS_CODES[status] ?? "";
  const body = JSON.stringify({ error: message });
  const headers = { ...CORS, "Content-Type": "application/json", "Content-Length": body.length, Connection: "close" };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${reason}\r\n${lines.join("")}\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => { clearTimeout(timer); });
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { BridgeError } from "@shm-polyglot/protocol";

import { fromBridgeError } from "./bridge_errors";
import { endWith, send } from "./http_answers";
import { HttpError } from "./http_error";
import { Refusals } from "./http_refusals";
import { isTooLarge } from "./json_body";
import { log } from "./log";
import type { Language, Metrics } from "./metrics";
import { Pipelines } from "./pipelines";
import { asksToClose, expectsContinue, PARSER_LIMITS, readHead } from "./request_head";

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

/** How often Node looks for requests that have taken too long. */
const CHECK_EVERY_MS = 500;

/**
 * The HTTP server: finds the route, sends its answer or its error as JSON, and counts it. Not yet listening. A client
 * that takes longer than `requestTimeoutMs` to send a request gets a 408; one that does not take its answer is dropped.
 */
export function createHttpServer(routes: readonly Route[], metrics: Metrics, requestTimeoutMs: number): Server {
  const table = byPath(routes);
  const options = {
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    maxHeaderSize: PARSER_LIMITS.maxHeaderSize,
    // Node's own refusal has no body: `readHead` looks instead.
    requireHostHeader: false,
  };
  const refusals = new Refusals();
  const pipelines = new Pipelines();
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (refusals.hasEnded(request.socket)) return;
    refusals.owe(request, response);
    pipelines.enter(request, response, () => {
      // Once the server is stopping, a client has its answer and then has to go.
      // Node's parser loses what follows a request with Upgrade in one packet, also where nobody upgrades.
      response.shouldKeepAlive &&= server.listening && request.headers.upgrade === undefined && !asksToClose(request);
      void serve(table, metrics, refusals, request, response);
    });
  };
  const server = createServer(options, answer);
  server.maxHeadersCount = PARSER_LIMITS.maxHeadersCount;
  // RFC 9112 section 9.6: a client that has sent its last request may close its half of the connection.
  Object.assign(server, { httpAllowHalfOpen: true });
  // Else Node sends 100 before anybody has looked at the request, and a 417 without a body.
  server.on("checkContinue", answer).on("checkExpectation", answer);
  // Else Node closes the connection without an answer.
  server.on("connect", (_request, socket) => {
    refusals.end(socket);
    refusals.afterOwed(socket, () => { endWith(socket, 405, "Method not allowed"); });
  });
  server.on("clientError", (error, socket) => { refusals.refuse(error, socket); });
  server.on("timeout", dropIfSilent);
  server.once("listening", () => {
    // A connection could not be accepted (accept(2)): up to libuv 1.44 Node says so, later it only tries again.
    server.on("error", (error) => { log.error("the listening socket failed", { error: error.message }); });
  });
  return server;
}

/** A request may have come in time while the event loop was held: timers go before it. */
function dropIfSilent(socket: Socket): void {
  const { bytesRead } = socket;
  setImmediate(() => {
    if (socket.bytesRead === bytesRead) socket.destroy();
  });
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
  refusals: Refusals,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const start = performance.now();
  let language: Language = "typescript";
  try {
    const { path, query } = readHead(request);
    if (request.method === "OPTIONS") {
      send(response, 200, undefined);
      return;
    }
    const route = find(table, path, request.method ?? "");
    language = route.language;
    if (expectsContinue(request) && !isTooLarge(request)) response.writeContinue();
    const { status = 200, body } = await route.handle(request, query);
    send(response, status, body);
  } catch (error) {
    const { status, message, headers } = toHttpError(error, request);
    if (headers["Connection"] === "close") refusals.end(request.socket);
    send(response, status, { error: message }, headers);
  }
  metrics.recordRequest(language, performance.now() - start);
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
